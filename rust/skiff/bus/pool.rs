// SPDX-License-Identifier: GPL-2.0

//! The bus window of a node without a paging IOMMU: physically contiguous memory, aligned to its size, from which exported
//! kernel memory is carved, so that one slot of a peer reaches all of it.
//!
//! The first piece is taken when the first adapter needs it and kept until the module goes; another is added when there is
//! no room, and given back when it is empty.
//!
//! # Locking
//!
//! The mutex of the pool is innermost; only the page allocator is called with it held.

use super::{
    bitmap::Bitmap,
    charge::Ledger, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    page,
    page::{
        Part,
        Region, //
    },
};
use skiff_model::addr::{
    SlotBytes,
    PAGE, //
};

/// Pages of a MiB.
const MIB: usize = 256;

/// A piece of the pool.
struct Place {
    /// Its memory.
    region: Arc<Region>,
    /// What is taken of it.
    used: Bitmap,
}

/// What the pool has.
struct State {
    /// Pages that a piece should have; 0 as long as no adapter needs the pool.
    wanted: usize,
    /// The pieces.
    places: KVec<Place>,
}

/// Contiguous memory of the node.
#[pin_data]
pub(crate) struct Pool {
    /// Length of a piece in MiB, 0 for that of a slot.
    window_mib: u32,
    /// What users have of the node's memory, from the pool or not.
    ledger: Arc<Ledger>,
    /// The pieces.
    #[pin]
    state: Mutex<State>,
}

impl Pool {
    /// A pool whose pieces have `window_mib` MiB (0: as a slot), of which, as of all kernel memory, each user may export
    /// `user_mib` MiB (0: half of the machine's).
    pub(crate) fn new(window_mib: u32, user_mib: u32) -> Result<Arc<Self>> {
        let limit = match usize::try_from(user_mib).map_err(|_| EOVERFLOW)? {
            0 => page::total() / 2,
            mib => mib.saturating_mul(MIB),
        };
        let ledger = Ledger::new(limit)?;
        Arc::pin_init(
            pin_init!(Self {
                window_mib,
                ledger,
                state <- new_mutex!(State { wanted: 0, places: KVec::new() }, "Pool::state"),
            }),
            GFP_KERNEL,
        )
    }

    /// The users' accounts.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// An adapter with slots of `slot_bytes` needs the pool from now on. As much as there is of what it should be, down to a
    /// MiB; [`ENOMEM`] if not even that.
    pub(super) fn require(&self, slot_bytes: SlotBytes) -> Result {
        let mut state = self.state.lock();
        if state.wanted != 0 {
            return Ok(());
        }
        let wanted = match self.window_mib {
            0 => usize::try_from(slot_bytes.get() / PAGE).map_err(|_| EOVERFLOW)?,
            mib => usize::try_from(mib)
                .ok()
                .and_then(|mib| mib.checked_mul(MIB))
                .and_then(usize::checked_next_power_of_two)
                .ok_or(EINVAL)?,
        };
        let got = state.grow(wanted, MIB.min(wanted))?;
        state.wanted = wanted;
        if got < wanted {
            pr_warn!(
                "a bus window of {} MiB instead of {}: no more memory is contiguous; load the module earlier\n",
                got / MIB,
                wanted / MIB
            );
        }
        Ok(())
    }

    /// `pages` pages in as few parts as there are; [`None`] when no adapter needs the pool.
    ///
    /// Errors: ENOMEM, ENOSPC.
    pub(super) fn carve(self: &Arc<Self>, pages: usize) -> Result<Option<Carved>> {
        self.carve_by(pages, 1)
    }

    /// The same in one part.
    pub(super) fn carve_run(self: &Arc<Self>, pages: usize) -> Result<Option<Carved>> {
        self.carve_by(pages, pages)
    }

