// SPDX-License-Identifier: GPL-2.0

//! Memory that is mapped for a lent device.
//!
//! A [`Mapping`] is what the device reaches: addresses of its own, and what is behind them. It is torn down once, by whoever
//! comes first: the borrow that ends, or the memory that goes. What it was of is let go of only after that.
//!
//! # Locking
//!
//! `live` is held while the device's page table is changed and slots are let go of.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::errno::Errno;
use skiff_model::{
    addr::PAGE,
    ids::BorrowId, //
};

use super::{
    hardware::Hardware,
    lent::Lent, //
};
use crate::{
    mem::{
        Need,
        Reach, //
    },
    segment::{
        Gone,
        Remote,
        RemoteState, //
    },
};

/// What a torn down mapping has not.
struct Live {
    hardware: Arc<Hardware>,
    address: u64,
    bytes: u64,
    /// What keeps the frames.
    _reach: Reach,
}

/// What a device reaches.
#[pin_data]
pub(super) struct Mapping {
    lent: Arc<Lent>,
    borrow: BorrowId,
    /// What is behind the addresses.
    remote: Arc<Remote>,
    #[pin]
    live: Mutex<Option<Live>>,
}

impl Mapping {
    /// Maps `bytes` bytes from `offset` on, whole pages both, of what is behind `remote`; the second value is the device's address.
    ///
    /// Errors: `ECONNRESET`, `EINVAL` when they are not in there, `ENOLINK`, `ENOMEM`, `ENOSPC`.
    pub(super) fn new(
        lent: &Arc<Lent>,
        hardware: &Arc<Hardware>,
        borrow: BorrowId,
        remote: Arc<Remote>,
        (offset, bytes): (u64, u64),
        need: Need,
    ) -> Result<(Arc<Self>, u64)> {
        let mapping = Arc::pin_init(
            pin_init!(Self {
                lent: lent.clone(),
                borrow,
                remote,
                live <- new_mutex!(None, "Mapping::live"),
            }),
            GFP_KERNEL,
        )?;
        match mapping.fill(hardware, offset / PAGE, bytes / PAGE, need) {
            Ok(address) => Ok((mapping, address)),
            Err(error) => {
                mapping.tear_down();
                mapping.let_go();
                Err(error)
            }
        }
    }

    /// Maps `pages` pages from page `first` on.
    fn fill(
        self: &Arc<Self>,
        hardware: &Arc<Hardware>,
        first: u64,
        pages: u64,
        need: Need,
    ) -> Result<u64> {
        self.remote.observe(self.clone())?;
        let address = self.make(hardware, self.remote.reach(first, pages, need)?)?;

        // What has gone before it was live has found nothing to tear down.
        if self.remote.info()?.state != RemoteState::Operational {
            return Err(Errno::NoLink.into());
        }
        Ok(address)
    }

    /// Lets the device reach it.
    fn make(&self, hardware: &Arc<Hardware>, reach: Reach) -> Result<u64> {
        let mut live = self.live.lock();
        let (address, bytes) = hardware.map(reach.runs(), reach.target())?;

        *live = Some(Live {
            hardware: hardware.clone(),
            address,
            bytes,
            _reach: reach,
        });
        Ok(address)
    }

    /// The device's address of the `bytes` bytes from `offset` on. Errors: `ECONNRESET`, `EINVAL` when they are not in there,
    /// `ENOLINK` when it is about to go.
    pub(super) fn place(&self, offset: u64, bytes: u64) -> Result<u64> {
        if self.remote.info()?.state != RemoteState::Operational {
            return Err(Errno::NoLink.into());
        }
        let live = self.live.lock();
        let live = live.as_ref().ok_or(Errno::ConnReset)?;

        if offset.checked_add(bytes).is_none_or(|end| end > live.bytes) {
            return Err(EINVAL);
        }
        live.address.checked_add(offset).ok_or(EOVERFLOW)
    }

    /// The device reaches it no more when this returns, unless there is no IOMMU: then its bus mastering must be off.
    pub(super) fn tear_down(&self) {
        let mut live = self.live.lock();

        if let Some(live) = live.take() {
            live.hardware.unmap(live.address, live.bytes);
        }
    }

    /// Lets go of what it was of; it was torn down.
    pub(super) fn let_go(&self) {
        // The only error is that it was given up before.
        let _ = self.lent.net().segments.disconnect(&self.remote);
    }
}

impl Gone for Mapping {
    fn gone(&self) {
        let contained = match &*self.live.lock() {
            Some(live) => live.hardware.contained(),
            None => return,
        };

        if !contained {
            // Nothing else keeps the device from what is behind the slots next.
            self.lent.end(self.borrow);
        }
        self.lent.recall_from(self.borrow, self);
        self.tear_down();
    }
}
