// SPDX-License-Identifier: GPL-2.0

//! A bus window: a slot-sized, slot-aligned range of bus addresses, from which pages are carved.

use super::bitmap::Bitmap;
use kernel::{
    device::Device,
    prelude::*, //
};
use skiff_ext::{
    iova::{
        Space,
        Target, //
    },
    page::Run, //
};
use skiff_model::addr::{
    BusAddr,
    Extent,
    SlotBytes,
    PAGE, //
};

/// A bus window behind a paging IOMMU.
///
/// # Invariants
///
/// The pages that `used` says are taken are linked, all others are not.
pub(super) struct Window {
    /// The bus addresses.
    space: Space,
    /// Which of them lead somewhere.
    used: Bitmap,
}

impl Window {
    /// A window without anything in it.
    ///
    /// Errors: ENOMEM, ENOSPC.
    pub(super) fn new(dev: &Device, slot_bytes: SlotBytes) -> Result<Self> {
        let pages = usize::try_from(slot_bytes.get() / PAGE).map_err(|_| EOVERFLOW)?;
        let used = Bitmap::new(pages)?;
        let space = Space::new(dev, pages)?;
        if slot_bytes.offset_of(BusAddr::new(space.base())) != 0 {
            // The allocator aligns powers of two to their size.
            return Err(EIO);
        }
        Ok(Self { space, used })
    }

    /// Pages that there are, and that are taken.
    pub(super) fn pages(&self) -> (usize, usize) {
        (self.space.pages(), self.used.used())
    }

    /// Lets `pages` free bus addresses, one behind the other, lead to the pages from `runs`. [`None`] when there are not so
    /// many; the runs are exactly as long.
    pub(super) fn link(
        &mut self,
        pages: usize,
        target: Target,
        runs: impl Iterator<Item = Run>,
    ) -> Result<Option<Extent>> {
        let Some(first) = self.used.take(pages) else {
            return Ok(None);
        };
        match self.link_at(first, pages, target, runs) {
            Ok(extent) => Ok(Some(extent)),
            Err(error) => {
                self.used.give(first, pages)?;
                Err(error)
            }
        }
    }

    /// Links the runs from page `first` on; nothing is linked when it fails.
    fn link_at(
        &mut self,
        first: usize,
        pages: usize,
        target: Target,
        runs: impl Iterator<Item = Run>,
    ) -> Result<Extent> {
        let extent = self.extent(first, pages)?;
        let mut done: usize = 0;
        let result = (|| {
            for run in runs {
                let at = first.checked_add(done).ok_or(EOVERFLOW)?;
                self.space.link(at, run, target)?;
                done = done.checked_add(run.pages).ok_or(EOVERFLOW)?;
            }
            if done != pages {
                return Err(EINVAL);
            }
            self.space.sync(first, pages)
        })();
        if result.is_err() && done != 0 {
            self.space.unlink(first, done);
        }
        result.map(|()| extent)
    }

    /// Bus addresses of pages.
    fn extent(&self, first: usize, pages: usize) -> Result<Extent> {
        // CAST: Both are 64 bits wide.
        let (first, pages) = (first as u64, pages as u64);
        let bus = first
            .checked_mul(PAGE)
            .and_then(|offset| BusAddr::new(self.space.base()).checked_add(offset))
            .ok_or(EOVERFLOW)?;
        Extent::new(bus, pages.checked_mul(PAGE).ok_or(EOVERFLOW)?).map_err(|_| EOVERFLOW)
    }

    /// If `extent` was carved from this window it leads nowhere now, and nobody reaches what it led to.
    pub(super) fn unlink(&mut self, extent: Extent) -> Result<bool> {
        let Some(offset) = extent.bus().offset_from(BusAddr::new(self.space.base())) else {
            return Ok(false);
        };
        let first = usize::try_from(offset / PAGE).map_err(|_| EOVERFLOW)?;
        let pages = usize::try_from(extent.pages()).map_err(|_| EOVERFLOW)?;
        if first
            .checked_add(pages)
            .is_none_or(|end| end > self.space.pages())
        {
            return Ok(false);
        }
        self.space.unlink(first, pages);
        self.used.give(first, pages)?;
        Ok(true)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // What is still linked, because somebody holds a mapping while the adapter goes, is reached no more.
        let space = &mut self.space;
        self.used
            .give_all(|first, pages| space.unlink(first, pages));
    }
}
