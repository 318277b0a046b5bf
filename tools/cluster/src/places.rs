// SPDX-License-Identifier: GPL-2.0
//! Where the files are that a cluster is made of: kernels, modules, the tools' own programs.
//!
//! Looked up when asked, nothing is kept. Each has a variable that overrides it.

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;

/// The program that QEMU is.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

fn missing(what: &str, path: &Path, hint: &str) -> Error {
    Error::Missing {
        what: what.to_owned(),
        path: path.display().to_string(),
        hint: hint.to_owned(),
    }
}

/// `path` if it exists, else an error that says what it would be.
pub(crate) fn existing(what: &str, path: PathBuf, hint: &str) -> Result<PathBuf, Error> {
    match path.exists() {
        true => Ok(path),
        false => Err(missing(what, &path, hint)),
    }
}

/// The cache folder: `$SKIFF_CACHE`, or `.cache` of the repository that this program was built in or is run in.
pub(crate) fn cache() -> Result<PathBuf, Error> {
    if let Some(folder) = env::var_os("SKIFF_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let starts = [env::current_dir().ok(), env::current_exe().ok()];
    let folders = starts.iter().flatten().flat_map(|start| start.ancestors());
    let mut candidates = folders.map(|folder| folder.join(".cache"));
    let found = candidates.find(|cache| cache.join("kernels").is_dir());
    found.ok_or_else(|| {
        missing(
            "the cache folder",
            Path::new(".cache"),
            "set SKIFF_CACHE, or run scripts/setup",
        )
    })
}

/// Our own modules, a folder for each kernel: `$SKIFF_MODULES`, or a folder of the cache.
pub(crate) fn modules(cache: &Path) -> PathBuf {
    env::var_os("SKIFF_MODULES").map_or_else(|| cache.join("modules"), PathBuf::from)
}

/// Folders of cargo's output around this program, nearest first: of a test that is `deps`, then `debug`.
fn output_folders() -> Vec<PathBuf> {
    let program = env::current_exe().ok();
    let folders = program
        .iter()
        .flat_map(|program| program.ancestors().skip(1).take(3));
    folders.map(Path::to_owned).collect()
}

/// A program or library of this workspace, built like this one.
fn built(what: &str, name: &str, variable: &str, package: &str) -> Result<PathBuf, Error> {
    if let Some(path) = env::var_os(variable) {
        return existing(what, PathBuf::from(path), &format!("{variable} names it"));
    }
    let folders = output_folders();
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        let place = folders
            .first()
            .map(|folder| folder.join(name))
            .unwrap_or_default();
        missing(
            what,
            &place,
            &format!("cargo build -p {package}, or set {variable}"),
        )
    })
}

/// The switch program.
pub(crate) fn switch() -> Result<PathBuf, Error> {
    built("the switch", "ntb-switch", "SKIFF_SWITCH", "ntb-switch")
}

/// The library that re-points windows inside QEMU.
pub(crate) fn remap() -> Result<PathBuf, Error> {
    built(
        "the window helper",
        "libntb_remap.so",
        "SKIFF_REMAP",
        "ntb-remap-preload",
    )
}

/// The agent: linked statically, hence built for a named target, hence in a folder of that name.
pub(crate) fn agent() -> Result<PathBuf, Error> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    if let Some(path) = env::var_os("SKIFF_AGENT") {
        return existing("the agent", PathBuf::from(path), "SKIFF_AGENT names it");
    }
    let candidates: Vec<PathBuf> = output_folders()
        .iter()
        .filter_map(|folder| {
            Some(
                folder
                    .parent()?
                    .join(TARGET)
                    .join(folder.file_name()?)
                    .join("skiff-agent"),
            )
        })
        .collect();
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => {
            let place = candidates.first().cloned().unwrap_or_default();
            let hint = "scripts/build-tools builds it, SKIFF_AGENT names another";
            Err(missing("the agent", &place, hint))
        }
    }
}

/// The statically linked busybox that nodes use.
pub(crate) fn busybox() -> Result<PathBuf, Error> {
    let path =
        env::var_os("SKIFF_BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from);
    existing(
        "busybox",
        path,
        "install busybox-static, or run inside scripts/in-root",
    )
}
