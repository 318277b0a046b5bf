// SPDX-License-Identifier: GPL-2.0

//! Accesses to memory and registers that others use at the same time.

use core::sync::atomic::AtomicU8;

use kernel::{
    bindings as kernel_bindings,
    prelude::*, //
};

use crate::bindings;

/// What was written before comes before what is written after, write-combined or not.
pub fn wmb() {
    // SAFETY:
    // - The function has no conditions.
    unsafe { bindings::client_wmb() }
}

/// What is read after of memory that a device writes is not older than what was read before.
pub fn dma_rmb() {
    // SAFETY:
    // - The function has no conditions.
    unsafe { bindings::client_dma_rmb() }
}

/// What was written to memory that a device reads is there before anything is read after of memory that it writes.
pub fn dma_mb() {
    // SAFETY:
    // - The function has no conditions.
    unsafe { bindings::client_dma_mb() }
}

/// Bytes that others read and write at any time: mapped registers, memory of a peer, or memory that a device reaches.
///
/// # Invariants
///
/// `address` is mapped for `bytes` bytes as long as this lives, and nobody has references to them.
pub(crate) struct Shared {
    address: *mut c_void,
    bytes: usize,
}

// SAFETY: What is mapped is mapped for the whole kernel.
unsafe impl Send for Shared {}
// SAFETY: Every access is one that may race with any other.
unsafe impl Sync for Shared {}

macro_rules! access {
    ($read:ident, $write:ident, $raw_read:ident, $raw_write:ident, $type:ty) => {
        /// Reads at a multiple of the value's size; `EINVAL` elsewhere.
        pub(crate) fn $read(&self, offset: usize) -> Result<$type> {
            let address = self.value(offset, size_of::<$type>())?;

            // SAFETY:
            // - The value is mapped and aligned.
            Ok(unsafe { kernel_bindings::$raw_read(address) })
        }

        /// Writes at a multiple of the value's size; `EINVAL` elsewhere. What was written to ordinary memory before comes before.
        pub(crate) fn $write(&self, offset: usize, value: $type) -> Result {
            let address = self.value(offset, size_of::<$type>())?;

            // SAFETY:
            // - The value is mapped and aligned.
            unsafe { kernel_bindings::$raw_write(value, address) };
            Ok(())
        }
    };
}

impl Shared {
    /// # Safety
    ///
    /// `address` is mapped for `bytes` bytes as long as the result lives, and nobody has references to them.
    pub(crate) unsafe fn new(address: *mut c_void, bytes: usize) -> Self {
        // INVARIANT: By this function's own condition.
        Self { address, bytes }
    }

    /// The length in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where `length` bytes from `offset` on are.
    fn part(&self, offset: usize, length: usize) -> Result<*mut c_void> {
        match offset.checked_add(length) {
            Some(end) if end <= self.bytes => Ok(self.address.wrapping_byte_add(offset)),
            _ => Err(EINVAL),
        }
    }

    /// Where an aligned value is.
    fn value(&self, offset: usize, size: usize) -> Result<*mut c_void> {
        if offset % size != 0 {
            return Err(EINVAL);
        }
        self.part(offset, size)
    }

    access!(read8, write8, readb, writeb, u8);
    access!(read16, write16, readw, writew, u16);
    access!(read32, write32, readl, writel, u32);
    access!(read64, write64, readq, writeq, u64);

    /// Copies out: a mixture, if it is written meanwhile.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> Result {
        let from = self.part(offset, to.len())?;

        // SAFETY:
        // - The bytes are mapped, and `to` is this function's alone.
        unsafe { kernel_bindings::memcpy_fromio(to.as_mut_ptr().cast(), from, to.len()) };
        Ok(())
    }

    /// Copies in.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Result {
        let to = self.part(offset, from.len())?;

        // SAFETY:
        // - The bytes are mapped, and `from` does not change.
        unsafe { kernel_bindings::memcpy_toio(to, from.as_ptr().cast(), from.len()) };
        Ok(())
    }

    /// Copies numbers to a multiple of 8, each by one store; `EINVAL` elsewhere.
    pub(crate) fn write_longs(&self, offset: usize, from: &[u64]) -> Result {
        if offset % size_of::<u64>() != 0 {
            return Err(EINVAL);
        }

        let to = self.part(offset, size_of_val(from))?;

        // SAFETY:
        // - The bytes are mapped and aligned, and `from` does not change.
        unsafe { bindings::client_write_longs(to, from.as_ptr(), from.len()) };
        Ok(())
    }

    /// Copies out to memory that others use too. For ordinary memory, of any length.
    pub(crate) fn copy_out(&self, offset: usize, to: &[AtomicU8]) -> Result {
        let from = self.part(offset, to.len())?;

        // SAFETY:
        // - Both are mapped for as many bytes; atomic bytes may be written through shared references. Races give a mixture, as for
        //   the kernel's memcpy() of such memory.
        unsafe { core::ptr::copy(from.cast(), to.as_ptr().cast_mut(), to.len()) };
        Ok(())
    }

    /// Copies in from memory that others use too. For ordinary memory, of any length.
    pub(crate) fn copy_in(&self, offset: usize, from: &[AtomicU8]) -> Result {
        let to = self.part(offset, from.len())?;

        // SAFETY:
        // - As above.
        unsafe { core::ptr::copy(from.as_ptr(), to.cast(), from.len()) };
        Ok(())
    }

    /// Fills with zeroes.
    pub(crate) fn clear(&self, offset: usize, length: usize) -> Result {
        let to = self.part(offset, length)?;

        // SAFETY:
        // - The bytes are mapped.
        unsafe { kernel_bindings::memset_io(to, 0, length) };
        Ok(())
    }
}

/// The accesses of a public type that has a [`Shared`] in its field `shared`.
macro_rules! accesses {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&self, $($argument: $type),*) -> $result {
                self.shared.$name($($argument),*)
            }
        )*
    };
}

pub(crate) use accesses;
