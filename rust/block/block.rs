// SPDX-License-Identifier: GPL-2.0

//! Block devices over blk-mq: what the kernel crate's `block::mq` lacks for a driver of real hardware.
//!
//! A [`Driver`] is handed each [`Request`] to own. It reads from it what the device has to do, and lets it fly
//! ([`Request::send`]) before it tells the device; whoever learns that the device has done it takes it back by queue and tag
//! ([`TagSet::take`]) and ends it. A request is in exactly one hand at any time, so that it ends once, whatever the device, a
//! timeout and an unplugging say at the same time.
//!
//! # Locking
//!
//! None of its own: the state of a request is one atomic word. Who may sleep is said at each function.
//!
//! C headers: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use kernel::types::Opaque;

mod batch;
#[path = "../ext/bindings.rs"]
mod bindings;
mod bytes;
mod disk;
mod driver;
mod limits;
mod pieces;
mod request;
mod slot;
mod status;
mod tags;

pub use batch::Batch;
pub use bytes::copy;
pub use disk::Disk;
pub use driver::{
    Driver,
    Queued,
    TimeoutAction, //
};
pub use limits::{
    Discard,
    Limits, //
};
pub use pieces::{
    Piece,
    Pieces,
    Range,
    Ranges, //
};
pub use request::{
    Flying,
    Request, //
};
pub use status::{
    Op,
    Status, //
};
pub use tags::{
    Quiesced,
    Setup,
    TagSet, //
};

// A structure of the kernel without fields (`lock_class_key` without lockdep) is in it.
#[allow(improper_ctypes)]
extern "C" {
    /// The module that this crate is linked into, defined by the linker script's `.gnu.linkonce.this_module`.
    static __this_module: Opaque<kernel::bindings::module>;
}

/// The module that this crate is linked into: it stays while one of its disks is open.
const THIS_MODULE: *mut kernel::bindings::module = (&raw const __this_module).cast_mut().cast();

/// Bytes of a sector, the unit in which the block layer counts.
pub const SECTOR: u32 = 512;
