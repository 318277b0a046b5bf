// SPDX-License-Identifier: GPL-2.0
//! A segment of this node. Its methods may be called by several threads at once; the kernel orders them.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::context::failed;
use crate::context::milliseconds;
use crate::error::Attempt;
use crate::error::Result;
use crate::event;
use crate::event::Event;
use crate::info::Access;
use crate::info::SegmentInfo;
use crate::map::Map;
use crate::size_of_abi;
use crate::sys::Command;
use crate::sys::Os;
use crate::sys::Sys;
use crate::uapi;
use crate::Adapter;
use crate::MapOptions;
use crate::Node;

/// Memory of this node that others may connect to. Dropping it removes it with force.
pub struct LocalSegment {
    sys: &'static dyn Sys,
    fd: OwnedFd,
    id: u32,
    bytes: u64,
}

/// What to do with a segment that is mapped or connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Leave it: EBUSY.
    IfIdle,
    /// Remove it; connections live on.
    Force,
}

/// What [`LocalSegment::revoke`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Connections taken away.
    pub revoked: u32,
    /// How many of them no peer has confirmed.
    pub unconfirmed: u32,
}

impl LocalSegment {
    pub(crate) fn new(sys: &'static dyn Sys, fd: OwnedFd, id: u32, bytes: u64) -> Self {
        Self { sys, fd, id, bytes }
    }

    /// Takes over the descriptor of a local segment, for example one that another process
    /// has sent. ENOTTY when it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let mut segment = Self::new(&Os, fd, 0, 0);
        let info = segment.info()?;
        segment.id = info.id;
        segment.bytes = info.bytes;
        Ok(segment)
    }

    /// Its id; 0 for a private one.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes its memory reachable through an adapter, or through all. EBUSY when it is.
    pub fn prepare(&self, adapter: impl Into<Adapter>) -> Result<()> {
        let adapter = adapter.into();
        self.command(
            Attempt::Prepare { adapter },
            Command::Prepare(&mut argument(adapter)),
        )
    }

    /// Lets others connect through an adapter, or through all. EBUSY when they may, or
    /// when it is not prepared.
    pub fn set_available(&self, adapter: impl Into<Adapter>) -> Result<()> {
        let adapter = adapter.into();
        self.command(
            Attempt::SetAvailable { adapter },
            Command::SetAvailable(&mut argument(adapter)),
        )
    }

    /// Lets no others connect through an adapter, or through any. Connections stay.
    pub fn set_unavailable(&self, adapter: impl Into<Adapter>) -> Result<()> {
        let adapter = adapter.into();
        self.command(
            Attempt::SetUnavailable { adapter },
            Command::SetUnavailable(&mut argument(adapter)),
        )
    }

    /// Removes it. Its id is free at once; everything else fails with ECONNRESET afterwards.
    pub fn remove(&self, removal: Removal) -> Result<()> {
        let mut raw = uapi::skiff_segment_remove {
            size: size_of_abi::<uapi::skiff_segment_remove>(),
            flags: match removal {
                Removal::IfIdle => 0,
                Removal::Force => uapi::SKIFF_REMOVE_FORCE,
            },
        };
        self.command(Attempt::Remove, Command::Remove(&mut raw))
    }

    /// Takes away the connections of a node, or with [`Node::Local`] those of all nodes.
    /// `timeout` limits the wait for the peers; `None`: 5 seconds.
    pub fn revoke(&self, node: impl Into<Node>, timeout: Option<Duration>) -> Result<Revoked> {
        let node = node.into();
        let mut raw = uapi::skiff_segment_revoke {
            size: size_of_abi::<uapi::skiff_segment_revoke>(),
            node: node.raw(),
            timeout_ms: milliseconds(timeout),
            ..Default::default()
        };
        self.command(Attempt::Revoke { node }, Command::Revoke(&mut raw))?;
        Ok(Revoked {
            revoked: raw.revoked,
            unconfirmed: raw.unconfirmed,
        })
    }

    /// Its state.
    pub fn info(&self) -> Result<SegmentInfo> {
        let mut raw = uapi::skiff_segment_info {
            size: size_of_abi::<uapi::skiff_segment_info>(),
            ..Default::default()
        };
        self.command(Attempt::SegmentInfo, Command::SegmentInfo(&mut raw))?;
        Ok(raw.into())
    }

    /// Maps it.
    pub fn map(&self, options: &MapOptions) -> Result<Map> {
        Map::new(
            self.sys,
            self.fd.as_fd(),
            self.bytes,
            Access::ReadWrite,
            options,
        )
    }

    /// Waits for a connection to come or go; `None` when `timeout` passes first, which
    /// `None` never does.
    pub fn next_event(&self, timeout: Option<Duration>) -> Result<Option<Event>> {
        event::next(self.sys, self.fd.as_fd(), timeout)
    }

    fn command(&self, attempt: Attempt, command: Command<'_>) -> Result<()> {
        let done = self.sys.command(self.fd.as_fd(), command);
        done.map_err(failed(attempt))
    }
}

/// The argument of what is done per adapter.
fn argument(adapter: Adapter) -> uapi::skiff_segment_adapter {
    uapi::skiff_segment_adapter {
        size: size_of_abi::<uapi::skiff_segment_adapter>(),
        adapter: adapter.raw(),
    }
}

impl AsFd for LocalSegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<LocalSegment> for OwnedFd {
    fn from(segment: LocalSegment) -> Self {
        segment.fd
    }
}

impl fmt::Debug for LocalSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSegment")
            .field("fd", &self.fd)
            .field("id", &self.id)
            .field("bytes", &self.bytes)
            .finish()
    }
}
