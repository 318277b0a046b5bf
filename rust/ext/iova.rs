// SPDX-License-Identifier: GPL-2.0

//! Bus addresses of a device: ranges of an IOMMU's address space, and memory mapped as it lies.
//!
//! A [`Space`] is a range of bus addresses behind a paging IOMMU, into which memory is linked page by page. Unlinking is
//! synchronous: when it returns the device cannot reach the memory any more, which the lazy paths of `dma_unmap` do not
//! promise. Neither a [`Space`] nor a [`Direct`] counts the memory: their owner keeps it until it is unlinked.
//! Both must go before the device's driver is unbound.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::{
    bindings as helpers,
    errno::Errno,
    page::Run, //
};
use kernel::{
    bindings,
    device::Device,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

/// Peers read and write.
#[cfg(skiff_v7_2)]
const BOTH: bindings::dma_data_direction = bindings::dma_data_direction_DMA_BIDIRECTIONAL;
/// Peers read and write.
#[cfg(not(skiff_v7_2))]
const BOTH: bindings::dma_data_direction = bindings::dma_data_direction::DMA_BIDIRECTIONAL;

/// `DMA_ATTR_REQUIRE_COHERENT`: the memory itself or an error, never a bounce buffer.
const COHERENT: usize = 1 << 12;

/// `DMA_ATTR_MMIO`: no memory of the kernel's, and no page belongs to it.
const MMIO: usize = 1 << 10;

/// What bus addresses lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Memory.
    Memory,
    /// A BAR of a function: registers, or a window to memory elsewhere.
    Registers,
}

impl Target {
    /// How it is to be mapped, in `DMA_ATTR_*`.
    fn attributes(self) -> usize {
        match self {
            Self::Memory => COHERENT,
            Self::Registers => COHERENT | MMIO,
        }
    }
}

/// The device as the C API takes it.
fn raw(dev: &Device) -> *mut bindings::device {
    // `Device` is a transparent wrapper of `struct device`.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// Whether what `dev` reaches is decided by a page table of an IOMMU.
pub fn is_paged(dev: &Device) -> bool {
    // SAFETY: It is a device.
    unsafe { helpers::use_dma_iommu(raw(dev)) }
}

/// Bytes of `pages` pages.
fn bytes_of(pages: usize) -> Result<usize> {
    pages.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)
}

/// The physical address of a run.
fn address_of(run: Run) -> Result<u64> {
    // CAST: Both are 64 bits wide.
    run.frame.checked_mul(PAGE_SIZE as u64).ok_or(EOVERFLOW)
}

/// A range of bus addresses behind a paging IOMMU.
///
/// # Invariants
///
/// `state` is what `dma_iova_try_alloc` gave for `dev`, from `base` on, `pages` pages long.
pub struct Space {
    /// Whose addresses they are.
    dev: ARef<Device>,
    /// The range. The DMA API takes it mutably, and writes it when it bounces, which it never does for us.
    state: Opaque<bindings::dma_iova_state>,
    /// The first bus address.
    base: u64,
    /// Its length.
    pages: usize,
}

// SAFETY: The DMA API can be used by any thread.
unsafe impl Send for Space {}

// SAFETY: Nothing of it changes; the IOMMU's page table can be changed by several threads at once, of which each has other pages.
unsafe impl Sync for Space {}

impl Space {
    /// Takes `pages` pages of bus addresses, aligned to their number if that is a power of two. [`Errno::NotSupported`] without
    /// a paging IOMMU, [`ENOSPC`] when there are no addresses.
    pub fn new(dev: &Device, pages: usize) -> Result<Self> {
        if !is_paged(dev) {
            return Err(Errno::NotSupported.into());
        }
        let bytes = bytes_of(pages)?;
        if bytes == 0 {
            return Err(EINVAL);
        }
        let mut state = bindings::dma_iova_state::default();
        // SAFETY: It is a device, and `state` is written only.
        if !unsafe { bindings::dma_iova_try_alloc(raw(dev), &mut state, 0, bytes) } {
            return Err(ENOSPC);
        }
        // INVARIANT: Just allocated.
        Ok(Self {
            dev: dev.into(),
            base: state.addr,
            state: Opaque::new(state),
            pages,
        })
    }

