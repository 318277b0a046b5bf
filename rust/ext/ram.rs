// SPDX-License-Identifier: GPL-2.0

//! Which page frames are the machine's memory.
//!
//! C header: [`include/linux/ioport.h`](srctree/include/linux/ioport.h)

use crate::page::Run;
use core::ffi::c_void;
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_ulong, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};

/// Memory that the kernel uses, in `IORESOURCE_*`: what `walk_system_ram_range`, which modules cannot call, looks for.
const SYSTEM_RAM: c_ulong =
    (bindings::IORESOURCE_SYSTEM_RAM | bindings::IORESOURCE_BUSY) as c_ulong;

/// Whatever else it is called: `IORES_DESC_NONE`.
const ANY: c_ulong = 0;

/// What was found, and what went wrong.
struct Found {
    runs: KVVec<Run>,
    result: Result,
}

/// Takes in one resource; a value other than 0 ends the walk.
///
/// # Safety
///
/// - `resource` is one, and `found` is a [`Found`] that nobody else uses.
unsafe extern "C" fn add(resource: *mut bindings::resource, found: *mut c_void) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    let (start, end, found) = unsafe {
        (
            (*resource).start,
            (*resource).end,
            &mut *found.cast::<Found>(),
        )
    };

    found.result = push(&mut found.runs, start, end);
    found.result.is_err().into()
}

/// Adds the whole pages from `start` to `last`, the last byte.
fn push(runs: &mut KVVec<Run>, start: u64, last: u64) -> Result {
    // CAST: Both are 64 bits wide.
    let page = PAGE_SIZE as u64;
    let frame = start.div_ceil(page);
    // The last byte there can be ends no page that counts.
    let end = last.saturating_add(1) / page;
    let Some(pages) = end.checked_sub(frame).filter(|pages| *pages != 0) else {
        return Ok(());
    };
    let pages = usize::try_from(pages)?;

    runs.push(Run { frame, pages }, GFP_KERNEL)?;
    Ok(())
}

/// All of the machine's memory, in order; runs do not overlap. What is plugged in later is not in it. Process context.
///
/// Error: `ENOMEM`.
pub fn runs() -> Result<KVVec<Run>> {
    let mut found = Found {
        runs: KVVec::new(),
        result: Ok(()),
    };

    // What it returns says whether there was anything, and what `add` has returned last.
    //
    // SAFETY:
    // - `add` is called with copies of resources and `found`, which is there until this returns; no lock is held then, so that it
    //   may allocate.
    unsafe {
        bindings::walk_iomem_res_desc(
            ANY,
            SYSTEM_RAM,
            0,
            u64::MAX,
            (&raw mut found).cast(),
            Some(add),
        )
    };
    found.result.map(|()| found.runs)
}
