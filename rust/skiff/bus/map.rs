// SPDX-License-Identifier: GPL-2.0

//! What peers reach through one adapter.
//!
//! # Locking
//!
//! The mutex of a [`Bus`] is innermost; with it held only the DMA API is called, and what [`Bus::while_open`] is given: a page
//! is put into a page table there, and no other lock of the module may be taken.

use super::{
    memory::Memory,
    open::{
        Chunks,
        Open, //
    },
    pool::Pool,
    window::Window, //
};
use kernel::{
    device::Device,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        UniqueArc, //
    },
};
use skiff_ext::{
    errno::Errno,
    iova,
    iova::{
        Direct,
        Space,
        Target, //
    },
    vma::AddressSpace, //
};
use skiff_model::addr::{
    BusAddr,
    Extent,
    SlotBytes,
    EXTENTS_MAX,
    PAGE, //
};

/// How memory gets its bus addresses.
enum Kind {
    /// They are carved from windows of an IOMMU's address space.
    Paged,
    /// They are what the device sees anyway.
    Flat(Arc<Pool>),
}

/// What there is of bus addresses.
struct State {
    /// Bus windows; none without a paging IOMMU.
    windows: KVec<Window>,
    /// Pages of all mappings.
    mapped: u64,
    /// Pages of those that are kept because a peer might still write them.
    held: u64,
    /// Maps that may lead to the window.
    watches: RBTree<u64, Arc<AddressSpace>>,
    /// Ranges into which pages are linked by others.
    open: RBTree<u64, Arc<Chunks>>,
    /// The last name of these.
    last: u64,
    /// Whether the adapter is still there.
    life: Life,
}

/// Whether the adapter is still there.
#[derive(PartialEq, Eq)]
enum Life {
    /// It is.
    Open,
    /// It is going or gone.
    Closed,
}

/// Figures of a [`Bus`], in bytes.
#[derive(Clone, Copy)]
pub(crate) struct BusStats {
    /// Exported memory that its bus windows have room for.
    pub(crate) window: u64,
    /// Memory that peers may reach at the moment.
    pub(crate) mapped: u64,
    /// Memory that is kept because a peer might still write it.
    pub(crate) held: u64,
}

/// This node's memory as peers see it through one adapter.
#[pin_data]
pub(crate) struct Bus {
    /// The bridge function.
    dev: ARef<Device>,
    /// How memory gets its bus addresses.
    kind: Kind,
    /// What a slot of a peer reaches, in pages of a bus window.
    slot_bytes: SlotBytes,
    /// The addresses.
    #[pin]
    state: Mutex<State>,
}

