// SPDX-License-Identifier: GPL-2.0

//! Resets of one PCI function, and its configuration space as it was before somebody else had it.
//!
//! A reset keeps the configuration space: the PCI core saves and restores it, bus mastering and enabled vectors included.
//! A [`SavedState`] is what takes back what was written there.
//!
//! # Locking
//!
//! [`Device::try_reset`] takes the device lock of the function and of the bridge above it, if it is free. The driver core
//! holds that lock where it calls a driver, which is where [`Device::reset_locked`] belongs.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::Device;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// The configuration space of a function at some time: header, PCI Express control registers and the like.
///
/// # Invariants
///
/// The pointer is what pci_store_saved_state() has allocated.
pub struct SavedState(NonNull<bindings::pci_saved_state>);

// SAFETY: It is a piece of memory that nobody else knows of.
unsafe impl Send for SavedState {}

// SAFETY: Nothing changes it.
unsafe impl Sync for SavedState {}

impl Drop for SavedState {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; it comes from kzalloc().
        unsafe { bindings::kfree(self.0.as_ptr().cast()) }
    }
}

impl Device {
    /// Whether the function has a reset that leaves others alone, as it looked when it was found: [`Device::reset`] may still
    /// fail, since other functions of the device may have been found after it. The user may change that through sysfs.
    pub fn can_reset(&self) -> bool {
        // SAFETY:
        // - By the type's invariant the pointer is valid. It is one byte, which is read once.
        unsafe { (&raw const (*self.as_raw()).reset_methods[0]).read_volatile() != 0 }
    }

    /// Resets the function, which must not be in use. May take seconds. `EAGAIN` if somebody has the device lock, who may be
    /// waiting for the caller; `ENOTTY` if it has no reset.
    pub fn try_reset(&self) -> Result {
        // SAFETY:
        // - By the type's invariant the pointer is valid; the caller may sleep.
        to_result(unsafe { bindings::pci_try_reset_function(self.as_raw()) })
    }

    /// [`Device::try_reset`] for who has the device lock: the driver core has called the driver of the function. [`EBUSY`] if
    /// the bridge above, whose lock comes first elsewhere, is locked by somebody else.
    pub fn reset_locked(&self) -> Result {
        // SAFETY:
        // - By the type's invariant the pointer is valid. The function is bound to a driver that is being called, so that the
        //   bridge above it, if it is not on a root bus, is there and stays.
        let bridge = unsafe { (*(*self.as_raw()).bus).self_ };

        // SAFETY:
        // - As above.
        if !bridge.is_null() && unsafe { bindings::pci_dev_trylock(bridge) } == 0 {
            return Err(EBUSY);
        }
        // SAFETY:
        // - As in `try_reset`.
        let result = to_result(unsafe { bindings::pci_reset_function_locked(self.as_raw()) });

        if !bridge.is_null() {
            // SAFETY:
            // - It was locked above.
            unsafe { bindings::pci_dev_unlock(bridge) };
        }
        result
    }

    /// Whether the function answers.
    pub fn is_present(&self) -> bool {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        unsafe { bindings::pci_device_is_present(self.as_raw()) }
    }

    /// What the configuration space is now.
    pub fn store_state(&self) -> Result<SavedState> {
        self.save_state()?;
        // SAFETY:
        // - By the type's invariant the pointer is valid, and its state was saved.
        let state = unsafe { bindings::pci_store_saved_state(self.as_raw()) };

        // INVARIANT: Just allocated.
        NonNull::new(state).map(SavedState).ok_or(ENOMEM)
    }

    /// Makes the configuration space what it was at [`Device::store_state`] of this function, vectors excepted, which stay
    /// as they are.
    pub fn restore_state(&self, state: &SavedState) -> Result {
        // SAFETY:
        // - By the type's invariant the pointer is valid; the state is copied.
        to_result(unsafe { bindings::pci_load_saved_state(self.as_raw(), state.0.as_ptr()) })?;
        // SAFETY:
        // - As above.
        unsafe { bindings::pci_restore_state(self.as_raw()) };
        Ok(())
    }
}