    /// The first bus address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Its length.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Byte offset and length of a range of pages, if it is inside.
    fn range(&self, first: usize, pages: usize) -> Result<(usize, usize)> {
        if pages == 0 || first.checked_add(pages).ok_or(EOVERFLOW)? > self.pages {
            return Err(EINVAL);
        }
        Ok((bytes_of(first)?, bytes_of(pages)?))
    }

    /// Lets page `first` and those behind it lead to `run`. They must lead nowhere yet. Like all that follows it does not sleep, and
    /// several threads may do it at once, each with other pages.
    pub fn link(&self, first: usize, run: Run, target: Target) -> Result {
        let (offset, bytes) = self.range(first, run.pages)?;
        let physical = address_of(run)?;
        // SAFETY: By the type invariant the state is that of the device, and the range is inside it.
        to_result(unsafe {
            bindings::dma_iova_link(
                raw(&self.dev),
                self.state.get(),
                physical,
                offset,
                bytes,
                BOTH,
                target.attributes(),
            )
        })
    }

    /// After the last of several [`link`](Self::link): the device sees the new pages when it returns.
    pub fn sync(&self, first: usize, pages: usize) -> Result {
        let (offset, bytes) = self.range(first, pages)?;
        // SAFETY: As in `link`.
        to_result(unsafe {
            bindings::dma_iova_sync(raw(&self.dev), self.state.get(), offset, bytes)
        })
    }

    /// Lets pages lead nowhere; all of them must have been linked. The device cannot reach what was there when it
    /// returns.
    pub fn unlink(&self, first: usize, pages: usize) {
        if let Ok((offset, bytes)) = self.range(first, pages) {
            // What the pages are makes a difference for a device that is not coherent, which `link` refuses.
            //
            // SAFETY: As in `link`.
            unsafe {
                bindings::dma_iova_unlink(
                    raw(&self.dev),
                    self.state.get(),
                    offset,
                    bytes,
                    BOTH,
                    COHERENT,
                )
            };
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; its user has unlinked all pages.
        unsafe { bindings::dma_iova_free(raw(&self.dev), self.state.get()) };
    }
}

/// A run of frames that a device without a paging IOMMU may reach, where it lies.
///
/// # Invariants
///
/// `address` is what `dma_map_phys` gave for `bytes` bytes and the attributes of `target`.
pub struct Direct {
    /// Who may reach it.
    dev: ARef<Device>,
    /// Its bus address.
    address: u64,
    /// Its length.
    bytes: usize,
    /// What it leads to.
    target: Target,
}

impl Direct {
    /// Maps `run`; [`ENOMEM`] when the device cannot reach it.
    pub fn new(dev: &Device, run: Run, target: Target) -> Result<Self> {
        let bytes = bytes_of(run.pages)?;
        let physical = address_of(run)?;
        let attributes = target.attributes();
        // SAFETY: It is a device; the memory or the registers are the caller's.
        let address =
            unsafe { bindings::dma_map_phys(raw(dev), physical, bytes, BOTH, attributes) };
        // SAFETY: It is a device.
        to_result(unsafe { helpers::dma_mapping_error(raw(dev), address) })?;
        // INVARIANT: Just mapped.
        Ok(Self {
            dev: dev.into(),
            address,
            bytes,
            target,
        })
    }

    /// Its bus address.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let attributes = self.target.attributes();
        // SAFETY: By the type invariant.
        unsafe {
            bindings::dma_unmap_phys(raw(&self.dev), self.address, self.bytes, BOTH, attributes)
        };
    }
}
