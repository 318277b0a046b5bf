// SPDX-License-Identifier: GPL-2.0

//! Maps of the kernel's: where a view keeps what they need.

use super::{
    Source,
    State,
    View, //
};
use crate::mem::{
    kmap::{
        KernelMap,
        Shown, //
    },
    map::MapMode, //
};
use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc, //
};
use skiff_ext::errno::Errno;
use skiff_model::slots::Lot;

impl View {
    /// Maps `pages` pages from page `first` on for the kernel; of a peer's memory by a slot that those of `lot` have for
    /// themselves. Of this node's memory `mode` does not matter.
    ///
    /// Errors: as [`Self::reach`]; ENXIO when pages of a peer, or registers, are not in one piece behind one slot.
    pub(crate) fn map_kernel(
        self: &Arc<Self>,
        first: u64,
        pages: u64,
        mode: MapMode,
        lot: Lot,
    ) -> Result<KernelMap> {
        let end = first.checked_add(pages).ok_or(EINVAL)?;
        if pages == 0 || end > self.pages {
            return Err(EINVAL);
        }
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut inner = self.inner.lock();
        let (shown, slot) = match (inner.state, &self.source, &inner.memory) {
            (State::Live, Source::Remote(remote), _) => {
                let (map, slot) = remote.map_kernel(first, pages, mode, lot)?;
                (Shown::Io(map), Some(slot))
            }
            (State::Live, Source::Local(_), Some(memory)) => {
                (Shown::local(memory, first, pages)?, None)
            }
            (State::Suspended, ..) => return Err(Errno::NoLink.into()),
            (State::Live | State::Lost, ..) => return Err(Errno::ConnReset.into()),
        };
        let id = inner.last.checked_add(1).ok_or(ENOMEM)?;
        inner.last = id;
        inner.kernel.insert(place.into_node(id, slot));
        drop(inner);
        Ok(KernelMap::new(shown, self.clone(), id))
    }

    /// A map of the kernel is no more, and its slot leads nowhere if no other has it.
    pub(in crate::mem) fn unmapped(&self, id: u64) {
        let slot = self.inner.lock().kernel.remove(&id).flatten();
        if let Some(slot) = slot {
            slot.retire();
        }
    }

    /// Maps of the kernel.
    pub(crate) fn kernel_maps(&self) -> usize {
        self.inner.lock().kernel.values().count()
    }
}
