// SPDX-License-Identifier: GPL-2.0

//! Functions of channels.

use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::errno::Errno;
use skiff_model::{
    ids::{
        ChannelId,
        NodeId, //
    },
    wire::{
        ClientBytes,
        CLIENT_BYTES, //
    },
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
use crate::kapi::{
    channel::{
        Channel,
        Receiver, //
    },
    header::{
        skiff_channel,
        skiff_channel_ops,
        SKIFF_MESSAGE_MAX, //
    },
};

declared!(skiff_channel_open, skiff_channel_send, skiff_channel_close);

// CAST: The number is small.
const _: () = assert!(SKIFF_MESSAGE_MAX as usize == CLIENT_BYTES);

impl Handle for skiff_channel {
    type Object = Channel;
}

impl Receiver for Callbacks<skiff_channel_ops> {
    fn message(&self, node: NodeId, bytes: &[u8]) {
        if let Some(message) = self.get(|ops| ops.message) {
            // SAFETY:
            // - By the type's invariant; the bytes are there during the call.
            unsafe { message(self.data(), node.get(), bytes.as_ptr().cast(), bytes.len()) }
        }
    }

    fn refused(&self, node: NodeId) {
        if let Some(refused) = self.get(|ops| ops.refused) {
            // SAFETY:
            // - By the type's invariant.
            unsafe { refused(self.data(), node.get()) }
        }
    }
}

/// `skiff_channel_open()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded.
/// - `ops` lives until the channel is closed, and so long its functions may be called with `data`, one at a time, on any thread.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_channel_open(
    number: u32,
    ops: *const skiff_channel_ops,
    data: *mut c_void,
) -> *mut skiff_channel {
    // SAFETY:
    // - By this function's own condition.
    let receiver = Arc::new(unsafe { Callbacks::new(ops, data) }, GFP_KERNEL);
    let open = || {
        node()?
            .clients
            .channels()
            .open(ChannelId::new(number), receiver?)
    };

    give(open())
}

/// `skiff_channel_send()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded.
/// - `channel` is open, and not closed during the call.
/// - `bytes` is valid for reading `length` bytes.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_channel_send(
    channel: *mut skiff_channel,
    to: c_uint,
    bytes: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY:
    // - By this function's own condition.
    let channel = unsafe { object(channel.cast_const()) };
    let bytes: &[u8] = match length {
        0 => &[],
        // SAFETY:
        // - By this function's own condition; it is only read, and copied before the call ends.
        1..=CLIENT_BYTES => unsafe { core::slice::from_raw_parts(bytes.cast(), length) },
        _ => return Error::from(Errno::MessageSize).to_errno(),
    };
    let send = || {
        let bytes = ClientBytes::new(bytes).ok_or(Errno::MessageSize)?;

        node()?.send(&channel, NodeId::new(to).ok_or(ENXIO)?, bytes)
    };

    status(send())
}

/// `skiff_channel_close()`.
///
/// # Safety
///
/// - Called by a module that keeps this one loaded, not from a callback of the channel.
/// - `channel` is open, and nobody else uses it any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_channel_close(channel: *mut skiff_channel) {
    // SAFETY:
    // - By this function's own condition.
    let channel = unsafe { take(channel) };

    if let Ok(node) = node() {
        node.clients.channels().close(&channel);
    }
}
