// SPDX-License-Identifier: GPL-2.0

//! Functions about nodes, and devices that can be borrowed.

use kernel::prelude::*;

use super::{
    declared,
    global::node,
    status, //
};
use crate::uapi;

declared!(skiff_find_device, skiff_node);

/// `skiff_node()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_node() -> c_int {
    match node().and_then(|node| node.number()) {
        // CAST: Node numbers are below 64.
        Ok(number) => number.get() as c_int,
        Err(error) => error.to_errno(),
    }
}

/// `skiff_find_device()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded.
/// - `query` is valid for reading and writing, and nobody else uses it.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_find_device(query: *mut uapi::skiff_device_query) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    let query = unsafe { &mut *query };

    status(node().and_then(|node| node.find_device(query)))
}
