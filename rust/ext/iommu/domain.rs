// SPDX-License-Identifier: GPL-2.0

//! An IOMMU domain of a function's own: it reaches what was mapped for it, and nothing else.
//!
//! A [`Domain`] claims the DMA of the function's IOMMU group: no other driver can be bound in the group while it is there. It
//! does not count the memory that is mapped: its owner keeps it until it is unmapped. Without a domain of its own the function
//! is in the kernel's default one, where `iommu=pt` lets it reach everything, so it must not master the bus when a domain goes.
//!
//! # Interrupts
//!
//! An MSI cookie (`iommu_get_msi_cookie()`) is not needed on x86. It is a window of addresses by which the kernel maps the
//! interrupt controller's doorbell into the domain, and VFIO asks for one only if the group has an `IOMMU_RESV_SW_MSI` region
//! (`vfio_iommu_type1_attach_group()`), which the IOMMUs of ARM report. Those of Intel and AMD report `IOMMU_RESV_MSI`
//! (`intel_iommu_get_resv_regions()`, `amd_iommu_get_resv_regions()`): they do not translate writes to 0xfeexxxxx, and
//! look them up in the interrupt remapping table, if that is on, whatever the domain is. The paravirtual one reports what
//! its host tells it, which is the same for x86 (`viommu_get_resv_regions()`). x86 does not build what uses the cookie
//! (`CONFIG_IRQ_MSI_IOMMU`). That region is left out of [`Domain::aperture`]: nothing can be reached there.
//!
//! # Locking
//!
//! [`Domain::attach`] takes the device lock, see [`pci::stub`](crate::pci::stub). Who maps and unmaps has the domain for itself.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use super::Group;
use crate::{
    bindings as helpers,
    errno::Errno,
    iova::Target,
    pci::{
        stub,
        Device, //
    },
    THIS_MODULE, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};

// CAST: Widening.
const PAGE: u64 = PAGE_SIZE as u64;

/// Addresses from `first` up to `last`, whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aperture {
    /// The first address.
    pub first: u64,
    /// The last address.
    pub last: u64,
}

/// The device lock of a function.
struct Locked<'a>(&'a Device);

impl<'a> Locked<'a> {
    fn new(dev: &'a Device) -> Self {
        // SAFETY: The function is valid, and the caller may sleep.
        unsafe { helpers::device_lock(dev.as_raw_device()) };
        Self(dev)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: It was locked by this object.
        unsafe { helpers::device_unlock(self.0.as_raw_device()) };
    }
}

/// The DMA of a group, which nobody else may use.
///
/// # Invariants
///
/// The group's DMA was claimed by this object.
struct Claim(Group);

impl Drop for Claim {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the group is referenced.
        unsafe { bindings::iommu_group_release_dma_owner(self.0.as_raw()) };
    }
}

/// A paging domain.
///
/// # Invariants
///
/// It was allocated by this object, and no device is attached to it when it goes.
struct Table(NonNull<bindings::iommu_domain>);

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::iommu_domain_free(self.0.as_ptr()) };
    }
}

/// A function's own domain. Dropping it takes away what is mapped, and gives the function back to the kernel. It must go before
/// [`Host::released`](stub::Host::released) returns.
///
/// # Invariants
///
/// The group of `claim` is attached to `table`.
pub struct Domain {
    // In this order after drop() has detached the group: until the claim is given back the group is blocked.
    table: Table,
    claim: Claim,
    aperture: KVec<Aperture>,
}

// SAFETY: The IOMMU's core and drivers can be called by any thread.
unsafe impl Send for Domain {}

// SAFETY: What changes it takes it mutably.
unsafe impl Sync for Domain {}

impl Domain {
    /// Attaches the function, which the stub holds, to a domain of its own. `None` if there is no IOMMU for it; `EBUSY` if the
    /// stub does not hold it or [its group has other members](super::group_size), `EPERM` if somebody has claimed the group's DMA
    /// already, `EINVAL` if the firmware wants the function to reach memory on its own, [`Errno::NotSupported`] if the
    /// IOMMU does not have pages of this size. Not to be called with the device lock, or a lock that a
    /// [`stub::Host`] takes.
    pub fn attach(dev: &Device) -> Result<Option<Self>> {
        let _locked = Locked::new(dev);

        // What is bound while it is locked is not removed, and stays in its group.
        if !stub::holds(dev) {
            return Err(EBUSY);
        }
        let Some(group) = Group::of(dev) else {
            return Ok(None);
        };
        if group.size() > 1 {
            return Err(EBUSY);
        }
        // SAFETY: The function is bound, and any pointer but null is an owner.
        to_result(unsafe {
            bindings::iommu_group_claim_dma_owner(group.as_raw(), THIS_MODULE.cast())
        })?;
        // INVARIANT: Just claimed.
        let claim = Claim(group);
        // SAFETY: The function is bound.
        let table = from_err_ptr(unsafe {
            bindings::iommu_paging_domain_alloc_flags(dev.as_raw_device(), 0)
        })?;
        // INVARIANT: Just allocated.
        let table = Table(NonNull::new(table).ok_or(ENOMEM)?);
        // SAFETY: The domain is ours.
        let sizes = unsafe { table.0.as_ref().pgsize_bitmap };

        // CAST: Widening.
        if sizes as u64 & PAGE == 0 {
            return Err(Errno::NotSupported.into());
        }
        let aperture = aperture(dev, &table)?;
        // SAFETY: Both are valid, and the group's DMA is ours.
        to_result(unsafe { bindings::iommu_attach_group(table.0.as_ptr(), claim.0.as_raw()) })?;
        // Requests that ask for no snooping would not see what CPUs have in their caches.
        // SAFETY: The domain is valid, and so are its operations; nothing is mapped yet.
        unsafe {
            if let Some(enforce) = (*table.0.as_ref().ops).enforce_cache_coherency {
                enforce(table.0.as_ptr());
            }
        }
        // INVARIANT: Just attached.
        Ok(Some(Self {
            table,
            claim,
            aperture,
        }))
    }

