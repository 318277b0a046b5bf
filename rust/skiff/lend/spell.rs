// SPDX-License-Identifier: GPL-2.0

//! Which devices can be borrowed, and since when: for those who act on it.
//!
//! # Locking
//!
//! The spell of an own device is locked before `Lent::state`, so that what is remembered last is what was true last.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use skiff_model::{
    ids::Fdid,
    wire::DeviceState, //
};

use super::Lend;

/// A time during which something has been there without interruption, told from all others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spell(u64);

impl Spell {
    /// One that begins now.
    pub(crate) fn begin() -> Self {
        static LAST: Atomic<u64> = Atomic::new(0);

        // Nothing comes and goes 2^64 times.
        Self(LAST.fetch_add(1, Relaxed))
    }

    /// What becomes of the spell of a device that is in `state` now.
    pub(super) fn after(spell: Option<Self>, state: DeviceState) -> Option<Self> {
        match state {
            DeviceState::Available | DeviceState::Borrowed | DeviceState::Exclusive => {
                Some(spell.unwrap_or_else(Self::begin))
            }
            DeviceState::Unavailable | DeviceState::Broken => None,
        }
    }
}

/// Who wants to know when devices come, go, or change.
pub(crate) trait Watcher: Send + Sync {
    /// Something has. Called with locks of devices held: it must not sleep for long, nor ask anything here.
    fn changed(&self);
}

impl Lend {
    /// Whether a device could be borrowed all the time since a spell began, from the same lender by the same way.
    pub(crate) fn still(&self, fdid: Fdid, spell: Spell) -> bool {
        if fdid.node() == self.net().fabric.node() {
            let own = self.pool.get(fdid.index());

            return own.is_ok_and(|lent| lent.spell() == Some(spell));
        }
        self.known.still(fdid, spell)
    }

    /// The first device from `from` on that can be borrowed, or is, and since when.
    pub(crate) fn present(&self, from: Fdid) -> Option<(Fdid, Spell)> {
        let known = self.known.present(from);
        let own = self.net().fabric.node().and_then(|node| {
            self.pool
                .iter()
                .map(|lent| (Fdid::of(node, lent.index()), lent.spell()))
                .find_map(|(fdid, spell)| (fdid >= from).then_some((fdid, spell?)))
        });

        known.into_iter().chain(own).min_by_key(|(fdid, _)| *fdid)
    }
}
