// SPDX-License-Identifier: GPL-2.0

//! What other kernel modules get: the functions of `include/linux/skiff.h`.
//!
//! A function of the header is one of [`ffi`], which turns handles and pointers into what the safe files of this room take,
//! and calls these. Handles are [`Arc`]s that C owns.
//!
//! # Locking
//!
//! The global that leads to the [`Node`] is held for a look only.

mod channel;
mod clients;
mod device;
mod direct;
mod ffi;
mod header;
mod lines;
mod map;
mod memory;
mod peers;
mod presence;
mod segment;
mod window;

pub(crate) use self::{
    clients::Clients,
    ffi::Serving,
    lines::Interrupts,
    presence::Showing, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::ids::NodeId;

use crate::{
    fabric::Fabric,
    lend::Lend,
    segment::Segments,
    uapi, //
};

/// What clients are served from.
pub(crate) struct Node {
    fabric: Arc<Fabric>,
    segments: Arc<Segments>,
    lend: Arc<Lend>,
    clients: Arc<Clients>,
    /// Of borrowed devices.
    interrupts: Interrupts,
}

impl Node {
    /// This node.
    pub(crate) fn new(
        fabric: &Arc<Fabric>,
        segments: &Arc<Segments>,
        lend: &Arc<Lend>,
        clients: &Arc<Clients>,
        interrupts: Interrupts,
    ) -> Result<Arc<Self>> {
        let node = Self {
            fabric: fabric.clone(),
            segments: segments.clone(),
            lend: lend.clone(),
            clients: clients.clone(),
            interrupts,
        };

        Ok(Arc::new(node, GFP_KERNEL)?)
    }

    /// Its number. Error: `ENODEV` before an adapter was found.
    fn number(&self) -> Result<NodeId> {
        self.fabric.node().ok_or(ENODEV)
    }

    /// Puts the device that is searched for into the query. Errors: `EINVAL`, `ENXIO`, `ENOENT`.
    fn find_device(&self, query: &mut uapi::skiff_device_query) -> Result {
        let (from, filter) = uapi::devices::query(query)?;
        let (fdid, info) = self.lend.find(from, &filter)?;

        query.device = uapi::devices::describe(fdid, &info);
        Ok(())
    }
}