    /// The addresses that can be mapped, in ascending order: those of the domain but for page 0, the address of which means
    /// nothing to many a function, and for what the IOMMU or the firmware has reserved, interrupts above all.
    pub fn aperture(&self) -> &[Aperture] {
        &self.aperture
    }

    /// Lets the function read and write `bytes` bytes from physical address `phys` on at `iova` and behind it; all are multiples
    /// of the page size. [`EINVAL`] if they are not or the range is not in the [aperture](Domain::aperture). Nothing must be
    /// mapped there yet: some IOMMUs say `EADDRINUSE`, others do not tell.
    pub fn map(&mut self, iova: u64, phys: u64, bytes: u64, target: Target) -> Result {
        let last = last_of(iova, bytes)?;
        last_of(phys, bytes)?;
        if !self
            .aperture
            .iter()
            .any(|part| part.first <= iova && last <= part.last)
        {
            return Err(EINVAL);
        }
        let kind = match target {
            Target::Memory => bindings::IOMMU_CACHE,
            Target::Registers => bindings::IOMMU_MMIO,
        };
        let access = bindings::IOMMU_READ | bindings::IOMMU_WRITE | kind;

        // CAST: Addresses and lengths have 64 bits on both sides; the flags are the lowest bits.
        // SAFETY: The domain is valid, its pages are of this size, and nobody else changes it: `self` is mutable.
        to_result(unsafe {
            bindings::iommu_map(
                self.table.0.as_ptr(),
                iova as usize,
                phys,
                bytes as usize,
                access as c_int,
                bindings::GFP_KERNEL_ACCOUNT,
            )
        })
    }

    /// Takes back what one [`map`](Domain::map) has mapped. The function cannot reach it when this returns: no IOTLB has it any
    /// more, and requests that were translated before are done.
    pub fn unmap(&mut self, iova: u64, bytes: u64) {
        if last_of(iova, bytes).is_err() {
            return;
        }
        // CAST: Both have 64 bits.
        // SAFETY: As in `map`; what is not mapped is left alone.
        unsafe { bindings::iommu_unmap(self.table.0.as_ptr(), iova as usize, bytes as usize) };
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the group is attached to the domain. Its DMA is ours, so it is blocked now.
        unsafe { bindings::iommu_detach_group(self.table.0.as_ptr(), self.claim.0.as_raw()) };
    }
}

/// The last address of a range of whole pages, at least one.
fn last_of(first: u64, bytes: u64) -> Result<u64> {
    if first % PAGE != 0 || bytes % PAGE != 0 || bytes == 0 {
        return Err(EINVAL);
    }
    first.checked_add(bytes - 1).ok_or(EINVAL)
}

/// What the addresses of `table` leave when those that are reserved for `dev`, whose IOMMU it was made for, are taken out.
fn aperture(dev: &Device, table: &Table) -> Result<KVec<Aperture>> {
    // SAFETY: The domain is ours.
    let geometry = unsafe { &table.0.as_ref().geometry };
    let first = geometry.aperture_start.checked_next_multiple_of(PAGE);
    let mut parts = KVec::new();

    parts.push(
        Aperture {
            first: first.ok_or(EOVERFLOW)?.max(PAGE),
            last: geometry.aperture_end,
        },
        GFP_KERNEL,
    )?;
    let mut regions = bindings::list_head::default();
    let head = &raw mut regions;
    let mut result = Ok(());
    // SAFETY:
    // - The list is empty, then filled with regions, which stay until they are put; it does not move.
    // - The function has an IOMMU, and its driver adds regions that can be put.
    unsafe {
        (*head).next = head;
        (*head).prev = head;
        bindings::iommu_get_resv_regions(dev.as_raw_device(), head);
        let mut node = (*head).next;
        while node != head && result.is_ok() {
            let region = kernel::container_of!(node, bindings::iommu_resv_region, list);
            // CAST: Both have 64 bits.
            result = without(&mut parts, (*region).start, (*region).length as u64);
            node = (*node).next;
        }
        bindings::iommu_put_resv_regions(dev.as_raw_device(), head);
    }
    result.map(|()| parts)
}

/// Takes `bytes` addresses from `start` on out of `parts`, and the rest of the pages that they touch.
fn without(parts: &mut KVec<Aperture>, start: u64, bytes: u64) -> Result {
    if bytes == 0 {
        return Ok(());
    }
    let first = start & !(PAGE - 1);
    let last = start.saturating_add(bytes - 1) | (PAGE - 1);
    let mut rest = KVec::with_capacity(parts.len() + 1, GFP_KERNEL)?;

    for part in parts.iter() {
        let below = (part.first < first).then(|| Aperture {
            first: part.first,
            last: part.last.min(first - 1),
        });
        let above = (part.last > last).then(|| Aperture {
            first: part.first.max(last + 1),
            last: part.last,
        });
        for left in [below, above].into_iter().flatten() {
            rest.push(left, GFP_KERNEL)?;
        }
    }
    *parts = rest;
    Ok(())
}
