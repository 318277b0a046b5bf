// SPDX-License-Identifier: GPL-2.0
//! What lenders and borrowers of devices tell each other.
//!
//! The numbers that these have on the wire, but for those of operations and answers, are those that they have in the ABI.

use crate::addr::BusAddr;
use crate::ids::DeviceIndex;
use crate::ids::Gid;
use crate::ids::LeaseId;
use crate::ids::MapId;
use crate::ids::NodeId;
use crate::ids::RequesterId;
use crate::ids::SegmentId;
use crate::ids::Uid;

/// BARs of a device: `SKIFF_DEVICE_BARS` of the ABI.
pub const BARS: u8 = 6;

/// Interrupt vectors of a lent device that are used: `SKIFF_DEVICE_VECTORS_MAX` of the ABI.
pub const VECTORS_MAX: u32 = 64;

/// Interrupt vectors that a device may have: entries of the longest MSI-X table.
pub const MSIX_MAX: u32 = 2048;

/// Bytes of the configuration space of a PCI Express function.
pub const CONFIG_BYTES: u16 = 4096;

/// Bits of a class code: class, subclass, programming interface.
pub const CLASS_BITS: u32 = 0xff_ffff;

/// How it stands with a device of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceState {
    /// It was added.
    #[default]
    Unavailable,
    /// It can be borrowed.
    Available,
    /// It is, and may be borrowed by others as well.
    Borrowed,
    /// It is, by one alone.
    Exclusive,
    /// Its reset has failed, or it was pulled out.
    Broken,
}

/// Whether an IOMMU keeps a device to what is mapped for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contained {
    /// It reaches all memory of its lender.
    No,
    /// It does.
    Yes,
}

/// Who else may have a device meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Share {
    /// Others, too.
    Shared,
    /// Nobody.
    Exclusive,
}

/// Whether who asks may have a device that nothing contains: whether they have `CAP_SYS_RAWIO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Raw {
    /// They may not.
    No,
    /// They may.
    Yes,
}

/// A device of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceInfo {
    /// Its place in the pool.
    pub index: DeviceIndex,
    /// How it stands.
    pub state: DeviceState,
    /// Whether it is kept to what is mapped for it.
    pub contained: Contained,
    /// Its PCI domain on the lender.
    pub domain: u32,
    /// Its bus, device and function there.
    pub bdf: RequesterId,
    /// Class, subclass and programming interface; [`CLASS_BITS`].
    pub class: u32,
    /// Its revision.
    pub revision: u8,
    /// PCI vendor id.
    pub vendor: u16,
    /// PCI device id.
    pub device: u16,
    /// Vendor id of the subsystem.
    pub subvendor: u16,
    /// Device id of the subsystem.
    pub subdevice: u16,
    /// Device serial number; 0: it has none.
    pub serial: u64,
    /// Bytes of each BAR that can be mapped; 0: none.
    pub bars: [u64; BARS as usize],
    /// Interrupt vectors that it can have, [`MSIX_MAX`] at most.
    pub vectors: u32,
    /// How many have borrowed it.
    pub borrowers: u32,
}

/// Whether a device may read and write memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mastering {
    /// It may not.
    Off,
    /// It may, as far as that is mapped for it.
    On,
}

/// Whose memory at the lender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceMemory {
    /// The borrow's that has made it.
    Private,
    /// All borrowers'.
    Shared,
}

/// What a device is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapWhat {
    /// A segment that the borrower has published for the lender.
    Published(SegmentId),
    /// A segment of the lender, by a lease that the borrower has on it.
    Lease(LeaseId),
    /// A segment of a third node; the lender connects to it for this user.
    Other {
        /// The node.
        node: NodeId,
        /// The segment, one of its programs'.
        segment: SegmentId,
        /// Who asks.
        uid: Uid,
        /// Their group.
        gid: Gid,
    },
    /// Memory of the borrower's node that belongs to whoever has it there, or the addresses where it takes interrupts, published
    /// for the lender. It gets no slot of those that others may need, and none that others hold, unless an IOMMU of the lender
    /// keeps the device from it afterwards.
    Ram(SegmentId),
}

