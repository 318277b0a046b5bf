// SPDX-License-Identifier: GPL-2.0

//! Memory that a borrowed device reaches.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    memory::{
        accesses,
        Shared, //
    },
    Borrowed, //
};

/// Where memory for a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this node: for what the CPU reads.
    Cpu,
    /// At the lender, mapped write-combining: for what the device reads and the CPU only writes. [`crate::wmb`] before the doorbell
    /// that tells of it.
    Device,
}

/// Memory that a device reaches. Any context, but for the drop.
///
/// # Invariants
///
/// `raw` is memory of `_borrowed`, and `shared` is what the CPU has of it.
pub struct Dma {
    raw: NonNull<bindings::skiff_dma>,
    shared: Shared,
    address: u64,
    place: Place,
    /// Last: it outlives its memory.
    _borrowed: Arc<Borrowed>,
}

// SAFETY: The functions for memory may be called by any thread.
unsafe impl Send for Dma {}
// SAFETY: As above, at the same time.
unsafe impl Sync for Dma {}

impl Dma {
    pub(crate) fn new(
        borrowed: &Arc<Borrowed>,
        bytes: usize,
        place: Place,
        timeout_ms: u32,
    ) -> Result<Self> {
        let raw_place = match place {
            Place::Cpu => bindings::skiff_place_SKIFF_PLACE_CPU,
            Place::Device => bindings::skiff_place_SKIFF_PLACE_DEVICE,
        };
        // SAFETY:
        // - The device is borrowed, and stays so as the result holds it.
        let raw = from_err_ptr(unsafe {
            // CAST: A usize is 64 bits wide.
            bindings::skiff_dma_alloc(borrowed.raw(), bytes as u64, raw_place, timeout_ms)
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY:
        // - It was just allocated; both of the union are where the CPU finds it.
        let (memory, address, bytes) = unsafe {
            let dma = raw.as_ref();

            (dma.__bindgen_anon_1.memory, dma.address, dma.bytes)
        };

        // INVARIANT: Just allocated.
        Ok(Self {
            raw,
            // CAST: Memory that is mapped has a length of a usize.
            // SAFETY:
            // - The memory stays mapped until it is freed, and nobody makes references to it.
            shared: unsafe { Shared::new(memory, bytes as usize) },
            address,
            place,
            _borrowed: borrowed.clone(),
        })
    }

    /// What the device uses for it.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    accesses! {
        /// Its length in bytes, whole pages.
        bytes() -> usize;
        /// Reads at a multiple of 2; `EINVAL` elsewhere. The device may have written anything: check it.
        read16(offset: usize) -> Result<u16>;
        /// Reads at a multiple of 4; `EINVAL` elsewhere. Of memory at the lender this crosses the fabric.
        read32(offset: usize) -> Result<u32>;
        /// Reads at a multiple of 8; `EINVAL` elsewhere.
        read64(offset: usize) -> Result<u64>;
        /// Writes at a multiple of 4; `EINVAL` elsewhere.
        write32(offset: usize, value: u32) -> Result;
        /// Writes at a multiple of 8; `EINVAL` elsewhere.
        write64(offset: usize, value: u64) -> Result;
        /// Copies out: a mixture, if it is written meanwhile. `EINVAL` if it does not lie inside.
        read(offset: usize, to: &mut [u8]) -> Result;
        /// Copies in; `EINVAL` if it does not lie inside.
        write(offset: usize, from: &[u8]) -> Result;
        /// Copies numbers to a multiple of 8, each by one store; `EINVAL` elsewhere.
        write_longs(offset: usize, from: &[u64]) -> Result;
        /// Fills with zeroes; `EINVAL` if it does not lie inside.
        clear(offset: usize, bytes: usize) -> Result;
    }
}

impl Drop for Dma {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; nobody uses it any more.
        unsafe { bindings::skiff_dma_free(self.raw.as_ptr()) };
    }
}
