// SPDX-License-Identifier: GPL-2.0
//! Node 0 lends an NVMe drive; node 1 borrows it, makes a file system, copies real files and returns it. The host looks into
//! the image afterwards.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use super::copied;
use super::step;
use super::Row;
use crate::disk;
use crate::disk::Speed;
use crate::disk::MOUNTED;
use crate::guest;
use crate::lend::Device;
use crate::nvme;
use crate::share;

/// Who has the drive, and who borrows it.
pub const HOME: usize = 0;
const USER: usize = 1;

/// The drive.
const DRIVE: Device = Device::new("lent", 0x18);
/// Its bytes.
const BYTES: u64 = 256 << 20;
/// The part of it that is measured.
const MEASURED: u64 = 64 << 20;

/// Fewer bytes of files would show little.
const LEAST: u64 = 10_000_000;

/// Where this project's sources are in nodes, and its folders with them.
const SOURCES: &str = "/usr/src/skiff";
const FOLDERS: &[&str] = &["rust", "include", "tools", "Documentation"];

/// Programs in /bin of the nodes.
const PROGRAMS: &[&str] = &["skiff-guest", "skiff"];

/// What is measured: name, pattern, bytes and depth.
const LOADS: &[(&str, &str, u64, u32)] = &[
    (
        "random reads of 4 KiB, one at a time",
        "random-read",
        4 << 10,
        1,
    ),
    (
        "random reads of 4 KiB, 32 at a time",
        "random-read",
        4 << 10,
        32,
    ),
    (
        "random writes of 4 KiB, 32 at a time",
        "random-write",
        4 << 10,
        32,
    ),
    (
        "reads of 128 KiB in order, 8 at a time",
        "read",
        128 << 10,
        8,
    ),
    (
        "writes of 128 KiB in order, 8 at a time",
        "write",
        128 << 10,
        8,
    ),
];

/// All files in a folder and those below it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("no sources in {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            files(&path, found)?;
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// This project's sources: where they are here, and their paths below [`SOURCES`].
fn sources() -> Result<Vec<(PathBuf, String)>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    let mut found = Vec::new();
    for folder in FOLDERS {
        files(&top.join(folder), &mut found)?;
    }
    found
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(&top)?.to_string_lossy().into_owned();
            Ok((path, below))
        })
        .collect()
}

/// The drive, the commands and the files.
pub fn describe(builder: Builder) -> Result<Builder> {
    let builder = guest::install_program(disk::install(builder), "skiff");
    let builder = builder.node(HOME, |node| DRIVE.nvme(node, BYTES, ""));
    let builder = sources()?
        .into_iter()
        .fold(builder, |builder, (path, below)| {
            builder.file(path, format!("{SOURCES}/{below}"))
        });
    Ok(builder)
}

fn measure(node: &Node, path: &str) -> Result<Vec<Speed>> {
    let speed = |(_, pattern, size, depth): &(_, &str, u64, u32)| {
        let kind = (*pattern, *size, *depth);
        Speed::measure(node, path, MEASURED, kind, "--milliseconds 300")
    };
    LOADS.iter().map(speed).collect()
}

/// Measures the drive at home.
pub fn at_home(home: &Node) -> Result<Vec<Speed>> {
    home.modprobe("nvme")?;
    let path = "/dev/nvme0n1";
    home.wait_for(&format!("test -b {path}"), nvme::MOMENT)?;
    // The host reads what was never written in another way.
    let whole = ("write", 128 << 10, 8);
    Speed::measure(home, path, MEASURED, whole, "--milliseconds 500")?;
    measure(home, path)
}

/// A command of smartio_tool, with what it prints.
fn smartio(node: &Node, words: &str) -> Result<()> {
    let line = format!("smartio_tool {words} </dev/null");
    let output = node.run(&line)?.check()?;
    println!("          node {} # smartio_tool {words}", node.index());
    for line in output.stdout_text().lines() {
        println!("          {line}");
    }
    Ok(())
}

