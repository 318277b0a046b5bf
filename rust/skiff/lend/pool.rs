// SPDX-License-Identifier: GPL-2.0

//! This node's pool: which devices it lends, and to whom it is shown.
//!
//! # Locking
//!
//! `devices` is held for a look or a change of the table only. What an administrator asks for is serialised by
//! `Lend::control`.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    pci::Device, //
};
use skiff_model::{
    access::Rights,
    ids::{
        BorrowId,
        DeviceIndex,
        Fdid,
        NodeId, //
    },
};

use super::{
    condition::TakeFrom,
    hardware::{
        Containment,
        NotAvailable, //
    },
    known::DEVICES_MAX,
    lent::Lent,
    Lend, //
};

/// Devices that this node lends.
#[pin_data]
pub(super) struct Pool {
    #[pin]
    devices: Mutex<KVVec<Option<Arc<Lent>>>>,
}

impl Pool {
    /// None.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            devices <- new_mutex!(KVVec::new(), "Pool::devices"),
        })
    }

    /// The device with an index. Error: ENOENT.
    pub(super) fn get(&self, index: DeviceIndex) -> Result<Arc<Lent>> {
        self.devices
            .lock()
            .get(usize::from(index.get()))
            .and_then(Option::clone)
            .ok_or(ENOENT)
    }

    /// The device that is borrowed so. Error: ENOENT.
    pub(super) fn of_borrow(&self, borrow: BorrowId) -> Result<Arc<Lent>> {
        self.get(borrow.index())
    }

    /// The next device from `from` on.
    pub(super) fn next(&self, from: u16) -> Option<Arc<Lent>> {
        let devices = self.devices.lock();
        let mut found = devices.iter().flatten();

        found.find(|lent| lent.index().get() >= from).cloned()
    }

    /// All devices, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<Lent>> + '_ {
        let mut from = Some(0);

        core::iter::from_fn(move || {
            let lent = self.next(from?)?;

            from = lent.index().get().checked_add(1);
            Some(lent)
        })
    }

    /// The device that is this function.
    pub(super) fn of_function(&self, dev: &Device) -> Option<Arc<Lent>> {
        self.iter().find(|lent| lent.dev().as_raw() == dev.as_raw())
    }

    /// A place for another one. Errors: ENOMEM, ENOSPC.
    fn reserve(&self) -> Result<DeviceIndex> {
        let mut devices = self.devices.lock();
        let index = match devices.iter().position(Option::is_none) {
            Some(index) => index,
            None if devices.len() >= DEVICES_MAX => return Err(ENOSPC),
            None => {
                devices.push(None, GFP_KERNEL)?;
                devices.len().saturating_sub(1)
            }
        };

        Ok(DeviceIndex::new(u16::try_from(index)?))
    }

    /// Puts a device into its place, or takes it out.
    fn set(&self, index: DeviceIndex, lent: Option<Arc<Lent>>) -> Option<Arc<Lent>> {
        let mut devices = self.devices.lock();
        let place = devices.get_mut(usize::from(index.get()))?;

        core::mem::replace(place, lent)
    }
}

impl Lend {
    /// Adds a function to the pool.
    ///
    /// Errors: EADDRINUSE when it is in there, ENODEV while this node has no number, ENOMEM, ENOSPC.
    pub(crate) fn add(self: &Arc<Self>, dev: Device, rights: Rights) -> Result<Fdid> {
        let _control = self.control.lock();
        let own = self.net.fabric.node().ok_or(ENODEV)?;

        if self.pool.of_function(&dev).is_some() {
            return Err(Errno::AddrInUse.into());
        }
        let index = self.pool.reserve()?;
        let lent = Lent::new(&self.net, index, dev, rights, self.trust)?;

        self.pool.set(index, Some(lent.clone()));
        lent.announce();
        Ok(Fdid::of(own, index))
    }

    /// The device of this node's pool. Error: ENOENT.
    fn own(&self, fdid: Fdid) -> Result<Arc<Lent>> {
        if fdid.node().is_none() || fdid.node() != self.net.fabric.node() {
            return Err(ENOENT);
        }
        self.pool.get(fdid.index())
    }

    /// Takes a device out of the pool. Errors: EBUSY when it is available, and that is not to be changed; ENOENT.
    pub(crate) fn remove(&self, fdid: Fdid, from: TakeFrom) -> Result {
        let _control = self.control.lock();
        let lent = self.own(fdid)?;

        if lent.is_available() {
            if from == TakeFrom::Nobody {
                return Err(EBUSY);
            }
            lent.make_unavailable(from)?;
        }
        self.withdraw(&lent);
        Ok(())
    }

    /// Forgets a device that is not available.
    pub(super) fn withdraw(&self, lent: &Arc<Lent>) {
        self.net.withdraw(lent.index());
        let gone = self.pool.set(lent.index(), None);

        if let Some(gone) = gone {
            self.net.watcher().changed();
            gone.stop();
        }
    }

    /// Lets others borrow a device.
    pub(crate) fn make_available(
        &self,
        fdid: Fdid,
        containment: Containment,
    ) -> Result<(), NotAvailable> {
        let _control = self.control.lock();

        self.own(fdid)?.make_available(containment)
    }

    /// Takes that back. Errors: EBUSY, ENOENT, ETIMEDOUT.
    pub(crate) fn make_unavailable(&self, fdid: Fdid, from: TakeFrom) -> Result {
        let _control = self.control.lock();

        self.own(fdid)?.make_unavailable(from)
    }

    /// Shows a node the pool. Errors: EBUSY when it sees it, EINVAL for this node.
    pub(crate) fn connect(&self, node: NodeId) -> Result {
        let _control = self.control.lock();

        self.may_be_shown(node)?;
        if !self.net.show(node) {
            return Err(EBUSY);
        }
        for lent in self.pool.iter() {
            self.net.offer_to(node, &lent.info());
        }
        Ok(())
    }

    /// Takes the pool from a node's sight, and the devices that it has borrowed away from it. Errors: EBUSY when it does
    /// not see it, EINVAL for this node.
    pub(crate) fn disconnect(&self, node: NodeId) -> Result {
        let _control = self.control.lock();

        self.may_be_shown(node)?;
        if !self.net.hide(node) {
            return Err(EBUSY);
        }
        for lent in self.pool.iter() {
            lent.taken_from(node);
            self.net.withdraw_from(node, lent.index());
        }
        Ok(())
    }

    fn may_be_shown(&self, node: NodeId) -> Result {
        match self.net.fabric.node() {
            Some(own) if own == node => Err(EINVAL),
            _ => Ok(()),
        }
    }
}
