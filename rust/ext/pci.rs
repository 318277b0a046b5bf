// SPDX-License-Identifier: GPL-2.0

//! A PCI function as a bridge driver needs it: enabled, its BARs requested one by one, bus mastering as a gate.
//!
//! The kernel crate's `pci::Driver` knows no shutdown, error handlers or power management, and its `Bar` maps a whole BAR
//! uncached, which spoils it for write-combining. [`Device`] holds a reference; [`Enabled`] and [`Region`] are what it was
//! asked for and give it back when dropped, which must happen before `remove` of the driver returns.
//!
//! [`stub`] holds functions that are lent, which [`Device::find`] finds, `config` describes and `reset` resets.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

mod config;
mod driver;
mod reset;
pub mod stub;

pub use self::driver::{
    Channel,
    Driver,
    Recovery,
    Registration, //
};
pub use self::reset::SavedState;

use crate::bindings as helpers;
use core::ptr::NonNull;
use kernel::{
    bindings,
    device,
    error::to_result,
    prelude::*, //
};

/// BARs of a function.
pub const BARS: u8 = 6;

/// A function of this vendor and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// PCI vendor id.
    pub vendor: u16,
    /// PCI device id.
    pub device: u16,
}

/// A reference to a PCI function.
///
/// # Invariants
///
/// `raw` points to a `struct pci_dev` that this object holds a reference to. `domain` and `root` are what its bus belonged to
/// when it was found: they are kept here because a function that was unplugged outlives the buses above its own.
pub struct Device {
    raw: NonNull<bindings::pci_dev>,
    domain: u32,
    /// The root bus, to be compared only.
    root: *const bindings::pci_bus,
}

// SAFETY: The reference count is atomic, and what methods do is serialised by the PCI core.
unsafe impl Send for Device {}

// SAFETY: As above.
unsafe impl Sync for Device {}

impl Device {
    /// Takes another reference to the function.
    ///
    /// # Safety
    ///
    /// - `dev` points to a function that cannot be removed during this call: it is being bound to a driver, or
    ///   `pci_lock_rescan_remove()` is held and it is in the device tree.
    pub(crate) unsafe fn from_raw(dev: *mut bindings::pci_dev) -> Self {
        // SAFETY:
        // - `dev` and all buses above it are there by this function's own condition.
        let (domain, root) = unsafe {
            let mut bus: *const bindings::pci_bus = (*dev).bus;

            while !(*bus).parent.is_null() {
                bus = (*bus).parent;
            }
            (helpers::pci_domain_of(dev), bus)
        };
        // SAFETY:
        // - `dev` is valid by this function's own condition; pci_dev_get() gives back what it was given, which is not null.
        let raw = unsafe { NonNull::new_unchecked(bindings::pci_dev_get(dev)) };

        // INVARIANT: The reference was just taken.
        Self { raw, domain, root }
    }

    /// Finds a function by its address. May sleep; not to be called where the PCI core calls a driver.
    pub fn find(domain: u32, bus: u8, devfn: u8) -> Option<Self> {
        let domain = c_int::try_from(domain).ok()?;

        // SAFETY:
        // - There is no condition but that the caller may sleep. What is found is in the tree of devices, from which it
        //   cannot be removed before the lock is given back.
        // - The reference that pci_get_domain_bus_and_slot() takes is given back once there is another.
        unsafe {
            bindings::pci_lock_rescan_remove();
            let found = bindings::pci_get_domain_bus_and_slot(domain, bus.into(), devfn.into());
            let device = (!found.is_null()).then(|| Self::from_raw(found));

            bindings::pci_unlock_rescan_remove();
            bindings::pci_dev_put(found);
            device
        }
    }

    /// The function as the C side knows it. Good as long as `self` is.
    pub fn as_raw(&self) -> *mut bindings::pci_dev {
        self.raw.as_ptr()
    }

    /// The `struct device` within, for the DMA and IOMMU calls of C.
    pub fn as_raw_device(&self) -> *mut bindings::device {
        // SAFETY:
        // - By the type's invariant the pointer is valid; only the address of a field is taken.
        unsafe { &raw mut (*self.as_raw()).dev }
    }

