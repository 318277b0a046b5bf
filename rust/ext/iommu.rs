// SPDX-License-Identifier: GPL-2.0

//! What keeps the requests of a PCI function from memory and interrupts that are none of its business.
//!
//! Facts to print and to decide by, which hold while a driver is bound to the function. A [`Domain`] is a function's own.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

mod domain;

pub use self::domain::{
    Aperture,
    Domain, //
};

use crate::pci::Device;
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// An IOMMU group: functions that the IOMMU cannot tell, or keep, from each other.
///
/// # Invariants
///
/// The pointer is to a group that this object holds a reference to.
struct Group(NonNull<bindings::iommu_group>);

impl Group {
    /// The group of `dev`, if it is behind an IOMMU.
    fn of(dev: &Device) -> Option<Self> {
        // SAFETY:
        // - `dev` is valid.
        let group = unsafe { bindings::iommu_group_get(dev.as_raw_device()) };

        // INVARIANT: The reference was just taken.
        NonNull::new(group).map(Self)
    }

    /// The group as the C side knows it.
    fn as_raw(&self) -> *mut bindings::iommu_group {
        self.0.as_ptr()
    }

    /// Its members.
    fn size(&self) -> u32 {
        let mut size = 0u32;

        // SAFETY:
        // - The group is valid. The function is called with a pointer to `size`, and not after this call.
        unsafe {
            bindings::iommu_group_for_each_dev(self.as_raw(), (&raw mut size).cast(), Some(count))
        };
        size
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant there is a reference to give back.
        unsafe { bindings::iommu_group_put(self.as_raw()) };
    }
}

/// Counts members of a group.
///
/// # Safety
///
/// - `size` points to a `u32` that nobody else uses.
unsafe extern "C" fn count(_: *mut bindings::device, size: *mut c_void) -> c_int {
    let size = size.cast::<u32>();

    // SAFETY:
    // - By this function's own condition.
    unsafe { *size = (*size).saturating_add(1) };
    0
}

/// How many functions are in the IOMMU group of `dev`, itself included; 0 if it is not behind an IOMMU. More than 1 cannot be
/// given to different owners: see [`Domain::attach`].
pub fn group_size(dev: &Device) -> u32 {
    Group::of(dev).map_or(0, |group| group.size())
}

/// What becomes of the addresses in a function's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// No IOMMU looks at them.
    None,
    /// An IOMMU lets them through as they are (`iommu=pt`).
    Identity,
    /// An IOMMU translates them page by page; what is not mapped is not reached.
    Paging,
}

/// What becomes of the addresses in `dev`'s requests.
pub fn translation(dev: &Device) -> Translation {
    // SAFETY:
    // - `dev` is valid, and the domain lives as long as a driver is bound to the function.
    let domain = unsafe { bindings::iommu_get_domain_for_dev(dev.as_raw_device()).as_ref() };

    match domain {
        None => Translation::None,
        Some(domain) if domain.type_ & bindings::__IOMMU_DOMAIN_PAGING != 0 => Translation::Paging,
        Some(_) => Translation::Identity,
    }
}

/// Whether interrupts that `dev` writes are checked: none but its own (or its group's) reach a CPU.
pub fn interrupts_isolated(dev: &Device) -> bool {
    Group::of(dev).is_some_and(|group| {
        // SAFETY:
        // - The group is valid.
        unsafe { bindings::iommu_group_has_isolated_msi(group.as_raw()) }
    })
}
