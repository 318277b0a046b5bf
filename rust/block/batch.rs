// SPDX-License-Identifier: GPL-2.0

//! Requests that end together, which costs the block layer less than one after the other.

use core::ptr::NonNull;

use kernel::bindings;

use crate::bindings as own;

/// Requests that have gone well and that [`crate::Request::complete_in`] was called for. They end when it is dropped; what
/// [`crate::Driver::poll`] is given may end some time after it has returned.
///
/// # Invariants
///
/// What is in the list are requests that were complete, that nobody holds, and that are not ended.
#[repr(transparent)]
pub struct Batch(bindings::io_comp_batch);

impl Default for Batch {
    /// An empty one.
    fn default() -> Self {
        // INVARIANT: There is none.
        Self(pin_init::zeroed())
    }
}

impl Batch {
    /// What the block layer gave to look for completions; it ends the requests itself.
    ///
    /// # Safety
    ///
    /// `raw` is a batch of the block layer's that nobody else uses for `'a`.
    pub(crate) unsafe fn from_raw<'a>(raw: NonNull<bindings::io_comp_batch>) -> &'a mut Self {
        // SAFETY:
        // - By this function's own condition; the type is transparent, and the block layer keeps to its invariant.
        unsafe { raw.cast().as_mut() }
    }

    /// Puts a request in, if it can be ended together with others.
    ///
    /// # Safety
    ///
    /// The request is complete and nobody holds it; if this returns true it is the batch's.
    pub(crate) unsafe fn add(&mut self, request: NonNull<bindings::request>, good: bool) -> bool {
        // SAFETY:
        // - Both are valid.
        // INVARIANT: By this function's own condition.
        unsafe { own::block_add_to_batch(request.as_ptr(), &raw mut self.0, !good) }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.0.req_list.head.is_null() {
            return;
        }
        // SAFETY:
        // - By the type's invariant; it is this object's own, as only such are dropped.
        unsafe { bindings::blk_mq_end_request_batch(&raw mut self.0) };
    }
}
