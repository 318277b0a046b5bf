// SPDX-License-Identifier: GPL-2.0

//! Objects as C holds them.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
};

/// A type that C knows by its name only, and what a pointer to it stands for: an [`Arc`] that C owns.
pub(super) trait Handle: Sized {
    /// What it stands for.
    type Object: Send + Sync;
}

/// Gives an object to C, or the `ERR_PTR()` that says why there is none.
pub(super) fn give<H: Handle>(object: Result<Arc<H::Object>>) -> *mut H {
    match object {
        Ok(object) => Arc::into_raw(object).cast_mut().cast(),
        Err(error) => error.to_ptr(),
    }
}

/// The object, which C keeps.
///
/// # Safety
///
/// - [`give`] has given `handle`, not as an error, and it is not taken as long as the result is used.
pub(super) unsafe fn object<'a, H: Handle>(handle: *const H) -> ArcBorrow<'a, H::Object> {
    // SAFETY:
    // - By this function's own condition it comes from Arc::into_raw(), and C owns it for that long.
    unsafe { ArcBorrow::from_raw(handle.cast()) }
}

/// Takes the object back from C.
///
/// # Safety
///
/// - [`give`] has given `handle`, not as an error, and nobody uses it any more.
pub(super) unsafe fn take<H: Handle>(handle: *mut H) -> Arc<H::Object> {
    // SAFETY:
    // - By this function's own condition it comes from Arc::into_raw(), and C's share becomes ours.
    unsafe { Arc::from_raw(handle.cast_const().cast()) }
}
