// SPDX-License-Identifier: GPL-2.0

//! Memory of a peer, or of this node, as the maps of one file show it.
//!
//! A map of a peer's memory holds the slots of the window that its pages need, from `mmap` until it is gone or the memory is
//! lost; pages come in on faults, which never need more. Taking the memory away sets the state first and zaps then, so that
//! no fault brings a page back; only then the slots are let go. A map of the kernel cannot be taken away: its slot, which is of
//! a lot of its own, is emptied instead, and stays with the map.
//!
//! # Locking
//!
//! The mutex of a [`View`] is taken by faults, under the mmap lock. Slots are acquired and dropped with it held. It is not held
//! while pages are zapped: a fault that has to wait for it would be waited for by whoever holds the page table.

mod fault;
mod loss;
mod mapped;

use super::{
    map::{
        Loss,
        Map,
        MapMode, //
    },
    remote::{
        Remote,
        Slots, //
    },
    Need,
    Reach, //
};
use crate::{
    bus::{
        Memory,
        Watch, //
    },
    fabric::{
        Adapter,
        SlotRef, //
    },
};
use kernel::{
    fs::File,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
};
use skiff_ext::{
    errno::Errno,
    iova::Target,
    page::Pages,
    vma,
    vma::{
        AddressSpace,
        NewVma, //
    },
};
use skiff_model::{
    addr::{
        Extent,
        PAGE, //
    },
    ids::Port,
    ntb::WindowClass,
    wire::Access, //
};

/// Whose memory it is.
enum Source {
    /// A peer's.
    Remote(Remote),
    /// This node's.
    Local(Target),
}

/// Whether the memory can be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It can.
    Live,
    /// Its peer is away, and may come back.
    Suspended,
    /// Never again.
    Lost,
}

/// What a map holds.
struct Entry {
    /// First page.
    first: u64,
    /// Pages.
    pages: u64,
    /// How they are reached.
    mode: MapMode,
    /// Areas of the program that it consists of.
    areas: usize,
    /// The slots that its pages need, while the memory can be reached.
    slots: Slots,
    /// Says when pages of the adapter must go.
    _watch: Option<Watch>,
}

/// What changes.
struct Inner {
    /// Whether the memory can be reached.
    state: State,
    /// The memory, if it is this node's and not lost.
    memory: Option<Arc<Memory>>,
    /// The maps.
    maps: RBTree<u64, Entry>,
    /// What the kernel's maps need: the slot of each.
    kernel: RBTree<u64, Option<SlotRef>>,
    /// The last map's name.
    last: u64,
}

/// Memory that the maps of one file show.
#[pin_data]
pub(crate) struct View {
    /// Whose it is.
    source: Source,
    /// How many pages there are.
    pages: u64,
    /// All areas that lead to it.
    space: SetOnce<Arc<AddressSpace>>,
    /// What changes.
    #[pin]
    inner: Mutex<Inner>,
}

/// How to map what this node has when a program wants `mode`. Registers are not cached, whatever it wants. Error: EINVAL.
fn own_mode(target: Target, mode: MapMode) -> Result<MapMode> {
    match (target, mode) {
        (Target::Memory, MapMode::WriteBack | MapMode::WriteCombining) => Ok(MapMode::WriteBack),
        (Target::Memory, MapMode::Uncached) => Err(EINVAL),
        (Target::Registers, _) => Ok(MapMode::Uncached),
    }
}

impl View {
    /// Memory of `bytes` bytes of the peer behind `port`, which says that it is at `extents`, through the window of `class`.
    ///
    /// Errors: ENOMEM, EOPNOTSUPP when there is no such window, EPROTO when the peer's ranges are not that long.
    pub(crate) fn remote(
        adapter: &Arc<Adapter>,
        class: WindowClass,
        port: Port,
        extents: KVVec<Extent>,
        bytes: u64,
    ) -> Result<Arc<Self>> {
        let remote = Remote::new(adapter, class, port, extents, bytes)?;
        let pages = remote.pages();
        Self::new(Source::Remote(remote), pages, None)
    }

    /// Memory of this node.
    pub(crate) fn local(memory: &Arc<Memory>) -> Result<Arc<Self>> {
        // CAST: Both are 64 bits wide.
        let pages = memory.pages() as u64;
        Self::new(Source::Local(memory.target()), pages, Some(memory.clone()))
    }

