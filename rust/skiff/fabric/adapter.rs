// SPDX-License-Identifier: GPL-2.0

//! An adapter: one bridge function, the peers behind its ports, and the worker that serves them.
//!
//! Ownership: the PCI driver and the fabric hold an adapter from probe to remove, its worker as long as it runs, and open
//! files as long as they like; when the hardware is gone, `hw` is empty, everything that needs it fails with ENODEV, and what
//! the adapter had of the machine is given back, whoever still holds it.
//!
//! # Locking
//!
//! `life` (start and stop, which the PCI core serialises anyway), then one of `peers`, then `slots`, then `hw`; those of [`Spares`] before `hw` alone. The locks of
//! two peers are never held together. No lock is held while [`Events`](super::Events) are called, but for `life`, which these
//! never take.

use super::{
    counters::{
        AdapterCounters,
        PeerCounters, //
    },
    life::Life,
    peer::{
        Peer,
        Posted, //
    },
    slots::Slots,
    spare::Spares,
    Fabric,
    Link, //
};
use crate::{
    bus::Bus,
    hw, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    trace,
    wait::WaitQueue,
    work::Worker, //
};
use skiff_model::{
    ids::{
        AdapterId,
        NodeId,
        Port,
        PortSet,
        RequesterId,
        PORTS_MAX, //
    },
    ntb::{
        Geometry,
        Ntb,
        WindowClass,
        Windows, //
    },
    session::State,
    wire::{
        Message,
        HEADER_BYTES, //
    },
};

/// Ports of a switch, as the length of an array.
pub(super) const PORTS: usize = PORTS_MAX as usize;

/// A bridge function that is ours.
#[pin_data]
pub(crate) struct Adapter {
    pub(super) id: AdapterId,
    pub(super) port: Port,
    pub(super) geometry: Windows<Geometry>,
    pub(super) layout: hw::Layout,
    pub(super) containment: hw::Containment,
    /// Ports that somebody may be behind.
    pub(super) ports: PortSet,
    pub(super) fabric: Arc<Fabric>,
    pub(super) bus: Arc<Bus>,
    pub(super) worker: Arc<Worker<Self>>,
    pub(super) counters: AdapterCounters,
    pub(super) peer_counters: [PeerCounters; PORTS],
    /// Bit n: a link leads to port n. The worker's alone to change.
    pub(super) linked: Atomic<u32>,
    #[pin]
    pub(super) life: Mutex<Life>,
    #[pin]
    pub(super) peers: [Mutex<Peer>; PORTS],
    #[pin]
    pub(super) slots: Mutex<Slots>,
    #[pin]
    pub(super) spares: Spares,
    #[pin]
    pub(super) hw: Mutex<Option<KBox<hw::Adapter>>>,
    /// Woken when a map of the kernel has gone.
    #[pin]
    pub(super) unmapped: WaitQueue,
}

/// A peer as debugfs shows it.
#[derive(Clone, Copy)]
pub(crate) struct PeerInfo {
    /// How far its session is.
    pub(crate) state: State,
    /// Messages that wait for room in its ring.
    pub(crate) queued: usize,
    /// Entries written to it, modulo 2^32.
    pub(crate) written: u32,
    /// Entries that it has read, as known last.
    pub(crate) read: u32,
    /// Entries that were taken from the own inbox.
    pub(crate) taken: u32,
}

impl Adapter {
    /// Its index.
    pub(crate) fn id(&self) -> AdapterId {
        self.id
    }

    /// The port of the switch that it is.
    pub(crate) fn port(&self) -> Port {
        self.port
    }

    /// Ports of the switch that somebody may be behind.
    pub(crate) fn ports(&self) -> PortSet {
        self.ports
    }

    /// Its slots of a class. Errors: EOPNOTSUPP when it has no such window.
    pub(crate) fn geometry(&self, class: WindowClass) -> Result<Geometry> {
        Ok(*self.geometry.get(class).ok_or(Errno::NotSupported)?)
    }

    /// Which function has its memory window.
    pub(crate) fn layout(&self) -> hw::Layout {
        self.layout
    }

    /// What holds its peers to what is exported.
    pub(crate) fn containment(&self) -> hw::Containment {
        self.containment
    }

    /// This node's memory as its peers see it.
    pub(crate) fn bus(&self) -> &Arc<Bus> {
        &self.bus
    }

