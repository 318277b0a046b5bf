// SPDX-License-Identifier: GPL-2.0

//! Segments: memory of this node that peers reach, and memory of peers.

use core::{
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::AtomicU8, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    handler::Held,
    io::Owner,
    memory::{
        accesses,
        Shared, //
    },
    IoMap,
    MapMode, //
};

/// What happens to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentEvent {
    /// Local: the node has connected.
    Connected,
    /// Local: it has disconnected.
    Disconnected,
    /// Local: its connection is gone, revoked or with the node.
    PeerLost,
    /// Remote: the link went down.
    NotOperational,
    /// Remote: the link is back, and the memory with it.
    Operational,
    /// Remote: it is gone for good.
    Lost,
    /// Remote: its owner takes no new connections.
    Unavailable,
    /// Remote: its owner has removed it.
    Removed,
    /// Events were dropped.
    Overflow,
}

impl SegmentEvent {
    fn of(event: u32) -> Option<Self> {
        Some(match event {
            bindings::skiff_event_type_SKIFF_EVENT_CONNECTED => Self::Connected,
            bindings::skiff_event_type_SKIFF_EVENT_DISCONNECTED => Self::Disconnected,
            bindings::skiff_event_type_SKIFF_EVENT_PEER_LOST => Self::PeerLost,
            bindings::skiff_event_type_SKIFF_EVENT_NOT_OPERATIONAL => Self::NotOperational,
            bindings::skiff_event_type_SKIFF_EVENT_OPERATIONAL => Self::Operational,
            bindings::skiff_event_type_SKIFF_EVENT_LOST => Self::Lost,
            bindings::skiff_event_type_SKIFF_EVENT_UNAVAILABLE => Self::Unavailable,
            bindings::skiff_event_type_SKIFF_EVENT_REMOVED => Self::Removed,
            bindings::skiff_event_type_SKIFF_EVENT_OVERFLOW => Self::Overflow,
            _ => return None,
        })
    }
}

/// Who is told what happens to a segment. One call at a time.
pub trait SegmentHandler: Send + Sync + 'static {
    /// It has happened, and the node that it is about.
    fn event(&self, event: SegmentEvent, node: u32);
}

/// The operations of a handler as C has them.
struct Operations<H>(PhantomData<H>);

impl<H: SegmentHandler> Operations<H> {
    const TABLE: bindings::skiff_segment_ops = bindings::skiff_segment_ops {
        event: Some(Self::event),
    };

    /// # Safety
    ///
    /// Called by skiff.ko with the data of a segment of `H`.
    unsafe extern "C" fn event(data: *mut c_void, event: u32, node: c_uint) {
        if let Some(event) = SegmentEvent::of(event) {
            // SAFETY:
            // - The segment holds its handler until no callback comes any more.
            unsafe { &*data.cast::<H>() }.event(event, node);
        }
    }
}

/// A segment to be made.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its id, unique on this node.
    pub id: u32,
    /// Its length in bytes, at least 1.
    pub bytes: usize,
    /// Bit n: node n may connect; 0: all may.
    pub nodes: u64,
    /// Who may connect, as for files: 0 to 0o777.
    pub mode: u32,
}

/// A segment of this node. Dropping it takes the connections away and removes it.
///
/// # Invariants
///
/// `raw` is a segment whose data are those of `_handler`, and `shared` its memory.
pub struct Local {
    raw: NonNull<bindings::skiff_local>,
    shared: Shared,
    _handler: Held,
}

// SAFETY: The functions for segments may be called by any thread.
unsafe impl Send for Local {}
// SAFETY: As above, at the same time.
unsafe impl Sync for Local {}

