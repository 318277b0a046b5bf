// SPDX-License-Identifier: GPL-2.0

//! Devices of the auxiliary bus, for drivers of other modules, and the faux device above them.
//!
//! The kernel crate's `auxiliary::Registration` wants a parent that a driver is bound to, and is not the same in all kernels
//! that we support.
//!
//! C headers: [`include/linux/auxiliary_bus.h`](srctree/include/linux/auxiliary_bus.h),
//! [`include/linux/device/faux.h`](srctree/include/linux/device/faux.h)

use core::ptr::{
    null,
    null_mut,
    NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc, //
};

/// A device without hardware, above others.
///
/// # Invariants
///
/// The pointer is to a faux device that this object has made.
pub struct Parent(NonNull<bindings::faux_device>);

// SAFETY: The driver core has locks of its own.
unsafe impl Send for Parent {}

// SAFETY: As above.
unsafe impl Sync for Parent {}

impl Parent {
    /// Makes one. Error: `ENODEV` when the driver core does not.
    pub fn new(name: &CStr) -> Result<Self> {
        // SAFETY:
        // - The name is copied; there is neither parent nor driver.
        let device =
            unsafe { bindings::faux_device_create(name.as_char_ptr(), null_mut(), null()) };

        // INVARIANT: Just made.
        NonNull::new(device).map(Self).ok_or(ENODEV)
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant it is this object's own, and each device below it has held this object.
        unsafe { bindings::faux_device_destroy(self.0.as_ptr()) }
    }
}

/// A device of the auxiliary bus. Dropping it removes it, and waits for its driver's `remove`.
///
/// # Invariants
///
/// The pointer is to an auxiliary device that this object has made.
pub struct Device {
    raw: NonNull<bindings::auxiliary_device>,
    _parent: Arc<Parent>,
}

// SAFETY: The driver core has locks of its own.
unsafe impl Send for Device {}

// SAFETY: As above; a shared device offers nothing.
unsafe impl Sync for Device {}

impl Device {
    /// Adds the device `module.name.id`, and probes a driver that wants it.
    ///
    /// Error: `ENOMEM`, also for what else the driver core says, for example that there is such a device.
    pub fn new(
        parent: &Arc<Parent>,
        module: &'static CStr,
        name: &'static CStr,
        id: u32,
    ) -> Result<Self> {
        // SAFETY:
        // - The parent is there by its invariant, and stays as long as this device; the names live for ever.
        // - Without data of the platform nothing else is looked at.
        // CAST: The function takes an int and keeps the bits.
        let raw = unsafe {
            bindings::auxiliary_device_create(
                &raw mut (*parent.0.as_ptr()).dev,
                module.as_char_ptr(),
                name.as_char_ptr(),
                null_mut(),
                id as c_int,
            )
        };

        // INVARIANT: Just made.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _parent: parent.clone(),
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant it is this object's own.
        unsafe { bindings::auxiliary_device_destroy(self.raw.as_ptr().cast()) }
    }
}
