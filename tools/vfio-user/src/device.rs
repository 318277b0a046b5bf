// SPDX-License-Identifier: GPL-2.0
//! What a device must be able to do to be served, and the values that pass between it and the connection.
//!
//! The values are those of <linux/vfio.h>, checked: a device never sees a flag that it does not know or a range that overflows.
//! A device is shared between the threads of its connections and owns its own locking.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bitflags::bitflags;

use crate::client::Client;
use crate::Errno;

/// Index of PCI BAR 0 among the regions of a PCI device; BARs 1 to 5 follow (VFIO_PCI_BAR0_REGION_INDEX).
pub const REGION_BAR0: u32 = 0;
/// Index of the expansion ROM (VFIO_PCI_ROM_REGION_INDEX).
pub const REGION_ROM: u32 = 6;
/// Index of the PCI configuration space (VFIO_PCI_CONFIG_REGION_INDEX).
pub const REGION_CONFIG: u32 = 7;
/// Index of legacy VGA space (VFIO_PCI_VGA_REGION_INDEX).
pub const REGION_VGA: u32 = 8;
/// How many regions a PCI device has (VFIO_PCI_NUM_REGIONS).
pub const PCI_REGIONS: u32 = 9;

/// Index of the INTx interrupt (VFIO_PCI_INTX_IRQ_INDEX).
pub const IRQ_INTX: u32 = 0;
/// Index of the MSI interrupts (VFIO_PCI_MSI_IRQ_INDEX).
pub const IRQ_MSI: u32 = 1;
/// Index of the MSI-X interrupts (VFIO_PCI_MSIX_IRQ_INDEX).
pub const IRQ_MSIX: u32 = 2;
/// Index of the error interrupt (VFIO_PCI_ERR_IRQ_INDEX). A device without one answers with an error: QEMU complains about a count of 0.
pub const IRQ_ERR: u32 = 3;
/// Index of the device request interrupt (VFIO_PCI_REQ_IRQ_INDEX).
pub const IRQ_REQ: u32 = 4;
/// How many interrupt indices a PCI device has (VFIO_PCI_NUM_IRQS).
pub const PCI_IRQS: u32 = 5;

bitflags! {
    /// What kind of device this is (vfio_device_info.flags).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct DeviceFlags: u32 {
        /// The device can be reset (VFIO_DEVICE_FLAGS_RESET).
        const RESET = 1 << 0;
        /// The device is a PCI function (VFIO_DEVICE_FLAGS_PCI).
        const PCI = 1 << 1;
    }
}

bitflags! {
    /// What may be done with a region (vfio_region_info.flags without those that this crate sets itself).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct RegionAccess: u32 {
        /// The region can be read (VFIO_REGION_INFO_FLAG_READ).
        const READ = 1 << 0;
        /// The region can be written (VFIO_REGION_INFO_FLAG_WRITE).
        const WRITE = 1 << 1;
    }
}

bitflags! {
    /// How an interrupt index can be used (vfio_irq_info.flags).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct IrqFlags: u32 {
        /// The interrupt is signalled by eventfd (VFIO_IRQ_INFO_EVENTFD).
        const EVENTFD = 1 << 0;
        /// The interrupt can be masked (VFIO_IRQ_INFO_MASKABLE).
        const MASKABLE = 1 << 1;
        /// The interrupt masks itself when it fires (VFIO_IRQ_INFO_AUTOMASKED).
        const AUTOMASKED = 1 << 2;
        /// All vectors of the index are set up at once (VFIO_IRQ_INFO_NORESIZE).
        const NORESIZE = 1 << 3;
    }
}

bitflags! {
    /// What the device may do with a piece of the client's memory (VFIO_USER_F_DMA_REGION_*).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct DmaAccess: u32 {
        /// The device may read it.
        const READ = 1 << 0;
        /// The device may write it.
        const WRITE = 1 << 1;
    }
}

/// The shape of a device: asked for once, when a connection starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Kind of device.
    pub flags: DeviceFlags,
    /// Number of regions; [`PCI_REGIONS`] for a PCI function.
    pub num_regions: u32,
    /// Number of interrupt indices; [`PCI_IRQS`] for a PCI function.
    pub num_irqs: u32,
}

impl DeviceInfo {
    /// A PCI function that can be reset.
    pub const PCI: Self = Self {
        flags: DeviceFlags::PCI.union(DeviceFlags::RESET),
        num_regions: PCI_REGIONS,
        num_irqs: PCI_IRQS,
    };
}

/// One region: a BAR, the configuration space…
#[derive(Debug, Clone)]
pub struct RegionInfo {
    /// Size in bytes; 0 when the device has no such region. Must not change while a connection lives.
    pub size: u64,
    /// What may be done with it by messages.
    pub access: RegionAccess,
    /// What the client may map instead of sending messages.
    pub mapping: Option<RegionMapping>,
}

impl RegionInfo {
    /// A region that the device does not have.
    pub const ABSENT: Self = Self {
        size: 0,
        access: RegionAccess::empty(),
        mapping: None,
    };

    /// A region of `size` bytes of which every access is a message.
    pub const fn trapped(size: u64) -> Self {
        Self {
            size,
            access: RegionAccess::READ.union(RegionAccess::WRITE),
            mapping: None,
        }
    }
}

/// Memory that the client maps for (parts of) a region.
#[derive(Debug, Clone)]
pub struct RegionMapping {
    /// The file to map; a copy of it travels to the client with each answer.
    pub fd: Arc<OwnedFd>,
    /// Where in the file the region begins, in bytes.
    pub offset: u64,
    /// The parts that can be mapped; none named means the whole region.
    pub areas: Vec<MappableArea>,
}