impl Local {
    /// Makes a segment of zeroed kernel memory, to which nobody can connect yet.
    pub fn new<H: SegmentHandler>(segment: &Segment, handler: Arc<H>) -> Result<Self> {
        let handler = Held::new(handler);
        let spec = bindings::skiff_segment_spec {
            // CAST: A usize is 64 bits wide.
            bytes: segment.bytes as u64,
            nodes: segment.nodes,
            id: segment.id,
            mode: segment.mode,
            flags: 0,
        };
        // SAFETY:
        // - The table is static, and its functions are for the handler's type, which outlives the segment.
        let raw = from_err_ptr(unsafe {
            bindings::skiff_segment_create(&spec, &Operations::<H>::TABLE, handler.data())
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY:
        // - It was just made.
        let address = unsafe { bindings::skiff_segment_address(raw.as_ptr()) };

        // INVARIANT: Just made.
        Ok(Self {
            raw,
            // SAFETY:
            // - The memory stays mapped as long as the segment, and nobody makes references to it.
            shared: unsafe { Shared::new(address, segment.bytes) },
            _handler: handler,
        })
    }

    /// Lets peers connect from now on.
    pub fn offer(&self) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_segment_offer(self.raw.as_ptr()) })
    }

    /// Takes that back: nobody new can connect.
    pub fn withdraw(&self) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_segment_withdraw(self.raw.as_ptr()) })
    }

    accesses! {
        /// Its length in bytes.
        bytes() -> usize;
        /// Reads at a multiple of 4; `EINVAL` elsewhere. A peer may have written anything: check it.
        read32(offset: usize) -> Result<u32>;
        /// Reads at a multiple of 8; `EINVAL` elsewhere.
        read64(offset: usize) -> Result<u64>;
        /// Writes at a multiple of 4; `EINVAL` elsewhere.
        write32(offset: usize, value: u32) -> Result;
        /// Writes at a multiple of 8; `EINVAL` elsewhere.
        write64(offset: usize, value: u64) -> Result;
        /// Copies out: a mixture, if it is written meanwhile. `EINVAL` if it does not lie inside.
        read(offset: usize, to: &mut [u8]) -> Result;
        /// Copies in; `EINVAL` if it does not lie inside.
        write(offset: usize, from: &[u8]) -> Result;
        /// Copies out to memory that others use; `EINVAL` if it does not lie inside.
        copy_out(offset: usize, to: &[AtomicU8]) -> Result;
        /// Copies in from memory that others use; `EINVAL` if it does not lie inside.
        copy_in(offset: usize, from: &[AtomicU8]) -> Result;
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; nobody calls anything for it at the same time. The handler goes after this.
        unsafe { bindings::skiff_segment_remove(self.raw.as_ptr()) };
    }
}

/// A connection to a segment of a node. Dropping it, after its maps, disconnects.
///
/// # Invariants
///
/// `raw` is a connection whose data are those of `_handler`.
pub struct Remote {
    raw: NonNull<bindings::skiff_remote>,
    _handler: Held,
}

// SAFETY: The functions for connections may be called by any thread.
unsafe impl Send for Remote {}
// SAFETY: As above, at the same time.
unsafe impl Sync for Remote {}

impl Remote {
    /// Connects to segment `id` of `node`, in at most `timeout_ms` milliseconds.
    pub fn connect<H: SegmentHandler>(
        node: u32,
        id: u32,
        handler: Arc<H>,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let handler = Held::new(handler);
        // SAFETY:
        // - The table is static, and its functions are for the handler's type, which outlives the connection.
        let raw = from_err_ptr(unsafe {
            bindings::skiff_segment_connect(
                node,
                id,
                &Operations::<H>::TABLE,
                handler.data(),
                timeout_ms,
            )
        })?;

        // INVARIANT: Just connected.
        let remote = Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _handler: handler,
        };

        Ok(Arc::new(remote, GFP_KERNEL)?)
    }

    /// The length of the segment in bytes.
    pub fn bytes(&self) -> u64 {
        // SAFETY:
        // - By the type's invariant.
        unsafe { bindings::skiff_remote_bytes(self.raw.as_ptr()) }
    }

    /// Maps a part of it; `offset` is a multiple of the page size. `ENXIO` if it does not lie in one piece behind one slot: map
    /// less.
    pub fn map(self: &Arc<Self>, offset: u64, bytes: usize, mode: MapMode) -> Result<IoMap> {
        // SAFETY:
        // - By the type's invariant; the map is handed over, and holds `self`.
        unsafe {
            let raw = bindings::skiff_remote_map(
                self.raw.as_ptr(),
                offset,
                // CAST: A usize is 64 bits wide.
                bytes as u64,
                mode.raw(),
            );

            IoMap::new(
                raw,
                bytes,
                Owner::Segment {
                    _remote: self.clone(),
                },
            )
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; its maps hold it, so there are none. The handler goes after this.
        unsafe { bindings::skiff_disconnect(self.raw.as_ptr()) };
    }
}
