// SPDX-License-Identifier: GPL-2.0
//! The switch as a process: sockets for nodes, helpers and control, and the threads behind them.
//!
//! | socket in the run folder | kind | who comes |
//! |---|---|---|
//! | `port<P>.sock` | stream, vfio-user | the QEMU that has port P, one at a time; a new one takes the place of the old one |
//! | `remap.sock` | seqpacket, [`ntb_remap::wire`] | re-mapping helpers, one connection for each mapping of a window |
//! | `control.sock` | stream, [`crate::control`] | tools and people, several at once |
//!
//! One thread accepts; each connection has threads of its own: two for a node (see [`skiff_vfio_user`]), one for a helper
//! (which only notices its end), one for a control client. They share one [`fabric::Fabric`] with one lock, see there.
//!
//! **Mapped windows.** A port whose memory window is to be mapped offers a file for it: a memfd as the NT function's BAR2,
//! or `ntbwin-port<P>` in the run folder for the companion function. The file itself is nobody's memory; a helper in the
//! QEMU process notices that it is mapped and shows in its place what the port's routes lead to. It does so before QEMU's
//! mmap returns, so the guest never gets to see the file. As long as no helper has the whole window in hand, because
//! there is none or it failed, the port's link is down and no route leads to or from it.

mod access;
mod control;
mod device;
mod fabric;
mod helper;
mod memory;
mod sockets;
mod stale;
mod state;
mod timer;
mod waits;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::poll::PollFlags;
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::unistd::ftruncate;

use crate::model::{ConfigError, Layout, Port, PortConfig, Protection, Switch};
use fabric::{Fabric, Limits};
use sockets::Sockets;
use state::{Window, WindowFile};

/// How a port's memory window is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowMode {
    /// The node maps it, and a helper in the node's process keeps it in step: accesses cost nothing.
    Mapped,
    /// Every access is a message to the switch: slow, and counted.
    Trapped,
}

/// One port of a [`ServerConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSettings {
    /// What the board's EEPROM says.
    pub config: PortConfig,
    /// How the memory window is made.
    pub mode: WindowMode,
}

/// What a [`Server`] is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where the sockets and window files go; made if it does not exist.
    pub run_dir: PathBuf,
    /// The ports, by partition index.
    pub ports: Vec<PortSettings>,
    /// How far the ports are protected from each other.
    pub protection: Protection,
    /// How long a node may take to answer a read of its device registers.
    pub read_timeout: Duration,
    /// How long a helper may take to confirm an update.
    pub helper_timeout: Duration,
    /// Most pieces of memory of which all mapped windows of one process together may consist; what is more reads all
    /// ones, and is counted.
    pub most_pieces: usize,
}

impl ServerConfig {
    /// How long a read waits, roughly as on the chip: long enough for a busy node, short enough for who waits.
    pub const READ_TIMEOUT: Duration = Duration::from_millis(100);
    /// How long an update of a window waits. A helper takes far less, 53 ms on a loaded machine, but giving one up takes its
    /// port's link down: a machine with many more busy threads than cores must not look like a node that stands still.
    pub const HELPER_TIMEOUT: Duration = Duration::from_secs(2);
    /// A little below the number of mappings that Linux gives a process (vm.max_map_count, 65,530).
    pub const MOST_PIECES: usize = 60_000;
}

/// Why a switch could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ports do not make a switch.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another switch is at work in that folder.
    #[error("another switch is at work in {0}")]
    InUse(PathBuf),
    /// A file or socket could not be made.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something else that the switch needs could not be had.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// A switch at work; dropping it ends it and removes its sockets and files.
#[derive(Debug)]
pub struct Server {
    fabric: Arc<Fabric>,
    acceptor: Option<JoinHandle<()>>,
    files: Vec<PathBuf>,
}

impl Server {
    /// Starts a switch; when this returns its sockets can be connected to.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing is left behind then.
    pub fn start(config: &ServerConfig) -> Result<Self, StartError> {
        let configs: Vec<PortConfig> = config.ports.iter().map(|port| port.config).collect();
        let switch = Switch::with_protection(&configs, config.protection)?;
        let dir = config.run_dir.as_path();
        fs::create_dir_all(dir).map_err(|error| at(dir, error))?;
        if sockets::is_served(dir) {
            return Err(StartError::InUse(dir.into()));
        }
        let mut files = Files(Vec::new());
        let mut windows = Vec::new();
        for (port, settings) in switch.ports().into_iter().zip(&config.ports) {
            windows.push(make_window(dir, port, settings, &mut files)?);
        }
        let limits = Limits {
            read: config.read_timeout,
            helper: config.helper_timeout,
            most_pieces: config.most_pieces,
        };
        let sockets = Sockets::listen(dir, &switch.ports(), &mut files.0)?;
        let (fabric, held) = Fabric::new(switch, windows, limits).map_err(io::Error::from)?;
        held.start(Arc::downgrade(&fabric))?;
        let acceptor = sockets.start(Arc::clone(&fabric))?;
        Ok(Self {
            fabric,
            acceptor: Some(acceptor),
            files: std::mem::take(&mut files.0),
        })
    }

    /// Waits until one of `fds` is readable or closed, or somebody asks the switch to end
    /// ([`crate::control::Request::Shutdown`]); tells which of `fds` are. The switch itself goes on until it is dropped.
    ///
    /// # Errors
    ///
    /// Waiting failed.
    pub fn wait(&self, fds: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
        let mut all = fds.to_vec();
        all.push(self.fabric.stop_event().as_fd());
        let mut ready = sockets::wait_any(&all, PollFlags::POLLIN)?;
        ready.truncate(fds.len());
        Ok(ready)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.fabric.ask_to_stop();
        if let Some(acceptor) = self.acceptor.take() {
            if acceptor.join().is_err() {
                tracing::error!("the accepting thread has panicked");
            }
        }
        remove(&self.files);
    }
}

/// Files made so far, which go if not all can be made.
#[derive(Debug)]
struct Files(Vec<PathBuf>);

impl Drop for Files {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(files: &[PathBuf]) {
    for path in files {
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove");
        }
    }
}

fn at(path: &Path, error: impl Into<io::Error>) -> StartError {
    StartError::File {
        path: path.into(),
        error: error.into(),
    }
}

fn make_window(
    dir: &Path,
    port: Port,
    settings: &PortSettings,
    files: &mut Files,
) -> Result<Window, StartError> {
    if settings.mode == WindowMode::Trapped {
        return Ok(Window::Trapped);
    }
    let name = format!("{}-port{port}", memory::WINDOW_MARK);
    let size = settings.config.memory_aperture;
    let file = match settings.config.layout {
        Layout::Chip => {
            let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
            let fd = memfd_create(name.as_str(), flags).map_err(io::Error::from)?;
            let len = i64::try_from(size).map_err(io::Error::other)?;
            ftruncate(&fd, len).map_err(io::Error::from)?;
            let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
            fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).map_err(io::Error::from)?;
            WindowFile::Offered(Arc::new(fd))
        }
        Layout::Companion => {
            let path = dir.join(name);
            let file = fs::File::create(&path).map_err(|error| at(&path, error))?;
            files.0.push(path.clone());
            file.set_len(size).map_err(|error| at(&path, error))?;
            WindowFile::Named
        }
    };
    Ok(Window::Mapped {
        file,
        helpers: Vec::new(),
    })
}
