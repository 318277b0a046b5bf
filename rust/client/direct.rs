// SPDX-License-Identifier: GPL-2.0

//! All memory of this node, for a borrowed device.

use core::ptr::NonNull;

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    Borrowed, //
};

/// A direct window: the device reaches all memory of this node as long as it lives, or until it is [shut](Direct::shut).
///
/// # Invariants
///
/// `raw` is a direct window of `_borrowed`.
pub struct Direct {
    raw: NonNull<bindings::skiff_window>,
    /// Last: it outlives its window.
    _borrowed: Arc<Borrowed>,
}

// SAFETY: The functions for windows may be called by any thread.
unsafe impl Send for Direct {}
// SAFETY: As above, at the same time.
unsafe impl Sync for Direct {}

impl Direct {
    pub(crate) fn new(borrowed: &Arc<Borrowed>, timeout_ms: u32) -> Result<Self> {
        // SAFETY:
        // - The device is borrowed, and stays so as the result holds it.
        let raw = unsafe { bindings::skiff_window_direct(borrowed.raw(), timeout_ms) };
        let raw = from_err_ptr(raw)?;

        // INVARIANT: Just made.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _borrowed: borrowed.clone(),
        })
    }

    /// What the device uses for the page at the physical address `start`, `ENXIO` if that was no memory when this was made. Any
    /// context.
    ///
    /// What the device does there the compiler cannot see: the caller has the page all that time, as the owner of a request has its
    /// pages.
    pub fn page(&self, start: u64) -> Result<u64> {
        let mut address = 0;

        // SAFETY:
        // - By the type's invariant.
        // - `address` is written.
        to_result(unsafe { bindings::skiff_window_page(self.raw.as_ptr(), start, &mut address) })?;
        Ok(address)
    }

    /// The device reaches no memory by this any more when it returns; `EAGAIN` if that is not known, and it is to be called again
    /// later. Requests that the device may still be at are ended after it. Process context.
    pub fn shut(&self, timeout_ms: u32) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_window_shut(self.raw.as_ptr(), timeout_ms) })
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; nobody uses it any more.
        unsafe { bindings::skiff_window_free(self.raw.as_ptr()) };
    }
}
