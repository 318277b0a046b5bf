// SPDX-License-Identifier: GPL-2.0

//! Vectors of a lent device that are stored straight into what a borrower has mapped for it, without this node's CPU.
//!
//! A vector that is aimed stays one that the borrower listens to: when it is recalled, or the kernel takes it back, it comes by
//! a message again. It is recalled before the device reaches its target no more, so that nothing gets lost on the way.
//!
//! # Locking
//!
//! All of it is done under `Lent::state`; vectors are written within.

use kernel::prelude::*;
use skiff_model::ids::{
    BorrowId,
    MapId, //
};

use super::{
    hardware::Hardware,
    lent::{
        Borrow,
        Lent,
        State, //
    },
    mapping::Mapping, //
};

/// A vector that is aimed.
pub(super) struct Aimed {
    vector: u32,
    map: MapId,
}

/// Where a vector is to be stored.
pub(super) struct Aim {
    pub(super) vector: u32,
    pub(super) map: MapId,
    pub(super) offset: u64,
    pub(super) data: u32,
}

/// Bytes of what a vector stores.
const BYTES: u64 = 4;

/// The vector in a set.
fn bit(vector: u32) -> u64 {
    1u64.checked_shl(vector).unwrap_or(0)
}

impl Borrow {
    /// Recalls the vectors that are meant.
    pub(super) fn recall(&mut self, hardware: &Hardware, meant: impl Fn(u32, MapId) -> bool) {
        self.aimed.retain(|aimed| {
            let stays = !meant(aimed.vector, aimed.map);

            if !stays {
                hardware.recall(aimed.vector);
            }
            stays
        });
    }
}

impl State {
    /// Recalls vectors of this set, whoever has aimed them.
    pub(super) fn recall(&mut self, vectors: u64) {
        let Some(hardware) = &self.hardware else {
            return;
        };

        for borrow in self.borrows.iter_mut() {
            borrow.recall(hardware, |vector, _| vectors & bit(vector) != 0);
        }
    }
}

impl Lent {
    /// Aims a vector.
    ///
    /// Errors: `ENOENT` when the borrow does not listen to it, or there is no such mapping; `EBUSY` when another borrow listens, too;
    /// `EINVAL` when it is not in the mapping; `EOPNOTSUPP` when it is no vector of MSI-X.
    pub(super) fn aim(&self, id: BorrowId, hardware: &Hardware, aim: &Aim) -> Result {
        // Under the lock: the end of a borrow recalls what is aimed, after which nothing may be.
        let mut state = self.state().lock();
        let borrow = state.borrow(id)?;

        self.bell().alone(id, bit(aim.vector))?;
        let mut mappings = borrow.mappings.iter();
        let (_, mapping) = mappings.find(|(map, _)| *map == aim.map).ok_or(ENOENT)?;
        let address = mapping.place(aim.offset, BYTES)?;

        borrow.aimed.reserve(1, GFP_KERNEL)?;
        borrow.recall(hardware, |vector, _| vector == aim.vector);
        hardware.aim(aim.vector, address, aim.data)?;
        let aimed = Aimed {
            vector: aim.vector,
            map: aim.map,
        };

        borrow.aimed.push(aimed, GFP_KERNEL)?;
        Ok(())
    }

    /// A mapping is about to go: recalls what is aimed at it.
    pub(super) fn recall_from(&self, id: BorrowId, mapping: &Mapping) {
        let mut state = self.state().lock();
        let Ok(hardware) = state.hardware() else {
            return;
        };
        let Ok(borrow) = state.borrow(id) else {
            return;
        };
        let mut mappings = borrow.mappings.iter();
        let found = mappings.find(|(_, known)| core::ptr::eq(&**known, mapping));
        let Some(gone) = found.map(|(map, _)| *map) else {
            return;
        };

        borrow.recall(&hardware, |_, map| map == gone);
    }
}
