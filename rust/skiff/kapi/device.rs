// SPDX-License-Identifier: GPL-2.0

//! Devices that clients have borrowed.
//!
//! A client counts as root of this node: what a program needs capabilities for, it may.
//!
//! # Locking
//!
//! `lines` is held while the lender is asked for vectors, and while nothing else is.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};
use skiff_model::{
    addr::PAGE,
    ids::{
        Fdid,
        Gid,
        SegmentId,
        Uid, //
    },
    slots::Lot,
    wire::{
        DeviceOp,
        Mastering,
        Raw, //
    },
};

use super::{
    lines::{
        Interrupts,
        Lines, //
    },
    map::{
        Connection,
        Map, //
    },
    Node, //
};
use crate::{
    fabric::new_lot,
    lend::{
        Borrow,
        Borrowed,
        Client, //
    },
    mem::MapMode,
    uapi::{
        devices,
        numbers,
        SKIFF_DEVICE_BARS,
        SKIFF_DEVICE_VECTORS_MAX, //
    },
};

/// A device that a client has borrowed.
#[pin_data(PinnedDrop)]
pub(super) struct Device {
    node: Arc<Node>,
    borrowed: Arc<Borrowed>,
    /// All that is mapped of the device is lost together.
    lot: Lot,
    /// Memories made at the lender so far.
    memories: Atomic<u32>,
    /// Limit of waits that have none of their own.
    default_ms: u32,
    /// Interrupts that come directly.
    #[pin]
    lines: Mutex<Lines>,
}

impl Device {
    /// Borrows a device.
    ///
    /// Errors: those of [`Lend::borrow`](crate::lend::Lend::borrow), `EINVAL`.
    pub(super) fn borrow(
        node: &Arc<Node>,
        fdid: u32,
        flags: u32,
        timeout_ms: u32,
        client: Arc<dyn Client>,
    ) -> Result<Arc<Self>> {
        let default_ms = numbers::timeout(0)?;
        let what = Borrow {
            fdid: Fdid::new(fdid),
            share: numbers::share(flags)?,
            raw: Raw::Yes,
            timeout_ms: numbers::timeout(timeout_ms)?,
            uid: Uid::new(0),
            gid: Gid::new(0),
        };
        let borrowed = node.lend.borrow(&what, Some(client))?;
        let given = borrowed.clone();
        let device = Arc::pin_init(
            pin_init!(Self {
                node: node.clone(),
                borrowed: given,
                lot: new_lot(),
                memories: Atomic::new(0),
                default_ms,
                lines <- new_mutex!(Lines::none(), "Device::lines"),
            }),
            GFP_KERNEL,
        );

        if device.is_err() {
            borrowed.leave(default_ms);
        }
        device
    }

    /// Lets others borrow it as well. Errors: `EBUSY`, `EINVAL`, those of asking.
    pub(super) fn release_exclusive(&self, timeout_ms: u32) -> Result {
        self.borrowed
            .release_exclusive(numbers::timeout(timeout_ms)?)
    }

    /// Resets it. Errors: `EBUSY`, `EINVAL`, `EIO`, those of asking.
    pub(super) fn reset(&self, timeout_ms: u32) -> Result {
        self.borrowed
            .order(DeviceOp::Reset, numbers::timeout(timeout_ms)?)
    }

    /// Turns bus mastering on or off. Errors: those of asking.
    pub(super) fn master(&self, mastering: Mastering) -> Result {
        self.borrowed
            .order(DeviceOp::BusMaster(mastering), self.default_ms)
    }

    /// Reads configuration space. Errors: `EINVAL`, those of asking.
    pub(super) fn config_read(&self, offset: u32, width: u32) -> Result<u32> {
        self.borrowed
            .config_read(devices::config_read(offset, width)?, self.default_ms)
    }

    /// Writes configuration space. Errors: `EINVAL`, `EPERM`, those of asking.
    pub(super) fn config_write(&self, offset: u32, width: u32, value: u32) -> Result {
        self.borrowed.order(
            devices::config_write(offset, width, value)?,
            self.default_ms,
        )
    }

    /// Turns vectors on; how many there are. Errors: `EINVAL`, `ENOSPC`, `EOPNOTSUPP`, those of asking.
    pub(super) fn vectors(&self, count: u32) -> Result<u32> {
        if !(1..=SKIFF_DEVICE_VECTORS_MAX).contains(&count) {
            return Err(EINVAL);
        }
        self.borrowed.vectors(count, self.default_ms)
    }

    /// Chooses the vectors that the client is called for. Errors: `ENOENT`, those of asking.
    pub(super) fn listen(&self, vectors: u64) -> Result {
        let mut lines = self.lines.lock();

        self.borrowed.heed(vectors, self.default_ms)?;
        if self.node.interrupts == Interrupts::Direct {
            lines.straighten(self, vectors, self.default_ms);
        }
        Ok(())
    }

    /// What clients are served from.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The borrow.
    pub(super) fn borrowed(&self) -> &Borrowed {
        &self.borrowed
    }

    /// What shares slots with all that is mapped of the device.
    pub(super) fn lot(&self) -> Lot {
        self.lot
    }

    /// Limit of waits that have none of their own, in milliseconds.
    pub(super) fn default_ms(&self) -> u32 {
        self.default_ms
    }

    /// A name for memory at the lender that no other memory of the borrow has.
    pub(super) fn next_memory(&self) -> SegmentId {
        SegmentId::new(self.memories.fetch_add(1, Relaxed))
    }

    /// Maps a part of a BAR.
    ///
    /// Errors: `ENOENT`, `EINVAL`, `ENXIO`, those of asking, connecting and mapping.
    pub(super) fn bar(&self, bar: u32, offset: u64, bytes: u64) -> Result<Arc<Map>> {
        if bar >= SKIFF_DEVICE_BARS {
            return Err(ENOENT);
        }
        if offset % PAGE != 0 || bytes == 0 {
            return Err(EINVAL);
        }
        let op = DeviceOp::Bar(u8::try_from(bar)?);
        let remote = self.borrowed.connect(op, self.default_ms)?;
        let connection = Connection::new(&self.node.segments, remote);
        let kernel = connection.remote().map_kernel(
            offset / PAGE,
            bytes.div_ceil(PAGE),
            MapMode::Uncached,
            self.lot,
        )?;

        Ok(Arc::new(Map::with(kernel, connection), GFP_KERNEL)?)
    }
}

impl Device {
    /// Gives it back, for which the lender is waited for. The client is not called any more when this returns.
    pub(super) fn give_back(&self) {
        self.borrowed.leave(self.default_ms);
        let lines = core::mem::replace(&mut *self.lines.lock(), Lines::none());

        drop(lines);
    }
}

#[pinned_drop]
impl PinnedDrop for Device {
    fn drop(self: Pin<&mut Self>) {
        // It may not have come to the client; once more does not matter.
        self.give_back();
    }
}
