// SPDX-License-Identifier: GPL-2.0
//! Builds the file system that a node starts with: busybox, the agent as /init, modules, extra files.
//!
//! An uncompressed newc archive (Documentation/driver-api/early-userspace/buffer-format.rst), written in one go.
//! Nothing is kept.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cpio::newc::{trailer, Builder, ModeFileType};

use crate::kernel::Modules;
use crate::{places, Error};

/// Folders that a node has in any case.
const FOLDERS: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "lib/modules",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr/bin",
    "usr/sbin",
    "usr/local/bin",
    "var/tmp",
];

/// Small files of every node.
const TEXTS: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/profile", "PS1='\\h:\\w\\$ '\n"),
];

/// Device number of /dev/console, which the kernel opens before process 1 can mount anything.
const CONSOLE: (u32, u32) = (5, 1);

/// Writes the archive to `path`.
///
/// # Errors
/// [`Error::Missing`] for busybox or the agent, [`Error::Io`] for every other file.
pub(crate) fn build(
    path: &Path,
    modules: &Modules,
    extra: &[(PathBuf, String)],
) -> Result<(), Error> {
    let failed = |source| Error::Io {
        what: format!("build {}", path.display()),
        source,
    };
    let mut archive = Archive::new(BufWriter::with_capacity(
        1 << 20,
        File::create(path).map_err(failed)?,
    ));
    let busybox = places::busybox()?;
    for folder in FOLDERS {
        archive.folder(folder).map_err(failed)?;
    }
    archive.device("dev/console", CONSOLE).map_err(failed)?;
    // Before the rest: the first of a path counts.
    for (local, remote) in extra {
        add(&mut archive, local, remote)?;
    }
    for (name, text) in TEXTS {
        archive.file(name, text.as_bytes(), 0o644).map_err(failed)?;
    }
    add(&mut archive, &busybox, "bin/busybox")?;
    for applet in applets(&busybox)? {
        archive.link(&applet, "/bin/busybox").map_err(failed)?;
    }
    add(&mut archive, &places::agent()?, "init")?;
    for (name, file) in &modules.files {
        add(&mut archive, file, &format!("lib/modules/{name}.ko"))?;
    }
    archive.finish().map_err(failed)
}

fn add(archive: &mut Archive<impl Write>, local: &Path, remote: &str) -> Result<(), Error> {
    let mut copy = || {
        let mode = fs::metadata(local)?.permissions().mode();
        archive.file(remote, &fs::read(local)?, mode & 0o7777)
    };
    copy().map_err(|source| Error::Io {
        what: format!("put {} into the initramfs", local.display()),
        source,
    })
}

/// The paths of busybox's applets, without leading slash.
fn applets(busybox: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Io {
        what: format!("run {} --list-full", busybox.display()),
        source,
    };
    let output = Command::new(busybox)
        .arg("--list-full")
        .output()
        .map_err(failed)?;
    let list = String::from_utf8_lossy(&output.stdout);
    // Its own init is not wanted, and it is busybox that the others point to.
    let wanted = list.lines().map(|line| line.trim_start_matches('/'));
    let applets: Vec<String> = wanted
        .filter(|path| !matches!(*path, "" | "bin/busybox" | "linuxrc" | "init" | "sbin/init"))
        .map(str::to_owned)
        .collect();
    match applets.is_empty() {
        false => Ok(applets),
        true => Err(Error::Config(format!(
            "{} lists no applets",
            busybox.display()
        ))),
    }
}

/// A newc archive that makes the folders its files are in, and holds every path once.
struct Archive<W: Write> {
    out: Option<W>,
    paths: BTreeSet<String>,
    last_inode: u32,
}

impl<W: Write> Archive<W> {
    fn new(out: W) -> Self {
        Archive {
            out: Some(out),
            paths: BTreeSet::new(),
            last_inode: 0,
        }
    }

    /// Writes one entry unless its path is taken.
    fn entry(&mut self, path: &str, entry: Builder, data: &[u8]) -> io::Result<()> {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder)?;
        }
        if !self.paths.insert(path.to_owned()) {
            return Ok(());
        }
        self.last_inode += 1;
        let size = u32::try_from(data.len()).map_err(io::Error::other)?;
        let out = self
            .out
            .take()
            .ok_or_else(|| io::Error::other("an earlier entry failed"))?;
        let mut writer = entry.ino(self.last_inode).nlink(1).write(out, size);
        writer.write_all(data)?;
        self.out = Some(writer.finish()?);
        Ok(())
    }

    fn folder(&mut self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.paths.contains(path) {
            return Ok(());
        }
        let entry = Builder::new(path)
            .mode(0o755)
            .set_mode_file_type(ModeFileType::Directory);
        self.entry(path, entry, &[])
    }

    fn file(&mut self, path: &str, data: &[u8], mode: u32) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        self.entry(
            path,
            Builder::new(path)
                .mode(mode)
                .set_mode_file_type(ModeFileType::Regular),
            data,
        )
    }

    fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let entry = Builder::new(path)
            .mode(0o777)
            .set_mode_file_type(ModeFileType::Symlink);
        self.entry(path, entry, target.as_bytes())
    }

    fn device(&mut self, path: &str, (major, minor): (u32, u32)) -> io::Result<()> {
        let entry = Builder::new(path)
            .mode(0o600)
            .set_mode_file_type(ModeFileType::Char);
        self.entry(path, entry.rdev_major(major).rdev_minor(minor), &[])
    }

    fn finish(mut self) -> io::Result<()> {
        let out = self
            .out
            .take()
            .ok_or_else(|| io::Error::other("an earlier entry failed"))?;
        trailer(out)?.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    type Entry = (String, u32, Vec<u8>);

    fn entries(mut bytes: &[u8]) -> Vec<Entry> {
        let mut found = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(bytes).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            found.push((name, mode, data));
            bytes = reader.finish().unwrap();
        }
    }

    #[test]
    fn folders_are_made_and_paths_taken_once() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.file("/a/b/c", b"data", 0o750).unwrap();
        archive.file("a/b/c", b"later", 0o644).unwrap();
        archive.link("a/l", "/a/b/c").unwrap();
        archive.device("a/tty", (5, 1)).unwrap();
        archive.finish().unwrap();
        let expected: Vec<Entry> = vec![
            ("a".into(), 0o40755, vec![]),
            ("a/b".into(), 0o40755, vec![]),
            ("a/b/c".into(), 0o100_750, b"data".to_vec()),
            ("a/l".into(), 0o120_777, b"/a/b/c".to_vec()),
            ("a/tty".into(), 0o20600, vec![]),
        ];
        assert_eq!(entries(&bytes), expected);
        // QEMU hands the archive on as it is; the kernel wants entries aligned to 4 bytes.
        assert_eq!(bytes.len() % 4, 0);
    }
}