impl Bus {
    /// The bus of the bridge function `dev`, whose peers reach `slot_bytes` with a slot. Has one bus window from the start,
    /// or makes the pool have one.
    ///
    /// Errors: ENOMEM, ENOSPC.
    pub(crate) fn new(dev: &Device, slot_bytes: SlotBytes, pool: &Arc<Pool>) -> Result<Arc<Self>> {
        let mut windows = KVec::new();
        let kind = if iova::is_paged(dev) {
            windows.push(Window::new(dev, slot_bytes)?, GFP_KERNEL)?;
            Kind::Paged
        } else {
            pool.require(slot_bytes)?;
            Kind::Flat(pool.clone())
        };
        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                kind,
                slot_bytes,
                state <- new_mutex!(State { windows, mapped: 0, held: 0, watches: RBTree::new(), open: RBTree::new(), last: 0, life: Life::Open }, "Bus::state"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether a paging IOMMU decides what peers reach.
    pub(crate) fn paging(&self) -> bool {
        matches!(self.kind, Kind::Paged)
    }

    /// Lets peers reach `memory`, until the mapping is dropped.
    ///
    /// Errors: ENODEV when the adapter is gone, ENOMEM, ENOSPC; EOPNOTSUPP for [`Memory::ram`] where a bus address is not the
    /// physical one.
    pub(crate) fn map(self: &Arc<Self>, memory: &Arc<Memory>) -> Result<Mapping> {
        let mut extents = UniqueArc::new(KVVec::new(), GFP_KERNEL)?;
        let mut direct = KVVec::new();
        let result = match (&self.kind, memory.as_open()) {
            (_, Some(open)) => self.lead(open, &mut extents),
            (_, None) if memory.is_messages() => self.bare(memory, &mut extents),
            (Kind::Paged, None) if memory.is_ram() => Err(Errno::NotSupported.into()),
            (Kind::Flat(_), None) if memory.is_ram() => self.show(memory, &mut extents),
            (Kind::Paged, None) => self.link(memory, &mut extents),
            (Kind::Flat(_), None) => self.expose(memory, &mut extents, &mut direct),
        };
        // A peer takes no more ranges than that, and would end the session for it.
        let told = match u32::try_from(extents.len()) {
            Ok(count) if count <= EXTENTS_MAX => Ok(()),
            _ => Err(ENOSPC),
        };
        if let Err(error) = result.and(told) {
            self.undo(&extents);
            return Err(error);
        }
        Ok(Mapping {
            extents: extents.into(),
            holds: Atomic::new(0),
            _direct: direct,
            memory: memory.clone(),
            bus: self.clone(),
        })
    }

    /// A range that leads where others say. Errors: EINVAL when it is one of another bus, ENODEV, ENOMEM.
    fn lead(&self, open: &Open, extents: &mut KVVec<Extent>) -> Result {
        if !open.is_of(self) {
            return Err(EINVAL);
        }
        extents.push(open.extent(), GFP_KERNEL)?;
        let mut state = self.state.lock();
        if state.life == Life::Closed {
            return Err(ENODEV);
        }
        state.mapped = state.mapped.saturating_add(open.extent().pages());
        Ok(())
    }

    /// Memory as it lies, run by run.
    fn expose(
        &self,
        memory: &Memory,
        extents: &mut KVVec<Extent>,
        direct: &mut KVVec<Direct>,
    ) -> Result {
        extents.reserve(memory.runs().len(), GFP_KERNEL)?;
        direct.reserve(memory.runs().len(), GFP_KERNEL)?;
        let mut state = self.state.lock();
        if state.life == Life::Closed {
            return Err(ENODEV);
        }
        for run in memory.runs() {
            let mapped = Direct::new(&self.dev, *run, memory.target())?;
            // CAST: Both are 64 bits wide.
            let extent = Extent::new(BusAddr::new(mapped.address()), mapped.bytes() as u64)
                .map_err(|_| EOVERFLOW)?;
            direct.push(mapped, GFP_KERNEL)?;
            extents.push(extent, GFP_KERNEL)?;
            state.mapped = state.mapped.saturating_add(extent.pages());
        }
        Ok(())
    }

    /// Memory that others have. It is not mapped with the DMA API, which is for who has it: a page of our own shows that bus
    /// addresses are physical ones here, so that nothing has to be translated or made coherent.
    fn show(&self, memory: &Memory, extents: &mut KVVec<Extent>) -> Result {
        let Kind::Flat(pool) = &self.kind else {
            return Err(Errno::NotSupported.into());
        };
        let own = Memory::contiguous(pool, 1)?;
        let run = *own.runs().first().ok_or(EINVAL)?;
        let mapped = Direct::new(&self.dev, run, Target::Memory)?;
        if Some(mapped.address()) != run.frame.checked_mul(PAGE) {
            return Err(Errno::NotSupported.into());
        }
        self.bare(memory, extents)
    }

    /// What is found at its own addresses, run by run.
    fn bare(&self, memory: &Memory, extents: &mut KVVec<Extent>) -> Result {
        extents.reserve(memory.runs().len(), GFP_KERNEL)?;
        let mut state = self.state.lock();
        if state.life == Life::Closed {
            return Err(ENODEV);
        }
        for run in memory.runs() {
            let bus = BusAddr::from_frame(run.frame).ok_or(EOVERFLOW)?;
            // CAST: Both are 64 bits wide.
            let bytes = (run.pages as u64).checked_mul(PAGE).ok_or(EOVERFLOW)?;
            let extent = Extent::new(bus, bytes).map_err(|_| EOVERFLOW)?;
            extents.push(extent, GFP_KERNEL)?;
            state.mapped = state.mapped.saturating_add(extent.pages());
        }
        Ok(())
    }

    /// Memory in bus windows, in as few pieces as there is room for. More windows are made when it does not fit.
    fn link(&self, memory: &Memory, extents: &mut KVVec<Extent>) -> Result {
        let pages = memory.pages();
        let window = usize::try_from(self.slot_bytes.get() / PAGE).map_err(|_| EOVERFLOW)?;
        let mut done: usize = 0;
        let mut want = pages.min(window);
        while done < pages {
            want = want.min(pages.saturating_sub(done));
            extents.reserve(1, GFP_KERNEL)?;
            let mut state = self.state.lock();
            if state.life == Life::Closed {
                return Err(ENODEV);
            }
            let found = match state.link(memory, done, want)? {
                Some(extent) => Some(extent),
                None => match Window::new(&self.dev, self.slot_bytes) {
                    Ok(window) => {
                        state.windows.push(window, GFP_KERNEL)?;
                        state.link(memory, done, want)?
                    }
                    Err(error) if error == ENOSPC => None,
                    Err(error) => return Err(error),
                },
            };
            match found {
                Some(extent) => {
                    state.mapped = state.mapped.saturating_add(extent.pages());
                    extents.push(extent, GFP_KERNEL)?;
                    done = done.checked_add(want).ok_or(EOVERFLOW)?;
                }
                None if want > 1 => want /= 2,
                None => return Err(ENOSPC),
            }
        }
        Ok(())
    }

    /// Takes memory away from peers.
    fn undo(&self, extents: &[Extent]) {
        let mut state = self.state.lock();
        if state.life == Life::Open {
            for extent in extents {
                state.unlink(*extent);
            }
        }
    }

    /// The adapter goes: all bus addresses lead nowhere when it returns, and no map leads to its window. Whoever still holds a
    /// mapping holds an empty one. To be called after the slots are emptied and before the window is let go of.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.life = Life::Closed;
        state.mapped = 0;
        let windows = core::mem::replace(&mut state.windows, KVec::new());
        let watches = core::mem::replace(&mut state.watches, RBTree::new());
        let open = core::mem::replace(&mut state.open, RBTree::new());
        drop(state);
        drop(windows);
        for chunks in open.values() {
            chunks.close();
        }
        for space in watches.values() {
            space.zap();
        }
    }

    /// What a slot of a peer reaches.
    pub(super) fn slot_bytes(&self) -> SlotBytes {
        self.slot_bytes
    }

    /// Gives `chunks` the bus addresses of `pages` pages, within what one slot reaches, and closes them when the adapter goes.
    /// A name for [`let_go`](Self::let_go), and the addresses.
    ///
    /// Errors: EOPNOTSUPP without a paging IOMMU, ENODEV when the adapter is gone, ENOMEM, ENOSPC.
    pub(super) fn open(&self, chunks: &Arc<Chunks>, pages: usize) -> Result<(u64, Extent)> {
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut state = self.state.lock();
        if state.life == Life::Closed {
            return Err(ENODEV);
        }
        let id = state.last.checked_add(1).ok_or(ENOMEM)?;
        let space = Arc::new(Space::new(&self.dev, pages)?, GFP_KERNEL)?;
        let base = BusAddr::new(space.base());
        // CAST: Both are 64 bits wide.
        let bytes = (pages as u64).checked_mul(PAGE).ok_or(EOVERFLOW)?;
        let extent = Extent::new(base, bytes).map_err(|_| EOVERFLOW)?;
        let end = self.slot_bytes.offset_of(base).checked_add(bytes);
        if end.is_none_or(|end| end > self.slot_bytes.get()) {
            // The allocator aligns a range to the power of two that it fits into.
            return Err(EIO);
        }
        chunks.start(&space);
        state.last = id;
        state.open.insert(place.into_node(id, chunks.clone()));
        Ok((id, extent))
    }

    /// The owner closes them itself.
    pub(super) fn let_go(&self, id: u64) {
        let node = self.state.lock().open.remove_node(&id);
        drop(node);
    }

    /// Does something that must not be done once the adapter goes, and keeps it from going meanwhile; [`None`] when it has.
    pub(crate) fn while_open<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let state = self.state.lock();
        (state.life == Life::Open).then(act)
    }

