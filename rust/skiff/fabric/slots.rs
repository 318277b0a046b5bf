// SPDX-License-Identifier: GPL-2.0

//! The slots of an adapter's windows: which one leads where, and who holds it.
//!
//! The books are the model's; here the hardware follows them. A [`SlotRef`] pins a slot: as long as it lives the slot does
//! not lead anywhere else, though it may be emptied when its peer is lost. The cache mode of a slot is that of its physical
//! range, whose reservation stays until the slot is wanted with the other mode.
//!
//! # Locking
//!
//! `Adapter::slots` covers the books and is held while the hardware is programmed, so that it never leads anywhere but where
//! the books say. `hw` is locked within. A [`SlotRef`] locks when it is dropped: not under this lock, nor under `hw`.

use super::Adapter;
use crate::{
    hw,
    hw::Window, //
};
use core::num::NonZero;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};
use skiff_ext::{
    errno::Errno,
    trace,
    wc::{
        IoMap,
        WriteCombining, //
    },
};
use skiff_model::{
    addr::{
        chunk_of,
        BusAddr,
        SlotBytes, //
    },
    ids::{
        Port,
        PORTS_MAX, //
    },
    ntb::{
        CacheMode,
        Geometry,
        Ntb,
        WindowClass,
        Windows, //
    },
    slots::{
        Lot,
        Outcome,
        Pin,
        SlotCache,
        SlotState,
        Target, //
    },
};

/// Who may acquire slots towards a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nobody.
    Nobody,
    /// The ring, to greet.
    Ring,
    /// Everybody.
    All,
}

/// On whose behalf a slot is acquired.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behalf {
    /// The ring's, to greet.
    Ring,
    /// Somebody's who needs it.
    Anybody,
    /// Somebody's who can do without: a quarter of the window's slots is left for others.
    Modest,
}

/// Of how many slots of a window one is left for others by who can do without.
const SPARE_PART: u8 = 4;

/// The slots of one adapter.
pub(super) struct Slots {
    books: Windows<Book>,
    reach: [Reach; PORTS_MAX as usize],
}

/// The slots of one window.
struct Book {
    class: WindowClass,
    /// On the heap, as `reserved` is: both are too large for stacks.
    cache: KBox<SlotCache>,
    /// `None` when the hardware was let go of.
    window: Option<Arc<Window>>,
    /// Of each slot that is write-combining.
    reserved: KVec<Option<WriteCombining>>,
}

/// A slot as debugfs shows it.
#[derive(Clone, Copy)]
pub(crate) struct SlotInfo {
    /// Of which window it is.
    pub(crate) class: WindowClass,
    /// Its number.
    pub(crate) slot: u8,
    /// Where it leads.
    pub(crate) state: SlotState,
    /// How many hold it.
    pub(crate) pins: u32,
}

impl Slots {
    /// The slots of the windows of `hw` are all empty, and nobody may fill them.
    pub(super) fn new(hw: &hw::Adapter) -> Result<Self> {
        let registers = match hw.window(WindowClass::Registers) {
            Ok(window) => Some(Book::new(WindowClass::Registers, window)?),
            Err(_) => None,
        };

        Ok(Self {
            books: Windows {
                memory: Book::new(WindowClass::Memory, hw.window(WindowClass::Memory)?)?,
                registers,
            },
            reach: [Reach::Nobody; PORTS_MAX as usize],
        })
    }

    /// Who may acquire slots towards `port` from now on.
    pub(super) fn set_reach(&mut self, port: Port, reach: Reach) {
        self.reach[port.index()] = reach;
    }

    /// How many slots maps of the kernel hold.
    pub(super) fn kernel(&self) -> usize {
        let held = |(_, state, pins): &(u8, SlotState, u32)| {
            let lot = state.target().map_or(Lot::SHARED, |target| target.lot);
            *pins != 0 && lot != Lot::SHARED
        };

        self.books
            .iter()
            .flat_map(|(_, book)| book.cache.iter())
            .filter(held)
            .count()
    }

    /// Lets go of the windows, reservations of cache modes included. What is still pinned leads nowhere.
    pub(super) fn close(&mut self) {
        for book in self.books.iter_mut() {
            for reserved in &mut book.reserved {
                *reserved = None;
            }
            book.window = None;
        }
    }

