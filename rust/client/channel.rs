// SPDX-License-Identifier: GPL-2.0

//! Messages between the modules of all nodes.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

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
    handler::Held, //
};

/// Bytes of the longest message.
// CAST: A small constant of the header.
pub const MESSAGE_MAX: usize = bindings::SKIFF_MESSAGE_MAX as usize;

/// Who receives the messages of a channel. One call at a time.
pub trait ChannelHandler: Send + Sync + 'static {
    /// A node, which may be this one, has sent a message. It can be anything: check it.
    fn message(&self, node: u32, bytes: &[u8]);

    /// A message of this node has come to a node where nobody has the channel open.
    fn refused(&self, _node: u32) {}
}

/// The operations of a handler as C has them.
struct Operations<H>(PhantomData<H>);

impl<H: ChannelHandler> Operations<H> {
    const TABLE: bindings::skiff_channel_ops = bindings::skiff_channel_ops {
        message: Some(Self::message),
        refused: Some(Self::refused),
    };

    /// # Safety
    ///
    /// Called by skiff.ko with the data of a channel of `H` and as many bytes as it says.
    unsafe extern "C" fn message(
        data: *mut c_void,
        node: c_uint,
        bytes: *const c_void,
        length: usize,
    ) {
        // SAFETY:
        // - The channel holds its handler until no callback comes any more.
        let handler = unsafe { &*data.cast::<H>() };
        let bytes = if length == 0 {
            &[]
        } else {
            // SAFETY:
            // - By this function's own condition; nobody writes them during the call.
            unsafe { core::slice::from_raw_parts(bytes.cast(), length) }
        };

        handler.message(node, bytes);
    }

    /// # Safety
    ///
    /// Called by skiff.ko with the data of a channel of `H`.
    unsafe extern "C" fn refused(data: *mut c_void, node: c_uint) {
        // SAFETY:
        // - The channel holds its handler until no callback comes any more.
        unsafe { &*data.cast::<H>() }.refused(node);
    }
}

/// An open channel. Dropping it closes it, and waits for callbacks that are under way.
///
/// # Invariants
///
/// `raw` is an open channel whose data are those of `_handler`.
pub struct Channel {
    raw: NonNull<bindings::skiff_channel>,
    _handler: Held,
}

// SAFETY: The functions for channels may be called by any thread.
unsafe impl Send for Channel {}
// SAFETY: As above, at the same time.
unsafe impl Sync for Channel {}

impl Channel {
    /// Opens a channel: `EBUSY` if the number is taken. Messages may come before this returns.
    pub fn open<H: ChannelHandler>(number: u32, handler: Arc<H>) -> Result<Self> {
        let handler = Held::new(handler);
        // SAFETY:
        // - The table is static, and its functions are for the handler's type, which outlives the channel.
        let raw = from_err_ptr(unsafe {
            bindings::skiff_channel_open(number, &Operations::<H>::TABLE, handler.data())
        })?;

        // INVARIANT: Just opened.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _handler: handler,
        })
    }

    /// Sends a message of at most [`MESSAGE_MAX`] bytes. Does not wait for the peer; may be called by callbacks.
    pub fn send(&self, node: u32, bytes: &[u8]) -> Result {
        // SAFETY:
        // - By the type's invariant; the bytes are only read, during the call.
        to_result(unsafe {
            bindings::skiff_channel_send(
                self.raw.as_ptr(),
                node,
                bytes.as_ptr().cast(),
                bytes.len(),
            )
        })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; nobody calls anything for it at the same time. The handler goes after this.
        unsafe { bindings::skiff_channel_close(self.raw.as_ptr()) };
    }
}
