// SPDX-License-Identifier: GPL-2.0
//! Directories of running clusters, under `$SKIFF_RUN` or the system's temporary folder.
//!
//! Each holds a lock file that its process keeps locked; a directory whose lock is free was left behind by a killed
//! process and is removed by the next one. A table of this process's directories, behind one lock, serves
//! [`exit_on_signals`].

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use crate::process;

const PREFIX: &str = "skiff-cluster-";
const LOCK: &str = "lock";

static LIVE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

fn live() -> MutexGuard<'static, HashSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where clusters have their directories.
pub fn base() -> PathBuf {
    std::env::var_os("SKIFF_RUN").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// The directory of one cluster, removed when dropped.
#[derive(Debug)]
pub(crate) struct RunDir {
    folder: TempDir,
    _lock: Flock<File>,
}

impl RunDir {
    /// A new one; removes those that killed processes left behind.
    pub(crate) fn new() -> io::Result<Self> {
        let base = base();
        fs::create_dir_all(&base)?;
        for (folder, state) in list(&base) {
            if state == State::Abandoned {
                tracing::info!(folder = %folder.display(), "removing what a killed process left behind");
                fs::remove_dir_all(folder)?;
            }
        }
        let mut live = live();
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base)?;
        live.insert(folder.path().to_owned());
        // Locked before it gets its name: nobody ever sees it unlocked.
        let unnamed = folder.path().join("new-lock");
        let lock = Flock::lock(File::create(&unnamed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| error)?;
        fs::rename(unnamed, folder.path().join(LOCK))?;
        Ok(RunDir {
            folder,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it and all that is in it.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(self.folder.path()) {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(folder = %self.folder.path().display(), %error, "cannot remove the run directory");
            }
        }
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        live().remove(self.folder.path());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Used,
    Abandoned,
}

fn list(base: &Path) -> Vec<(PathBuf, State)> {
    let Ok(entries) = fs::read_dir(base) else {
        return Vec::new();
    };
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    let states = ours.filter_map(|entry| {
        let lock = File::open(entry.path().join(LOCK)).ok()?;
        let state = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(_) => State::Abandoned,
            Err(_) => State::Used,
        };
        Some((entry.path(), state))
    });
    states.collect()
}

/// The directories of all clusters that run on this machine under the same base folder, oldest first.
pub fn running() -> Vec<PathBuf> {
    let used = list(&base())
        .into_iter()
        .filter(|(_, state)| *state == State::Used);
    let mut folders: Vec<_> = used.map(|(folder, _)| folder).collect();
    folders.sort_by_key(|folder| {
        fs::metadata(folder.join(LOCK))
            .and_then(|data| data.modified())
            .ok()
    });
    folders
}

/// Makes SIGINT, SIGTERM and SIGHUP end this process after killing all nodes and switches and removing their files.
///
/// For programs; call it once, before the first cluster is started.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn exit_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                process::kill_all();
                for folder in live().iter() {
                    // QEMU may be writing its last log line; once more then.
                    if fs::remove_dir_all(folder).is_err() {
                        let _ = fs::remove_dir_all(folder);
                    }
                }
                std::process::exit(128 + signal);
            }
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_directories_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let (used, left, foreign) = (
            base.path().join("skiff-cluster-used"),
            base.path().join("skiff-cluster-left"),
            base.path().join("something-else"),
        );
        for folder in [&used, &left, &foreign] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(LOCK), "").unwrap();
        }
        let lock = Flock::lock(
            File::open(used.join(LOCK)).unwrap(),
            FlockArg::LockExclusiveNonblock,
        )
        .unwrap();
        let mut found = list(base.path());
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, [(left, State::Abandoned), (used, State::Used)]);
        drop(lock);
    }
}
