// SPDX-License-Identifier: GPL-2.0

//! The tracepoints of the system `skiff`, as functions that every room may call.
//!
//! They cost a not taken branch behind a call while nobody listens, and may be called in any context.
//! Fields and their meaning stand in `rust/helpers/trace.h`.

use crate::bindings;

/// Which node asked for a connection, or held the one that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A peer (or a program of this node, connecting to this node).
    In,
    /// This node.
    Out,
}

impl Direction {
    /// The tracepoint's field.
    fn outgoing(self) -> u32 {
        u32::from(self == Self::Out)
    }
}

/// Which window of an adapter a slot is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// That for memory.
    Memory,
    /// That for registers.
    Registers,
}

impl Window {
    /// The tracepoint's field.
    fn registers(self) -> u32 {
        u32::from(self == Self::Registers)
    }
}

/// A slot leads to `base` of the node behind `port` now; `uncached` is its cache mode.
pub fn slot_set(adapter: u32, window: Window, slot: u32, port: u32, base: u64, uncached: bool) {
    let (registers, uncached) = (window.registers(), u32::from(uncached));
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe { bindings::trace_slot_set(adapter, registers, slot, port, base, uncached) }
}

/// A slot that led to `port` leads nowhere now.
pub fn slot_clear(adapter: u32, window: Window, slot: u32, port: u32) {
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe { bindings::trace_slot_clear(adapter, window.registers(), slot, port) }
}

/// An entry of `bytes` bytes of payload was written to the peer's inbox.
pub fn msg_tx(adapter: u32, port: u32, kind: u16, seq: u32, bytes: u32) {
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe { bindings::trace_msg_tx(adapter, port, u32::from(kind), seq, bytes) }
}

/// An entry of `bytes` bytes of payload was taken out of the own inbox.
pub fn msg_rx(adapter: u32, port: u32, kind: u16, seq: u32, bytes: u32) {
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe { bindings::trace_msg_rx(adapter, port, u32::from(kind), seq, bytes) }
}

/// A connection to `segment` was asked for: by `node` ([`Direction::In`]) or of it. `error` is 0 or a negative errno.
pub fn connect(direction: Direction, node: u32, segment: u32, lease: u32, bytes: u64, error: i32) {
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe {
        bindings::trace_connect(direction.outgoing(), node, segment, lease, bytes, error);
    }
}

/// The connection `lease` to `segment` was taken away: from `node` ([`Direction::In`]), or by it.
pub fn revoke(direction: Direction, node: u32, segment: u32, lease: u32) {
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe { bindings::trace_revoke(direction.outgoing(), node, segment, lease) }
}

/// The node behind `port` answers; `resumed` if it is the generation that was up before.
pub fn peer_up(adapter: u32, port: u32, node: u32, generation: u64, resumed: bool) {
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe { bindings::trace_peer_up(adapter, port, node, generation, u32::from(resumed)) }
}

/// The node behind `port` does not answer any more, and all slots towards it are empty.
pub fn peer_down(adapter: u32, port: u32, node: u32) {
    // SAFETY: The function takes plain numbers and has no conditions.
    unsafe { bindings::trace_peer_down(adapter, port, node) }
}
