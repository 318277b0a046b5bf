// SPDX-License-Identifier: GPL-2.0
//! Waiting for an object and for the end of the command at once.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::signal::SigSet;
use nix::sys::signal::SigmaskHow;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SignalFd;

use crate::error::Error;

/// SIGTERM and SIGINT, and the end of stdin if that counts. Blocks these signals for good.
pub struct Ending {
    signals: SignalFd,
    stdin: Option<io::Stdin>,
}

/// Holds back what would end the command between two steps that belong together.
pub struct Held {
    before: SigSet,
}

impl Held {
    /// SIGINT, SIGTERM and SIGHUP wait until it is dropped.
    pub fn new() -> Result<Self, Error> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGHUP);
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A set that was in force is a valid one.
        let _ = self.before.thread_set_mask();
    }
}

/// What [`Ending::wait`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The object has something to say.
    Object,
    /// The command is to end.
    End,
}

impl Ending {
    /// Signals, and the end of stdin if stdin is a pipe or a socket. A file or /dev/null is at
    /// its end from the start, and to read from a terminal stops who runs in the background.
    pub fn new() -> Result<Self, Error> {
        let stdin = io::stdin();
        let counts = is_pipe(&stdin)?;
        Ok(Self {
            stdin: counts.then_some(stdin),
            ..Self::of_signals()?
        })
    }

    /// Signals only.
    pub fn of_signals() -> Result<Self, Error> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        Ok(Self {
            signals,
            stdin: None,
        })
    }

    /// Waits until `object` is ready or the command is to end.
    pub fn wait(&self, object: &impl AsFd) -> Result<Wake, Error> {
        loop {
            let mut fds = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(object.as_fd(), PollFlags::POLLIN),
            ];
            if let Some(stdin) = &self.stdin {
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Err(nix::Error::EINTR) => continue,
                other => other?,
            };
            let ready = |index: usize| {
                let found = fds.get(index).and_then(PollFd::revents);
                found.is_some_and(|found| !found.is_empty())
            };
            if ready(0) {
                return Ok(Wake::End);
            }
            if ready(1) {
                return Ok(Wake::Object);
            }
            if ready(2) && self.stdin_ended()? {
                return Ok(Wake::End);
            }
        }
    }

    /// Takes what is there of stdin; whether that was its end.
    fn stdin_ended(&self) -> Result<bool, Error> {
        let Some(stdin) = &self.stdin else {
            return Ok(false);
        };
        let got = stdin.lock().read(&mut [0; 4096]);
        Ok(got.map_err(|cause| Error::File {
            what: "read",
            path: "stdin".into(),
            cause,
        })? == 0)
    }
}

/// Whether somebody holds the other end of it.
fn is_pipe(stdin: &io::Stdin) -> Result<bool, Error> {
    let kind = stdin
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stdin| File::from(stdin).metadata())
        .map_err(|cause| Error::File {
            what: "look at",
            path: "stdin".into(),
            cause,
        })?
        .file_type();
    Ok(kind.is_fifo() || kind.is_socket())
}