    /// Figures of the moment.
    pub(crate) fn stats(&self) -> BusStats {
        let state = self.state.lock();
        let pages: usize = state.windows.iter().map(|window| window.pages().0).sum();
        let mapped = state.mapped.saturating_mul(PAGE);
        let held = state.held.saturating_mul(PAGE);
        drop(state);
        let window = match &self.kind {
            // CAST: Both are 64 bits wide.
            Kind::Paged => (pages as u64).saturating_mul(PAGE),
            Kind::Flat(pool) => pool.bytes().0,
        };
        BusStats {
            window,
            mapped,
            held,
        }
    }
}

impl State {
    /// Lets bus addresses of some window lead to `want` pages of `memory` from page `first` on.
    fn link(&mut self, memory: &Memory, first: usize, want: usize) -> Result<Option<Extent>> {
        for window in &mut self.windows {
            if let Some(extent) = window.link(want, memory.target(), memory.pieces(first, want))? {
                return Ok(Some(extent));
            }
        }
        Ok(None)
    }

    /// Undoes it; a window that is empty then goes, unless it is the first.
    fn unlink(&mut self, extent: Extent) {
        let mut emptied = None;
        for (index, window) in self.windows.iter_mut().enumerate() {
            if matches!(window.unlink(extent), Ok(true)) {
                emptied = (index != 0 && window.pages().1 == 0).then_some(index);
                break;
            }
        }
        if let Some(window) = emptied.and_then(|index| self.windows.remove(index).ok()) {
            drop(window);
        }
        self.mapped = self.mapped.saturating_sub(extent.pages());
    }
}

