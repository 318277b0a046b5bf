// SPDX-License-Identifier: GPL-2.0
//! How segments are made, connected to and mapped. Nothing is checked here; the operations do that.

use std::ffi::c_void;
use std::time::Duration;

use crate::info::Access;
use crate::Adapter;
use crate::Buffer;

/// How a segment is made.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    pub(crate) bytes: u64,
    pub(crate) name: Name,
    pub(crate) mode: u32,
    pub(crate) nodes: Vec<u32>,
    pub(crate) user_addr: Option<u64>,
}

/// By what others know a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// An id.
    Id(u32),
    /// An id that the kernel chooses.
    AnyId,
    /// Nothing: nobody can connect.
    Private,
}

impl SegmentOptions {
    /// A segment of `bytes` bytes of kernel memory, zeroed, with an id that the kernel
    /// chooses, that programs of the same user on all nodes may connect to.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            name: Name::AnyId,
            mode: 0o600,
            nodes: Vec::new(),
            user_addr: None,
        }
    }

    /// Takes this id.
    pub fn id(mut self, id: u32) -> Self {
        self.name = Name::Id(id);
        self
    }

    /// Takes no id: nobody can connect.
    pub fn private(mut self) -> Self {
        self.name = Name::Private;
        self
    }

    /// Who may connect, as for files: 0 to 0o777.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Nodes that may connect; none: all.
    pub fn nodes(mut self, nodes: &[u32]) -> Self {
        self.nodes = nodes.to_vec();
        self
    }

    /// Shares `buffer` instead of kernel memory. It stays pinned while the segment or a
    /// connection to it lives, even when the buffer itself is gone.
    pub fn buffer(mut self, buffer: &Buffer) -> Self {
        // CAST: a usize is 64 bits wide where this runs.
        self.bytes = buffer.len() as u64;
        self.user_addr = Some(buffer.as_ptr().addr() as u64);
        self
    }

    /// Shares memory of this process at `address`, page-aligned, instead of kernel memory.
    ///
    /// # Safety
    ///
    /// - The pages hold nothing that Rust or a library relies on: from
    ///   [`Context::create`](crate::Context::create) until the last connection is gone,
    ///   other nodes write them at any time.
    pub unsafe fn user(mut self, address: *mut c_void) -> Self {
        self.user_addr = Some(address.addr() as u64);
        self
    }
}

/// How a connection is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectOptions {
    pub(crate) adapter: Adapter,
    pub(crate) timeout: Option<Duration>,
    pub(crate) access: Access,
}

impl ConnectOptions {
    /// Reading and writing, by the first adapter that reaches the node, within 5 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes this adapter.
    pub fn adapter(mut self, adapter: impl Into<Adapter>) -> Self {
        self.adapter = adapter.into();
        self
    }

    /// Limit of the wait for the peer, 1 ms to 60 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Only for reading.
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }
}

/// What is mapped, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapOptions {
    pub(crate) offset: u64,
    pub(crate) len: Option<usize>,
    pub(crate) access: Option<Access>,
    pub(crate) caching: Caching,
    pub(crate) loss: Loss,
}

/// How the CPU treats loads and stores of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Stores are combined.
    #[default]
    WriteCombining,
    /// Each one is a transaction of its own.
    Uncached,
}

/// What an access to a lost peer does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Raises SIGBUS.
    #[default]
    Signal,
    /// Loads give all ones, stores vanish.
    AllOnes,
}

impl MapOptions {
    /// All of the segment, for what its connection may be used for, write-combining if it
    /// is another node's, SIGBUS when the peer is lost.
    pub fn new() -> Self {
        Self::default()
    }

    /// First byte; any, not only the first one of a page.
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Length, instead of all from the offset on.
    pub fn len(mut self, len: usize) -> Self {
        self.len = Some(len);
        self
    }

    /// Only for reading.
    pub fn read_only(mut self) -> Self {
        self.access = Some(Access::ReadOnly);
        self
    }

    /// Uncached instead of write-combining; segments of other nodes only.
    pub fn uncached(mut self) -> Self {
        self.caching = Caching::Uncached;
        self
    }

    /// When the peer is lost, loads give all ones and stores vanish, instead of SIGBUS.
    pub fn all_ones(mut self) -> Self {
        self.loss = Loss::AllOnes;
        self
    }
}
