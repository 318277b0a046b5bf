// SPDX-License-Identifier: GPL-2.0

//! Functions of segments, and of connections to them.

use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::Arc, //
};

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
        header::{
            self,
            skiff_local,
            skiff_map,
            skiff_map_mode,
            skiff_remote,
            skiff_segment_ops,
            skiff_segment_spec, //
        },
        segment::{
            Hearer,
            Own,
            Theirs, //
        },
    },
    mem::MapMode,
    segment::Event,
    uapi::{
        numbers::event_type,
        SKIFF_NODE_LOCAL, //
    },
};

declared!(
    skiff_segment_create,
    skiff_segment_address,
    skiff_segment_offer,
    skiff_segment_withdraw,
    skiff_segment_remove,
    skiff_segment_connect,
    skiff_remote_bytes,
    skiff_remote_map,
    skiff_disconnect,
);

impl Handle for skiff_local {
    type Object = Own;
}

impl Handle for skiff_remote {
    type Object = Theirs;
}

impl Hearer for Callbacks<skiff_segment_ops> {
    fn event(&self, event: &Event) {
        let node = event.node.map_or(SKIFF_NODE_LOCAL, |node| node.get());

        if let Some(tell) = self.get(|ops| ops.event) {
            // SAFETY:
            // - By the type's invariant.
            unsafe { tell(self.data(), event_type(event.kind), node) }
        }
    }
}

/// Who hears of events, if anybody.
///
/// # Safety
///
/// - `ops` and `data` are what [`Callbacks`] wants.
unsafe fn hearer(
    ops: *const skiff_segment_ops,
    data: *mut c_void,
) -> Result<Option<Arc<dyn Hearer>>> {
    if ops.is_null() {
        return Ok(None);
    }
    // SAFETY:
    // - By this function's own condition.
    let callbacks: Arc<dyn Hearer> = Arc::new(unsafe { Callbacks::new(ops, data) }, GFP_KERNEL)?;

    Ok(Some(callbacks))
}

/// `skiff_segment_create()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded.
/// - `spec` is valid for reading.
/// - `ops` is null, or lives until the segment is removed, and so long its function may be called with `data` on any thread.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_segment_create(
    spec: *const skiff_segment_spec,
    ops: *const skiff_segment_ops,
    data: *mut c_void,
) -> *mut skiff_local {
    give(node().and_then(|node| {
        // SAFETY:
        // - By this function's own conditions.
        let (spec, hearer) = unsafe { (&*spec, hearer(ops, data)?) };

        Own::new(&node, spec, hearer)
    }))
}

/// `skiff_segment_address()`.
///
/// # Safety
///
/// - `local` was given to the caller, and is not removed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_segment_address(local: *mut skiff_local) -> *mut c_void {
    // SAFETY:
    // - By this function's own condition.
    unsafe { object(local.cast_const()) }.address()
}

/// `skiff_segment_offer()`.
///
/// # Safety
///
/// - `local` was given to the caller, and is not removed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_segment_offer(local: *mut skiff_local) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(local.cast_const()) }.offer())
}

/// `skiff_segment_withdraw()`.
///
/// # Safety
///
/// - `local` was given to the caller, and is not removed meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_segment_withdraw(local: *mut skiff_local) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    status(unsafe { object(local.cast_const()) }.withdraw())
}

/// `skiff_segment_remove()`.
///
/// # Safety
///
/// - Not called from a callback of the segment.
/// - `local` was given to the caller, who uses neither it nor its memory any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_segment_remove(local: *mut skiff_local) {
    // SAFETY:
    // - By this function's own condition.
    drop(unsafe { take(local) });
}

/// `skiff_segment_connect()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded.
/// - `ops` is null, or lives until the connection is given up, and so long its function may be called with `data` on any
///   thread.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_segment_connect(
    owner: c_uint,
    id: u32,
    ops: *const skiff_segment_ops,
    data: *mut c_void,
    timeout_ms: u32,
) -> *mut skiff_remote {
    give(node().and_then(|node| {
        // SAFETY:
        // - By this function's own condition.
        let hearer = unsafe { hearer(ops, data)? };

        Theirs::new(&node, owner, id, hearer, timeout_ms)
    }))
}

/// `skiff_remote_bytes()`.
///
/// # Safety
///
/// - `remote` was given to the caller, and is not given up meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_remote_bytes(remote: *const skiff_remote) -> u64 {
    // SAFETY:
    // - By this function's own condition.
    unsafe { object(remote) }.bytes()
}

/// `skiff_remote_map()`.
///
/// # Safety
///
/// - `remote` was given to the caller, and is not given up meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_remote_map(
    remote: *mut skiff_remote,
    offset: u64,
    bytes: u64,
    mode: skiff_map_mode,
) -> *mut skiff_map {
    // SAFETY:
    // - By this function's own condition.
    let remote = unsafe { object(remote.cast_const()) };

    give(match mode {
        header::skiff_map_mode_SKIFF_MAP_WC => remote.map(offset, bytes, MapMode::WriteCombining),
        header::skiff_map_mode_SKIFF_MAP_UC => remote.map(offset, bytes, MapMode::Uncached),
        _ => Err(EINVAL),
    })
}

/// `skiff_disconnect()`.
///
/// # Safety
///
/// - Not called from a callback of the connection.
/// - `remote` was given to the caller, who uses neither it nor maps of it any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_disconnect(remote: *mut skiff_remote) {
    // SAFETY:
    // - By this function's own condition.
    drop(unsafe { take(remote) });
}