/// A memory that peers may reach through an adapter. Dropping it takes it away from them at once if the adapter has a paging
/// IOMMU.
pub(crate) struct Mapping {
    /// Where peers find it, in the order of its content.
    extents: Arc<KVVec<Extent>>,
    /// How often it is held back.
    holds: Atomic<u32>,
    /// How the device got at it without a paging IOMMU.
    _direct: KVVec<Direct>,
    /// What it is.
    memory: Arc<Memory>,
    /// Through which adapter.
    bus: Arc<Bus>,
}

impl Mapping {
    /// Where peers find it, in the order of its content.
    pub(crate) fn extents(&self) -> &Arc<KVVec<Extent>> {
        &self.extents
    }

    /// Whether peers cannot reach it any more once it is dropped.
    pub(crate) fn paging(&self) -> bool {
        self.bus.paging()
    }

    /// Counts it as held back, once more.
    pub(crate) fn hold_back(&self) {
        if self.holds.fetch_add(1, Relaxed) == 0 {
            let mut state = self.bus.state.lock();
            // CAST: Both are 64 bits wide.
            state.held = state.held.saturating_add(self.memory.pages() as u64);
        }
    }

    /// Undoes one [`hold_back`](Self::hold_back).
    pub(crate) fn release(&self) {
        if self.holds.fetch_sub(1, Relaxed) == 1 {
            let mut state = self.bus.state.lock();
            // CAST: Both are 64 bits wide.
            state.held = state.held.saturating_sub(self.memory.pages() as u64);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.bus.undo(&self.extents);
    }
}

/// Maps of a file that may lead to the window of an adapter: they are zapped when it goes.
pub(crate) struct Watch {
    /// The adapter's bus.
    bus: Arc<Bus>,
    /// The watch's name there.
    id: u64,
}

impl Watch {
    /// Watches on behalf of the maps of `space`.
    ///
    /// Errors: ENODEV when the adapter is gone, ENOMEM.
    pub(crate) fn new(bus: &Arc<Bus>, space: &Arc<AddressSpace>) -> Result<Self> {
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut state = bus.state.lock();
        if state.life == Life::Closed {
            return Err(ENODEV);
        }
        let id = state.last.checked_add(1).ok_or(ENOMEM)?;
        state.last = id;
        state.watches.insert(place.into_node(id, space.clone()));
        drop(state);
        Ok(Self {
            bus: bus.clone(),
            id,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let node = self.bus.state.lock().watches.remove_node(&self.id);
        drop(node);
    }
}
