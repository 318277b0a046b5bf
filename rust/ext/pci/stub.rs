// SPDX-License-Identifier: GPL-2.0

//! A driver that only holds PCI functions, so that no other driver has them while they are lent.
//!
//! It has no ids: a function gets it by name alone, through `driver_override` in sysfs (or `new_id`, by which root asks for
//! it as well). It enables nothing, and it manages DMA itself: being bound does not claim the IOMMU group for the kernel's
//! DMA API, which whoever attaches an [`iommu::Domain`](crate::iommu::Domain) needs.
//!
//! # Locking
//!
//! The driver core calls the [`Host`] under the device lock of the function: [`Device::try_reset`] fails there. A function
//! that is plugged or unplugged is under `pci_lock_rescan_remove()` as well: no
//! [`Device::find`].
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::Device;
use crate::THIS_MODULE;
use core::marker::{
    PhantomData,
    PhantomPinned, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

/// The driver's name in sysfs.
pub const NAME: &CStr = c"skiff_lend";

/// Address of the registered `struct pci_driver`, 0 if there is none. Names of drivers are unique, so there is one at most.
static REGISTERED: Atomic<usize> = Atomic::new(0);

/// Who is told of functions that the stub holds. Both methods may sleep.
pub trait Host: Send + Sync + 'static {
    /// The stub holds the function from now on.
    fn taken(&self, dev: &Device);

    /// The stub holds the function no longer, because it is unbound or unplugged: what was done to the function must be
    /// undone when this returns, and nobody may touch it any more.
    fn released(&self, dev: &Device);
}

/// Whether the stub holds the function: it was [`taken`](Host::taken) and not [`released`](Host::released) yet, or is about
/// to be the one or the other.
pub fn holds(dev: &Device) -> bool {
    // SAFETY:
    // - The pointer is valid; the driver's address is read once, and only compared.
    let driver = unsafe { (&raw const (*dev.as_raw()).driver).read_volatile() };

    !driver.is_null() && driver.addr() == REGISTERED.load(Relaxed)
}

/// The registered stub. Dropping it releases all functions first.
///
/// # Invariants
///
/// `raw` is registered, and is the `raw` of a pinned `Registration`.
#[pin_data(PinnedDrop)]
pub struct Registration<H: Host> {
    #[pin]
    raw: Opaque<bindings::pci_driver>,
    host: H,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: Registering and the reverse may happen on different threads, and the host itself is `Send`.
unsafe impl<H: Host> Send for Registration<H> {}

// SAFETY: Only the host can be reached by reference, and it is `Sync`.
unsafe impl<H: Host> Sync for Registration<H> {}

impl<H: Host> Registration<H> {
    /// Registers the stub as a driver of this module; functions whose `driver_override` names it are taken at once.
    pub fn new(host: H) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // Before `raw`: probe is called while that is initialised, and finds the host here.
            host,
            _pin: PhantomPinned,
            raw <- Opaque::try_ffi_init(move |raw: *mut bindings::pci_driver| {
                // SAFETY:
                // - `raw` is valid for writing, and its fields are plain data for which zeros are a value.
                // - The name lives for ever.
                unsafe {
                    raw.write(core::mem::zeroed());
                    (*raw).name = NAME.as_char_ptr();
                    (*raw).probe = Some(Callbacks::<H>::probe);
                    (*raw).remove = Some(Callbacks::<H>::remove);
                    (*raw).driver_managed_dma = true;
                }
                REGISTERED.store(raw.addr(), Relaxed);
                // SAFETY:
                // - `raw` stays where it is until it is unregistered in drop(), for `Self` is pinned.
                to_result(unsafe {
                    bindings::__pci_register_driver(raw, THIS_MODULE, NAME.as_char_ptr())
                })
                .inspect_err(|_| REGISTERED.store(0, Relaxed))
            }),
        })
    }

    /// Who is told.
    pub fn host(&self) -> &H {
        &self.host
    }
}

#[pinned_drop]
impl<H: Host> PinnedDrop for Registration<H> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY:
        // - By the type's invariant it is registered.
        unsafe { bindings::pci_unregister_driver(self.raw.get()) };
        REGISTERED.store(0, Relaxed);
    }
}

/// What C calls.
struct Callbacks<H: Host>(PhantomData<H>);

impl<H: Host> Callbacks<H> {
    /// The host of the stub that a function is bound to, or is being bound to.
    ///
    /// # Safety
    ///
    /// - `dev` is valid, and its driver is a [`Registration<H>`] that outlives `'a`.
    unsafe fn host<'a>(dev: *mut bindings::pci_dev) -> &'a H {
        // SAFETY:
        // - `dev` is valid. The PCI core sets `driver` before probe and clears it after remove.
        let raw = Opaque::cast_from(unsafe { (*dev).driver });
        // SAFETY:
        // - By this function's condition `raw` is the field of a registration.
        let registration = unsafe { kernel::container_of!(raw, Registration<H>, raw) };

        // SAFETY:
        // - `host` is initialised before `raw` is registered, and lives until it is not.
        unsafe { &(*registration).host }
    }

    extern "C" fn probe(dev: *mut bindings::pci_dev, _: *const bindings::pci_device_id) -> c_int {
        // SAFETY:
        // - The PCI core calls with a valid function that is being bound to our driver.
        unsafe { Self::host(dev).taken(&Device::from_raw(dev)) };
        0
    }

    extern "C" fn remove(dev: *mut bindings::pci_dev) {
        // SAFETY:
        // - The PCI core calls with a valid function that is still bound to our driver, and so are the buses above it.
        unsafe { Self::host(dev).released(&Device::from_raw(dev)) };
    }
}
