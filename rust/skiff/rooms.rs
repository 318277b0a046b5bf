// SPDX-License-Identifier: GPL-2.0

//! Who is told what happens on the fabric: segments, what this node lends and borrows, and kernel clients.
//!
//! When a peer goes, devices are stopped before the connections that they use are cut.
//!
//! # Locking
//!
//! `lend` is held for a look only.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_model::{
    ids::{
        Generation,
        NodeId,
        Port, //
    },
    wire::Message, //
};

use crate::{
    fabric::{
        Adapter,
        Events, //
    },
    kapi::Clients,
    lend::Lend,
    segment::Segments, //
};

/// All who are told.
#[pin_data]
pub(crate) struct Rooms {
    segments: Arc<Segments>,
    clients: Arc<Clients>,
    /// `None` before there is one, and when it has ended: it owns the fabric, which owns this.
    #[pin]
    lend: Mutex<Option<Arc<Lend>>>,
}

impl Rooms {
    /// Nobody lends yet.
    pub(crate) fn new(segments: &Arc<Segments>, clients: &Arc<Clients>) -> Result<Arc<Self>> {
        let (segments, clients) = (segments.clone(), clients.clone());

        Arc::pin_init(
            pin_init!(Self {
                segments,
                clients,
                lend <- new_mutex!(None, "Rooms::lend"),
            }),
            GFP_KERNEL,
        )
    }

    /// Has `lend` told from now on, or nobody.
    pub(crate) fn set_lend(&self, lend: Option<Arc<Lend>>) {
        let former = core::mem::replace(&mut *self.lend.lock(), lend);

        drop(former);
    }

    /// Tells who lends.
    fn lend(&self, tell: impl FnOnce(&Lend)) {
        let lend = self.lend.lock().clone();

        if let Some(lend) = lend {
            tell(&lend);
        }
    }
}

impl Events for Rooms {
    fn peer_cut(&self, adapter: &Arc<Adapter>, port: Port) {
        self.lend(|lend| lend.peer_cut(adapter, port));
        self.segments.peer_cut(adapter, port);
    }

    fn peer_down(&self, adapter: &Arc<Adapter>, port: Port, node: NodeId) {
        self.segments.peer_down(adapter, port, node);
        self.lend(|lend| lend.peer_down(adapter, port));
        self.clients.peer_down(adapter, port);
    }

    fn peer_up(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        node: NodeId,
        generation: Generation,
        resumed: bool,
    ) {
        self.segments
            .peer_up(adapter, port, node, generation, resumed);
        self.lend(|lend| lend.peer_up(adapter, port, node));
        self.clients.peer_up(adapter, port, node);
    }

    fn message(&self, adapter: &Arc<Adapter>, port: Port, message: &Message) {
        self.segments.message(adapter, port, message);
        self.lend(|lend| lend.message(adapter, port, message));
        self.clients.message(adapter, port, message);
    }

    fn room(&self, adapter: &Arc<Adapter>, port: Port) {
        self.segments.room(adapter, port);
        self.lend(|lend| lend.room(adapter, port));
    }

    fn adapter_gone(&self, adapter: &Arc<Adapter>) {
        self.segments.adapter_gone(adapter);
    }
}
