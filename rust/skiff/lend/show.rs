// SPDX-License-Identifier: GPL-2.0

//! The pool and its borrowers as debugfs shows them.
//!
//! # Locking
//!
//! One device after the other; what is shown of a borrower was copied before, so that no lock is held meanwhile.

use skiff_model::{
    ids::{
        BorrowId,
        Fdid, //
    },
    wire::{
        DeviceInfo,
        DeviceState, //
    },
};

use super::{
    lent::Lent,
    net::End,
    Lend, //
};

/// A device of this node's pool.
pub(crate) struct DeviceShown {
    /// Its id.
    pub(crate) fdid: Fdid,
    /// As others are told of it.
    pub(crate) info: DeviceInfo,
    /// How it stands.
    pub(crate) state: &'static str,
}

/// A borrow of a device of this node's pool.
pub(crate) struct BorrowShown {
    /// The device.
    pub(crate) fdid: Fdid,
    /// Its name.
    pub(crate) id: BorrowId,
    /// Who has it.
    pub(crate) end: End,
    /// Segments of the device that it may connect to.
    pub(crate) parts: usize,
    /// What is mapped for the device.
    pub(crate) maps: usize,
}

impl Lend {
    /// Calls `show` for each device of the pool, in order, until it fails.
    pub(crate) fn each_device<E>(
        &self,
        mut show: impl FnMut(DeviceShown) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(|fdid, lent| {
            let info = lent.info();
            let state = match info.state {
                DeviceState::Unavailable => "unavailable",
                DeviceState::Available => "available",
                DeviceState::Borrowed => "borrowed",
                DeviceState::Exclusive => "exclusive",
                DeviceState::Broken => "broken",
            };

            show(DeviceShown { fdid, info, state })
        })
    }

    /// Calls `show` for each borrow of the pool's devices that has not ended, until it fails.
    pub(crate) fn each_borrow<E>(
        &self,
        mut show: impl FnMut(BorrowShown) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(|fdid, lent| {
            let mut after = None;

            while let Some(shown) = lent.show_borrow(fdid, after) {
                after = Some(shown.id);
                show(shown)?;
            }
            Ok(())
        })
    }

    fn each<E>(&self, mut call: impl FnMut(Fdid, &Lent) -> Result<(), E>) -> Result<(), E> {
        let Some(own) = self.net.fabric.node() else {
            return Ok(());
        };

        for lent in self.pool.iter() {
            call(Fdid::of(own, lent.index()), &lent)?;
        }
        Ok(())
    }
}

impl Lent {
    /// The borrow with the lowest id above `after`.
    fn show_borrow(&self, fdid: Fdid, after: Option<BorrowId>) -> Option<BorrowShown> {
        let state = self.state().lock();

        state
            .good()
            .filter(|borrow| after.is_none_or(|after| borrow.id > after))
            .min_by_key(|borrow| borrow.id)
            .map(|borrow| BorrowShown {
                fdid,
                id: borrow.id,
                end: borrow.way.end(),
                parts: borrow.parts.len(),
                maps: borrow.mappings.len(),
            })
    }
}
