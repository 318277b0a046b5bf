// SPDX-License-Identifier: GPL-2.0

//! Where a pair's rings are in memory: the own inbox, which the peer writes, and the peer's, through a slot.
//!
//! An [`Inbox`] owns its memory and its place on the bus; an [`Outbox`] pins its slot. Neither takes a lock: the one user at a
//! time is who holds the lock of the peer.

use super::{
    slots::{
        Behalf,
        SlotRef, //
    },
    Adapter, //
};
use crate::bus::{
    Bus,
    Mapping,
    Memory,
    Pool, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};
use skiff_ext::wc::{
    rmb,
    wmb,
    IoMap, //
};
use skiff_model::{
    addr::BusAddr,
    ids::Port,
    ntb::{
        CacheMode,
        WindowClass, //
    },
    ring::{
        self,
        Place,
        Word,
        INBOX_BYTES, //
    },
    slots::Lot,
    wire::{
        Boot,
        Entry,
        ENTRY_BYTES, //
    },
};

/// The own inbox for one peer.
pub(super) struct Inbox {
    // Unmapped before the memory goes.
    mapping: Mapping,
    memory: Arc<Memory>,
}

impl Inbox {
    /// An empty inbox that peers reach.
    ///
    /// Errors: ENOMEM, ENOSPC.
    pub(super) fn new(bus: &Arc<Bus>, pool: &Arc<Pool>) -> Result<Self> {
        let memory = Memory::contiguous(pool, INBOX_BYTES / PAGE_SIZE)?;
        let mapping = bus.map(&memory)?;

        if mapping.extents().len() != 1 {
            return Err(ENOSPC);
        }
        Ok(Self { mapping, memory })
    }

    /// Page of the bus where it starts.
    pub(super) fn frame(&self) -> Option<u64> {
        Some(self.mapping.extents().first()?.bus().frame())
    }

    /// Forgets all that is in it.
    pub(super) fn empty(&self) {
        if let Some(shared) = self.memory.shared() {
            for offset in (0..INBOX_BYTES).step_by(4) {
                shared.store32(offset, 0);
            }
        }
    }
}

impl ring::Inbox for Inbox {
    fn load(&self, word: Word) -> u32 {
        let value = self
            .memory
            .shared()
            .map_or(0, |shared| shared.load32(word.offset()));

        // What the index tells of is read after it.
        rmb();
        u32::from_le(value)
    }

    fn read_entry(&self, place: Place) -> Entry {
        let mut entry = [0; ENTRY_BYTES];

        if let Some(shared) = self.memory.shared() {
            shared.read(place.offset(), &mut entry);
        }
        entry
    }
}

/// The peer's inbox.
pub(super) struct Outbox {
    // Unmapped before the slot is let go of.
    map: IoMap,
    _slot: SlotRef,
    boot: Boot,
}

impl Outbox {
    /// Reaches the inbox that the peer at `port` has told of.
    ///
    /// Errors: those of [`Adapter::acquire`]; EINVAL when it is not within one slot.
    pub(super) fn open(adapter: &Arc<Adapter>, port: Port, boot: Boot) -> Result<Self> {
        let bus = BusAddr::from_frame(boot.frame()).ok_or(EINVAL)?;
        let slot = adapter.acquire(
            Behalf::Ring,
            WindowClass::Memory,
            port,
            bus,
            CacheMode::Wc,
            Lot::SHARED,
        )?;
        let map = slot.map(bus, INBOX_BYTES)?;

        Ok(Self {
            map,
            _slot: slot,
            boot,
        })
    }

    /// What the peer has told.
    pub(super) fn boot(&self) -> Boot {
        self.boot
    }
}

impl ring::Outbox for Outbox {
    fn write_entry(&self, place: Place, entry: &Entry, bytes: usize) {
        let bytes = bytes.next_multiple_of(4).min(ENTRY_BYTES);

        // By the invariant of `Place` this is within the map.
        let _ = self.map.write(place.offset(), &entry[..bytes]);
    }

    fn store(&self, word: Word, value: u32) {
        // What it tells of arrives before it; and it leaves the write-combining buffers.
        wmb();
        let _ = self.map.write32(word.offset(), value.to_le());
        wmb();
    }
}
