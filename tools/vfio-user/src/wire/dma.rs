// SPDX-License-Identifier: GPL-2.0
//! The client's memory: which of it can be reached, and accesses to it.

use super::bytes::{check_range, Input, Output};
use super::WireError;
use crate::device::{DmaAccess, DmaMap, DmaUnmap};

/// DMA_MAP, client to server (struct VFIOUserDMAMap). The answer has no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaMapMessage(pub DmaMap);

impl DmaMapMessage {
    const SIZE: u32 = 32;

    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put32(Self::SIZE);
        out.put32(self.0.access.bits());
        out.put64(self.0.offset);
        out.put64(self.0.addr);
        out.put64(self.0.size);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It or its `argsz` has another length, it has unknown flags, or one of its ranges is empty or overflows.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let argsz = input.u32()?;
        let flags = input.u32()?;
        let offset = input.u64()?;
        let addr = input.u64()?;
        let size = input.u64()?;
        input.end()?;
        if argsz < Self::SIZE {
            return Err(WireError::Size);
        }
        if size == 0 {
            return Err(WireError::Range);
        }
        check_range(addr, size)?;
        check_range(offset, size)?;
        let access = DmaAccess::from_bits(flags).ok_or(WireError::Value)?;
        Ok(Self(DmaMap {
            addr,
            size,
            offset,
            access,
        }))
    }
}

/// DMA_UNMAP in both directions (struct VFIOUserDMAUnmap); the answer repeats the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaUnmapMessage(pub DmaUnmap);

const UNMAP_ALL: u32 = 1 << 1;

impl DmaUnmapMessage {
    const SIZE: u32 = 24;

    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let (flags, addr, size) = match self.0 {
            DmaUnmap::Range { addr, size } => (0, addr, size),
            DmaUnmap::All => (UNMAP_ALL, 0, 0),
        };
        let mut out = Vec::new();
        out.put32(Self::SIZE);
        out.put32(flags);
        out.put64(addr);
        out.put64(size);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It or its `argsz` is too short, it asks for something unknown (such as a bitmap of dirty pages), or its range is empty or overflows.
    /// A range up to the very end of the 64 bits is one: it loses its last byte here, which no [`DmaMapMessage`] can contain.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let argsz = input.u32()?;
        let flags = input.u32()?;
        let addr = input.u64()?;
        let size = input.u64()?;
        if argsz < Self::SIZE {
            return Err(WireError::Size);
        }
        match flags {
            0 if size == 0 => Err(WireError::Range),
            0 => {
                // addr + size may be 2^64.
                check_range(addr, size - 1)?;
                let size = size.min(u64::MAX - addr);
                Ok(Self(DmaUnmap::Range { addr, size }))
            }
            UNMAP_ALL if addr == 0 && size == 0 => Ok(Self(DmaUnmap::All)),
            _ => Err(WireError::Value),
        }
    }
}

/// Which bytes on the client's bus: DMA_READ as a command, DMA_WRITE as a reply. Both fields have 64 bits (QEMU's VFIOUserDMARW).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaRange {
    /// First bus address. `addr + count` does not overflow.
    pub addr: u64,
    /// Number of bytes.
    pub count: u64,
}

impl DmaRange {
    /// Length in bytes.
    pub const SIZE: usize = 16;

    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::SIZE);
        out.put64(self.addr);
        out.put64(self.count);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It has another length, or its range overflows.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let range = Self::take(&mut input)?;
        input.end()?;
        Ok(range)
    }

    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let range = Self {
            addr: input.u64()?,
            count: input.u64()?,
        };
        check_range(range.addr, range.count)?;
        Ok(range)
    }
}

/// Bytes on the client's bus: DMA_WRITE as a command, DMA_READ as a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaData<'a> {
    /// First bus address. `addr + data.len()` does not overflow.
    pub addr: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> DmaData<'a> {
    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.range().encode();
        out.extend_from_slice(self.data);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Its count is not the number of bytes that it brings, or its range overflows.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let range = DmaRange::take(&mut input)?;
        let data = input.rest();
        if u64::try_from(data.len()) != Ok(range.count) {
            return Err(WireError::Size);
        }
        Ok(Self {
            addr: range.addr,
            data,
        })
    }

    /// Which bytes these are.
    pub fn range(&self) -> DmaRange {
        DmaRange {
            addr: self.addr,
            count: u64::try_from(self.data.len()).unwrap_or(u64::MAX),
        }
    }
}
