// SPDX-License-Identifier: GPL-2.0

//! Memory that a client and its borrowed device have together.
//!
//! Of this node: a segment of the kernel's that the lender connects to, so that it is reused by the rules that segments have.
//! Of the lender: private memory of the borrow, which this node connects to.

use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::{
    addr::PAGE,
    ids::{
        Gid,
        MapId,
        SegmentId,
        Uid, //
    },
    ntb::WindowClass,
    wire::{
        DeviceMemory,
        DeviceOp, //
    },
};

use super::{
    device::Device,
    map::Connection,
    Node, //
};
use crate::{
    bus,
    lend::{
        Memory,
        Own, //
    },
    mem::{
        KernelMap,
        MapMode, //
    },
    uapi::numbers, //
};

/// The longest memory that one run of the page allocator can have, in pages.
const RUN_MAX: usize = 1024;

/// Where memory is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On this node.
    Cpu,
    /// At the lender.
    Device,
}

/// Makes the memory of `pages` pages for a device: in one piece if that is easy, for a device without an IOMMU cannot do with
/// less. Errors: `EDQUOT`, `ENOMEM`, `ENOSPC`.
pub(super) fn kernel_memory(node: &Node, pages: usize) -> Result<Arc<bus::Memory>> {
    let pool = node.fabric.pool();

    if pages <= RUN_MAX {
        if let Ok(memory) = bus::Memory::contiguous(pool, pages) {
            return Ok(memory);
        }
    }
    bus::Memory::kernel(pool, pages)
}

/// Private memory of a borrow at its lender. Dropping it removes it there.
struct Far {
    device: Arc<Device>,
    id: SegmentId,
    timeout_ms: u32,
}

impl Drop for Far {
    fn drop(&mut self) {
        // If the lender cannot be asked it goes with the borrow.
        let _ = self
            .device
            .borrowed()
            .order(DeviceOp::RemoveMemory(self.id), self.timeout_ms);
    }
}

/// What a device reaches as long as this lives.
pub(super) struct Reached {
    device: Arc<Device>,
    map: MapId,
    address: u64,
}

impl Reached {
    /// Lets `device` reach all of `memory`. Errors: those of [`Borrowed::map`](crate::lend::Borrowed::map).
    pub(super) fn new(device: &Arc<Device>, memory: &Memory, timeout_ms: u32) -> Result<Self> {
        let (map, address) = device.borrowed().map(memory, 0, 0, timeout_ms)?;

        Ok(Self {
            device: device.clone(),
            map,
            address,
        })
    }

    /// The address that the device has to use.
    pub(super) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        // If the lender cannot be asked it goes with what it leads to, or with the borrow.
        let _ = self
            .device
            .borrowed()
            .unmap(self.map, self.device.default_ms());
    }
}

/// Where the memory of a [`Dma`] is. The fields' order matters: what comes later is let go of later.
enum Held {
    /// On this node.
    Own { kernel: KernelMap, _own: Own },
    /// At the lender.
    Far {
        kernel: KernelMap,
        _connection: Connection,
        _far: Far,
    },
}

/// Memory that a device reaches.
pub(super) struct Dma {
    // The order matters: the device does not reach it any more when it goes.
    reached: Reached,
    held: Held,
}

impl Dma {
    /// Allocates at least `bytes` zeroed bytes for `device`.
    ///
    /// Errors: `EINVAL`, `ENXIO` when it does not lie behind one slot; `EDQUOT`, `ENOMEM`, `ENOSPC`, those of asking.
    pub(super) fn new(
        device: &Arc<Device>,
        bytes: u64,
        place: Place,
        timeout_ms: u32,
    ) -> Result<Self> {
        let timeout_ms = numbers::timeout(timeout_ms)?;

        if bytes == 0 {
            return Err(EINVAL);
        }
        match (place, device.borrowed().adapter()) {
            (Place::Device, Some(_)) => Self::far(device, bytes, timeout_ms),
            // At the lender is here if it is this node.
            (Place::Cpu, _) | (Place::Device, None) => Self::own(device, bytes, timeout_ms),
        }
    }

    /// Memory of this node.
    pub(super) fn own(device: &Arc<Device>, bytes: u64, timeout_ms: u32) -> Result<Self> {
        let pages = usize::try_from(bytes.div_ceil(PAGE))?;
        let memory = kernel_memory(device.node(), pages)?;
        let own = Own::whole(device.borrowed(), &memory, WindowClass::Memory)?;
        let kernel = own.local().map_kernel()?;
        let reached = Reached::new(device, &Memory::Local(own.local().clone()), timeout_ms)?;

        Ok(Self {
            reached,
            held: Held::Own { kernel, _own: own },
        })
    }

    /// Memory of the lender.
    fn far(device: &Arc<Device>, bytes: u64, timeout_ms: u32) -> Result<Self> {
        let bytes = bytes.checked_next_multiple_of(PAGE).ok_or(EINVAL)?;
        let (kind, id) = (DeviceMemory::Private, device.next_memory());
        let create = DeviceOp::CreateMemory { kind, id, bytes };

        device.borrowed().order(create, timeout_ms)?;
        let far = Far {
            device: device.clone(),
            id,
            timeout_ms: device.default_ms(),
        };
        let op = DeviceOp::Memory { kind, id };
        let remote = device.borrowed().connect(op, timeout_ms)?;
        let connection = Connection::new(&device.node().segments, remote.clone());
        let (mode, lot) = (MapMode::WriteCombining, device.lot());
        let kernel = remote.map_kernel(0, bytes / PAGE, mode, lot)?;
        let memory = Memory::Remote(remote, Uid::new(0), Gid::new(0));
        let reached = Reached::new(device, &memory, timeout_ms)?;

        Ok(Self {
            reached,
            held: Held::Far {
                kernel,
                _connection: connection,
                _far: far,
            },
        })
    }

    /// The address that the device has to use.
    pub(super) fn address(&self) -> u64 {
        self.reached.address()
    }

    /// Where the kernel sees it, for as long as this object is there, and how long it is.
    pub(super) fn kernel(&self) -> (*mut c_void, usize) {
        match &self.held {
            Held::Own { kernel, .. } | Held::Far { kernel, .. } => {
                (kernel.address(), kernel.bytes())
            }
        }
    }
}