    /// Parts of at least `least` pages, but for the last one.
    fn carve_by(self: &Arc<Self>, pages: usize, least: usize) -> Result<Option<Carved>> {
        let mut carved = Carved {
            pool: self.clone(),
            parts: KVec::new(),
        };
        let mut guard = self.state.lock();
        let result = guard.carve(pages, least, &mut carved.parts);
        drop(guard);
        // If it failed, what was carved is given back by `carved`, which takes the lock.
        Ok(result?.then_some(carved))
    }

    /// Bytes that the pool has, and that are taken.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let state = self.state.lock();
        let pages: usize = state
            .places
            .iter()
            .map(|place| place.region.run().pages)
            .sum();
        let used: usize = state.places.iter().map(|place| place.used.used()).sum();
        // CAST: Both are 64 bits wide.
        (
            (pages as u64).saturating_mul(PAGE),
            (used as u64).saturating_mul(PAGE),
        )
    }
}

impl State {
    /// Adds a piece of `wanted` pages, or of the largest power of two down to `least`, and says how many it has.
    fn grow(&mut self, wanted: usize, least: usize) -> Result<usize> {
        let mut pages = wanted;
        loop {
            match Region::new(pages) {
                Ok(region) => {
                    let used = Bitmap::new(pages)?;
                    let region = Arc::new(region, GFP_KERNEL)?;
                    self.places.push(Place { region, used }, GFP_KERNEL)?;
                    return Ok(pages);
                }
                Err(_) if pages / 2 >= least => pages /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Carves `pages` pages into `parts`, which has what was carved also when it fails; false when nobody needs the pool.
    fn carve(&mut self, pages: usize, least: usize, parts: &mut KVec<Part>) -> Result<bool> {
        if self.wanted == 0 {
            return Ok(false);
        }
        let mut left = pages;
        let mut want = pages.min(self.wanted);
        while left > 0 {
            want = want.min(left);
            parts.reserve(1, GFP_KERNEL)?;
            let found = match self.take(want) {
                Some(part) => Some(part),
                None => {
                    let fits = want.next_power_of_two().max(MIB.min(self.wanted));
                    if fits <= self.wanted && self.grow(self.wanted, fits).is_ok() {
                        self.take(want)
                    } else {
                        None
                    }
                }
            };
            match found {
                Some(part) => {
                    left = left.saturating_sub(part.pages);
                    parts.push(part, GFP_KERNEL)?;
                }
                None if want / 2 >= least => want /= 2,
                None => return Err(ENOSPC),
            }
        }
        Ok(true)
    }

    /// Takes `pages` pages of some piece.
    fn take(&mut self, pages: usize) -> Option<Part> {
        self.places.iter_mut().find_map(|place| {
            let first = place.used.take(pages)?;
            Some(Part {
                region: place.region.clone(),
                first,
                pages,
            })
        })
    }

    /// Gives a part back, and a piece of which nothing is taken any more, unless it is the first.
    fn give(&mut self, part: &Part) {
        let frame = part.region.run().frame;
        let index = self
            .places
            .iter()
            .position(|place| place.region.run().frame == frame);
        let Some((index, place)) =
            index.and_then(|index| Some((index, self.places.get_mut(index)?)))
        else {
            return;
        };
        // The part was taken from this piece, so that it can be given back.
        if place.used.give(part.first, part.pages).is_ok() && place.used.used() == 0 && index != 0 {
            // PANIC: The piece has this index.
            drop(self.places.remove(index));
        }
    }
}

/// Pages that were taken from the pool; given back when dropped.
pub(super) struct Carved {
    /// The pool.
    pool: Arc<Pool>,
    /// The pages.
    parts: KVec<Part>,
}

impl Carved {
    /// The parts, for somebody who owns their memory as long as this object is there.
    pub(super) fn parts(&self) -> Result<KVec<Part>> {
        let mut parts = KVec::with_capacity(self.parts.len(), GFP_KERNEL)?;
        for part in &self.parts {
            parts.push(part.clone(), GFP_KERNEL)?;
        }
        Ok(parts)
    }
}

impl Drop for Carved {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        for part in &self.parts {
            state.give(part);
        }
    }
}
