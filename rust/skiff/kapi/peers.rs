// SPDX-License-Identifier: GPL-2.0

//! Which nodes answer, and since when.
//!
//! # Locking
//!
//! `table` is innermost.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use skiff_model::ids::{
    AdapterId,
    NodeId,
    Port,
    ADAPTERS_MAX,
    PORTS_MAX, //
};

use crate::lend::Spell;

/// Who is behind each port of each adapter, and since when.
type Table = [[Option<(NodeId, Spell)>; PORTS_MAX as usize]; ADAPTERS_MAX as usize];

/// The nodes that answer.
#[pin_data]
pub(super) struct Peers {
    #[pin]
    table: Mutex<Table>,
}

impl Peers {
    /// None does.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- new_mutex!(
                [[None; PORTS_MAX as usize]; ADAPTERS_MAX as usize],
                "Peers::table"
            ),
        })
    }

    /// A node answers behind a port.
    pub(super) fn up(&self, adapter: AdapterId, port: Port, node: NodeId) {
        self.set(adapter, port, Some((node, Spell::begin())));
    }

    /// It does not any more.
    pub(super) fn down(&self, adapter: AdapterId, port: Port) {
        self.set(adapter, port, None);
    }

    fn set(&self, adapter: AdapterId, port: Port, who: Option<(NodeId, Spell)>) {
        let mut table = self.table.lock();
        let ports = table.get_mut(adapter.index());

        if let Some(place) = ports.and_then(|ports| ports.get_mut(port.index())) {
            *place = who;
        }
    }

    /// Whether a node has answered all the time since a spell began, by one way at least.
    pub(super) fn still(&self, node: NodeId, spell: Spell) -> bool {
        let table = self.table.lock();

        table
            .iter()
            .flatten()
            .any(|who| *who == Some((node, spell)))
    }

    /// The node with the lowest number from `from` on that answers, and since when.
    pub(super) fn next(&self, from: u32) -> Option<(NodeId, Spell)> {
        let table = self.table.lock();
        let up = table.iter().flatten().flatten();

        up.filter(|(node, _)| node.get() >= from)
            .min_by_key(|(node, _)| node.get())
            .copied()
    }
}