    /// What happened.
    pub(crate) fn counters(&self) -> &AdapterCounters {
        &self.counters
    }

    /// What happened with the peer behind `port`.
    pub(crate) fn peer_counters(&self, port: Port) -> &PeerCounters {
        &self.peer_counters[port.index()]
    }

    /// Ports that a link leads to, whether a node answers there or not.
    pub(crate) fn linked(&self) -> PortSet {
        // CAST: The bits of 8 ports.
        PortSet::from_bits(self.linked.load(Relaxed) as u8)
    }

    /// How it stands with the peer behind `port`.
    pub(crate) fn peer_info(&self, port: Port) -> PeerInfo {
        let peer = self.peer(port).lock();
        let (written, read, taken) = peer.indices();

        PeerInfo {
            state: peer.state(),
            queued: peer.queued(),
            written,
            read,
            taken,
        }
    }

    /// The node behind `port`, if one is up there.
    pub(crate) fn node_behind(&self, port: Port) -> Option<NodeId> {
        match self.fabric.link(self.id, port) {
            Link::Up { node, .. } => Some(node),
            Link::Down | Link::Greeting => None,
        }
    }

    /// The peer behind `port`.
    pub(super) fn peer(&self, port: Port) -> &Mutex<Peer> {
        &self.peers[port.index()]
    }

    /// The slots.
    pub(super) fn slots(&self) -> &Mutex<Slots> {
        &self.slots
    }

    /// Calls `call` with the hardware. Errors: ENODEV when it is gone.
    pub(super) fn with_hw<R>(&self, call: impl FnOnce(&mut hw::Adapter) -> Result<R>) -> Result<R> {
        match &mut *self.hw.lock() {
            Some(hw) => call(hw),
            None => Err(ENODEV),
        }
    }

    /// Lets a PCI function of this node send through the bridge.
    ///
    /// Errors: EEXIST when it may already, ENOSPC when there are too many, ENODEV.
    pub(crate) fn admit(&self, requester: RequesterId) -> Result {
        self.with_hw(|hw| hw.admit(requester))
    }

    /// Takes that back. Errors: ENOENT, ENODEV.
    pub(crate) fn withdraw(&self, requester: RequesterId) -> Result {
        self.with_hw(|hw| hw.withdraw(requester))
    }

    /// Whether no request of the peer behind `port`, or of its devices, comes through the switch, and none will before the peer's
    /// slots are empty. False if the hardware does not say.
    pub(crate) fn silent(&self, port: Port) -> bool {
        self.with_hw(|hw| hw.silent(port)).unwrap_or(false)
    }

    /// Rings the peer behind `port`. One that cannot be rung is gone, which its link will tell.
    pub(super) fn ring(&self, port: Port) {
        if self.with_hw(|hw| hw.ring(port)).is_ok() {
            self.counters.rings.count();
        }
    }

    /// An entry was written to the peer behind `port`.
    pub(super) fn sent(&self, port: Port, seq: u32, message: &Message) {
        self.peer_counters(port).messages_tx.count();
        trace::msg_tx(
            self.id.get().into(),
            port.get().into(),
            message.kind(),
            seq,
            payload_bytes(message),
        );
    }

    /// Sends a message to the peer behind `port`, now or as soon as there is room; never waits.
    ///
    /// Errors: ENOLINK when it is not up, EBUSY when too many messages wait already.
    pub(crate) fn send(&self, port: Port, message: &Message) -> Result {
        let mut peer = self.peer(port).lock();

        match peer.post(message) {
            Posted::Written(seq) => {
                self.sent(port, seq, message);
                self.ring(port);
                Ok(())
            }
            Posted::Queued => {
                self.peer_counters(port).queued.count();
                self.worker.kick();
                Ok(())
            }
            Posted::Refused => {
                self.peer_counters(port).refused.count();
                Err(EBUSY)
            }
            Posted::Down => Err(Errno::NoLink.into()),
        }
    }
}

/// Bytes of payload that an entry with this message has.
pub(super) fn payload_bytes(message: &Message) -> u32 {
    let (_, bytes) = message.encode(None, 0);

    // CAST: There are fewer than an entry has.
    bytes.saturating_sub(HEADER_BYTES) as u32
}
