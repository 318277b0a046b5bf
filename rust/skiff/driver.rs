// SPDX-License-Identifier: GPL-2.0

//! The PCI driver: makes an [`Adapter`] of every bridge function that is found, and ends it when the function goes.
//!
//! The PCI core calls these one at a time for a function, under its device lock; none of them waits for a peer.

use crate::{
    fabric::{
        Adapter,
        Fabric,
        Stop, //
    },
    hw, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
};
use skiff_ext::pci::{
    Channel,
    Device,
    Driver,
    Id,
    Recovery, //
};

/// The driver of all families of bridges.
pub(crate) struct SkiffDriver {
    fabric: Arc<Fabric>,
}

impl SkiffDriver {
    /// A driver whose adapters are those of `fabric`.
    pub(crate) fn new(fabric: Arc<Fabric>) -> Self {
        Self { fabric }
    }
}

impl Driver for SkiffDriver {
    type Data = Adapter;

    const NAME: &'static CStr = hw::NAME;
    const IDS: &'static [Id] = hw::IDS;

    fn probe(&self, dev: &Device) -> Result<Arc<Adapter>> {
        Adapter::start(&self.fabric, dev)
    }

    fn remove(&self, adapter: ArcBorrow<'_, Adapter>) {
        Arc::from(adapter).stop(Stop::Remove);
    }

    fn shutdown(&self, adapter: ArcBorrow<'_, Adapter>) {
        Arc::from(adapter).stop(Stop::Shutdown);
    }

    fn suspend(&self, adapter: ArcBorrow<'_, Adapter>) -> Result {
        Arc::from(adapter).suspend()
    }

    fn resume(&self, adapter: ArcBorrow<'_, Adapter>) -> Result {
        Arc::from(adapter).restart()
    }

    fn error_detected(&self, adapter: ArcBorrow<'_, Adapter>, channel: Channel) -> Recovery {
        Arc::from(adapter).stop(Stop::Error);
        match channel {
            Channel::Normal | Channel::Frozen => Recovery::Reset,
            Channel::Failed => Recovery::Disconnect,
        }
    }

    fn slot_reset(&self, adapter: ArcBorrow<'_, Adapter>) -> Recovery {
        match Arc::from(adapter).restart() {
            Ok(()) => Recovery::Recovered,
            Err(_) => Recovery::Disconnect,
        }
    }

    fn resume_after_error(&self, adapter: ArcBorrow<'_, Adapter>) {
        adapter.wake();
    }
}
