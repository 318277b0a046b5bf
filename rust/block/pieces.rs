// SPDX-License-Identifier: GPL-2.0

//! The memory that a request reads or writes, and the ranges that it discards.

use core::{
    marker::PhantomData,
    sync::atomic::AtomicU8, //
};

use kernel::{
    bindings,
    page::{
        PAGE_MASK,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

use crate::bindings as own;

/// Memory without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The physical address.
    pub address: u64,
    /// Its length in bytes, not 0.
    pub bytes: u32,
}

/// Sectors without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub sector: u64,
    /// Their length in bytes.
    pub bytes: u32,
}

/// The bios of a request.
///
/// # Invariants
///
/// `0` is null or a bio that is valid for `'a`, and so are those that follow it.
struct Bios<'a>(*const bindings::bio, PhantomData<&'a bindings::bio>);

impl<'a> Bios<'a> {
    /// # Safety
    ///
    /// `first` is null or the first bio of a request that is not ended during `'a`.
    unsafe fn new(first: *const bindings::bio) -> Self {
        // INVARIANT: By this function's own condition.
        Self(first, PhantomData)
    }
}

impl<'a> Iterator for Bios<'a> {
    type Item = &'a bindings::bio;

    fn next(&mut self) -> Option<&'a bindings::bio> {
        // SAFETY:
        // - By the type's invariant it is null or valid; nobody changes the bios of a request until it is ended.
        let bio = unsafe { self.0.as_ref() }?;

        // INVARIANT: The next one of the same request.
        self.0 = bio.bi_next;
        Some(bio)
    }
}

/// The [`Piece`]s of a request, in order.
///
/// # Invariants
///
/// `vector` is valid for as many elements as make up `left` bytes, less `done` bytes of its first.
pub struct Pieces<'a> {
    bios: Bios<'a>,
    vector: *const bindings::bio_vec,
    done: u32,
    left: u32,
}

impl Pieces<'_> {
    /// # Safety
    ///
    /// `first` is null or the first bio of a request with data that is not ended while this lives.
    pub(crate) unsafe fn new(first: *const bindings::bio) -> Self {
        // INVARIANT: Nothing is left of no bio.
        Self {
            // SAFETY:
            // - By this function's own condition.
            bios: unsafe { Bios::new(first) },
            vector: core::ptr::null(),
            done: 0,
            left: 0,
        }
    }

    /// Makes the pieces be those of the next bio.
    fn advance(&mut self) -> Option<()> {
        let bio = self.bios.next()?;
        let iter = bio.bi_iter;

        // SAFETY:
        // - The position of a bio is in its vector, whose elements are whole from there on.
        // INVARIANT: The remaining bytes of a bio are in its vector, from its position on.
        self.vector = unsafe { bio.bi_io_vec.add(iter.bi_idx as usize) };
        #[cfg(skiff_v7_2)]
        {
            self.done = iter.bi_bvec_done;
        }
        #[cfg(not(skiff_v7_2))]
        {
            self.done = iter.bi_offset;
        }
        self.left = iter.bi_size;
        Some(())
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        loop {
            while self.left == 0 {
                self.advance()?;
            }
            // SAFETY:
            // - By the type's invariant there is an element, as bytes are left.
            let part = unsafe { &*self.vector };
            let bytes = part.bv_len.saturating_sub(self.done).min(self.left);
            let offset = u64::from(part.bv_offset) + u64::from(self.done);

            // SAFETY:
            // - An element of a bio with data names a page.
            let page = unsafe { own::block_page_to_phys(part.bv_page) };

            // INVARIANT: The bytes of that element are passed, whole or as many as there were.
            // SAFETY:
            // - At most one past the last element.
            self.vector = unsafe { self.vector.add(1) };
            self.done = 0;
            self.left -= bytes;
            if bytes != 0 {
                return Some(Piece {
                    address: page + offset,
                    bytes,
                });
            }
        }
    }
}

impl Pieces<'_> {
    /// Calls `f` with each part that lies in one page, mapped, and where in the request it begins. `f` may not sleep if the
    /// caller may not.
    pub(crate) fn for_each_mapped(self, mut f: impl FnMut(usize, &[AtomicU8])) {
        let mut at = 0;

        for mut piece in self {
            while piece.bytes != 0 {
                // CAST: Below the size of a page.
                let offset = (piece.address & !(PAGE_MASK as u64)) as usize;
                let length = (PAGE_SIZE - offset).min(piece.bytes as usize);

                // CAST: Numbers of page frames fit where addresses do.
                // SAFETY:
                // - A piece is in pages of memory, which the request holds.
                let page = unsafe { own::block_map_pfn((piece.address >> PAGE_SHIFT) as c_ulong) };
                // SAFETY:
                // - The page is mapped until below, and the part is in it.
                // - Others may write it at any time, which atomic bytes allow.
                let bytes = unsafe {
                    core::slice::from_raw_parts(page.cast::<AtomicU8>().add(offset), length)
                };

                f(at, bytes);
                // SAFETY:
                // - Mapped above, by this task; what `f` mapped later it has unmapped.
                unsafe { own::block_unmap(page) };
                at += length;
                piece.address += length as u64;
                // CAST: At most the size of a page, and at most what is left.
                piece.bytes -= length as u32;
            }
        }
    }
}

/// The [`Range`]s of a request that discards.
pub struct Ranges<'a>(Bios<'a>);

impl Ranges<'_> {
    /// # Safety
    ///
    /// `first` is null or the first bio of a request that is not ended while this lives.
    pub(crate) unsafe fn new(first: *const bindings::bio) -> Self {
        // SAFETY:
        // - By this function's own condition.
        Self(unsafe { Bios::new(first) })
    }
}

impl Iterator for Ranges<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        let iter = self.0.next()?.bi_iter;

        Some(Range {
            sector: iter.bi_sector,
            bytes: iter.bi_size,
        })
    }
}
