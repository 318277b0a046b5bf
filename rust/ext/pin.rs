// SPDX-License-Identifier: GPL-2.0

//! Memory of a program, pinned for as long as devices may reach it.
//!
//! The pin is counted in `pinned_vm` of the address space that it was taken from and held to `RLIMIT_MEMLOCK`, as
//! `drivers/infiniband/core/umem.c` does. That takes no lock: a [`Pinned`] may be dropped wherever sleeping is allowed.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{
    bindings as helpers,
    page, //
};
use kernel::{
    bindings,
    mm::Mm,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
};

/// Pages that are pinned with one call; what a signal has to wait for.
const BATCH: usize = 4096;

/// A charge to the pinned memory of an address space.
///
/// # Invariants
///
/// `pages` pages are charged to `mm`.
struct Charge {
    /// Who pays.
    mm: ARef<Mm>,
    /// How much.
    pages: usize,
}

impl Charge {
    /// Charges the current process; [`ENOMEM`] when its limit does not allow it.
    fn new(pages: usize) -> Result<Self> {
        let mm: ARef<Mm> = {
            let current = kernel::current!();
            let user: &Mm = current.mm().ok_or(EFAULT)?;
            user.into()
        };
        // INVARIANT: Charged before anybody looks; dropping it gives it back.
        let charge = Self { mm, pages };
        // CAST: There are less than 2^52 pages.
        let before = charge.pinned().fetch_add(pages as i64, Relaxed);
        let after = usize::try_from(before)?.saturating_add(pages);
        // SAFETY: It reads what the current process has for certain.
        let limit = unsafe { helpers::rlimit_memlock() } / PAGE_SIZE;

        // SAFETY: The capability exists, and we are in a process's context.
        if after > limit && !unsafe { bindings::capable(bindings::CAP_IPC_LOCK as i32) } {
            return Err(ENOMEM);
        }
        Ok(charge)
    }

    /// Pages of the address space that are pinned.
    fn pinned(&self) -> &Atomic<i64> {
        // SAFETY: The address space is there for as long as `self` counts a reference. Everybody uses the field as an atomic.
        unsafe { Atomic::from_ptr(&raw mut (*self.mm.as_raw()).__bindgen_anon_1.pinned_vm.counter) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // By the type invariant that much is charged.
        // CAST: There are less than 2^52 pages.
        self.pinned().fetch_sub(self.pages as i64, Relaxed);
    }
}

/// Memory of a program that stays where it is.
///
/// # Invariants
///
/// `pages` hold a long-term pin each.
pub struct Pinned {
    /// The pages, in the order of their addresses.
    pages: KVVec<*mut bindings::page>,
    /// What they cost.
    _charge: Charge,
}

// SAFETY: Pins can be given back by any thread.
unsafe impl Send for Pinned {}

// SAFETY: Shared, it offers nothing but the frame numbers.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Pins `pages` pages from `address` on, for writing. [`EINVAL`] when that is no page's start, [`EFAULT`] when it
    /// is not the caller's writable memory, or memory that cannot be pinned for long; [`ENOMEM`].
    pub fn new(address: usize, pages: usize) -> Result<Self> {
        if address % PAGE_SIZE != 0 || pages == 0 {
            return Err(EINVAL);
        }
        let bytes = pages.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
        address.checked_add(bytes).ok_or(EOVERFLOW)?;
        if pages > page::total() {
            return Err(ENOMEM);
        }
        let charge = Charge::new(pages)?;
        let mut pinned = Self {
            // INVARIANT: None yet.
            pages: KVVec::with_capacity(pages, GFP_KERNEL)?,
            _charge: charge,
        };
        let mut batch = KVVec::from_elem(core::ptr::null_mut(), pages.min(BATCH), GFP_KERNEL)?;
        while pinned.pages.len() < pages {
            // PANIC: Less than `pages`, whose bytes do not overflow.
            let done = pinned.pages.len();
            let count = (pages - done).min(BATCH);
            // SAFETY: `batch` has room for `count` pages; the function checks the address itself.
            let got = unsafe {
                bindings::pin_user_pages_fast(
                    address + done * PAGE_SIZE,
                    // CAST: At most `BATCH`.
                    count as i32,
                    bindings::FOLL_WRITE | bindings::FOLL_LONGTERM,
                    batch.as_mut_ptr(),
                )
            };
            // Whatever cannot be pinned, be it not mapped or of a file system that forbids it, is not good memory.
            let got = usize::try_from(got).map_err(|_| match got {
                got if got == ENOMEM.to_errno() => ENOMEM,
                got if got == EINTR.to_errno() => EINTR,
                _ => EFAULT,
            })?;
            if got == 0 {
                return Err(EFAULT);
            }
            for page in batch.iter().take(got) {
                // INVARIANT: The page was just pinned. There is room for it.
                pinned.pages.push(*page, GFP_KERNEL)?;
            }
        }
        Ok(pinned)
    }

    /// The frames, page by page.
    pub(crate) fn frames(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages
            .iter()
            // SAFETY: By the type invariant it is a page.
            .map(|page| unsafe { helpers::page_to_pfn(*page) })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: By the type invariant each holds a pin. Peers may have written them.
        unsafe {
            bindings::unpin_user_pages_dirty_lock(self.pages.as_mut_ptr(), self.pages.len(), true)
        };
    }
}
