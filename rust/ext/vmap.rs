// SPDX-License-Identifier: GPL-2.0

//! Memory in pages as the kernel sees it in one piece.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use crate::{
    bindings as helpers,
    page::Run, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// A map of the kernel's.
///
/// # Invariants
///
/// `mapped` is what `vmap()` gave, or `None` if `address` is one of the direct map.
pub struct KernelMap {
    address: NonNull<c_void>,
    bytes: usize,
    mapped: Option<NonNull<c_void>>,
}

// SAFETY: The map belongs to the whole kernel, not to a thread.
unsafe impl Send for KernelMap {}

// SAFETY: Shared, it offers nothing but its address.
unsafe impl Sync for KernelMap {}

impl KernelMap {
    /// Maps the pages of `runs`, one behind the other. They are memory, and the caller's, who keeps them as long as the map.
    ///
    /// Errors: EINVAL when there are none, ENOMEM.
    pub fn new(runs: &[Run]) -> Result<Self> {
        let pages = runs.iter().try_fold(0usize, |sum, run| {
            sum.checked_add(run.pages) //
        });
        let pages = pages.ok_or(EOVERFLOW)?;
        let bytes = pages.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;

        if let [run] = runs {
            // SAFETY:
            // - The frame is that of memory, all of which is in the direct map.
            let address = unsafe { helpers::pfn_to_kaddr(run.frame) };

            // INVARIANT: An address of the direct map.
            return Ok(Self {
                address: NonNull::new(address).ok_or(EINVAL)?,
                bytes,
                mapped: None,
            });
        }
        let count = u32::try_from(pages)?;
        let mut list = KVVec::with_capacity(pages, GFP_KERNEL)?;

        for run in runs {
            // CAST: Both are 64 bits wide.
            for frame in (0..run.pages as u64).map(|page| run.frame.saturating_add(page)) {
                // SAFETY:
                // - The frame is that of memory, which has a page.
                list.push(unsafe { helpers::pfn_to_page(frame) }, GFP_KERNEL)?;
            }
        }
        if count == 0 {
            return Err(EINVAL);
        }
        // SAFETY:
        // - These are so many pages; the list is looked at during the call only.
        let address = unsafe { helpers::vmap_kernel(list.as_mut_ptr(), count) };
        let address = NonNull::new(address).ok_or(ENOMEM)?;

        // INVARIANT: Just mapped.
        Ok(Self {
            address,
            bytes,
            mapped: Some(address),
        })
    }

    /// Where the kernel sees it; for as long as this object is there.
    pub fn address(&self) -> *mut c_void {
        self.address.as_ptr()
    }

    /// Its length, whole pages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for KernelMap {
    fn drop(&mut self) {
        if let Some(mapped) = self.mapped {
            // SAFETY:
            // - By the type's invariant it is from vmap().
            unsafe { helpers::vunmap_kernel(mapped.as_ptr()) }
        }
    }
}
