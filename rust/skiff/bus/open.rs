// SPDX-License-Identifier: GPL-2.0

//! A range of bus addresses behind a paging IOMMU into which pages are linked for the time of one request.
//!
//! It consists of chunks, each of which one request has to itself. Peers are told of the range once; what it leads to changes
//! without them.
//!
//! # Locking
//!
//! Each chunk has a spinlock, so that linking may be done in any context. It is innermost, and held while the chunk's pages are
//! linked or unlinked. A chunk is closed under it: when all are, nobody uses the bus addresses any more.

use super::{
    Bus,
    Memory, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    iova::{
        Space,
        Target, //
    },
    new_irq_spinlock,
    page::Run,
    spin::IrqSpinLock, //
};
use skiff_model::addr::{
    Extent,
    PAGE, //
};

/// A chunk that can be used.
struct Live {
    space: Arc<Space>,
    /// Pages that are linked, from the first on.
    linked: usize,
}

/// A chunk.
#[pin_data]
struct Chunk {
    /// The first page of the space that it has.
    first: usize,
    /// How many it has.
    pages: usize,
    /// `None` once it is closed.
    #[pin]
    live: IrqSpinLock<Option<Live>>,
}

impl Chunk {
    /// One that is closed.
    fn new(first: usize, pages: usize) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                first,
                pages,
                live <- new_irq_spinlock!(None, "Chunk::live"),
            }),
            GFP_KERNEL,
        )
    }

    /// Nobody reaches what was linked when this returns, and nothing can be linked any more.
    fn close(&self) {
        let mut live = self.live.lock();

        if let Some(live) = &mut *live {
            self.empty(live);
        }
        let gone = live.take();

        drop(live);
        drop(gone);
    }

    /// Unlinks all.
    fn empty(&self, live: &mut Live) {
        if live.linked != 0 {
            live.space.unlink(self.first, live.linked);
            live.linked = 0;
        }
    }
}

/// The chunks of a range. They own the bus addresses until they are closed.
pub(super) struct Chunks(KVVec<Pin<KBox<Chunk>>>);

impl Chunks {
    /// They are of `space` from now on, which goes when the last of them is closed. To be called once.
    pub(super) fn start(&self, space: &Arc<Space>) {
        for chunk in &self.0 {
            *chunk.live.lock() = Some(Live {
                space: space.clone(),
                linked: 0,
            });
        }
    }

    /// Nobody reaches anything by them when this returns, and the bus addresses are free.
    pub(super) fn close(&self) {
        for chunk in &self.0 {
            chunk.close();
        }
    }
}

/// A range of bus addresses into which pages can be linked. Dropping it unlinks what still is.
pub(crate) struct Open {
    bus: Arc<Bus>,
    /// Its name there.
    id: u64,
    extent: Extent,
    chunks: Arc<Chunks>,
}

impl Open {
    /// A range of `chunks` chunks of `pages` pages each, all of which one slot of a peer reaches.
    ///
    /// Errors: `EINVAL` when that is none or too much, `ENODEV` when the adapter is gone, `ENOMEM`, `ENOSPC`; `EOPNOTSUPP` without
    /// a paging IOMMU.
    pub(crate) fn new(bus: &Arc<Bus>, chunks: usize, pages: usize) -> Result<Arc<Self>> {
        let total = chunks.checked_mul(pages).ok_or(EINVAL)?;
        // CAST: Both are 64 bits wide.
        let bytes = (total as u64).checked_mul(PAGE).ok_or(EINVAL)?;

        if total == 0 || bytes > bus.slot_bytes().get() {
            return Err(EINVAL);
        }
        let mut list = KVVec::with_capacity(chunks, GFP_KERNEL)?;

        for chunk in 0..chunks {
            let first = chunk.checked_mul(pages).ok_or(EOVERFLOW)?;

            list.push(Chunk::new(first, pages)?, GFP_KERNEL)?;
        }
        let chunks = Arc::new(Chunks(list), GFP_KERNEL)?;
        let (id, extent) = bus.open(&chunks, total)?;
        let open = Self {
            bus: bus.clone(),
            id,
            extent,
            chunks,
        };

        // On failure the value is dropped, which closes it.
        Ok(Arc::new(open, GFP_KERNEL)?)
    }

    /// The memory that peers are told of: it has no pages of its own.
    pub(crate) fn memory(self: &Arc<Self>) -> Result<Arc<Memory>> {
        Memory::open(self)
    }

    /// How many pages peers may see in it.
    pub(super) fn pages(&self) -> usize {
        // CAST: A slot reaches no more than fit into memory.
        self.extent.pages() as usize
    }

    /// Where peers find it.
    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    /// Whether its addresses are those of `bus`.
    pub(super) fn is_of(&self, bus: &Bus) -> bool {
        core::ptr::eq(&*self.bus, bus)
    }

    /// The chunk, if it is there.
    fn chunk(&self, chunk: usize) -> Result<&Chunk> {
        Ok(self.chunks.0.get(chunk).ok_or(EINVAL)?)
    }

    /// Links `pages` pages of memory from frame `frame` on behind what is linked in chunk `chunk`, which is up to page `page`. May be called in any
    /// context but NMIs; it takes effect by [`commit`](Self::commit).
    ///
    /// Errors: `EINVAL` when the chunk is not as long, or not linked up to there; `ENODEV` when the adapter is gone; `ENOMEM`.
    pub(crate) fn link(&self, chunk: usize, page: usize, frame: u64, pages: usize) -> Result {
        let chunk = self.chunk(chunk)?;
        let mut live = chunk.live.lock();
        let live = (*live).as_mut().ok_or(ENODEV)?;
        let linked = page.checked_add(pages).ok_or(EINVAL)?;

        if page != live.linked || pages == 0 || linked > chunk.pages {
            return Err(EINVAL);
        }
        let at = chunk.first.checked_add(page).ok_or(EINVAL)?;

        live.space.link(at, Run { frame, pages }, Target::Memory)?;
        live.linked = linked;
        Ok(())
    }

    /// Peers reach what is linked in chunk `chunk`, `pages` pages, when this returns. May be called in any context but NMIs.
    ///
    /// Errors: `EINVAL` when that many are not linked, `ENODEV` when the adapter is gone, those of the IOMMU.
    pub(crate) fn commit(&self, chunk: usize, pages: usize) -> Result {
        let chunk = self.chunk(chunk)?;
        let live = chunk.live.lock();
        let live = live.as_ref().ok_or(ENODEV)?;

        if pages == 0 || pages != live.linked {
            return Err(EINVAL);
        }
        live.space.sync(chunk.first, pages)
    }

    /// Nobody reaches what was linked in chunk `chunk` when this returns; how many pages that were. May be called in any context
    /// but NMIs.
    pub(crate) fn unlink(&self, chunk: usize) -> usize {
        let Ok(chunk) = self.chunk(chunk) else {
            return 0;
        };
        let mut live = chunk.live.lock();
        let Some(live) = &mut *live else {
            return 0;
        };
        let linked = live.linked;

        chunk.empty(live);
        linked
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.bus.let_go(self.id);
        self.chunks.close();
    }
}
