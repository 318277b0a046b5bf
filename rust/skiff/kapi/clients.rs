// SPDX-License-Identifier: GPL-2.0

//! What kernel clients are to know of what happens: messages, and who and what is there.
//!
//! Ownership: the fabric's [`Events`](crate::fabric::Events) and what lends own the [`Clients`], which owns nothing of them.
//! The worker of [`Presence`] does, from when the module is up until it goes.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::work::Worker;
use skiff_model::{
    ids::{
        NodeId,
        Port, //
    },
    wire::Message, //
};

use super::{
    channel::Channels,
    peers::Peers,
    presence::Presence, //
};
use crate::{
    fabric::Adapter,
    lend::Watcher, //
};

/// What kernel clients share.
#[pin_data]
pub(crate) struct Clients {
    #[pin]
    channels: Channels,
    #[pin]
    peers: Peers,
    worker: Arc<Worker<Presence>>,
}

impl Clients {
    /// There is nobody yet, and nobody is told.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let worker = Worker::new(c"skiff-presence", kernel::static_lock_class!())?;

        Arc::pin_init(
            pin_init!(Self {
                channels <- Channels::new(),
                peers <- Peers::new(),
                worker,
            }),
            GFP_KERNEL,
        )
    }

    /// The channels that are open.
    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The nodes that answer.
    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The thread that adds and removes devices of the auxiliary bus.
    pub(super) fn worker(&self) -> &Arc<Worker<Presence>> {
        &self.worker
    }

    /// A node answers behind a port.
    pub(crate) fn peer_up(&self, adapter: &Adapter, port: Port, node: NodeId) {
        self.peers.up(adapter.id(), port, node);
        self.worker.kick();
    }

    /// It does not any more.
    pub(crate) fn peer_down(&self, adapter: &Adapter, port: Port) {
        self.peers.down(adapter.id(), port);
        self.worker.kick();
    }

    /// A message of the peer, which is up.
    pub(crate) fn message(&self, adapter: &Arc<Adapter>, port: Port, message: &Message) {
        self.channels.message(adapter, port, message);
    }
}

impl Watcher for Clients {
    fn changed(&self) {
        self.worker.kick();
    }
}
