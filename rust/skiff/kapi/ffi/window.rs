// SPDX-License-Identifier: GPL-2.0

//! Functions about windows.

use core::ffi::c_void;
use kernel::{
    bindings::phys_addr_t,
    prelude::*, //
};

use super::{
    declared,
    handle::{
        give,
        object,
        take,
        Handle, //
    },
    status, //
};
use crate::kapi::{
    header::{
        skiff_borrowed,
        skiff_window, //
    },
    window::Window, //
};

declared!(
    skiff_window_create,
    skiff_window_direct,
    skiff_window_address,
    skiff_window_memory,
    skiff_window_link,
    skiff_window_commit,
    skiff_window_unlink,
    skiff_window_page,
    skiff_window_shut,
    skiff_window_free,
);

impl Handle for skiff_window {
    type Object = Window;
}

/// `skiff_window_create()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned before the window is freed.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_create(
    borrowed: *mut skiff_borrowed,
    chunks: u32,
    chunk_bytes: u32,
    timeout_ms: u32,
) -> *mut skiff_window {
    // SAFETY:
    // - By this function's own condition.
    let device = unsafe { object(borrowed) }.into();

    give(Window::new(&device, chunks, chunk_bytes, timeout_ms))
}

/// `skiff_window_direct()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned before the window is freed.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_direct(
    borrowed: *mut skiff_borrowed,
    timeout_ms: u32,
) -> *mut skiff_window {
    // SAFETY:
    // - By this function's own condition.
    let device = unsafe { object(borrowed) }.into();

    give(Window::direct(&device, timeout_ms))
}

/// `skiff_window_address()`.
///
/// # Safety
///
/// - `window` was given to the caller, and is not freed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_address(window: *const skiff_window) -> u64 {
    // SAFETY:
    // - By this function's own condition.
    unsafe { object(window) }.address()
}

/// `skiff_window_memory()`.
///
/// # Safety
///
/// - `window` was given to the caller, and is not freed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_memory(window: *const skiff_window) -> *mut c_void {
    // SAFETY:
    // - By this function's own condition.
    let memory = unsafe { object(window) }.memory();

    memory.unwrap_or(core::ptr::null_mut())
}

/// `skiff_window_link()`.
///
/// # Safety
///
/// - `window` was given to the caller, and is not freed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_link(
    window: *mut skiff_window,
    chunk: u32,
    page: u32,
    start: phys_addr_t,
    pages: u32,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(window) }.link(chunk, page, start, pages))
}

/// `skiff_window_commit()`.
///
/// # Safety
///
/// - `window` was given to the caller, and is not freed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_commit(
    window: *mut skiff_window,
    chunk: u32,
    pages: u32,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(window) }.commit(chunk, pages))
}

/// `skiff_window_unlink()`.
///
/// # Safety
///
/// - `window` was given to the caller, and is not freed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_unlink(
    window: *mut skiff_window,
    chunk: u32,
    pages: u32,
) {
    // SAFETY:
    // - By this function's own condition.
    unsafe { object(window) }.unlink(chunk, pages);
}

/// `skiff_window_page()`.
///
/// # Safety
///
/// - `window` was given to the caller, and is not freed meanwhile.
/// - `address` can be written.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_page(
    window: *const skiff_window,
    start: phys_addr_t,
    address: *mut u64,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    let page = unsafe { object(window) }.page(start);

    status(page.map(|page| {
        // SAFETY:
        // - By this function's own condition.
        unsafe { address.write(page) };
    }))
}

/// `skiff_window_shut()`.
///
/// # Safety
///
/// - `window` was given to the caller, and is not freed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_shut(
    window: *mut skiff_window,
    timeout_ms: u32,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(window) }.shut(timeout_ms))
}

/// `skiff_window_free()`.
///
/// # Safety
///
/// - `window` was given to the caller, who uses neither it nor its memory any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_window_free(window: *mut skiff_window) {
    // SAFETY:
    // - By this function's own condition.
    drop(unsafe { take(window) });
}
