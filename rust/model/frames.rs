// SPDX-License-Identifier: GPL-2.0
//! Page ranges of a bus window or a pool: a bitmap over memory of the caller, first fit.

/// Why the books were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// There is no free range that is long enough.
    NoSpace,
    /// The range is empty, the alignment no power of two, or it leads behind the end.
    Range,
    /// Some page of it is free already.
    DoubleFree,
}

/// Bits of a word of the map.
const BITS: usize = u64::BITS as usize;

/// Words that a map of `pages` pages needs.
pub const fn words_for(pages: usize) -> usize {
    pages.div_ceil(BITS)
}

/// The books of `pages` pages, numbered from 0. `M` is the map: a slice or a vector of words, all 0 at first.
///
/// # Invariants
///
/// The map has a bit for each page, one is set for each page in use, and `used` counts them.
#[derive(Debug)]
pub struct Frames<M> {
    map: M,
    pages: usize,
    used: usize,
    /// No page below is free.
    first_free: usize,
}

impl<M: AsRef<[u64]> + AsMut<[u64]>> Frames<M> {
    /// `pages` free pages; `None` if `map` has fewer than [`words_for`] words.
    pub fn new(mut map: M, pages: usize) -> Option<Self> {
        let words = map.as_mut();
        if words.len() < words_for(pages) {
            return None;
        }
        words.fill(0);
        // INVARIANT: No page is in use, and no bit is set.
        Some(Self {
            map,
            pages,
            used: 0,
            first_free: 0,
        })
    }

    /// Pages that there are.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Pages that are in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The first page from `page` up that is in use, `limit` if there is none below it.
    fn next_used(&self, page: usize, limit: usize) -> usize {
        self.next(page, limit, 0)
    }

    /// The first page from `page` up that is free, `limit` if there is none below it.
    fn next_free(&self, page: usize, limit: usize) -> usize {
        self.next(page, limit, u64::MAX)
    }

    /// The first page from `page` up whose bit, exclusive-or'ed with `flip`, is set; a word at a time.
    fn next(&self, mut page: usize, limit: usize, flip: u64) -> usize {
        while page < limit {
            let Some(word) = self.map.as_ref().get(page / BITS) else {
                return limit;
            };
            let rest = (word ^ flip) >> (page % BITS);
            if rest != 0 {
                // CAST: 64 at most.
                return page
                    .saturating_add(rest.trailing_zeros() as usize)
                    .min(limit);
            }
            page = (page / BITS).saturating_add(1).saturating_mul(BITS);
        }
        limit
    }

    /// Sets the bits of a range, or clears them.
    fn set(&mut self, first: usize, pages: usize, used: Used) {
        let end = first.saturating_add(pages);
        let mut page = first;
        while page < end {
            let start = page % BITS;
            let count = (end.saturating_sub(page)).min(BITS.saturating_sub(start));
            // CAST: Both are 64 at most.
            let ones = u64::MAX
                .checked_shr((BITS.saturating_sub(count)) as u32)
                .unwrap_or(0);
            let bits = ones.checked_shl(start as u32).unwrap_or(0);
            if let Some(word) = self.map.as_mut().get_mut(page / BITS) {
                match used {
                    Used::Yes => *word |= bits,
                    Used::No => *word &= !bits,
                }
            }
            page = page.saturating_add(count);
        }
    }

    /// Takes the first free range of `pages` pages whose number is a multiple of `align`, a power of two.
    pub fn alloc(&mut self, pages: usize, align: usize) -> Result<usize, FrameError> {
        if pages == 0 || !align.is_power_of_two() {
            return Err(FrameError::Range);
        }
        self.first_free = self.next_free(self.first_free, self.pages);
        let mut first = self.first_free;
        loop {
            first = first
                .checked_next_multiple_of(align)
                .ok_or(FrameError::NoSpace)?;
            let end = first.checked_add(pages).ok_or(FrameError::NoSpace)?;
            if end > self.pages {
                return Err(FrameError::NoSpace);
            }
            let taken = self.next_used(first, end);
            if taken == end {
                break;
            }
            first = self.next_free(taken, self.pages);
        }
        self.set(first, pages, Used::Yes);
        // INVARIANT: All of them were free.
        self.used = self.used.saturating_add(pages);
        Ok(first)
    }

    /// Takes the longest free range, but not more than `most` pages: where it starts and how long it is.
    pub fn alloc_up_to(&mut self, most: usize) -> Result<(usize, usize), FrameError> {
        if most == 0 {
            return Err(FrameError::Range);
        }
        let mut best = (0, 0);
        let mut page = self.next_free(self.first_free, self.pages);
        while page < self.pages {
            let end = self.next_used(page, self.pages);
            let length = end.saturating_sub(page).min(most);
            if length > best.1 {
                best = (page, length);
            }
            if length == most {
                break;
            }
            page = self.next_free(end, self.pages);
        }
        let (first, pages) = best;
        if pages == 0 {
            return Err(FrameError::NoSpace);
        }
        self.set(first, pages, Used::Yes);
        // INVARIANT: All of them were free.
        self.used = self.used.saturating_add(pages);
        Ok(best)
    }

    /// Gives a range back, or part of one. Nothing is changed if some page of it is free.
    pub fn free(&mut self, first: usize, pages: usize) -> Result<(), FrameError> {
        let end = first.checked_add(pages).ok_or(FrameError::Range)?;
        if pages == 0 || end > self.pages {
            return Err(FrameError::Range);
        }
        if self.next_free(first, end) != end {
            return Err(FrameError::DoubleFree);
        }
        self.set(first, pages, Used::No);
        // INVARIANT: All of them were in use.
        self.used = self.used.saturating_sub(pages);
        self.first_free = self.first_free.min(first);
        Ok(())
    }
}

/// What to make of pages.
#[derive(Clone, Copy)]
enum Used {
    Yes,
    No,
}
