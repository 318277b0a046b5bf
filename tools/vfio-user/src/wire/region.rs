// SPDX-License-Identifier: GPL-2.0
//! Accesses to regions.

use super::bytes::{check_range, Input, Output};
use super::WireError;

/// Which bytes of which region: REGION_READ as a command, REGION_WRITE as a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionRange {
    /// Offset in the region, in bytes. `offset + count` does not overflow.
    pub offset: u64,
    /// Which region.
    pub region: u32,
    /// Number of bytes.
    pub count: u32,
}

impl RegionRange {
    /// Length in bytes.
    pub const SIZE: usize = 16;

    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::SIZE);
        self.put(&mut out);
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

    fn put(&self, out: &mut Vec<u8>) {
        out.put64(self.offset);
        out.put32(self.region);
        out.put32(self.count);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let range = Self {
            offset: input.u64()?,
            region: input.u32()?,
            count: input.u32()?,
        };
        check_range(range.offset, u64::from(range.count))?;
        Ok(range)
    }
}

/// Bytes of a region: REGION_WRITE as a command, REGION_READ as a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionData<'a> {
    /// Offset in the region, in bytes. `offset + data.len()` does not overflow.
    pub offset: u64,
    /// Which region.
    pub region: u32,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> RegionData<'a> {
    /// Lays the message out.
    ///
    /// # Errors
    /// The data is longer than a message can be.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::with_capacity(RegionRange::SIZE + self.data.len());
        self.range()?.put(&mut out);
        out.extend_from_slice(self.data);
        Ok(out)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Its count is not the number of bytes that it brings, or its range overflows.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let range = RegionRange::take(&mut input)?;
        let data = input.rest();
        if u32::try_from(data.len()) != Ok(range.count) {
            return Err(WireError::Size);
        }
        Ok(Self {
            offset: range.offset,
            region: range.region,
            data,
        })
    }

    /// Which bytes these are.
    ///
    /// # Errors
    /// The data is longer than a message can be.
    pub fn range(&self) -> Result<RegionRange, WireError> {
        Ok(RegionRange {
            offset: self.offset,
            region: self.region,
            count: u32::try_from(self.data.len()).map_err(|_| WireError::Size)?,
        })
    }
}

/// Most writes in one REGION_WRITE_MULTI (VFIO_USER_MULTI_MAX).
pub const MULTI_MAX: usize = 200;
/// Most bytes in each of them (VFIO_USER_MULTI_DATA).
pub const MULTI_DATA: usize = 8;

/// One of the writes of a [`RegionWriteMulti`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallWrite {
    /// Where; `count` is at most [`MULTI_DATA`].
    pub range: RegionRange,
    /// The bytes; those after the first `count` mean nothing.
    pub data: [u8; MULTI_DATA],
}

impl SmallWrite {
    /// The bytes to be written.
    pub fn bytes(&self) -> &[u8] {
        let count = usize::try_from(self.range.count).unwrap_or(MULTI_DATA);
        &self.data[..count.min(MULTI_DATA)]
    }
}

/// REGION_WRITE_MULTI, client to server. The answer is the number of writes as u64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionWriteMulti {
    /// The writes in their order, at most [`MULTI_MAX`].
    pub writes: Vec<SmallWrite>,
}

impl RegionWriteMulti {
    /// Lays the message out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Self::encode_reply(self.writes.len());
        for write in &self.writes {
            write.range.put(&mut out);
            out.extend_from_slice(&write.data);
        }
        out
    }

    /// Lays out the answer to `count` writes.
    pub fn encode_reply(count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        out.put64(u64::try_from(count).unwrap_or(u64::MAX));
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It brings another number of writes than it says, more than [`MULTI_MAX`], or one that is too long or whose range overflows.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let count = usize::try_from(input.u64()?).map_err(|_| WireError::Size)?;
        if count > MULTI_MAX {
            return Err(WireError::Size);
        }
        let mut writes = Vec::with_capacity(count);
        for _ in 0..count {
            let range = RegionRange::take(&mut input)?;
            let mut data = [0; MULTI_DATA];
            data.copy_from_slice(input.take(MULTI_DATA)?);
            if usize::try_from(range.count).map_or(true, |count| count > MULTI_DATA) {
                return Err(WireError::Size);
            }
            writes.push(SmallWrite { range, data });
        }
        input.end()?;
        Ok(Self { writes })
    }
}
