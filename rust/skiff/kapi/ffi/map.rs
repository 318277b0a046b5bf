// SPDX-License-Identifier: GPL-2.0

//! Functions about maps.

use core::ffi::c_void;

use super::{
    declared,
    handle::{
        object,
        take,
        Handle, //
    }, //
};
use crate::kapi::{
    header::skiff_map,
    map::Map, //
};

declared!(skiff_map_address, skiff_unmap);

impl Handle for skiff_map {
    type Object = Map;
}

/// `skiff_map_address()`.
///
/// # Safety
///
/// - `map` was given to the caller, and is not unmapped meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_map_address(map: *const skiff_map) -> *mut c_void {
    // SAFETY:
    // - By this function's own condition.
    unsafe { object(map) }.address()
}

/// `skiff_unmap()`.
///
/// # Safety
///
/// - `map` was given to the caller, who uses neither it nor its address any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_unmap(map: *mut skiff_map) {
    // SAFETY:
    // - By this function's own condition.
    drop(unsafe { take(map) });
}