    /// The slots of the window of this class. Errors: EOPNOTSUPP when there is no such window.
    fn book(&self, class: WindowClass) -> Result<&Book> {
        Ok(self.books.get(class).ok_or(Errno::NotSupported)?)
    }

    /// The same, to be changed.
    fn book_mut(&mut self, class: WindowClass) -> Result<&mut Book> {
        Ok(self.books.get_mut(class).ok_or(Errno::NotSupported)?)
    }
}

impl Book {
    /// All slots of `window` are empty.
    fn new(class: WindowClass, window: &Arc<Window>) -> Result<Self> {
        let geometry = window.geometry();
        let mut reserved = KVec::with_capacity(geometry.slots().into(), GFP_KERNEL)?;

        for _ in 0..geometry.slots() {
            reserved.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            class,
            cache: Self::cache(geometry)?,
            window: Some(window.clone()),
            reserved,
        })
    }

    /// Books of empty slots; the stack that they are made on is given back.
    #[inline(never)]
    fn cache(geometry: Geometry) -> Result<KBox<SlotCache>> {
        Ok(KBox::new(SlotCache::new(geometry), GFP_KERNEL)?)
    }

    /// The window. Errors: ENODEV when it was let go of.
    fn window(&self) -> Result<&Arc<Window>> {
        self.window.as_ref().ok_or(ENODEV)
    }

    /// Makes the range of `slot` of this cache mode; no holder uses it.
    fn reserve(&mut self, slot: u8, mode: CacheMode) -> Result {
        let window = self.window.as_ref().ok_or(ENODEV)?;
        let reserved = self.reserved.get_mut(usize::from(slot)).ok_or(EINVAL)?;

        match (mode, reserved.is_some()) {
            (CacheMode::Wc, false) => *reserved = Some(window.reserve(slot)?),
            (CacheMode::Uc, true) => *reserved = None,
            (CacheMode::Wc, true) | (CacheMode::Uc, false) => {}
        }
        Ok(())
    }

    /// Points the slot of `pin`, which has led to `evict`, at `target`.
    fn program(
        &mut self,
        adapter: &Adapter,
        pin: &Pin,
        evict: Option<Target>,
        target: Target,
    ) -> Result {
        let slot = pin.slot();

        if let Some(old) = evict {
            adapter.clear_slot(self.class, slot, old.peer)?;
        }
        self.reserve(slot, target.mode)?;
        let (class, base) = (self.class, target.chunk.base());

        adapter.with_hw(|hw| hw.set_slot(class, slot, target.peer, base))?;
        adapter.counters().slots_set.count();
        trace::slot_set(
            adapter.id().get().into(),
            traced(class),
            slot.into(),
            target.peer.get().into(),
            base.get(),
            target.mode == CacheMode::Uc,
        );
        Ok(())
    }
}

/// The window of a class, as tracepoints name it.
fn traced(class: WindowClass) -> trace::Window {
    match class {
        WindowClass::Memory => trace::Window::Memory,
        WindowClass::Registers => trace::Window::Registers,
    }
}

/// A lot that nobody else has.
pub(crate) fn new_lot() -> Lot {
    static LAST: Atomic<u64> = Atomic::new(0);

    // Nobody makes 2^64 of them.
    NonZero::new(LAST.fetch_add(1, Relaxed).wrapping_add(1)).map_or(Lot::SHARED, Lot::new)
}