    /// A view without maps.
    fn new(source: Source, pages: u64, memory: Option<Arc<Memory>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                source,
                pages,
                space: SetOnce::new(),
                inner <- new_mutex!(
                    Inner {
                        state: State::Live,
                        memory,
                        maps: RBTree::new(),
                        kernel: RBTree::new(),
                        last: 0,
                    },
                    "View::inner"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Lets the maps of `file`, which has an inode of its own, be those of this view.
    ///
    /// Errors: EBUSY when it has a file already, ENOMEM.
    pub(crate) fn attach(&self, file: &File) -> Result {
        let space = Arc::new(AddressSpace::of(file)?, GFP_KERNEL)?;
        self.space.populate(space).then_some(()).ok_or(EBUSY)
    }

    /// Maps it from `offset` bytes on into a new area.
    ///
    /// Errors: EACCES, ECONNRESET, EINVAL, ENODEV, ENOLINK, ENOMEM, ENOSPC.
    pub(crate) fn mmap(
        self: &Arc<Self>,
        vma: &NewVma<'_>,
        offset: u64,
        access: Access,
        mode: MapMode,
        loss: Loss,
    ) -> Result {
        let space = self.space.as_ref().ok_or(EINVAL)?;
        let mode = match self.source {
            Source::Remote(_) => mode,
            Source::Local(target) => own_mode(target, mode)?,
        };
        let first = offset / PAGE;
        // CAST: Both are 64 bits wide.
        let pages = vma.pages() as u64;
        let end = first.checked_add(pages).ok_or(EINVAL)?;
        if offset % PAGE != 0 || end > self.pages {
            return Err(EINVAL);
        }
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let ones = match loss {
            Loss::Sigbus => None,
            Loss::AllOnes => Some(ones()?),
        };
        let watch = match &self.source {
            Source::Remote(remote) => Some(Watch::new(remote.adapter.bus(), space)?),
            Source::Local(_) => None,
        };

        let mut inner = self.inner.lock();
        let slots = match (inner.state, &self.source) {
            (State::Suspended, _) => return Err(Errno::NoLink.into()),
            (State::Lost, _) => return Err(Errno::ConnReset.into()),
            (State::Live, Source::Remote(remote)) => remote.acquire(first, pages, mode)?,
            (State::Live, Source::Local(_)) => Slots::none(),
        };
        let id = inner.last.checked_add(1).ok_or(ENOMEM)?;
        inner.last = id;
        let entry = Entry {
            first,
            pages,
            mode,
            areas: 0,
            slots,
            _watch: watch,
        };
        inner.maps.insert(place.into_node(id, entry));
        drop(inner);

        let result = Arc::new(
            Map {
                view: self.clone(),
                id,
                first,
                pages,
                file_page: vma.first_page(),
                mode,
                ones,
            },
            GFP_KERNEL,
        )
        .map_err(Error::from)
        .and_then(|map| {
            vma.install(
                map,
                match access {
                    Access::ReadWrite => vma::Access::ReadWrite,
                    Access::ReadOnly => vma::Access::ReadOnly,
                },
            )
        });
        if result.is_err() {
            self.remove(id);
        }
        result
    }

    /// `pages` pages from page `first` on, for a device of this node.
    ///
    /// Errors: ECONNRESET, EINVAL, ENODEV, ENOLINK, ENOMEM, ENOSPC.
    pub(crate) fn reach(&self, first: u64, pages: u64, need: Need) -> Result<Reach> {
        let end = first.checked_add(pages).ok_or(EINVAL)?;
        if pages == 0 || end > self.pages {
            return Err(EINVAL);
        }
        let inner = self.inner.lock();
        match (inner.state, &self.source, &inner.memory) {
            (State::Live, Source::Remote(remote), _) => remote.reach(first, pages, need),
            (State::Live, Source::Local(_), Some(memory)) => Reach::memory(memory, first, pages),
            (State::Suspended, ..) => Err(Errno::NoLink.into()),
            (State::Live | State::Lost, ..) => Err(Errno::ConnReset.into()),
        }
    }

    /// A map has one more area.
    pub(super) fn opened(&self, id: u64) {
        if let Some(entry) = self.inner.lock().maps.get_mut(&id) {
            entry.areas = entry.areas.saturating_add(1);
        }
    }

    /// A map has one area less; the last one takes it along.
    pub(super) fn closed(&self, id: u64) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.maps.get_mut(&id) else {
            return;
        };
        entry.areas = entry.areas.saturating_sub(1);
        if entry.areas == 0 {
            drop(inner);
            self.remove(id);
        }
    }

    /// A map is no more. Its slots, and its watch, are dropped without the lock.
    fn remove(&self, id: u64) {
        let node = self.inner.lock().maps.remove_node(&id);
        drop(node);
    }

    /// Live maps, those of the kernel included.
    pub(crate) fn maps(&self) -> u32 {
        let inner = self.inner.lock();
        let maps = inner.maps.values().count();
        u32::try_from(maps.saturating_add(inner.kernel.values().count())).unwrap_or(u32::MAX)
    }

    /// Slots that the maps use.
    pub(crate) fn slots(&self) -> u32 {
        let inner = self.inner.lock();
        let slots = inner.maps.values().flat_map(|entry| entry.slots.numbers());
        let kernel = inner.kernel.values().flatten();
        Iterator::chain(slots, kernel.map(|slot| slot.slot()))
            .fold(0u64, |set, slot| {
                set | 1u64.checked_shl(slot.into()).unwrap_or(0)
            })
            .count_ones()
    }
}

/// A page of ones.
fn ones() -> Result<Pages> {
    let page = Pages::contiguous(1)?;
    page.shared().ok_or(EINVAL)?.fill_ones();
    Ok(page)
}
