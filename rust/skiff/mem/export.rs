// SPDX-License-Identifier: GPL-2.0

//! Memory of this node that peers may reach.
//!
//! The owner of the [`Export`] keeps it for as long as somebody has a right to the memory. When it lets go, what is behind a
//! paging IOMMU is out of every peer's reach at once, and free. Without one it is not: for a peer that had a right and has not
//! confirmed that it has let go, the owner keeps a [`HeldBack`] until the peer confirms or its generation is over.
//!
//! # Locking
//!
//! The mutex of an [`Export`] is held while it is mapped on a bus, and while nothing else is.

use crate::{
    bus::{
        Mapping,
        Memory, //
    },
    fabric::Adapter, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_model::{
    addr::Extent,
    ids::{
        AdapterId,
        ADAPTERS_MAX, //
    },
};

/// Memory of this node that peers may reach, through the adapters that it is prepared for.
#[pin_data]
pub(crate) struct Export {
    /// The memory.
    memory: Arc<Memory>,
    /// What makes it reachable.
    #[pin]
    mappings: Mutex<[Option<Arc<Mapping>>; ADAPTERS_MAX as usize]>,
}

impl Export {
    /// Memory that nobody reaches yet.
    pub(crate) fn new(memory: &Arc<Memory>) -> Result<Arc<Self>> {
        let memory = memory.clone();
        Arc::pin_init(
            pin_init!(Self {
                memory,
                mappings <- new_mutex!([const { None }; ADAPTERS_MAX as usize], "Export::mappings"),
            }),
            GFP_KERNEL,
        )
    }

    /// Makes it reachable through an adapter.
    ///
    /// Errors: EBUSY when it is already, ENODEV, ENOMEM, ENOSPC.
    pub(crate) fn prepare(&self, adapter: &Arc<Adapter>) -> Result {
        let mut mappings = self.mappings.lock();
        let place = mappings.get_mut(adapter.id().index()).ok_or(EINVAL)?;
        if place.is_some() {
            return Err(EBUSY);
        }
        *place = Some(Arc::new(adapter.bus().map(&self.memory)?, GFP_KERNEL)?);
        Ok(())
    }

    /// Where peers find it through an adapter, in the order of its content; [`None`] if it is not prepared for that.
    pub(crate) fn extents(&self, adapter: AdapterId) -> Option<Arc<KVVec<Extent>>> {
        let mappings = self.mappings.lock();
        let mapping = mappings.get(adapter.index())?.as_ref()?;
        Some(mapping.extents().clone())
    }

    /// The adapter is going, or preparing for it was a mistake: nobody reaches the memory through it any more.
    pub(crate) fn adapter_gone(&self, adapter: AdapterId) {
        let mapping = self
            .mappings
            .lock()
            .get_mut(adapter.index())
            .and_then(Option::take);
        drop(mapping);
    }

    /// Keeps the memory from being used for anything else, since a peer behind `adapter` might still write it. [`None`] where
    /// the IOMMU sees to it that no peer can, once the export is gone.
    pub(crate) fn hold_back(&self, adapter: AdapterId) -> Option<HeldBack> {
        let mappings = self.mappings.lock();
        let mapping = mappings.get(adapter.index())?.as_ref()?;
        if mapping.paging() {
            return None;
        }
        mapping.hold_back();
        Some(HeldBack {
            mapping: mapping.clone(),
        })
    }
}

/// Memory that a peer might still write. Dropped when that is over; it is counted by the adapter's bus until then.
pub(crate) struct HeldBack {
    /// What the peer reaches.
    mapping: Arc<Mapping>,
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        self.mapping.release();
    }
}
