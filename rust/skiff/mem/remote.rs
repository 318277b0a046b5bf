// SPDX-License-Identifier: GPL-2.0

//! Where memory of a peer is, and the slots that lead to parts of it.

use super::{
    layout::{
        Layout,
        Piece, //
    },
    map::MapMode,
    reach::{
        Need,
        Reach, //
    }, //
};
use crate::fabric::{
    Adapter,
    Behalf,
    SlotRef, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::wc::IoMap;
use skiff_model::{
    addr::{
        BusAddr,
        Chunk,
        Extent,
        PAGE, //
    },
    ids::Port,
    ntb::{
        CacheMode,
        WindowClass, //
    },
    slots::Lot, //
};

/// Memory of a peer.
pub(super) struct Remote {
    /// The adapter that reaches it.
    pub(super) adapter: Arc<Adapter>,
    /// The window through which it does.
    class: WindowClass,
    /// The port that the peer is behind.
    port: Port,
    /// Where the pages are.
    layout: Layout,
}

/// Slots that lead to some chunks of it.
pub(super) struct Slots(KVec<(Chunk, SlotRef)>);

impl Slots {
    /// None.
    pub(super) const fn none() -> Self {
        Self(KVec::new())
    }

    /// The frame behind which `bus`, in `chunk`, is found.
    fn frame(&self, bus: BusAddr, chunk: Chunk) -> Option<u64> {
        let (_, slot) = self.0.iter().find(|(there, _)| *there == chunk)?;
        Some(slot.frame(bus))
    }

    /// The frame behind which a device finds `piece`.
    pub(super) fn frame_of(&self, piece: &Piece) -> Option<u64> {
        self.frame(piece.bus, piece.chunk)
    }

    /// Their numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().map(|(_, slot)| slot.slot())
    }

    /// Lets go of them; those that nobody else holds lead nowhere when this returns.
    pub(super) fn retire(&mut self) {
        for (_, slot) in core::mem::replace(&mut self.0, KVec::new()) {
            slot.retire();
        }
    }
}

/// The mode of a slot. Error: EINVAL.
fn cache_mode(mode: MapMode) -> Result<CacheMode> {
    match mode {
        MapMode::Uncached => Ok(CacheMode::Uc),
        MapMode::WriteCombining => Ok(CacheMode::Wc),
        MapMode::WriteBack => Err(EINVAL),
    }
}

impl Remote {
    /// Memory of `bytes` bytes of the peer behind `port`, which says that it is at `extents`.
    ///
    /// Errors: ENOMEM, EOPNOTSUPP when there is no such window, EPROTO when the peer's ranges are not that long.
    pub(super) fn new(
        adapter: &Arc<Adapter>,
        class: WindowClass,
        port: Port,
        extents: KVVec<Extent>,
        bytes: u64,
    ) -> Result<Self> {
        Ok(Self {
            layout: Layout::new(extents, bytes, adapter.geometry(class)?.slot_bytes())?,
            adapter: adapter.clone(),
            class,
            port,
        })
    }

    /// How many pages there are.
    pub(super) fn pages(&self) -> u64 {
        self.layout.pages()
    }

    /// Slots for all that a map needs.
    ///
    /// Errors: EINVAL, ENODEV, ENOLINK, ENOMEM, ENOSPC.
    pub(super) fn acquire(&self, first: u64, pages: u64, mode: MapMode) -> Result<Slots> {
        self.acquire_for(first, pages, mode, Need::Firm)
    }

    /// The same, as far as slots are needed.
    fn acquire_for(&self, first: u64, pages: u64, mode: MapMode, need: Need) -> Result<Slots> {
        let mode = cache_mode(mode)?;
        let (class, port) = (self.class, self.port);
        let (who, lot) = match need {
            Need::Firm => (Behalf::Anybody, Lot::SHARED),
            Need::Spare(lot) => (Behalf::Modest, lot),
        };
        let most = usize::from(self.adapter.geometry(self.class)?.slots());
        let chunks = self.layout.chunks(first, pages, most)?;
        let mut slots = KVec::with_capacity(chunks.len(), GFP_KERNEL)?;
        for chunk in chunks {
            let base = chunk.base();
            let slot = self.adapter.acquire(who, class, port, base, mode, lot)?;
            slots.push((chunk, slot), GFP_KERNEL)?;
        }
        Ok(Slots(slots))
    }

    /// Maps some pages for the kernel, by a slot of this lot.
    ///
    /// Errors: as [`Self::acquire`]; ENXIO when they are not in one piece behind one slot.
    pub(super) fn map_kernel(
        &self,
        first: u64,
        pages: u64,
        mode: MapMode,
        lot: Lot,
    ) -> Result<(IoMap, SlotRef)> {
        let mode = cache_mode(mode)?;
        let piece = self.layout.pieces(first, pages).next().ok_or(EINVAL)?;

        if piece.pages != pages {
            return Err(ENXIO);
        }
        let base = piece.chunk.base();
        let who = Behalf::Anybody;
        let slot = self
            .adapter
            .acquire(who, self.class, self.port, base, mode, lot)?;
        let bytes = pages.checked_mul(PAGE).ok_or(EOVERFLOW)?;
        let map = slot.map(piece.bus, usize::try_from(bytes)?)?;

        Ok((map, slot))
    }

    /// The frames of some pages, for a device. How the CPU reaches them is all the same to it: as most maps do.
    ///
    /// Errors: as [`Self::acquire`].
    pub(super) fn reach(&self, first: u64, pages: u64, need: Need) -> Result<Reach> {
        let mode = match self.class {
            WindowClass::Memory => MapMode::WriteCombining,
            WindowClass::Registers => MapMode::Uncached,
        };
        let slots = self.acquire_for(first, pages, mode, need)?;
        Reach::slots(slots, self.layout.pieces(first, pages))
    }

    /// The frame behind which the CPU finds page `page` by `slots`.
    pub(super) fn frame(&self, slots: &Slots, page: u64) -> Option<u64> {
        let (bus, chunk) = self.layout.locate(page)?;
        slots.frame(bus, chunk)
    }
}
