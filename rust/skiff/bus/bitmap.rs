// SPDX-License-Identifier: GPL-2.0

//! Which pages of a range are taken: the books of [`skiff_model::frames`] with memory of their own.

use kernel::prelude::*;
use skiff_model::frames::{
    words_for,
    Frames, //
};

/// The map of the books.
struct Words(KVVec<u64>);

impl AsRef<[u64]> for Words {
    fn as_ref(&self) -> &[u64] {
        &self.0
    }
}

impl AsMut<[u64]> for Words {
    fn as_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

/// The books of some pages.
pub(super) struct Bitmap(Frames<Words>);

impl Bitmap {
    /// `pages` free pages.
    pub(super) fn new(pages: usize) -> Result<Self> {
        let words = KVVec::from_elem(0, words_for(pages), GFP_KERNEL)?;
        Frames::new(Words(words), pages).map(Self).ok_or(EINVAL)
    }

    /// How many pages are taken.
    pub(super) fn used(&self) -> usize {
        self.0.used()
    }

    /// Takes `pages` pages one behind the other and says which is the first, if there are so many.
    pub(super) fn take(&mut self, pages: usize) -> Option<usize> {
        self.0.alloc(pages, 1).ok()
    }

    /// Gives pages back; [`EINVAL`] if some of them are not taken.
    pub(super) fn give(&mut self, first: usize, pages: usize) -> Result {
        self.0.free(first, pages).map_err(|_| EINVAL)
    }

    /// Gives all back, and tells `each` first page and number of what was taken.
    pub(super) fn give_all(&mut self, mut each: impl FnMut(usize, usize)) {
        let mut run: usize = 0;
        for page in 0..self.0.pages() {
            if self.0.free(page, 1).is_ok() {
                run = run.saturating_add(1);
            } else if run > 0 {
                each(page.saturating_sub(run), run);
                run = 0;
            }
        }
        if run > 0 {
            each(self.0.pages().saturating_sub(run), run);
        }
    }
}