impl Adapter {
    /// A slot of the window of this class that leads to `bus` of the peer behind `port`, for who has this lot; programs one if
    /// none does.
    ///
    /// Errors: ENOLINK when the peer is not up, ENOSPC when all slots that `who` may have are pinned, ENODEV when the adapter is
    /// gone, EOPNOTSUPP when it has no such window.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        who: Behalf,
        class: WindowClass,
        port: Port,
        bus: BusAddr,
        mode: CacheMode,
        lot: Lot,
    ) -> Result<SlotRef> {
        let mut slots = self.slots().lock();

        match (slots.reach[port.index()], who) {
            (Reach::All, _) | (Reach::Ring, Behalf::Ring) => {}
            (Reach::Nobody | Reach::Ring, _) => return Err(Errno::NoLink.into()),
        }
        let book = slots.book_mut(class)?;
        let slot_bytes = book.cache.geometry().slot_bytes();
        let target = Target {
            peer: port,
            chunk: chunk_of(bus, slot_bytes),
            mode,
            lot,
        };
        let spare = match who {
            Behalf::Ring | Behalf::Anybody => 0,
            Behalf::Modest => book.cache.geometry().slots().div_ceil(SPARE_PART),
        };
        let pin = match book.cache.acquire_leaving(target, spare) {
            Outcome::Hit(pin) => pin,
            Outcome::Program { pin, evict } => match book.program(self, &pin, evict, target) {
                Ok(()) => {
                    book.cache.commit(&pin).map_err(|_| EIO)?;
                    pin
                }
                Err(error) => {
                    // Whatever it leads to now, it must not.
                    let cleared = self.clear_slot(class, pin.slot(), port);

                    book.cache.abort(pin).map_err(|_| EIO)?;
                    return Err(cleared.err().unwrap_or(error));
                }
            },
            // Programming is done under the lock.
            Outcome::Pending => return Err(EBUSY),
            Outcome::Full => return Err(ENOSPC),
        };

        let frame = book
            .window()
            .and_then(|window| window.slot_frame(pin.slot()).ok_or(EINVAL));

        drop(slots);
        // From here on dropping it gives the pin back.
        let mut slot = SlotRef {
            adapter: self.clone(),
            class,
            slot: pin.slot(),
            slot_bytes,
            pin: Some(pin),
            frame: 0,
            mode,
            lot,
        };

        slot.frame = frame?;
        Ok(slot)
    }

    /// Empties all slots towards `port`, whoever holds them, and lets nobody acquire one.
    pub(super) fn empty_slots(&self, port: Port) {
        let mut slots = self.slots().lock();

        slots.set_reach(port, Reach::Nobody);
        for book in slots.books.iter_mut() {
            for slot in book.cache.forget(port).iter() {
                // Hardware that is gone leads nowhere.
                if self.clear_slot(book.class, slot, port).is_err() {
                    self.counters().errors.count();
                }
                if book.cache.cleared(slot).is_err() {
                    self.counters().errors.count();
                }
            }
        }
    }

    /// Lets slot `slot`, which has led to `port`, lead nowhere.
    fn clear_slot(&self, class: WindowClass, slot: u8, port: Port) -> Result {
        self.with_hw(|hw| hw.clear_slot(class, slot, port))?;
        self.counters().slots_cleared.count();
        trace::slot_clear(
            self.id().get().into(),
            traced(class),
            slot.into(),
            port.get().into(),
        );
        Ok(())
    }

    /// The frame of a page that leads nowhere: loads give all ones, stores are lost. `None` if there is none, or no more.
    pub(crate) fn void_frame(&self) -> Option<u64> {
        let slots = self.slots().lock();

        slots.books.memory.window().ok()?.void_frame()
    }

    /// How many slots of the window of this class somebody holds; none if there is no such window.
    pub(crate) fn slots_pinned(&self, class: WindowClass) -> u8 {
        let slots = self.slots().lock();

        slots.book(class).map_or(0, |book| book.cache.pinned())
    }

    /// How many hold slots; several may hold the same.
    pub(super) fn pins(&self) -> u32 {
        let slots = self.slots().lock();

        slots
            .books
            .iter()
            .flat_map(|(_, book)| book.cache.iter())
            .fold(0, |sum: u32, (_, _, pins)| sum.saturating_add(pins))
    }

    /// Calls `show` for each slot of the window of this class, in order, until it fails. `show` must not touch the adapter's slots.
    pub(crate) fn each_slot<E>(
        &self,
        class: WindowClass,
        mut show: impl FnMut(SlotInfo) -> Result<(), E>,
    ) -> Result<(), E> {
        let slots = self.slots().lock();
        let Ok(book) = slots.book(class) else {
            return Ok(());
        };

        for (slot, state, pins) in book.cache.iter() {
            show(SlotInfo {
                class,
                slot,
                state,
                pins,
            })?;
        }
        Ok(())
    }
}

