// SPDX-License-Identifier: GPL-2.0

//! Pieces of memory that the controller reaches.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_client::{
    Borrowed,
    Dma,
    Place,
    DEFAULT_TIMEOUT, //
};

/// A piece of memory that the controller reaches.
///
/// # Invariants
///
/// `from + bytes` is at most the length of `memory`.
#[derive(Clone)]
pub(crate) struct Part {
    memory: Arc<Dma>,
    from: usize,
    bytes: usize,
}

impl Part {
    /// Memory of so many bytes, zeros. Process context.
    pub(crate) fn new(device: &Arc<Borrowed>, bytes: usize, place: Place) -> Result<Self> {
        let memory = device.dma(bytes, place, DEFAULT_TIMEOUT)?;

        // INVARIANT: All of it.
        Ok(Self {
            memory: Arc::new(memory, GFP_KERNEL)?,
            from: 0,
            bytes,
        })
    }

    /// A part of it; `EINVAL` if it has no such part.
    pub(crate) fn part(&self, from: usize, bytes: usize) -> Result<Self> {
        let end = from.checked_add(bytes).ok_or(EINVAL)?;

        if end > self.bytes {
            return Err(EINVAL);
        }
        // INVARIANT: It ends where `self` does, or before.
        Ok(Self {
            memory: self.memory.clone(),
            from: self.from + from,
            bytes,
        })
    }

    /// What the controller uses for its first byte.
    pub(crate) fn address(&self) -> u64 {
        // By the invariant this is within the memory, whose addresses do not wrap.
        self.memory.address() + self.from as u64
    }

    /// The place in the whole memory of `bytes` bytes from `at` on.
    fn place(&self, at: usize, bytes: usize) -> Result<usize> {
        let end = at.checked_add(bytes).ok_or(EINVAL)?;

        if end > self.bytes {
            return Err(EINVAL);
        }
        Ok(self.from + at)
    }

    /// Writes bytes; `EINVAL` if they do not fit. Any context.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> Result {
        self.memory.write(self.place(at, bytes.len())?, bytes)
    }

    /// Writes numbers at a multiple of 8, each by one store; `EINVAL` elsewhere. Any context.
    pub(crate) fn write_longs(&self, at: usize, longs: &[u64]) -> Result {
        let place = self.place(at, size_of_val(longs))?;

        self.memory.write_longs(place, longs)
    }

    /// Writes 32 bits; `EINVAL` elsewhere. Any context.
    pub(crate) fn write32(&self, at: usize, value: u32) -> Result {
        self.memory.write32(self.place(at, 4)?, value)
    }

    /// Reads 32 bits of memory of this node; `EINVAL` elsewhere. Any context.
    pub(crate) fn read32(&self, at: usize) -> Result<u32> {
        self.memory.read32(self.place(at, 4)?)
    }

    /// Makes all of it zeros. Any context.
    pub(crate) fn clear(&self) -> Result {
        self.memory.clear(self.from, self.bytes)
    }
}
