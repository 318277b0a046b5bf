// SPDX-License-Identifier: GPL-2.0

//! The fabric as this node sees it: its adapters, the peers behind their ports, and the nodes that these are.
//!
//! [`Fabric`] is the node: it knows the adapters by their index and the way to every other node. An [`Adapter`] owns one
//! bridge function and has one worker thread that takes in everything that comes from outside: interrupts, boot words,
//! messages, heartbeats. What concerns the rooms above is told by [`Events`], on that thread, with no lock held.
//!
//! # Locking
//!
//! Outermost first; each is documented at its owner: an adapter's `life`, its `peers` (one for each port), its `slots`, its
//! `hw`; those of its spare interrupts are before `hw` and beside the others. Nothing is locked under `Fabric::places` or `Fabric::nodes`. [`Events`] are called with none of them held but `life`,
//! when the adapter stops, and may send and acquire slots.

mod act;
mod adapter;
mod counters;
mod life;
mod node;
mod nodes;
mod peer;
mod ring;
mod say;
mod slots;
mod spare;
mod worker;

pub(crate) use crate::hw::Layout;

pub(crate) use self::{
    adapter::Adapter,
    counters::Counter,
    life::Stop,
    node::{
        Fabric,
        Settings, //
    },
    nodes::{
        Link,
        NodeInfo,
        NodeState, //
    },
    slots::{
        new_lot,
        Behalf,
        SlotInfo,
        SlotRef, //
    },
    spare::Spare,
};

use kernel::sync::Arc;
use skiff_model::{
    ids::{
        Generation,
        NodeId,
        Port, //
    },
    wire::Message, //
};

/// What the rooms above are told. Called on an adapter's worker, or on the thread that removes the adapter after its worker was
/// stopped: never two at a time for one adapter, and with no lock of this room held.
pub(crate) trait Events: Send + Sync {
    /// The peer was lost: its link is down, it hangs, or it lives a new life. The slots towards it still lead there: stop all
    /// use of them and let go of every [`SlotRef`] before this returns, but for those that maps of the kernel have
    /// ([`SlotRef::empty`]).
    fn peer_cut(&self, adapter: &Arc<Adapter>, port: Port);

    /// All slots towards the peer that was cut are empty now.
    fn peer_down(&self, adapter: &Arc<Adapter>, port: Port, node: NodeId);

    /// A node answers behind `port`. `resumed`: it is the generation that was there before, so that what it had exported is
    /// still there; else everything of a former generation is over.
    fn peer_up(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        node: NodeId,
        generation: Generation,
        resumed: bool,
    );

    /// A message of the peer, which is up. Its fields are in range and otherwise the peer's to choose.
    fn message(&self, adapter: &Arc<Adapter>, port: Port, message: &Message);

    /// The queue of messages to the peer was full, so that some were refused, and is empty now.
    fn room(&self, adapter: &Arc<Adapter>, port: Port);

    /// The adapter goes away; all its peers were cut before, and its gate is closed. Let go of every mapping of its bus before
    /// this returns.
    fn adapter_gone(&self, adapter: &Arc<Adapter>);
}
