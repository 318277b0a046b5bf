// SPDX-License-Identifier: GPL-2.0
//! Block devices of nodes: what `skiff-guest disk` tells of them as values; file systems in nodes, and what the host finds in
//! the image behind a disk when its node has let go of it.

use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Builder;
use skiff_cluster::Job;
use skiff_cluster::Node;

use crate::guest;

/// Makes one, in nodes.
const MKFS: &str = "/usr/sbin/mke2fs";
/// Checks one, and changes nothing.
const FSCK: &str = "/usr/sbin/e2fsck";
/// Looks into one.
const DEBUGFS: &str = "/usr/sbin/debugfs";

/// How long a command with a disk may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Bytes of the blocks that `skiff-guest disk work` writes.
pub const BLOCK: u64 = 4096;

/// Puts mke2fs into every node, with the libraries that it is linked to.
pub fn install(builder: Builder) -> Builder {
    libraries(MKFS)
        .into_iter()
        .chain([MKFS.to_owned()])
        .fold(builder, |builder, file| builder.file(&file, &file))
}

/// The libraries of a program of this machine; none if there is no such program, which shows when it is looked for.
fn libraries(program: &str) -> Vec<String> {
    let Ok(listed) = Command::new("ldd").arg(program).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&listed.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

/// Blocks that `disk work` and `disk check` read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Blocks {
    /// As expected.
    pub right: u64,
    /// Zeros.
    pub blank: u64,
    /// Of another seed.
    pub foreign: u64,
    /// Of another place.
    pub misplaced: u64,
    /// Of another generation.
    pub stale: u64,
    /// Of two generations.
    pub torn: u64,
    /// Right in part.
    pub broken: u64,
    /// The first of those that were not right.
    pub first: Option<u64>,
}

/// What became of `disk work` or `disk check`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Outcome {
    /// Operations that were begun.
    pub operations: u64,
    /// Reads that went well.
    pub reads: u64,
    /// Writes that went well.
    pub writes: u64,
    /// Operations that failed.
    pub errors: u64,
    /// How the first of them failed.
    pub errno: Option<String>,
    /// What was read.
    pub blocks: Blocks,
    /// How long it took.
    pub seconds: f64,
}

impl Outcome {
    /// Nothing that was read was wrong.
    pub fn true_as_far_as_read(self) -> Result<Self> {
        ensure!(
            self.blocks.right == self.reads && self.blocks.first.is_none(),
            "wrong blocks were read: {self:?}"
        );
        Ok(self)
    }

    /// And there was no error.
    pub fn good(self) -> Result<Self> {
        ensure!(
            self.errors == 0 && self.operations == self.reads + self.writes,
            "operations failed: {self:?}"
        );
        ensure!(self.reads > 0, "nothing was read: {self:?}");
        self.true_as_far_as_read()
    }
}

/// A part of a block device of a node.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// The device.
    pub path: &'a str,
    /// Where it begins.
    pub from: u64,
    /// Its length.
    pub bytes: u64,
    /// What its blocks are marked with.
    pub seed: u64,
    /// Operations at a time.
    pub depth: u32,
    /// Whether completions are polled for.
    pub polled: bool,
}

impl Region<'_> {
    fn arguments(&self) -> String {
        let Self {
            path,
            from,
            bytes,
            seed,
            depth,
            polled,
        } = self;
        let polled = if *polled { " --polled" } else { "" };
        format!("{path} --from {from} --bytes {bytes} --seed {seed} --depth {depth}{polled}")
    }

    /// Writes all of it, then reads and writes at random, `operations` times; all must go well.
    pub fn work(&self, node: &Node, operations: u64) -> Result<Outcome> {
        self.begin(node, operations)?.outcome()?.good()
    }

    /// Begins to do that.
    pub fn begin(&self, node: &Node, operations: u64) -> Result<Pending> {
        let command = format!("work {} --operations {operations}", self.arguments());
        Pending::start(node, &command)
    }

    /// As [`Region::work`], with pauses of up to so many microseconds between what is begun and the look for what is done.
    pub fn work_with_pauses(
        &self,
        node: &Node,
        operations: u64,
        microseconds: u64,
    ) -> Result<Outcome> {
        let command = format!(
            "work {} --operations {operations} --pause {microseconds}",
            self.arguments()
        );
        Pending::start(node, &command)?.outcome()?.good()
    }

    /// Begins to do that for some seconds.
    pub fn work_for(&self, node: &Node, seconds: u64) -> Result<Pending> {
        Pending::start(
            node,
            &format!("work {} --seconds {seconds}", self.arguments()),
        )
    }

    /// Reads all of it after so many operations; it must be what these left.
    pub fn check(&self, node: &Node, operations: u64) -> Result<Outcome> {
        let command = format!("check {} --operations {operations}", self.arguments());
        let outcome = Pending::start(node, &command)?.outcome()?.good()?;
        ensure!(outcome.reads == self.bytes / BLOCK, "{outcome:?}");
        Ok(outcome)
    }
}