    /// Vendor and device id.
    pub fn id(&self) -> Id {
        // SAFETY:
        // - By the type's invariant the pointer is valid; the ids never change.
        let (vendor, device) = unsafe { ((*self.as_raw()).vendor, (*self.as_raw()).device) };

        Id { vendor, device }
    }

    /// Bus, device and function as requests of this function carry them (`PCI_DEVID`).
    pub fn requester(&self) -> u16 {
        // SAFETY:
        // - By the type's invariant the pointer is valid, and a function keeps its bus as long as it is referenced.
        let (bus, devfn) = unsafe { ((*(*self.as_raw()).bus).number, (*self.as_raw()).devfn) };

        // CAST: devfn has 8 bits.
        (u16::from(bus) << 8) | (devfn as u16 & 0xff)
    }

    /// Another function of the same device, if there is one.
    pub fn sibling(&self, function: u8) -> Option<Self> {
        // SAFETY:
        // - By the type's invariant the pointer is valid, and a function keeps its bus as long as it is referenced.
        let (bus, devfn) = unsafe { ((*self.as_raw()).bus, (*self.as_raw()).devfn) };
        // Bits 7:3 are the device, 2:0 the function.
        let sibling = (devfn & !7) | u32::from(function & 7);
        // SAFETY:
        // - `bus` is valid, see above; any number may be looked up.
        let found = unsafe { bindings::pci_get_slot(bus, sibling) };

        // INVARIANT: pci_get_slot() has taken a reference. It is on the same bus.
        NonNull::new(found).map(|raw| Self { raw, ..*self })
    }

    /// Reads a register of the configuration space; all ones if the function does not answer.
    pub fn config_read32(&self, offset: u16) -> u32 {
        let mut value = u32::MAX;

        // Errors leave all ones, which is what a function that is gone reads as.
        // SAFETY:
        // - By the type's invariant the pointer is valid; `value` is valid for writing.
        unsafe { bindings::pci_read_config_dword(self.as_raw(), offset.into(), &mut value) };
        value
    }

    /// Where the first capability of this kind starts.
    pub fn find_capability(&self, id: u8) -> Option<u16> {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        let at = unsafe { bindings::pci_find_capability(self.as_raw(), id.into()) };

        (at != 0).then_some(at.into())
    }

    /// Where the next capability of this kind after the one at `from` starts.
    pub fn find_next_capability(&self, from: u16, id: u8) -> Option<u16> {
        let from = u8::try_from(from).ok()?;
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        let at = unsafe { bindings::pci_find_next_capability(self.as_raw(), from, id.into()) };

        (at != 0).then_some(at.into())
    }

    /// Lets the function send requests. Allowed while [`Enabled`].
    pub fn set_master(&self) {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        unsafe { bindings::pci_set_master(self.as_raw()) }
    }

    /// Stops the function from sending requests.
    pub fn clear_master(&self) {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        unsafe { bindings::pci_clear_master(self.as_raw()) }
    }

    /// Keeps the function from pulling its interrupt line. Enabling the function, and the end of its MSI or MSI-X vectors,
    /// let it do so again.
    pub fn mask_line(&self) {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        unsafe { bindings::pci_intx(self.as_raw(), 0) }
    }

    /// The function can send 64 bits of address. To be called once in probe, before anything is mapped for it.
    pub fn set_dma_mask_64(&self) -> Result {
        let dev = self.as_raw_device();

        // SAFETY:
        // - `dev` is valid, and the driver has not mapped anything yet, which could see the mask change.
        to_result(unsafe { bindings::dma_set_mask_and_coherent(dev, u64::MAX) })
    }

    /// Remembers the configuration space as what it is to be after a reset of the slot. To be called while the function is
    /// enabled and does not master the bus, so that the reset does not open the gate.
    pub fn save_state(&self) -> Result {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        to_result(unsafe { bindings::pci_save_state(self.as_raw()) })
    }

    /// Enables decoding of the function's memory BARs.
    pub fn enable(&self) -> Result<Enabled> {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        to_result(unsafe { bindings::pci_enable_device_mem(self.as_raw()) })?;
        // INVARIANT: Just enabled.
        Ok(Enabled(self.clone()))
    }

