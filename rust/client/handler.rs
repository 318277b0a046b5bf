// SPDX-License-Identifier: GPL-2.0

//! What C keeps for a callback: a reference of its handler.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A reference of a handler as C keeps it, whatever its type is.
///
/// # Invariants
///
/// `data` came from [`Arc::into_raw`] of the type that `release` is for, and is owned.
pub(crate) struct Held {
    data: NonNull<c_void>,
    release: unsafe fn(NonNull<c_void>),
}

// SAFETY: A handler is `Send` and `Sync`, so its references may be released by any thread.
unsafe impl Send for Held {}
// SAFETY: Nothing can be done with a shared reference but to look at the address.
unsafe impl Sync for Held {}

impl Held {
    /// Takes a reference over.
    pub(crate) fn new<H: Send + Sync + 'static>(handler: Arc<H>) -> Self {
        /// # Safety
        ///
        /// `data` came from [`Arc::into_raw`] of a `H`, and is not used after this.
        unsafe fn release<H>(data: NonNull<c_void>) {
            // SAFETY:
            // - By this function's own condition.
            drop(unsafe { Arc::<H>::from_raw(data.as_ptr().cast_const().cast()) });
        }

        // SAFETY:
        // - The pointer of an Arc is not null.
        let data = unsafe { NonNull::new_unchecked(Arc::into_raw(handler).cast_mut().cast()) };

        // INVARIANT: Of the same type.
        Self {
            data,
            release: release::<H>,
        }
    }

    /// What C is to hand to the callbacks.
    pub(crate) fn data(&self) -> *mut c_void {
        self.data.as_ptr()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; it is not used after this.
        unsafe { (self.release)(self.data) }
    }
}
