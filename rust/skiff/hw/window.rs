// SPDX-License-Identifier: GPL-2.0

//! A window of an adapter: where its slots are for the CPU.
//!
//! Owns the BAR. Takes no lock: what a slot leads to is not its business, and cache modes are reserved slot by slot by who
//! uses them.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    pci::Region,
    wc::{
        IoMap,
        Mode,
        WriteCombining, //
    },
};
use skiff_model::{
    addr::PAGE,
    ntb::{
        CacheMode,
        Geometry, //
    },
};

/// Which function has the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The bridge function itself.
    Chip,
    /// A companion function of the same slot: an addition of the emulated switch.
    Companion,
}

/// A window of an adapter.
///
/// # Invariants
///
/// All slots of `geometry` lie in `region`, page-aligned.
pub(crate) struct Window {
    region: Arc<Region>,
    geometry: Geometry,
    layout: Layout,
}

impl Window {
    /// A window in `region`; `EINVAL` if the slots are not in there.
    pub(super) fn new(region: Region, geometry: Geometry, layout: Layout) -> Result<Self> {
        let bytes = geometry
            .slot_bytes()
            .get()
            .checked_mul(geometry.slots().into())
            .ok_or(EINVAL)?;

        if region.range(0, bytes)? % PAGE != 0 {
            return Err(EINVAL);
        }
        // INVARIANT: Just checked; the length of a slot is a multiple of a page.
        Ok(Self {
            region: Arc::new(region, GFP_KERNEL)?,
            geometry,
            layout,
        })
    }

    /// How many slots there are, and how long.
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Which function has it.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The page frame number where a slot starts; `None` if there is no such slot.
    pub(crate) fn slot_frame(&self, slot: u8) -> Option<u64> {
        let offset = self.geometry.slot_offset(slot)?;

        Some(self.region.range(offset, PAGE).ok()? / PAGE)
    }

    /// The frame of a page of the BAR that leads nowhere whatever the slots do: it reads all ones, and writes are lost.
    pub(crate) fn void_frame(&self) -> Option<u64> {
        let behind = self
            .geometry
            .slot_bytes()
            .get()
            .checked_mul(self.geometry.slots().into())?;

        Some(self.region.range(behind, PAGE).ok()? / PAGE)
    }

    /// Makes a slot write-combining for as long as the guard lives: `EBUSY` if part of it is mapped otherwise.
    pub(crate) fn reserve(&self, slot: u8) -> Result<WriteCombining> {
        let offset = self.geometry.slot_offset(slot).ok_or(EINVAL)?;

        WriteCombining::new(&self.region, offset, self.geometry.slot_bytes().get())
    }

    /// Maps `bytes` bytes of a slot from `offset` on for the kernel, both whole pages. `mode` is the slot's; a
    /// write-combining one must be [reserved](Self::reserve).
    pub(crate) fn map(
        &self,
        slot: u8,
        offset: u64,
        bytes: usize,
        mode: CacheMode,
    ) -> Result<IoMap> {
        let start = self.geometry.slot_offset(slot).ok_or(EINVAL)?;
        let end = offset.checked_add(bytes as u64).ok_or(EINVAL)?;

        if end > self.geometry.slot_bytes().get() {
            return Err(EINVAL);
        }
        let mode = match mode {
            CacheMode::Wc => Mode::WriteCombining,
            CacheMode::Uc => Mode::Uncached,
        };

        IoMap::new(
            &self.region,
            start.checked_add(offset).ok_or(EINVAL)?,
            bytes,
            mode,
        )
    }
}