/// Lends, borrows, uses, returns, looks; gives what to say in the end, and rows for the table.
pub fn borrow(
    started: Instant,
    cluster: &Cluster,
    before: &[Speed],
    rows: &mut Vec<Row>,
) -> Result<String> {
    let (home, user) = (cluster.node(HOME), cluster.node(USER));
    for node in cluster.nodes() {
        node.run("ln -s $(command -v skiff) /bin/smartio_tool")?
            .check()?;
    }
    let function = DRIVE.address(home)?;
    smartio(home, &format!("add {function}"))?;
    smartio(home, &format!("available --force --unsafe {function}"))?;
    // Node numbers as SISCI has them.
    smartio(
        home,
        &format!("connect {}", (u32::from(user.port(0)) + 1) * 4),
    )?;
    user.wait_for("smartio_tool list | grep -q available", share::SOON)?;
    smartio(user, "list")?;
    let path = nvme::load(user)?;
    step(started, &format!("insmod skiff_nvme.ko: node 1 has {path}"));
    let after = measure(user, &path)?;

    disk::make_file_system(user, &path)?;
    disk::mount(user, &path)?;
    step(started, &format!("mkfs.ext4 {path}; mounted at {MOUNTED}"));
    let begun = Instant::now();
    let line = format!(
        "cp -r {SOURCES} {MOUNTED}/ & mkdir {MOUNTED}/bin && cd /bin && cp {} {MOUNTED}/bin/ & cp -r /lib/modules {MOUNTED}/ & wait; sync",
        PROGRAMS.join(" ")
    );
    user.run(&line)?.check()?;
    let time = begun.elapsed();
    disk::unmount(user)?;
    nvme::unload(user)?;
    smartio(user, "list")?;
    smartio(home, &format!("unavailable {function}"))?;
    smartio(home, &format!("remove {function}"))?;
    step(started, "unmounted; the drive is node 0's again");

    let image = home.disk(DRIVE.name());
    disk::fsck(&image)?;
    let (count, bytes) = compare(&image)?;
    ensure!(bytes >= LEAST, "only {bytes} bytes were copied");
    step(
        started,
        &format!("e2fsck finds the image whole, and {count} files in it right by SHA-256"),
    );
    rows.push((
        String::new(),
        ["at home", "borrowed", "ratio"].map(str::to_owned).to_vec(),
    ));
    for (((name, _, size, _), home), far) in LOADS.iter().zip(before).zip(&after) {
        let cell = |speed: &Speed| match size {
            4096 => format!("{:.0} IOPS", speed.rate()),
            size => format!("{:.0} MB/s", speed.rate() * *size as f64 / 1e6),
        };
        let ratio = format!("{:.2}", far.rate() / home.rate());
        rows.push(((*name).to_owned(), vec![cell(home), cell(far), ratio]));
    }
    Ok(format!(
        "Copied to the borrowed drive, {count} files, and found whole: {}",
        copied(bytes, time)
    ))
}

/// Every file that was copied must be in the image as it is here; gives their number and bytes.
fn compare(image: &Path) -> Result<(usize, u64)> {
    let folder = tempfile::tempdir()?;
    disk::extract(image, folder.path())?;
    let name = Path::new(SOURCES).file_name().context("a folder's name")?;
    let copies = folder.path().join(name);
    let mut pairs: Vec<(PathBuf, PathBuf)> = sources()?
        .into_iter()
        .map(|(here, below)| (here, copies.join(below)))
        .collect();
    let programs = PROGRAMS.iter();
    pairs.extend(programs.map(|name| (guest::program(name), folder.path().join("bin").join(name))));
    let mut bytes = 0;
    for (here, copy) in &pairs {
        let read = |path: &Path| fs::read(path).with_context(|| format!("no {}", path.display()));
        let (here, found) = (read(here)?, read(copy)?);
        ensure!(
            Sha256::digest(&here) == Sha256::digest(&found),
            "{} differs from what was copied",
            copy.display()
        );
        bytes += here.len() as u64;
    }
    Ok((pairs.len(), bytes))
}