/// A pinned slot. Dropping it lets go: no access through it may come from the holder any more.
pub(crate) struct SlotRef {
    adapter: Arc<Adapter>,
    class: WindowClass,
    slot: u8,
    slot_bytes: SlotBytes,
    /// `None` while it is dropped only.
    pin: Option<Pin>,
    /// The page frame where the slot starts.
    frame: u64,
    mode: CacheMode,
    lot: Lot,
}

impl SlotRef {
    /// Number of the slot.
    pub(crate) fn slot(&self) -> u8 {
        self.slot
    }

    /// The page frame behind which the CPU finds `bus`, an address of the chunk that the slot was acquired for.
    pub(crate) fn frame(&self, bus: BusAddr) -> u64 {
        let offset = self.slot_bytes.offset_of(bus);

        // Frame numbers have 52 bits.
        self.frame.saturating_add(BusAddr::new(offset).frame())
    }

    /// Maps the `bytes` bytes from `bus` on for the kernel, both whole pages and in the chunk that the slot was acquired for.
    ///
    /// Errors: EINVAL, ENODEV when the adapter is gone, ENOMEM.
    pub(crate) fn map(&self, bus: BusAddr, bytes: usize) -> Result<IoMap> {
        let offset = self.slot_bytes.offset_of(bus);
        let slots = self.adapter.slots().lock();
        let window = slots.book(self.class)?.window()?;

        window.map(self.slot, offset, bytes, self.mode)
    }

    /// The slot leads nowhere when this returns, whoever holds it. For a slot of a lot.
    pub(crate) fn empty(&self) {
        let mut slots = self.adapter.slots().lock();
        let Ok(book) = slots.book_mut(self.class) else {
            return;
        };

        match book.cache.empty(self.slot) {
            Ok(None) => {}
            // One that cannot be cleared is not used for anything else.
            Ok(Some(peer)) => {
                let cleared = self.adapter.clear_slot(self.class, self.slot, peer);

                if cleared.is_err() || book.cache.cleared(self.slot).is_err() {
                    self.adapter.counters().errors.count();
                }
            }
            Err(_) => self.adapter.counters().errors.count(),
        }
    }

    /// The slot, which was [emptied](Self::empty) or whose peer was away, leads again where it has led before.
    ///
    /// Errors: EBUSY when another one does, ENODEV, ENOLINK; it leads nowhere then.
    pub(crate) fn refill(&self) -> Result {
        let mut slots = self.adapter.slots().lock();
        let reach = slots.reach;
        let book = slots.book_mut(self.class)?;
        let Some(target) = book.cache.revive(self.slot).map_err(|_| EBUSY)? else {
            return Ok(());
        };
        let result = match (reach[target.peer.index()], &self.pin) {
            (Reach::All, Some(pin)) => book.program(&self.adapter, pin, None, target),
            _ => Err(Errno::NoLink.into()),
        };

        drop(slots);
        result.inspect_err(|_| self.empty())
    }

    /// Lets go, and if nobody else holds the slot it leads nowhere when this returns.
    pub(crate) fn retire(mut self) {
        let Some(pin) = self.pin.take() else {
            return;
        };
        let mut slots = self.adapter.slots().lock();
        let Ok(book) = slots.book_mut(self.class) else {
            return;
        };

        match book.cache.retire(pin) {
            Ok(None) => {}
            // One that cannot be cleared is not used for anything else.
            Ok(Some(peer)) => {
                let cleared = self.adapter.clear_slot(self.class, self.slot, peer);

                if cleared.is_err() || book.cache.cleared(self.slot).is_err() {
                    self.adapter.counters().errors.count();
                }
            }
            Err(_) => self.adapter.counters().errors.count(),
        }
        drop(slots);
        if self.lot != Lot::SHARED {
            self.adapter.unmapped.wake_all();
        }
    }
}

impl Drop for SlotRef {
    fn drop(&mut self) {
        if let Some(pin) = self.pin.take() {
            let mut slots = self.adapter.slots().lock();
            let released = slots
                .book_mut(self.class)
                .is_ok_and(|book| book.cache.release(pin).is_ok());

            if !released {
                self.adapter.counters().errors.count();
            }
        }
    }
}