/// A part of a region that the client may map (struct vfio_region_sparse_mmap_area).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappableArea {
    /// Offset within the region, in bytes, a multiple of the page size.
    pub offset: u64,
    /// Length in bytes, a multiple of the page size.
    pub size: u64,
}

/// One interrupt index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IrqInfo {
    /// Number of vectors; 0 when the device has no such interrupt.
    pub count: u32,
    /// How they can be used.
    pub flags: IrqFlags,
}

impl IrqInfo {
    /// An interrupt that the device does not have.
    pub const ABSENT: Self = Self {
        count: 0,
        flags: IrqFlags::empty(),
    };
}

/// What is to be done with a range of vectors of one interrupt index.
///
/// The connection has checked that `start + count` stays within the count that the device gave for the index.
#[derive(Debug)]
pub struct SetIrqs {
    /// The interrupt index, such as [`IRQ_MSI`].
    pub index: u32,
    /// First vector.
    pub start: u32,
    /// Number of vectors. 0 together with [`IrqAction::Trigger`] and [`IrqData::None`] switches the whole index off.
    pub count: u32,
    /// What to do.
    pub action: IrqAction,
    /// Which of the vectors, or by what.
    pub data: IrqData,
}

/// What is to be done with interrupt vectors (VFIO_IRQ_SET_ACTION_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqAction {
    /// Mask them.
    Mask,
    /// Unmask them.
    Unmask,
    /// With eventfds: signal through these from now on. Otherwise fire them now (a test by the client).
    Trigger,
}

/// The data that comes with a [`SetIrqs`] (VFIO_IRQ_SET_DATA_*).
#[derive(Debug)]
pub enum IrqData {
    /// All vectors of the range.
    None,
    /// Those vectors of the range whose entry is true; as many entries as vectors.
    Bool(Vec<bool>),
    /// One eventfd a vector, as many as vectors; or none at all, which takes the vectors' eventfds away.
    Eventfds(Vec<OwnedFd>),
}

/// A piece of the client's bus address space that becomes reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaMap {
    /// First bus address. `addr + size` does not overflow.
    pub addr: u64,
    /// Length in bytes, not 0.
    pub size: u64,
    /// Where the piece begins in the file that came with it, in bytes. `offset + size` does not overflow.
    pub offset: u64,
    /// What may be done with it.
    pub access: DmaAccess,
}

/// A piece of the client's bus address space that stops being reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaUnmap {
    /// A range; it need not match what was mapped before. `addr + size` does not overflow.
    Range {
        /// First bus address.
        addr: u64,
        /// Length in bytes, not 0.
        size: u64,
    },
    /// Everything.
    All,
}

/// A device that can be served to one or several clients.
///
/// All methods but [`connected`](Self::connected) are called by the connection's own threads, one at a time, in the order of the client's messages.
/// An error becomes the error reply of the message, and is otherwise without consequence for the connection.
pub trait Device: Send + Sync + 'static {
    /// A client has come: called by [`serve`](crate::serve) before its first message is read. `client` is the way towards its bus.
    fn connected(&self, client: &Client) {
        let _ = client;
    }

    /// The client has gone: the last call of this connection, even after another method has panicked; its [`Client`] answers
    /// `Disconnected` for ever.
    fn disconnected(&self) {}

    /// The shape of the device; must not change while a connection lives.
    fn device_info(&self) -> DeviceInfo;

    /// Tells about one region; `index` is below [`DeviceInfo::num_regions`].
    ///
    /// # Errors
    /// An error is told to the client, which then gives up on the device.
    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno>;

    /// Tells about one interrupt index; `index` is below [`DeviceInfo::num_irqs`].
    ///
    /// # Errors
    /// An error is told to the client, which then takes the interrupt as absent.
    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno>;

    /// Reads `data.len()` bytes at `offset`; the range lies within the region, and the region can be read.
    ///
    /// # Errors
    /// An error is told to the client, whose guest then sees all ones.
    fn region_read(&self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno>;

    /// Writes `data` at `offset`; the range lies within the region, and the region can be written.
    ///
    /// # Errors
    /// An error is told to the client unless the write was posted.
    fn region_write(&self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno>;

    /// Does what [`region_write`](Self::region_write) does if it need not wait for anything, not even for a lock that is held while somebody
    /// waits; else it does nothing and answers false, and `region_write` is called. Only for posted writes: on the thread that receives
    /// what the client answers to others.
    fn region_post(&self, index: u32, offset: u64, data: &[u8]) -> bool {
        let _ = (index, offset, data);
        false
    }

    /// Sets up, masks, unmasks or fires interrupts.
    ///
    /// # Errors
    /// An error is told to the client.
    fn set_irqs(&self, set: SetIrqs) -> Result<(), Errno>;

    /// A piece of the client's memory can be reached from now on: through `fd`, or without one only by messages ([`Client`]).
    ///
    /// # Errors
    /// An error is told to the client, which may end over it.
    fn dma_map(&self, map: DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno>;

    /// A piece of the client's memory can no longer be reached; the client is answered when this returns, and then takes the memory as its own again.
    /// The range may be a part of what was mapped, or cover several maps and holes.
    ///
    /// # Errors
    /// An error is told to the client.
    fn dma_unmap(&self, unmap: DmaUnmap) -> Result<(), Errno>;

    /// Puts the device into the state that it has after power-on.
    ///
    /// # Errors
    /// An error is told to the client.
    fn reset(&self) -> Result<(), Errno>;
}
