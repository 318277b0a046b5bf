// SPDX-License-Identifier: GPL-2.0

//! Ranges of a window BAR: write-combining where reserved, and mapped for the kernel piece by piece.
//!
//! x86 has one cache mode for a physical page: [`WriteCombining`] reserves a range, and from there on maps of it for programs
//! are write-combining too. What is not reserved is uncached. Never map a window as a whole.
//!
//! The owner of a [`WriteCombining`] or an [`IoMap`] keeps the BAR ([`Region`]) requested as long; of an
//! [`IoMap::of_registers`] the caller does.
//!
//! C header: [`include/linux/io.h`](srctree/include/linux/io.h)

use crate::{
    bindings as helpers,
    page::Run,
    pci::Region, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// Lets earlier stores of this CPU into write-combining memory go, before any later store (`sfence`).
pub fn wmb() {
    // SAFETY:
    // - There are no conditions.
    unsafe { helpers::wmb() }
}

/// Lets no later load of this CPU come before an earlier one, whatever memory they are of.
pub fn rmb() {
    // SAFETY:
    // - There are no conditions.
    unsafe { helpers::rmb() }
}

/// A range of a BAR that is reserved for write-combining.
///
/// # Invariants
///
/// The range was reserved by this object.
pub struct WriteCombining {
    start: u64,
    bytes: u64,
    _region: Arc<Region>,
}

impl WriteCombining {
    /// Reserves `bytes` bytes from `offset` of the BAR on, both whole pages; `EBUSY` if some part is mapped otherwise.
    pub fn new(region: &Arc<Region>, offset: u64, bytes: u64) -> Result<Self> {
        let start = region.range(offset, bytes)?;

        // SAFETY:
        // - The range is memory of a device that the caller drives, since it has the BAR.
        to_result(unsafe { bindings::arch_io_reserve_memtype_wc(start, bytes) })?;
        // INVARIANT: Just reserved.
        Ok(Self {
            start,
            bytes,
            _region: region.clone(),
        })
    }
}

impl Drop for WriteCombining {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant this undoes this object's own reservation.
        unsafe { bindings::arch_io_free_memtype_wc(self.start, self.bytes) }
    }
}

/// How the kernel sees a piece of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stores are combined: [`wmb`] lets them go.
    WriteCombining,
    /// Each access is carried out as it stands.
    Uncached,
}

/// A piece of a BAR, mapped for the kernel. What it shows is shared with others and may be anything at any time: all accesses
/// are volatile, and nothing that was read is trusted.
///
/// # Invariants
///
/// `base` is a mapping of `bytes` bytes, of `_region` if it has one.
pub struct IoMap {
    base: NonNull<u8>,
    bytes: usize,
    _region: Option<Arc<Region>>,
}

// SAFETY: The mapping belongs to the whole kernel, not to a thread.
unsafe impl Send for IoMap {}

// SAFETY: Accesses are volatile; what is shared across the fabric is shared among threads as well.
unsafe impl Sync for IoMap {}

impl IoMap {
    /// Maps `bytes` bytes from `offset` of the BAR on, both whole pages.
    pub fn new(region: &Arc<Region>, offset: u64, bytes: usize, mode: Mode) -> Result<Self> {
        let start = region.range(offset, bytes as u64)?;
        // SAFETY:
        // - The range is memory of a device that the caller drives, since it has the BAR.
        let base = unsafe {
            match mode {
                Mode::WriteCombining => bindings::ioremap_wc(start, bytes),
                Mode::Uncached => bindings::ioremap(start, bytes),
            }
        };

        // INVARIANT: Just mapped.
        Ok(Self {
            base: NonNull::new(base).ok_or(ENOMEM)?.cast(),
            bytes,
            _region: Some(region.clone()),
        })
    }

    /// Maps registers of a device that the caller drives, uncached, for as long as it does.
    ///
    /// Errors: EOVERFLOW, ENOMEM also for what are no registers.
    pub fn of_registers(run: Run) -> Result<Self> {
        let bytes = run.pages.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
        // CAST: Both are 64 bits wide.
        let start = run.frame.checked_mul(PAGE_SIZE as u64).ok_or(EOVERFLOW)?;
        // SAFETY:
        // - Memory is refused; what else is there is the caller's.
        let base = unsafe { bindings::ioremap(start, bytes) };

        // INVARIANT: Just mapped.
        Ok(Self {
            base: NonNull::new(base).ok_or(ENOMEM)?.cast(),
            bytes,
            _region: None,
        })
    }

    /// Where the kernel sees it; for as long as this object is there.
    pub fn address(&self) -> *mut c_void {
        self.base.as_ptr().cast()
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads 32 bits at `offset`, a multiple of four; `EINVAL` outside of the map.
    pub fn read32(&self, offset: usize) -> Result<u32> {
        let at = self.range(offset, 4, 4)?;

        // SAFETY:
        // - Four mapped bytes, aligned.
        Ok(unsafe { at.cast::<u32>().read_volatile() })
    }

    /// Writes 32 bits at `offset`, a multiple of four; `EINVAL` outside of the map.
    pub fn write32(&self, offset: usize, value: u32) -> Result {
        let at = self.range(offset, 4, 4)?;

        // SAFETY:
        // - Four mapped bytes, aligned.
        unsafe { at.cast::<u32>().write_volatile(value) };
        Ok(())
    }

    /// Reads `to.len()` bytes from `offset` on, both multiples of four, in order; `EINVAL` outside of the map.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result {
        let at = self.range(offset, to.len(), 4)?.cast::<u32>();

        for (index, word) in to.chunks_exact_mut(4).enumerate() {
            // SAFETY:
            // - Four mapped bytes, aligned: the range was checked.
            word.copy_from_slice(&unsafe { at.add(index).read_volatile() }.to_ne_bytes());
        }
        Ok(())
    }

    /// Writes `from` from `offset` on, both multiples of four, in order; `EINVAL` outside of the map.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result {
        let at = self.range(offset, from.len(), 4)?.cast::<u32>();

        for (index, word) in from.chunks_exact(4).enumerate() {
            let mut bytes = [0; 4];

            bytes.copy_from_slice(word);
            // SAFETY:
            // - Four mapped bytes, aligned: the range was checked.
            unsafe { at.add(index).write_volatile(u32::from_ne_bytes(bytes)) };
        }
        Ok(())
    }

    /// Where `offset` is, if `len` bytes from there on are mapped and both are multiples of `align`.
    fn range(&self, offset: usize, len: usize, align: usize) -> Result<*mut u8> {
        let end = offset.checked_add(len).ok_or(EINVAL)?;

        if end > self.bytes || offset % align != 0 || len % align != 0 {
            return Err(EINVAL);
        }
        // SAFETY:
        // - `offset` is within the mapping, or right behind it.
        Ok(unsafe { self.base.as_ptr().add(offset) })
    }
}

impl Drop for IoMap {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant this undoes this object's own mapping.
        unsafe { bindings::iounmap(self.base.as_ptr().cast::<c_void>()) }
    }
}
