// SPDX-License-Identifier: GPL-2.0
//! Questions about the device, its regions and its interrupts: the structs of <linux/vfio.h>.

use super::bytes::{Input, Output};
use super::WireError;
use crate::device::MappableArea;

/// DEVICE_GET_INFO in both directions: struct vfio_device_info up to `num_irqs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceInfoMessage {
    /// Room for the answer, in bytes; in the answer its length.
    pub argsz: u32,
    /// VFIO_DEVICE_FLAGS_*.
    pub flags: u32,
    /// Number of regions.
    pub num_regions: u32,
    /// Number of interrupt indices.
    pub num_irqs: u32,
}

impl DeviceInfoMessage {
    /// Length in bytes.
    pub const SIZE: u32 = 16;

    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put32(self.argsz);
        out.put32(self.flags);
        out.put32(self.num_regions);
        out.put32(self.num_irqs);
        out
    }

    /// Reads a message; bytes after the known fields are ignored.
    ///
    /// # Errors
    /// It is too short, or its `argsz` is.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let message = Self {
            argsz: input.u32()?,
            flags: input.u32()?,
            num_regions: input.u32()?,
            num_irqs: input.u32()?,
        };
        check_argsz(message.argsz, Self::SIZE)?;
        Ok(message)
    }
}

/// DEVICE_GET_IRQ_INFO in both directions: struct vfio_irq_info.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IrqInfoMessage {
    /// Room for the answer, in bytes; in the answer its length.
    pub argsz: u32,
    /// VFIO_IRQ_INFO_*.
    pub flags: u32,
    /// Which interrupt.
    pub index: u32,
    /// Number of vectors.
    pub count: u32,
}

impl IrqInfoMessage {
    /// Length in bytes.
    pub const SIZE: u32 = 16;

    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put32(self.argsz);
        out.put32(self.flags);
        out.put32(self.index);
        out.put32(self.count);
        out
    }

    /// Reads a message; bytes after the known fields are ignored.
    ///
    /// # Errors
    /// It is too short, or its `argsz` is.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let message = Self {
            argsz: input.u32()?,
            flags: input.u32()?,
            index: input.u32()?,
            count: input.u32()?,
        };
        check_argsz(message.argsz, Self::SIZE)?;
        Ok(message)
    }
}

/// DEVICE_GET_REGION_INFO in both directions: struct vfio_region_info and the sparse mmap capability.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionInfoMessage {
    /// Room for the answer, in bytes; in the answer how much the whole of it needs.
    pub argsz: u32,
    /// VFIO_REGION_INFO_FLAG_*, without [`FLAG_CAPS`](Self::FLAG_CAPS), which goes with `areas`.
    pub flags: u32,
    /// Which region.
    pub index: u32,
    /// Size of the region in bytes.
    pub size: u64,
    /// Where the region begins in the file that comes with the message, in bytes.
    pub offset: u64,
    /// The parts that can be mapped; none named means that the capability is absent.
    pub areas: Vec<MappableArea>,
}

const CAP_SPARSE_MMAP: u16 = 1;
const CAP_HEAD: usize = 8;
const SPARSE_HEAD: usize = CAP_HEAD + 8;
const AREA: usize = 16;

impl RegionInfoMessage {
    /// Length of the fixed part in bytes.
    pub const SIZE: u32 = 32;
    /// The region can be mapped (VFIO_REGION_INFO_FLAG_MMAP).
    pub const FLAG_MMAP: u32 = 1 << 2;
    /// Capabilities follow the fixed part (VFIO_REGION_INFO_FLAG_CAPS).
    pub const FLAG_CAPS: u32 = 1 << 3;

    /// How many bytes the message takes with its capability.
    pub fn full_size(&self) -> usize {
        let areas = match self.areas.len() {
            0 => 0,
            count => SPARSE_HEAD + count * AREA,
        };
        Self::SIZE as usize + areas
    }

    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.full_size());
        let (caps, cap_offset) = match self.areas.is_empty() {
            true => (0, 0),
            false => (Self::FLAG_CAPS, Self::SIZE),
        };
        out.put32(self.argsz);
        out.put32(self.flags & !Self::FLAG_CAPS | caps);
        out.put32(self.index);
        out.put32(cap_offset);
        out.put64(self.size);
        out.put64(self.offset);
        if !self.areas.is_empty() {
            out.put16(CAP_SPARSE_MMAP);
            out.put16(1);
            out.put32(0);
            out.put32(u32::try_from(self.areas.len()).unwrap_or(u32::MAX));
            out.put32(0);
            for area in &self.areas {
                out.put64(area.offset);
                out.put64(area.size);
            }
        }
        out
    }

    /// Reads a message; bytes after the known fields and unknown capabilities are ignored.
    ///
    /// # Errors
    /// It is too short, or its `argsz` is, or its list of capabilities leads outside or in a circle.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let argsz = input.u32()?;
        let flags = input.u32()?;
        let index = input.u32()?;
        let cap_offset = input.u32()?;
        let size = input.u64()?;
        let offset = input.u64()?;
        check_argsz(argsz, Self::SIZE)?;
        let areas = match flags & Self::FLAG_CAPS {
            0 => Vec::new(),
            _ => find_areas(payload, cap_offset)?,
        };
        Ok(Self {
            argsz,
            flags: flags & !Self::FLAG_CAPS,
            index,
            size,
            offset,
            areas,
        })
    }
}

/// Walks the capabilities from `at`, an offset in the payload; offsets must rise, so the walk ends.
fn find_areas(payload: &[u8], mut at: u32) -> Result<Vec<MappableArea>, WireError> {
    while at != 0 {
        let start = usize::try_from(at).map_err(|_| WireError::Size)?;
        let mut input = Input::new(payload.get(start..).ok_or(WireError::Short)?);
        let id = input.u16()?;
        let _version = input.u16()?;
        let next = input.u32()?;
        if id == CAP_SPARSE_MMAP {
            let count = input.u32()?;
            let _reserved = input.u32()?;
            let len = usize::try_from(count)
                .ok()
                .and_then(|count| count.checked_mul(AREA))
                .ok_or(WireError::Size)?;
            let mut areas = Input::new(input.take(len)?);
            let mut out = Vec::with_capacity(len / AREA);
            for _ in 0..count {
                out.push(MappableArea {
                    offset: areas.u64()?,
                    size: areas.u64()?,
                });
            }
            return Ok(out);
        }
        if next != 0 && next <= at {
            return Err(WireError::Value);
        }
        at = next;
    }
    Ok(Vec::new())
}

fn check_argsz(argsz: u32, least: u32) -> Result<(), WireError> {
    if argsz < least {
        Err(WireError::Size)
    } else {
        Ok(())
    }
}
