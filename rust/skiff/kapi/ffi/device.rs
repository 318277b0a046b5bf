// SPDX-License-Identifier: GPL-2.0

//! Functions about borrowed devices.

use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::wire::Mastering;

use super::{
    callbacks::Callbacks,
    declared,
    global::node,
    handle::{
        give,
        object,
        take,
        Handle, //
    },
    status, //
};
use crate::{
    kapi::{
        device::Device,
        header::{
            skiff_borrow_ops,
            skiff_borrowed,
            skiff_map, //
        },
    },
    lend::Client,
    segment::EventKind,
    uapi::numbers::event_type, //
};

declared!(
    skiff_borrow,
    skiff_return,
    skiff_release_exclusive,
    skiff_device_reset,
    skiff_device_master,
    skiff_device_config_read,
    skiff_device_config_write,
    skiff_device_vectors,
    skiff_device_listen,
    skiff_device_bar,
);

impl Handle for skiff_borrowed {
    type Object = Device;
}

impl Client for Callbacks<skiff_borrow_ops> {
    fn interrupt(&self, vectors: u64) {
        if let Some(interrupt) = self.get(|ops| ops.interrupt) {
            // SAFETY:
            // - By the type's invariant.
            unsafe { interrupt(self.data(), vectors) }
        }
    }

    fn event(&self, kind: EventKind) {
        if let Some(event) = self.get(|ops| ops.event) {
            // SAFETY:
            // - By the type's invariant.
            unsafe { event(self.data(), event_type(kind)) }
        }
    }
}

/// `skiff_borrow()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded.
/// - `ops` is null, or valid, and its functions can be called with `data`, until the device was returned.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_borrow(
    fdid: u32,
    flags: u32,
    ops: *const skiff_borrow_ops,
    data: *mut c_void,
    timeout_ms: u32,
) -> *mut skiff_borrowed {
    give(node().and_then(|node| {
        // SAFETY:
        // - By this function's own condition.
        let callbacks = Arc::new(unsafe { Callbacks::new(ops, data) }, GFP_KERNEL)?;

        Device::borrow(&node, fdid, flags, timeout_ms, callbacks)
    }))
}

/// `skiff_return()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, who does not use it any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_return(borrowed: *mut skiff_borrowed) {
    // SAFETY:
    // - By this function's own condition.
    unsafe { take(borrowed) }.give_back();
}

/// `skiff_release_exclusive()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_release_exclusive(
    borrowed: *mut skiff_borrowed,
    timeout_ms: u32,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(borrowed) }.release_exclusive(timeout_ms))
}

/// `skiff_device_reset()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_device_reset(
    borrowed: *mut skiff_borrowed,
    timeout_ms: u32,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(borrowed) }.reset(timeout_ms))
}

/// `skiff_device_master()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_device_master(
    borrowed: *mut skiff_borrowed,
    on: bool,
) -> c_int {
    let mastering = if on { Mastering::On } else { Mastering::Off };

    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(borrowed) }.master(mastering))
}

/// `skiff_device_config_read()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
/// - `value` can be written.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_device_config_read(
    borrowed: *mut skiff_borrowed,
    offset: u32,
    width: u32,
    value: *mut u32,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    let result = unsafe { object(borrowed) }.config_read(offset, width);

    status(result.map(|read| {
        // SAFETY:
        // - By this function's own condition.
        unsafe { value.write(read) }
    }))
}

/// `skiff_device_config_write()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_device_config_write(
    borrowed: *mut skiff_borrowed,
    offset: u32,
    width: u32,
    value: u32,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(borrowed) }.config_write(offset, width, value))
}

/// `skiff_device_vectors()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_device_vectors(
    borrowed: *mut skiff_borrowed,
    count: c_uint,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    match unsafe { object(borrowed) }.vectors(count) {
        // CAST: At most `SKIFF_DEVICE_VECTORS_MAX`.
        Ok(count) => count as c_int,
        Err(error) => error.to_errno(),
    }
}

/// `skiff_device_listen()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_device_listen(
    borrowed: *mut skiff_borrowed,
    vectors: u64,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(borrowed) }.listen(vectors))
}

/// `skiff_device_bar()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_device_bar(
    borrowed: *mut skiff_borrowed,
    bar: c_uint,
    offset: u64,
    bytes: u64,
) -> *mut skiff_map {
    // SAFETY:
    // - By this function's own condition.
    give(unsafe { object(borrowed) }.bar(bar, offset, bytes))
}