/// Bytes of an access to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// A byte.
    One,
    /// A word.
    Two,
    /// A double word.
    Four,
}

impl Width {
    /// The width of this many bytes, if there is such an access.
    pub const fn new(bytes: u32) -> Option<Self> {
        match bytes {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            _ => None,
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// The bits that a value of this width may have.
    pub const fn mask(self) -> u32 {
        match self {
            Self::One => 0xff,
            Self::Two => 0xffff,
            Self::Four => 0xffff_ffff,
        }
    }

    /// Whether configuration space can be accessed at `offset` with this width: inside of it, and aligned.
    pub const fn is_config_offset(self, offset: u16) -> bool {
        // CAST: It becomes wider.
        offset < CONFIG_BYTES && offset % self.bytes() as u16 == 0
    }
}

/// What a borrower wants of the lender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceOp {
    /// Takes the device back.
    Return,
    /// Lets others borrow it, too.
    ReleaseExclusive,
    /// Resets it.
    Reset,
    /// Switches bus mastering.
    BusMaster(Mastering),
    /// Publishes a BAR, by its number below [`BARS`], for the borrower. Answer: [`DeviceAnswer::Segment`].
    Bar(u8),
    /// Publishes memory that was made for the device. Answer: [`DeviceAnswer::Segment`].
    Memory {
        /// Whose it is.
        kind: DeviceMemory,
        /// Which of them.
        id: SegmentId,
    },
    /// Makes memory at the lender.
    CreateMemory {
        /// Whose it is to be.
        kind: DeviceMemory,
        /// What to call it.
        id: SegmentId,
        /// Its length, at least 1.
        bytes: u64,
    },
    /// Lets the device reach memory or registers. Answer: [`DeviceAnswer::Mapped`].
    Map {
        /// Of which segment.
        what: MapWhat,
        /// Where in it the range starts: whole pages.
        offset: u64,
        /// Its length: whole pages, at least one, and with `offset` it does not overflow.
        bytes: u64,
    },
    /// Takes that back.
    Unmap(MapId),
    /// Reads configuration space. Answer: [`DeviceAnswer::Value`].
    ConfigRead {
        /// Where: [`Width::is_config_offset`].
        offset: u16,
        /// How much.
        width: Width,
    },
    /// Writes configuration space.
    ConfigWrite {
        /// Where: [`Width::is_config_offset`].
        offset: u16,
        /// How much.
        width: Width,
        /// What: no more than [`Width::mask`].
        value: u32,
    },
    /// Turns interrupts on, with so many vectors if there are: 1 to [`VECTORS_MAX`]. Answer: [`DeviceAnswer::Vectors`].
    Vectors(u32),
    /// Which vectors the borrower wants to hear of from now on. The lender takes all of them, and tells.
    Listen {
        /// Bit n is vector n.
        vectors: u64,
    },
    /// Takes [private](DeviceMemory::Private) memory of the borrower away again, from the device and from who is connected to it.
    RemoveMemory(SegmentId),
    /// Has a vector that the borrower listens to store `data` in what is mapped, until the borrower listens anew or the mapping
    /// goes, and not interrupt the lender.
    Aim {
        /// Below [`VECTORS_MAX`].
        vector: u32,
        /// The mapping.
        map: MapId,
        /// Where in it: a multiple of 4.
        offset: u64,
        /// What to store there.
        data: u32,
    },
}

/// What a lender has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceAnswer {
    /// What was asked for.
    Done,
    /// The segment can be connected to.
    Segment {
        /// Its id in the kernels' space.
        segment: SegmentId,
        /// Its length, at least 1.
        bytes: u64,
    },
    /// It is mapped.
    Mapped {
        /// The lender's name for it.
        map: MapId,
        /// The address that the device has to use.
        address: BusAddr,
    },
    /// What was read.
    Value(u32),
    /// Vectors that the device has: 1 to [`VECTORS_MAX`].
    Vectors(u32),
}
