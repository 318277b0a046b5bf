// SPDX-License-Identifier: GPL-2.0
//! What the kernel tells of devices: snapshots, without any tie to the object.

use std::fmt;

use crate::uapi;
use crate::Containment;
use crate::Fdid;
use crate::PciAddress;

/// A device of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its id.
    pub fdid: Fdid,
    /// Number of its lender.
    pub node: u32,
    /// Whether it can be borrowed.
    pub state: DeviceState,
    /// Whether an IOMMU keeps it to what is mapped for it.
    pub containment: Containment,
    /// Where it is on its lender.
    pub function: PciAddress,
    /// Class, subclass and programming interface: bits 23:16, 15:8 and 7:0.
    pub class: u32,
    /// Its revision.
    pub revision: u32,
    /// PCI vendor id.
    pub vendor: u16,
    /// PCI device id.
    pub device: u16,
    /// Subsystem vendor id.
    pub subvendor: u16,
    /// Subsystem id.
    pub subdevice: u16,
    /// Its serial number, if it has one.
    pub serial: Option<u64>,
    /// Bytes of each BAR that can be mapped; 0: none.
    pub bars: [u64; uapi::SKIFF_DEVICE_BARS as usize],
    /// Interrupt vectors that it can have.
    pub vectors: u32,
    /// How many have borrowed it.
    pub borrowers: u32,
}

impl From<uapi::skiff_device> for DeviceInfo {
    fn from(raw: uapi::skiff_device) -> Self {
        Self {
            fdid: raw.fdid.into(),
            node: raw.node,
            state: match raw.state {
                uapi::SKIFF_DEVICE_UNAVAILABLE => DeviceState::Unavailable,
                uapi::SKIFF_DEVICE_AVAILABLE => DeviceState::Available,
                uapi::SKIFF_DEVICE_BORROWED => DeviceState::Borrowed,
                uapi::SKIFF_DEVICE_EXCLUSIVE => DeviceState::Exclusive,
                uapi::SKIFF_DEVICE_BROKEN => DeviceState::Broken,
                other => DeviceState::Other(other),
            },
            containment: if raw.flags & uapi::SKIFF_DEVICE_CONTAINED != 0 {
                Containment::Contained
            } else {
                Containment::NotContained
            },
            // CAST: the ABI keeps 16 bits of it.
            function: PciAddress::new(raw.domain, raw.bdf as u16),
            class: raw.class_code,
            revision: raw.revision,
            vendor: raw.vendor,
            device: raw.device,
            subvendor: raw.subvendor,
            subdevice: raw.subdevice,
            serial: (raw.serial != 0).then_some(raw.serial),
            bars: raw.bars,
            vectors: raw.vectors,
            borrowers: raw.borrowers,
        }
    }
}

/// Whether a device can be borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceState {
    /// It cannot yet, or not any more.
    Unavailable,
    /// It can.
    Available,
    /// It is, and can be borrowed by others as well.
    Borrowed,
    /// It is, by one alone.
    Exclusive,
    /// Its reset has failed, or it was unplugged.
    Broken,
    /// One that this version does not know.
    Other(u32),
}

/// The number of a state.
pub(crate) fn raw(state: DeviceState) -> u32 {
    match state {
        DeviceState::Unavailable => uapi::SKIFF_DEVICE_UNAVAILABLE,
        DeviceState::Available => uapi::SKIFF_DEVICE_AVAILABLE,
        DeviceState::Borrowed => uapi::SKIFF_DEVICE_BORROWED,
        DeviceState::Exclusive => uapi::SKIFF_DEVICE_EXCLUSIVE,
        DeviceState::Broken => uapi::SKIFF_DEVICE_BROKEN,
        DeviceState::Other(other) => other,
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => write!(f, "unavailable"),
            Self::Available => write!(f, "available"),
            Self::Borrowed => write!(f, "borrowed"),
            Self::Exclusive => write!(f, "exclusive"),
            Self::Broken => write!(f, "broken"),
            Self::Other(other) => write!(f, "state {other}"),
        }
    }
}

/// Whether a borrower has a device alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// Others may borrow it as well.
    #[default]
    Shared,
    /// Nobody else has it, and nobody gets it.
    Exclusive,
}

/// A borrowed device, as its borrower has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BorrowInfo {
    /// Whether it is borrowed alone, as it is now.
    pub share: Share,
    /// What is mapped for it on behalf of this borrower.
    pub maps: u32,
    /// Interrupt vectors that it has been given; 0: none.
    pub vectors: u32,
    /// The device itself.
    pub device: DeviceInfo,
}

impl From<uapi::skiff_device_info> for BorrowInfo {
    fn from(raw: uapi::skiff_device_info) -> Self {
        Self {
            share: if raw.flags & uapi::SKIFF_BORROW_EXCLUSIVE != 0 {
                Share::Exclusive
            } else {
                Share::Shared
            },
            maps: raw.maps,
            vectors: raw.vectors,
            device: raw.device.into(),
        }
    }
}

/// Why a device cannot be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing keeps it from the memory of this node.
    NoIommu,
    /// Its IOMMU group has other functions.
    Group,
    /// It has no reset that works.
    NoReset,
    /// Its requests do not get to a bridge.
    NoPath,
    /// One that this version does not know.
    Other(u32),
}

impl Refusal {
    /// What the kernel has said, if it was anything.
    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            uapi::SKIFF_REFUSAL_NONE => return None,
            uapi::SKIFF_REFUSAL_NO_IOMMU => Self::NoIommu,
            uapi::SKIFF_REFUSAL_GROUP => Self::Group,
            uapi::SKIFF_REFUSAL_NO_RESET => Self::NoReset,
            uapi::SKIFF_REFUSAL_NO_PATH => Self::NoPath,
            other => Self::Other(other),
        })
    }

    /// It in words.
    pub fn cause(self) -> &'static str {
        match self {
            Self::NoIommu => "no IOMMU keeps it, and who borrows it, from the memory of this node",
            Self::Group => "its IOMMU group has other functions, which could reach what it can",
            Self::NoReset => "it has no reset that works, so borrowers would find what others left",
            Self::NoPath => "its requests do not get to the adapter",
            Self::Other(_) => "it cannot be lent, for a reason that this program does not know",
        }
    }

    /// What helps.
    pub fn mend(self) -> Option<&'static str> {
        Some(match self {
            Self::NoIommu => {
                "turn the IOMMU on (intel_iommu=on), or let borrowers reach all memory of this node: --unsafe"
            }
            Self::Group => "put it into a slot whose bridge has Access Control Services",
            Self::NoReset => "look at reset_method of the function in /sys/bus/pci/devices",
            Self::NoPath => "put it and the adapter below the same root complex",
            Self::Other(_) => return None,
        })
    }
}