    /// Takes BAR `bar` for the caller: `ENODEV` if the function has no memory there, `EBUSY` if somebody else has it.
    pub fn request(&self, bar: u8, name: &'static CStr) -> Result<Region> {
        let (start, bytes, flags) = self.resource(bar)?;

        if flags & u64::from(bindings::IORESOURCE_MEM) == 0 || start == 0 || bytes == 0 {
            return Err(ENODEV);
        }
        // Not pci_request_region(): a function may be removed before who uses its BAR, as with two functions of one device,
        // and pci_release_region() finds nothing then.
        // SAFETY:
        // - The root of memory resources lives for ever, and so does `name`.
        let claim = unsafe {
            bindings::__request_region(
                &raw mut bindings::iomem_resource,
                start,
                bytes,
                name.as_char_ptr(),
                0,
            )
        };

        // INVARIANT: Just claimed.
        Ok(Region {
            claim: NonNull::new(claim).ok_or(EBUSY)?,
            start,
            bytes,
            _dev: self.clone(),
        })
    }

    /// Start, length and flags (`IORESOURCE_*`) of a BAR.
    fn resource(&self, bar: u8) -> Result<(u64, u64, u64)> {
        if bar >= BARS {
            return Err(EINVAL);
        }
        // SAFETY:
        // - By the type's invariant the pointer is valid, and there are at least as many resources as BARs. The PCI
        //   core does not move resources of a function that a driver is bound to.
        let resource = unsafe { &(*self.as_raw()).resource[usize::from(bar)] };
        let bytes = match resource.end.checked_sub(resource.start) {
            Some(last) if resource.end != 0 => last.checked_add(1).ok_or(EOVERFLOW)?,
            _ => 0,
        };

        Ok((resource.start, bytes, resource.flags as u64))
    }
}

impl Clone for Device {
    fn clone(&self) -> Self {
        // SAFETY:
        // - `self` holds a reference; pci_dev_get() gives back what it was given.
        let raw = unsafe { NonNull::new_unchecked(bindings::pci_dev_get(self.as_raw())) };

        // INVARIANT: The reference was just taken.
        Self { raw, ..*self }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant there is a reference to give back.
        unsafe { bindings::pci_dev_put(self.as_raw()) }
    }
}

impl AsRef<device::Device> for Device {
    fn as_ref(&self) -> &device::Device {
        // SAFETY:
        // - The device is valid, and referenced as long as `self`.
        unsafe { device::Device::from_raw(self.as_raw_device()) }
    }
}

/// A function whose memory BARs are decoded. Dropping it ends that, bus mastering included.
///
/// # Invariants
///
/// The function was enabled once by this object.
pub struct Enabled(Device);

impl Drop for Enabled {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant this undoes this object's own call.
        unsafe { bindings::pci_disable_device(self.0.as_raw()) }
    }
}

/// A BAR that nobody else has.
///
/// # Invariants
///
/// `claim` is this object's own claim of `bytes` bytes of memory from physical address `start` on, more than none, which are a
/// BAR of `_dev`.
pub struct Region {
    claim: NonNull<bindings::resource>,
    start: u64,
    bytes: u64,
    // The claim is linked to the BAR's own resource, which is in there.
    _dev: Device,
}

// SAFETY: The claim is only touched when it is given back, and the resource tree has a lock of its own.
unsafe impl Send for Region {}

// SAFETY: As above.
unsafe impl Sync for Region {}

impl Region {
    /// Physical address where it starts.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Physical address `offset` bytes behind the start, if `len` bytes (at least one) from there on lie within.
    pub fn range(&self, offset: u64, len: u64) -> Result<u64> {
        let end = offset.checked_add(len).ok_or(EINVAL)?;

        if len == 0 || end > self.bytes {
            return Err(EINVAL);
        }
        self.start.checked_add(offset).ok_or(EINVAL)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant the claim is this object's own; __request_region() has allocated it by kmalloc(), and
        //   nobody finds it once it is released.
        unsafe {
            bindings::release_resource(self.claim.as_ptr());
            bindings::kfree(self.claim.as_ptr().cast());
        }
    }
}
