// SPDX-License-Identifier: GPL-2.0
//! Trapped accesses to windows: a node's load or store of another node's memory, device registers or interrupts.
//!
//! Memory is copied and writes are sent under the switch's lock, so that nothing reaches a node after it has been told
//! that a route to it is gone. A read of device registers waits for the other node without the lock; the graph of
//! [`super::waits`] keeps nodes from waiting in a circle.
//!
//! Order: one connection's accesses are carried out one after the other, and what is sent to a node arrives there in
//! the order in which it was sent, so a read pushes earlier writes to the same node. A write to memory is done at once
//! and may overtake an earlier one to device registers. A read of a node's memory is answered when the writes that this
//! node had sent before have been carried out, as a completion does not pass them on the way.

use skiff_vfio_user::{Client, DmaError, Errno};

use super::fabric::{Attachment, Fabric};
use super::state::State;
use super::waits::Node;
use crate::counters::PortCounters;
use crate::model::{Bar, PeerInterrupts, Port, Route};
use crate::space::{Access, Backing};

/// What is at the other end of (the first part of) an access.
enum Target {
    /// Nobody answers.
    Nobody,
    /// Memory of the node at that port, and where it lies.
    Memory(Port, u64, Backing),
    /// An interrupt address of the node at that port.
    Interrupt(Port, u64),
    /// Anything else at that node: it decides.
    Device(Port, u64),
}

/// What is still to be done with a node, without the lock: a read of device registers, or a wait.
struct Forward {
    client: Client,
    from: Node,
    to: Node,
    addr: u64,
}

/// Where an access goes, and how many of `len` bytes go there.
fn target(state: &State, from: Port, bar: Bar, offset: u64, len: usize) -> (Target, usize) {
    let (port, addr, reach) = match state.switch.route(from, bar, offset) {
        Route::Unsupported { len: reach, .. } => return (Target::Nobody, clamp(len, reach)),
        Route::Memory {
            port,
            addr,
            len: reach,
        } => (port, addr, reach),
    };
    let len = clamp(len, reach);
    if PeerInterrupts::contains(addr) {
        let reach = PeerInterrupts::LAST - addr + 1;
        return (Target::Interrupt(port, addr), clamp(len, reach));
    }
    let len = match PeerInterrupts::FIRST.checked_sub(addr) {
        Some(reach) => clamp(len, reach),
        None => len,
    };
    let extent = state.ports[port.index()].space.lookup(addr);
    let len = clamp(len, extent.len);
    match extent.backing {
        Some(backing) => (Target::Memory(port, addr, backing), len),
        None => (Target::Device(port, addr), len),
    }
}

fn clamp(len: usize, reach: u64) -> usize {
    usize::try_from(reach).map_or(len, |reach| len.min(reach.max(1)))
}

impl Fabric {
    /// A node reads from one of its windows; what nobody answers reads all ones.
    pub(super) fn window_read(
        &self,
        who: Attachment,
        bar: Bar,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), Errno> {
        let counters = &self.counters[who.port.index()];
        counters.non_posted_reads.one();
        counters.non_posted_read_bytes.add(data.len() as u64);
        let mut at = 0;
        let mut pushed = None;
        while at < data.len() {
            let state = self.lock_for(who)?;
            let (target, len) = target(&state, who.port, bar, offset + at as u64, data.len() - at);
            if let Target::Memory(port, addr, _) = target {
                if let Some(behind) = behind(&state, who.port, port, addr) {
                    if pushed.replace(port) != Some(port) {
                        drop(state);
                        self.push(&behind);
                        continue;
                    }
                }
            }
            let part = &mut data[at..at + len];
            at += len;
            let forward = match target {
                Target::Memory(_, _, backing) => {
                    let file = state.files.get(backing.file);
                    if file.is_none_or(|file| file.read(backing.offset, part).is_err()) {
                        unsupported(counters, part);
                    }
                    continue;
                }
                Target::Device(port, addr) => forward(&state, who.port, port, addr),
                // A read of an interrupt address is answered by nobody.
                Target::Nobody | Target::Interrupt(..) => None,
            };
            drop(state);
            match forward {
                Some(forward) => self.device_read(counters, forward, part),
                None => unsupported(counters, part),
            }
        }
        Ok(())
    }

    /// Waits for what a node has sent before its memory is read, unless that node waits itself, for us.
    fn push(&self, behind: &Forward) {
        if let Ok(_waiting) = self.waits.begin(behind.from, behind.to) {
            behind.client.settle(self.limits.read);
        }
    }