/// `skiff-guest disk` while it runs.
#[derive(Debug)]
pub struct Pending(Job);

impl Pending {
    fn start(node: &Node, command: &str) -> Result<Self> {
        let line = format!("exec {} disk {command}", guest::PATH);
        Ok(Self(node.shell(&line).timeout(LIMIT).spawn()?))
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end.
    pub fn outcome(self) -> Result<Outcome> {
        let output = self.0.wait()?;
        let text = output.stdout_text();
        let said = || format!("{}: {text:?}, {}", output.status, output.stderr_text());
        ensure!(output.status.success(), "{}", said());
        serde_json::from_str(text.trim()).with_context(said)
    }
}

/// A figure of `disk measure`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Speed {
    /// Operations that were done.
    pub operations: u64,
    /// Groups in which they were found done.
    pub groups: u64,
    /// In this time.
    pub seconds: f64,
    /// Mean time of an operation.
    pub mean_us: f64,
    /// Its median.
    pub median_us: f64,
    /// 99 of 100 took no longer.
    pub p99_us: f64,
    /// Busy part of the node's processors.
    pub busy: f64,
}

impl Speed {
    /// Measures: a pattern of `skiff-guest disk measure`, bytes of an operation, operations at a time.
    pub fn measure(
        node: &Node,
        path: &str,
        bytes: u64,
        (pattern, size, depth): (&str, u64, u32),
        options: &str,
    ) -> Result<Self> {
        guest::json(
            node,
            &format!(
                "disk measure {path} --bytes {bytes} --pattern {pattern} --size {size} --depth {depth} {options}"
            ),
        )
    }

    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// Where nodes mount what is on their disks.
pub const MOUNTED: &str = "/mnt";

/// Makes an ext4 file system on a disk of a node.
pub fn make_file_system(node: &Node, path: &str) -> Result<()> {
    let line = format!("{MKFS} -q -t ext4 -F {path}");
    node.shell(&line).timeout(LIMIT).run()?.check()?;
    Ok(())
}

/// Mounts it at [`MOUNTED`].
pub fn mount(node: &Node, path: &str) -> Result<()> {
    node.modprobe("ext4")?;
    let line = format!("mkdir -p {MOUNTED} && mount -t ext4 {path} {MOUNTED}");
    node.shell(&line).timeout(LIMIT).run()?.check()?;
    Ok(())
}

/// Unmounts it.
pub fn unmount(node: &Node) -> Result<()> {
    let line = format!("umount {MOUNTED}");
    node.shell(&line).timeout(LIMIT).run()?.check()?;
    Ok(())
}

fn tool(program: &str, arguments: &[&str], image: &Path) -> Result<Output> {
    Command::new(program)
        .args(arguments)
        .arg(image)
        .output()
        .with_context(|| format!("cannot run {program}"))
}

/// The file system in an image must be whole, without any repair: it was unmounted.
pub fn fsck(image: &Path) -> Result<()> {
    let output = tool(FSCK, &["-f", "-n"], image)?;
    ensure!(
        output.status.success(),
        "e2fsck of {} ended with {}:\n{}{}",
        image.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// SHA-256 of a file in the file system of an image.
pub fn digest(image: &Path, file: &str) -> Result<String> {
    let output = tool(DEBUGFS, &["-R", &format!("cat {file}")], image)?;
    ensure!(
        output.status.success() && !output.stdout.is_empty(),
        "{file} cannot be read out of {}: {}",
        image.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(format!("{:x}", Sha256::digest(&output.stdout)))
}

/// Copies all files of the file system of an image into a folder of the host.
pub fn extract(image: &Path, folder: &Path) -> Result<()> {
    let request = format!("rdump / {}", folder.display());
    let output = tool(DEBUGFS, &["-R", &request], image)?;
    ensure!(
        output.status.success(),
        "{} cannot be read: {}",
        image.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
