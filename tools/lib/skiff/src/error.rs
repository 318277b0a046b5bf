// SPDX-License-Identifier: GPL-2.0
//! What went wrong: what was tried, why it failed, and what mends it.

mod attempt;
mod device;

use std::io;

use nix::errno::Errno;

use crate::Refusal;

pub use attempt::Attempt;

/// Result of the operations of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An operation that failed. [`Error::mend`] says what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {attempt}: {} ({})", self.cause(), self.name())]
pub struct Error {
    attempt: Attempt,
    errno: Errno,
    refusal: Option<Refusal>,
}

impl Error {
    /// An error with an errno (`libc::E…`) as the kernel gave it.
    pub fn new(attempt: Attempt, errno: i32) -> Self {
        Self {
            attempt,
            errno: Errno::from_raw(errno),
            refusal: None,
        }
    }

    /// Adds why the kernel does not lend a device.
    pub(crate) fn refused(mut self, refusal: Option<Refusal>) -> Self {
        self.refusal = refusal;
        self
    }

    /// The errno; its meanings are in `linux/skiff.h`.
    pub fn errno(&self) -> i32 {
        self.errno as i32
    }

    /// Why a device cannot be lent, if that is what went wrong.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// What was tried.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Name of the errno, for example `ENOENT`.
    pub fn name(&self) -> String {
        format!("{:?}", self.errno)
    }

    /// Why it failed, in words.
    pub fn cause(&self) -> &'static str {
        if let Some(refusal) = self.refusal {
            return refusal.cause();
        }
        if let Some(cause) = device::cause(self.errno, self.attempt) {
            return cause;
        }
        match (self.errno, self.attempt) {
            (Errno::ENOENT | Errno::ENODEV | Errno::ENXIO, Attempt::Open) => {
                "the kernel module is not there"
            }
            (Errno::EACCES | Errno::EPERM, Attempt::Open) => "this user may not use it",
            (Errno::EINVAL, Attempt::Access { .. }) => {
                "that leads out of the memory, or is not aligned to its size"
            }
            (Errno::EACCES, Attempt::Access { .. }) => "the map is for reading only",
            (Errno::E2BIG, _) => "the kernel module is older than this program",
            (Errno::EACCES, Attempt::Map { .. }) => "the connection is for reading only",
            (Errno::EACCES, _) => {
                "the segment's owner, its mode or its list of nodes does not allow it"
            }
            (Errno::EADDRINUSE, _) => "this node has a segment with that id",
            (Errno::EAGAIN, _) => "there is no event",
            (Errno::EBADF, _) => "the descriptor is not open",
            (Errno::EBUSY, Attempt::Prepare { .. }) => "it is prepared already",
            (Errno::EBUSY, Attempt::SetAvailable { .. }) => {
                "it is available already, or not prepared"
            }
            (Errno::EBUSY, Attempt::SetUnavailable { .. }) => "it is not available",
            (Errno::EBUSY, _) => "it is connected or mapped",
            (Errno::ECONNRESET, Attempt::Wait) => "the object is lost or removed",
            (Errno::ECONNRESET, _) => {
                "the connection was revoked or ended, or its peer booted anew"
            }
            (Errno::EDQUOT, _) => "this user's share of exported memory is used up",
            (Errno::EFAULT, _) => "a pointer does not lead to memory of this process",
            (Errno::EHOSTDOWN, _) => "the link to that node is up, but it has not answered",
            (Errno::EINTR, _) => "a signal came while waiting",
            (Errno::EIO, _) => "the device does not do what it should",
            (Errno::EINVAL, _) => "a size, an offset or an option is not allowed",
            (Errno::EMFILE, _) => "this process has as many open files as it may have",
            (Errno::ENFILE, _) => "the system has as many open files as it may have",
            (Errno::ENODEV, _) => "there is no such adapter",
            (Errno::ENOENT, _) => "there is no such segment that is available",
            (Errno::ENOLINK, _) => "the link to that node is down",
            (Errno::ENOMEM, _) => "there is no memory for it, or the memlock limit forbids it",
            (Errno::ENOSPC, Attempt::Map { .. }) => {
                "all slots of the window are in use by other maps"
            }
            (Errno::ENOSPC, _) => "the adapter's bus window is full",
            (Errno::ENOTTY, _) => "the descriptor is none of that kind",
            (Errno::ENXIO, _) => "there is no such node",
            (Errno::EOPNOTSUPP, _) => "the adapter's hardware cannot do it",
            (Errno::EOVERFLOW, _) => "a sum of the numbers does not fit",
            (Errno::EPERM, _) => "a capability is missing, or the map is to be executable",
            (Errno::EPROTO, _) => "the peer's answer was nonsense",
            (Errno::ETIMEDOUT, _) => "the peer did not answer in time",
            (other, _) => other.desc(),
        }
    }

    /// What helps, where something general can be said.
    pub fn mend(&self) -> Option<&'static str> {
        if let Some(refusal) = self.refusal {
            return refusal.mend();
        }
        if device::cause(self.errno, self.attempt).is_some() {
            return device::mend(self.errno, self.attempt);
        }
        Some(match (self.errno, self.attempt) {
            (Errno::ENOENT | Errno::ENODEV | Errno::ENXIO, Attempt::Open) => {
                "load the module: modprobe skiff"
            }
            (Errno::EACCES | Errno::EPERM, Attempt::Open) => {
                "add the user to the group skiff: usermod -aG skiff USER, then log in anew"
            }
            (Errno::E2BIG, _) => "load the module that belongs to this program",
            (Errno::EACCES, Attempt::Access { .. } | Attempt::Map { .. }) => {
                "connect for reading and writing"
            }
            (Errno::EACCES, _) => {
                "have the owner make it with a wider --mode and with this node in --nodes; root of another node counts as nobody"
            }
            (Errno::EADDRINUSE, _) => "take another id, or none to have one chosen",
            (Errno::EBUSY, Attempt::Remove) => "remove it with force; connections live on",
            (Errno::EBUSY, Attempt::Disconnect) => "unmap it first",
            (Errno::ECONNRESET, Attempt::Connect { .. } | Attempt::Map { .. }) => "connect again",
            (Errno::EDQUOT, _) => "free segments, or raise the module's parameter user_mib",
            (Errno::EHOSTDOWN | Errno::ETIMEDOUT, _) => {
                "look whether skiff is loaded there: skiff nodes"
            }
            (Errno::EMFILE, _) => "raise the limit of open files: ulimit -n",
            (Errno::ENODEV, _) => "list the adapters: skiff links",
            (Errno::ENOENT, Attempt::Connect { .. } | Attempt::Query { .. }) => {
                "make it there: skiff segment create --available; list what is there: skiff segments NODE"
            }
            (Errno::ENOLINK, _) => "look at the links: skiff links",
            (Errno::ENOMEM, Attempt::Create { .. }) => {
                "take less, or raise the limit of locked memory: ulimit -l"
            }
            (Errno::ENOSPC, Attempt::Map { .. }) => "unmap something; each slot reaches one chunk of a peer",
            (Errno::ENOSPC, _) => "remove segments, or raise the module's parameter window_mib",
            (Errno::ENXIO, _) => "list the nodes: skiff nodes",
            (Errno::EPROTO, _) => "load the same version of skiff on both nodes",
            _ => return None,
        })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = io::Error::from_raw_os_error(error.errno()).kind();
        Self::new(kind, error)
    }
}
