// SPDX-License-Identifier: GPL-2.0
//! An open `/dev/skiff`: asks for the state of the fabric and makes the other objects.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::Attempt;
use crate::error::Error;
use crate::error::Result;
use crate::event;
use crate::event::Event;
use crate::info::Access;
use crate::info::AdapterInfo;
use crate::info::Found;
use crate::info::Info;
use crate::info::NodeInfo;
use crate::options::Name;
use crate::options::SegmentOptions;
use crate::size_of_abi;
use crate::sys::Command;
use crate::sys::Os;
use crate::sys::Sys;
use crate::uapi;
use crate::ConnectOptions;
use crate::LocalSegment;
use crate::Node;
use crate::RemoteSegment;
use crate::Set;

/// An open file of `/dev/skiff`. What it makes outlives it.
pub struct Context {
    pub(crate) sys: &'static dyn Sys,
    pub(crate) fd: OwnedFd,
}

impl Context {
    /// Opens `/dev/skiff`.
    pub fn open() -> Result<Self> {
        Self::open_on(&Os)
    }

    pub(crate) fn open_on(sys: &'static dyn Sys) -> Result<Self> {
        let fd = sys.open().map_err(failed(Attempt::Open))?;
        Ok(Self { sys, fd })
    }

    /// State of this node.
    pub fn info(&self) -> Result<Info> {
        let mut raw = uapi::skiff_info {
            size: size_of_abi::<uapi::skiff_info>(),
            ..Default::default()
        };
        self.command(Attempt::Info, Command::Info(&mut raw))?;
        Ok(raw.into())
    }

    /// State of an adapter of this node, 0 to 3.
    pub fn adapter(&self, adapter: u32) -> Result<AdapterInfo> {
        let mut raw = uapi::skiff_adapter_info {
            size: size_of_abi::<uapi::skiff_adapter_info>(),
            adapter,
            ..Default::default()
        };
        self.command(
            Attempt::AdapterInfo { adapter },
            Command::AdapterInfo(&mut raw),
        )?;
        Ok(raw.into())
    }

    /// State of a node.
    pub fn node(&self, node: impl Into<Node>) -> Result<NodeInfo> {
        let node = node.into();
        let mut raw = uapi::skiff_node_info {
            size: size_of_abi::<uapi::skiff_node_info>(),
            node: node.raw(),
            ..Default::default()
        };
        self.command(Attempt::NodeInfo { node }, Command::NodeInfo(&mut raw))?;
        Ok(raw.into())
    }

    /// State of all nodes that are known, ascending by number.
    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        let mut nodes = Vec::new();
        for number in 0..uapi::SKIFF_NODES_MAX {
            match self.node(number) {
                Ok(node) => nodes.push(node),
                Err(error) if error.errno() == libc::ENXIO => {}
                Err(error) => return Err(error),
            }
        }
        Ok(nodes)
    }

    /// Makes a segment. It is not yet prepared for any adapter.
    pub fn create(&self, options: &SegmentOptions) -> Result<LocalSegment> {
        let attempt = Attempt::Create {
            id: match options.name {
                Name::Id(id) => Some(id),
                Name::AnyId | Name::Private => None,
            },
            bytes: options.bytes,
        };
        let nodes = Set::of(&options.nodes).ok_or(Error::new(attempt, libc::EINVAL))?;
        let mut raw = uapi::skiff_segment_create {
            size: size_of_abi::<uapi::skiff_segment_create>(),
            mode: options.mode,
            bytes: options.bytes,
            nodes: nodes.bits(),
            ..Default::default()
        };
        match options.name {
            Name::Id(id) => raw.id = id,
            Name::AnyId => raw.flags |= uapi::SKIFF_SEGMENT_ANY_ID,
            Name::Private => raw.flags |= uapi::SKIFF_SEGMENT_PRIVATE,
        }
        if let Some(address) = options.user_addr {
            raw.flags |= uapi::SKIFF_SEGMENT_USER;
            raw.user_addr = address;
        }
        let created = self.sys.create(self.fd.as_fd(), &mut raw);
        let fd = created.map_err(failed(attempt))?;
        Ok(LocalSegment::new(self.sys, fd, raw.id, raw.bytes))
    }

    /// Connects to segment `id` of `node`. Takes no slot of the window; maps do.
    pub fn connect(
        &self,
        node: impl Into<Node>,
        id: u32,
        options: &ConnectOptions,
    ) -> Result<RemoteSegment> {
        let node = node.into();
        let mut raw = uapi::skiff_segment_connect {
            size: size_of_abi::<uapi::skiff_segment_connect>(),
            flags: match options.access {
                Access::ReadOnly => uapi::SKIFF_CONNECT_READ_ONLY,
                Access::ReadWrite => 0,
            },
            node: node.raw(),
            adapter: options.adapter.raw(),
            id,
            timeout_ms: milliseconds(options.timeout),
            ..Default::default()
        };
        let connected = self.sys.connect(self.fd.as_fd(), &mut raw);
        let fd = connected.map_err(failed(Attempt::Connect { node, id }))?;
        Ok(RemoteSegment::new(self.sys, fd, raw.bytes, options.access))
    }

    /// The available segment of `node` with the lowest id from `from` up that this
    /// user may connect to; `None` when there is no such segment.
    pub fn query(
        &self,
        node: impl Into<Node>,
        from: u32,
        options: &ConnectOptions,
    ) -> Result<Option<Found>> {
        let node = node.into();
        let mut raw = uapi::skiff_segment_query {
            size: size_of_abi::<uapi::skiff_segment_query>(),
            node: node.raw(),
            adapter: options.adapter.raw(),
            id: from,
            timeout_ms: milliseconds(options.timeout),
            ..Default::default()
        };
        match self.command(Attempt::Query { node, from }, Command::Query(&mut raw)) {
            Ok(()) => Ok(Some(raw.into())),
            Err(error) if error.errno() == libc::ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for a node to come or go; `None` when `timeout` passes first, which `None` never does.
    pub fn next_event(&self, timeout: Option<Duration>) -> Result<Option<Event>> {
        event::next(self.sys, self.fd.as_fd(), timeout)
    }

    pub(crate) fn command(&self, attempt: Attempt, command: Command<'_>) -> Result<()> {
        let done = self.sys.command(self.fd.as_fd(), command);
        done.map_err(failed(attempt))
    }
}

impl AsFd for Context {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(&self.fd).finish()
    }
}

/// Puts what was tried to an errno.
pub(crate) fn failed(attempt: Attempt) -> impl Fn(Errno) -> Error {
    move |errno| Error::new(attempt, errno as i32)
}

/// A limit in the unit of the ABI, where 0 stands for the kernel's choice; rounded up.
pub(crate) fn milliseconds(limit: Option<Duration>) -> u32 {
    limit.map_or(0, |limit| {
        let milliseconds = limit.as_nanos().div_ceil(1_000_000).max(1);
        u32::try_from(milliseconds).unwrap_or(u32::MAX)
    })
}