    /// Reads another node's device registers.
    fn device_read(&self, counters: &PortCounters, forward: Forward, data: &mut [u8]) {
        counters.device_reads.one();
        let Ok(_waiting) = self.waits.begin(forward.from, forward.to) else {
            counters.read_cycles_broken.one();
            data.fill(0xff);
            return;
        };
        match forward
            .client
            .dma_read(forward.addr, data, self.limits.read)
        {
            Ok(()) => {}
            Err(DmaError::Timeout | DmaError::Stalled | DmaError::WouldBlock) => {
                counters.completion_timeouts.one();
                data.fill(0xff);
            }
            Err(DmaError::Fault(_) | DmaError::Disconnected) => unsupported(counters, data),
        }
    }

    /// A node writes to one of its windows; what nobody takes is dropped. Never waits for anybody.
    pub(super) fn window_write(
        &self,
        who: Attachment,
        bar: Bar,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Errno> {
        let state = self.lock_for(who)?;
        self.window_store(&state, who, bar, offset, data);
        Ok(())
    }

    /// The same if nobody holds the switch's lock; else nothing is done, and it is false.
    pub(super) fn window_post(&self, who: Attachment, bar: Bar, offset: u64, data: &[u8]) -> bool {
        let state = self.try_lock_for(who);
        if let Some(state) = &state {
            self.window_store(state, who, bar, offset, data);
        }
        state.is_some()
    }

    fn window_store(&self, state: &State, who: Attachment, bar: Bar, offset: u64, data: &[u8]) {
        let counters = &self.counters[who.port.index()];
        counters.posted_writes.one();
        counters.posted_write_bytes.add(data.len() as u64);
        let mut at = 0;
        while at < data.len() {
            let (target, len) = target(state, who.port, bar, offset + at as u64, data.len() - at);
            let part = &data[at..at + len];
            let whole = len == data.len();
            at += len;
            match target {
                Target::Nobody => counters.unsupported_requests.one(),
                Target::Memory(_, _, backing) if backing.access == Access::ReadWrite => {
                    let file = state.files.get(backing.file);
                    if file.is_none_or(|file| file.write(backing.offset, part).is_err()) {
                        counters.unsupported_requests.one();
                    }
                }
                Target::Interrupt(port, addr) => {
                    interrupt_write(state, counters, port, addr, part, whole)
                }
                // Memory that must not be written: the node refuses it, and its IOMMU reports it.
                Target::Memory(port, addr, _) | Target::Device(port, addr) => {
                    counters.device_writes.one();
                    post(state, counters, port, addr, part);
                }
            }
        }
    }
}

/// What it takes to wait for what the node at `to` has sent, if any of that is still to be done.
fn behind(state: &State, from: Port, to: Port, addr: u64) -> Option<Forward> {
    forward(state, from, to, addr)
        .filter(|forward| forward.from != forward.to && !forward.client.is_settled())
}

/// What it takes to read registers at `addr` of the node at `to`.
fn forward(state: &State, from: Port, to: Port, addr: u64) -> Option<Forward> {
    let reader = state.ports[from.index()].connection.as_ref()?;
    let owner = state.ports[to.index()].connection.as_ref()?;
    Some(Forward {
        client: owner.client.clone(),
        from: reader.node,
        to: owner.node,
        addr,
    })
}

/// Completes a read that nobody answers.
fn unsupported(counters: &PortCounters, data: &mut [u8]) {
    counters.unsupported_requests.one();
    data.fill(0xff);
}

/// Sends an interrupt message if the node at `port` has allowed exactly this one.
fn interrupt_write(
    state: &State,
    counters: &PortCounters,
    port: Port,
    addr: u64,
    data: &[u8],
    whole: bool,
) {
    let allowed = match <[u8; 4]>::try_from(data) {
        Ok(bytes) if whole && addr % 4 == 0 => {
            state
                .switch
                .interrupt_allowed(port, addr, u32::from_le_bytes(bytes))
        }
        _ => false,
    };
    if allowed {
        counters.interrupt_writes.one();
        post(state, counters, port, addr, data);
    } else {
        counters.interrupt_writes_refused.one();
    }
}

/// Sends a write to a node.
fn post(state: &State, counters: &PortCounters, port: Port, addr: u64, data: &[u8]) {
    let Some(connection) = &state.ports[port.index()].connection else {
        counters.unsupported_requests.one();
        return;
    };
    match connection.client.dma_write_posted(addr, data) {
        Ok(()) => {}
        Err(DmaError::WouldBlock | DmaError::Stalled | DmaError::Timeout) => {
            counters.dropped_writes.one()
        }
        Err(DmaError::Fault(_) | DmaError::Disconnected) => counters.unsupported_requests.one(),
    }
}
