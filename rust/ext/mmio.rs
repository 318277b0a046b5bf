// SPDX-License-Identifier: GPL-2.0

//! Registers of a device: a BAR mapped uncached, read and written 32 bits at a time.
//!
//! The object owns the BAR and its mapping. It takes no lock: what an access does to the device, and in which order, is the
//! owner's business.
//!
//! C header: [`include/linux/io.h`](srctree/include/linux/io.h)

use crate::pci::Region;
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// A register of a block: its distance from the start in bytes, a multiple of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(u16);

impl Register {
    /// The register at `offset`; anything but a multiple of four does not compile in a constant.
    pub const fn new(offset: u16) -> Self {
        assert!(offset % 4 == 0, "a register is not aligned");
        Self(offset)
    }

    /// The register `count` times `stride` bytes further on; the last one if there is none.
    pub const fn plus(self, stride: u16, count: u16) -> Self {
        Self(self.0.saturating_add(stride.saturating_mul(count)) & !3)
    }
}

/// The first `LEN` bytes of a BAR.
///
/// # Invariants
///
/// `base` is an uncached mapping of `LEN` bytes of `_region`.
pub struct Registers<const LEN: usize> {
    base: NonNull<c_void>,
    _region: Region,
}

// SAFETY: The mapping belongs to the whole kernel, not to a thread.
unsafe impl<const LEN: usize> Send for Registers<LEN> {}

// SAFETY: Accesses are single instructions.
unsafe impl<const LEN: usize> Sync for Registers<LEN> {}

impl<const LEN: usize> Registers<LEN> {
    /// Maps the registers; `ENODEV` if the BAR is too short.
    pub fn new(region: Region) -> Result<Self> {
        let start = region.range(0, LEN as u64).map_err(|_| ENODEV)?;
        // SAFETY:
        // - The range is memory of a device that nobody else drives.
        let base = unsafe { bindings::ioremap(start, LEN) };

        // INVARIANT: Just mapped.
        Ok(Self {
            base: NonNull::new(base).ok_or(ENOMEM)?,
            _region: region,
        })
    }

    /// Reads a register; all ones behind the last one, as on the bus.
    pub fn read(&self, register: Register) -> u32 {
        match self.address(register) {
            // SAFETY:
            // - The address lies in the mapping and is aligned.
            Some(address) => unsafe { bindings::readl(address) },
            None => u32::MAX,
        }
    }

    /// Writes a register; behind the last one nothing happens, as on the bus.
    pub fn write(&self, register: Register, value: u32) {
        if let Some(address) = self.address(register) {
            // SAFETY:
            // - The address lies in the mapping and is aligned.
            unsafe { bindings::writel(value, address) }
        }
    }

    fn address(&self, register: Register) -> Option<*mut c_void> {
        let offset = usize::from(register.0);

        // Four bytes at a multiple of four.
        (offset < LEN & !3).then(|| self.base.as_ptr().wrapping_byte_add(offset))
    }
}

impl<const LEN: usize> Drop for Registers<LEN> {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant this undoes this object's own mapping.
        unsafe { bindings::iounmap(self.base.as_ptr()) }
    }
}
