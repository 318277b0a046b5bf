// SPDX-License-Identifier: GPL-2.0

//! Devices that other nodes lend, as they have told.
//!
//! # Locking
//!
//! `offers` is innermost.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_model::{
    ids::{
        DeviceIndex,
        Fdid,
        NodeId,
        Port, //
    },
    lend::Filter,
    wire::DeviceInfo, //
};

use super::{
    net::{
        End,
        Way, //
    },
    Spell, //
};
use crate::fabric::Adapter;

/// Devices of one node that are remembered.
pub(super) const DEVICES_MAX: usize = 256;

/// An offer, and who has made it.
struct Offer {
    way: Way,
    info: DeviceInfo,
    /// Since when it can be borrowed.
    spell: Option<Spell>,
}

/// What is known of other nodes' devices. A node that two adapters lead to tells by both.
#[pin_data]
pub(super) struct Known {
    #[pin]
    offers: Mutex<RBTree<(Fdid, End), Offer>>,
}

impl Known {
    /// Nothing is.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            offers <- new_mutex!(RBTree::new(), "Known::offers"),
        })
    }

    /// A node lends a device, or something of it has changed.
    pub(super) fn offered(&self, way: &Way, node: NodeId, info: &DeviceInfo) {
        let key = (Fdid::of(node, info.index), way.end());
        // Without memory the device is not seen.
        let Ok(place) = RBTreeNodeReservation::new(GFP_KERNEL) else {
            return;
        };
        let mut offers = self.offers.lock();

        match offers.get_mut(&key) {
            Some(offer) => {
                offer.info = *info;
                offer.spell = Spell::after(offer.spell, info.state);
            }
            None => {
                let same = offers.keys().filter(|(_, end)| *end == way.end()).count();

                if same < DEVICES_MAX {
                    let offer = Offer {
                        way: way.clone(),
                        info: *info,
                        spell: Spell::after(None, info.state),
                    };

                    offers.insert(place.into_node(key, offer));
                }
            }
        }
    }

    /// It does not any more.
    pub(super) fn withdrawn(&self, way: &Way, node: NodeId, index: DeviceIndex) {
        let key = (Fdid::of(node, index), way.end());
        let gone = self.offers.lock().remove(&key);

        drop(gone);
    }

    /// Nobody answers there any more.
    pub(super) fn cut(&self, adapter: &Arc<Adapter>, port: Port) {
        let end = End::Peer(adapter.id(), port);

        loop {
            let mut offers = self.offers.lock();
            let key = offers.keys().find(|(_, of)| *of == end).copied();
            let Some(key) = key else {
                return;
            };
            let gone = offers.remove(&key);

            drop(offers);
            drop(gone);
        }
    }

    /// The first device from `from` on that a filter lets through.
    pub(super) fn find(&self, from: Fdid, filter: &Filter) -> Option<(Fdid, DeviceInfo)> {
        let offers = self.offers.lock();

        offers
            .iter()
            .filter(|((fdid, _), _)| *fdid >= from)
            .find(|((fdid, _), offer)| filter.matches(*fdid, &offer.info))
            .map(|((fdid, _), offer)| (*fdid, offer.info))
    }

    /// Whether a device could be borrowed all the time since a spell began.
    pub(super) fn still(&self, wanted: Fdid, spell: Spell) -> bool {
        let offers = self.offers.lock();

        offers
            .iter()
            .any(|((fdid, _), offer)| *fdid == wanted && offer.spell == Some(spell))
    }

    /// The first device from `from` on that can be borrowed, and since when.
    pub(super) fn present(&self, from: Fdid) -> Option<(Fdid, Spell)> {
        let offers = self.offers.lock();
        let mut present = offers
            .iter()
            .filter_map(|((fdid, _), offer)| Some((*fdid, offer.spell?)));

        present.find(|(fdid, _)| *fdid >= from)
    }

    /// How to reach the lender of a device, and what it has told. Error: ENOENT.
    pub(super) fn way_to(&self, wanted: Fdid) -> Result<(Way, DeviceInfo)> {
        let offers = self.offers.lock();
        let found = offers.iter().find(|((fdid, _), _)| *fdid == wanted);

        found
            .map(|(_, offer)| (offer.way.clone(), offer.info))
            .ok_or(ENOENT)
    }
}
