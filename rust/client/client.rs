// SPDX-License-Identifier: GPL-2.0

//! What skiff.ko offers to other modules, for those in Rust: peers and lent devices as auxiliary devices, messages, segments and
//! borrowed devices.
//!
//! The functions, their contexts and their errors are those of `include/linux/skiff.h`; what is said here is what Rust adds.
//! Objects end when they are dropped, and what is of another object keeps that one: a device is returned when the last map, memory
//! and window of it are gone.
//!
//! An object holds its handler, so a handler must not hold its object, or they live for ever; and it must not be a callback that
//! drops the last reference of an object, which would wait for itself.
//!
//! # Locking
//!
//! None. Callbacks come on threads of skiff.ko, one at a time for an object.
//!
//! C header: [`include/linux/skiff.h`](../../include/linux/skiff.h)

use kernel::{
    prelude::*,
    types::Opaque, //
};

/// `include/linux/skiff.h`, and helpers.
#[allow(dead_code)]
#[path = "../ext/bindings.rs"]
mod bindings;
mod borrowed;
mod channel;
mod direct;
mod dma;
mod driver;
#[path = "../ext/errno.rs"]
mod errno;
mod find;
mod handler;
mod io;
mod memory;
mod segment;
mod window;
#[path = "../ext/work.rs"]
mod work;

pub use borrowed::{
    BorrowEvent,
    BorrowHandler,
    Borrowed,
    Share, //
};
pub use channel::{
    Channel,
    ChannelHandler,
    MESSAGE_MAX, //
};
pub use direct::Direct;
pub use dma::{
    Dma,
    Place, //
};
pub use driver::{
    Driver,
    Registration, //
};
pub use errno::Errno;
pub use find::{
    device,
    find_device,
    Device,
    Find, //
};
pub use io::{
    IoMap,
    MapMode, //
};
pub use memory::{
    dma_mb,
    dma_rmb,
    wmb, //
};
pub use segment::{
    Local,
    Remote,
    Segment,
    SegmentEvent,
    SegmentHandler, //
};
pub use window::Window;
pub use work::{
    now_ms,
    Work,
    Worker, //
};

/// Auxiliary devices of nodes that answer; the id is the node's number.
pub const PEER_NAME: &CStr = name(bindings::SKIFF_PEER_NAME);
/// Auxiliary devices of devices that can be borrowed; the id is the fdid.
pub const DEVICE_NAME: &CStr = name(bindings::SKIFF_DEVICE_NAME);

/// A string of the header.
const fn name(bytes: &'static [u8]) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes) {
        Ok(name) => name,
        // PANIC: When this is compiled, as only constants are made of it.
        Err(_) => panic!("the header has a string without an end"),
    }
}

/// The number of this node; `ENODEV` as long as no adapter was found.
pub fn node() -> Result<u32> {
    // SAFETY:
    // - The function has no conditions.
    let node = unsafe { bindings::skiff_node() };

    u32::try_from(node).map_err(|_| Error::from_errno(node))
}

/// How long to wait for a peer, in milliseconds, as the functions of the header want it: the default.
pub const DEFAULT_TIMEOUT: u32 = 0;

// A structure of the kernel without fields (`lock_class_key` without lockdep) is in it.
#[allow(improper_ctypes)]
extern "C" {
    /// The module that this crate is linked into, defined by the linker script's `.gnu.linkonce.this_module`.
    static __this_module: Opaque<kernel::bindings::module>;
}

/// The module that this crate is linked into: the owner of its drivers.
const THIS_MODULE: *mut kernel::bindings::module = (&raw const __this_module).cast_mut().cast();
