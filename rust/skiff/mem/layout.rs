// SPDX-License-Identifier: GPL-2.0

//! Where the pages of a peer's memory are: the ranges of its bus addresses, by page.

use kernel::prelude::*;
use skiff_ext::errno::Errno;
use skiff_model::addr::{
    check_extents,
    chunk_of,
    BusAddr,
    Chunk,
    Extent,
    SlotBytes,
    PAGE, //
};

/// Pages of a peer's memory that lie together, in one chunk.
pub(super) struct Piece {
    /// Where they start.
    pub(super) bus: BusAddr,
    /// The chunk that they are in.
    pub(super) chunk: Chunk,
    /// How many there are.
    pub(super) pages: u64,
}

/// The ranges of a peer's memory.
///
/// # Invariants
///
/// `starts` has the first page of each extent, in order; `pages` is how many there are altogether.
pub(super) struct Layout {
    /// First page of each extent.
    starts: KVVec<u64>,
    /// Where they are.
    extents: KVVec<Extent>,
    /// Their sum.
    pages: u64,
    /// What a slot reaches.
    slot_bytes: SlotBytes,
}

impl Layout {
    /// Memory of `bytes` bytes in `extents`.
    ///
    /// Errors: ENOMEM, EPROTO when the peer's ranges are not that long.
    pub(super) fn new(extents: KVVec<Extent>, bytes: u64, slot_bytes: SlotBytes) -> Result<Self> {
        check_extents(extents.iter().copied(), bytes).map_err(|_| Errno::Proto)?;
        let mut starts = KVVec::with_capacity(extents.len(), GFP_KERNEL)?;
        let mut pages: u64 = 0;
        for extent in &extents {
            starts.push(pages, GFP_KERNEL)?;
            pages = pages.checked_add(extent.pages()).ok_or(Errno::Proto)?;
        }
        // INVARIANT: Just counted.
        Ok(Self {
            starts,
            extents,
            pages,
            slot_bytes,
        })
    }

    /// How many pages there are.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// The extent that page `page` is in.
    fn index_of(&self, page: u64) -> Option<usize> {
        self.starts
            .partition_point(|start| *start <= page)
            .checked_sub(1)
    }

    /// The bus address of page `page`, and the chunk that it is in; [`None`] behind the last page.
    pub(super) fn locate(&self, page: u64) -> Option<(BusAddr, Chunk)> {
        let index = self.index_of(page)?;
        let within = page.checked_sub(*self.starts.get(index)?)?;
        let bus = self.extents.get(index)?.at(within.checked_mul(PAGE)?)?;
        Some((bus, chunk_of(bus, self.slot_bytes)))
    }

    /// `pages` pages from page `first` on, piece by piece; fewer if the memory ends before.
    pub(super) fn pieces(&self, first: u64, pages: u64) -> impl Iterator<Item = Piece> + '_ {
        let mut page = first;
        let end = first.saturating_add(pages).min(self.pages);

        core::iter::from_fn(move || {
            if page >= end {
                return None;
            }
            let (bus, chunk) = self.locate(page)?;
            // On to the end of the chunk or of the extent, whichever comes first.
            let slot = self.slot_bytes;
            let rest = slot.get().saturating_sub(slot.offset_of(bus)) / PAGE;
            let next = self
                .index_of(page)
                .and_then(|index| self.starts.get(index.checked_add(1)?));
            let stop = page
                .saturating_add(rest.max(1))
                .min(next.copied().unwrap_or(self.pages))
                .min(end);
            let pages = stop.saturating_sub(page);

            page = stop;
            Some(Piece { bus, chunk, pages })
        })
    }

    /// The chunks that `pages` pages from page `first` on are in, each once.
    ///
    /// Errors: EINVAL when there are not so many pages, ENOMEM, ENOSPC when there are more than `most`.
    pub(super) fn chunks(&self, first: u64, pages: u64, most: usize) -> Result<KVec<Chunk>> {
        let mut chunks = KVec::new();
        if first.checked_add(pages).ok_or(EOVERFLOW)? > self.pages {
            return Err(EINVAL);
        }
        for piece in self.pieces(first, pages) {
            if !chunks.contains(&piece.chunk) {
                if chunks.len() >= most {
                    return Err(ENOSPC);
                }
                chunks.push(piece.chunk, GFP_KERNEL)?;
            }
        }
        Ok(chunks)
    }
}
