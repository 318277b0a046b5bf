// SPDX-License-Identifier: GPL-2.0
//! A connection to a segment. Its methods may be called by several threads at once; the kernel orders them.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::context::failed;
use crate::error::Attempt;
use crate::error::Result;
use crate::event;
use crate::event::Event;
use crate::info::Access;
use crate::info::RemoteInfo;
use crate::map::Map;
use crate::size_of_abi;
use crate::sys::Command;
use crate::sys::Os;
use crate::sys::Sys;
use crate::uapi;
use crate::MapOptions;

/// A connection to a segment of some node. Dropping it ends it when its last map is gone.
pub struct RemoteSegment {
    sys: &'static dyn Sys,
    fd: OwnedFd,
    bytes: u64,
    access: Access,
}

impl RemoteSegment {
    pub(crate) fn new(sys: &'static dyn Sys, fd: OwnedFd, bytes: u64, access: Access) -> Self {
        Self {
            sys,
            fd,
            bytes,
            access,
        }
    }

    /// Takes over the descriptor of a connection, for example one that another process
    /// has sent. ENOTTY when it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let mut segment = Self::new(&Os, fd, 0, Access::ReadOnly);
        let info = segment.info()?;
        segment.bytes = info.bytes;
        segment.access = info.access;
        Ok(segment)
    }

    /// The segment's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its state.
    pub fn info(&self) -> Result<RemoteInfo> {
        let mut raw = uapi::skiff_remote_info {
            size: size_of_abi::<uapi::skiff_remote_info>(),
            ..Default::default()
        };
        self.command(Attempt::SegmentInfo, Command::RemoteInfo(&mut raw))?;
        Ok(raw.into())
    }

    /// Ends the connection, unless it is mapped: EBUSY. Everything else fails with
    /// ECONNRESET afterwards.
    pub fn disconnect(&self) -> Result<()> {
        let mut raw = uapi::skiff_remote_disconnect {
            size: size_of_abi::<uapi::skiff_remote_disconnect>(),
            flags: 0,
        };
        self.command(Attempt::Disconnect, Command::Disconnect(&mut raw))
    }

    /// Maps the segment, which takes the slots that it needs.
    pub fn map(&self, options: &MapOptions) -> Result<Map> {
        Map::new(self.sys, self.fd.as_fd(), self.bytes, self.access, options)
    }

    /// Waits for the link, the owner or the segment to change; `None` when `timeout` passes
    /// first, which `None` never does.
    pub fn next_event(&self, timeout: Option<Duration>) -> Result<Option<Event>> {
        event::next(self.sys, self.fd.as_fd(), timeout)
    }

    fn command(&self, attempt: Attempt, command: Command<'_>) -> Result<()> {
        let done = self.sys.command(self.fd.as_fd(), command);
        done.map_err(failed(attempt))
    }
}

impl AsFd for RemoteSegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<RemoteSegment> for OwnedFd {
    fn from(segment: RemoteSegment) -> Self {
        segment.fd
    }
}

impl fmt::Debug for RemoteSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSegment")
            .field("fd", &self.fd)
            .field("bytes", &self.bytes)
            .field("access", &self.access)
            .finish()
    }
}
