// SPDX-License-Identifier: GPL-2.0

//! Registration of a PCI driver with all callbacks: probe, remove, shutdown, suspend, resume and the error handlers.
//!
//! The driver is an object: it lives in its [`Registration`] and is what `probe` is called on. A function's data is an
//! [`Arc`] that the driver made in `probe`; the registration holds one reference from there until `remove`. The driver core
//! calls all of these under the device's own lock, so that none of them runs while another does for the same function.

use super::{
    Device,
    Id, //
};
use crate::THIS_MODULE;
use core::marker::{
    PhantomData,
    PhantomPinned, //
};
use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::Opaque, //
};

/// What the PCI core knows of the link to a function that reported an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// It works: the error was not fatal.
    Normal,
    /// No access gets through until the slot was reset.
    Frozen,
    /// It is gone for good.
    Failed,
}

/// What a driver asks the PCI core to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Go on: [`Driver::resume_after_error`] is next.
    Recovered,
    /// Reset the slot; [`Driver::slot_reset`] is next.
    Reset,
    /// Nothing can be done for the function.
    Disconnect,
}

impl Recovery {
    fn result(self) -> bindings::pci_ers_result_t {
        match self {
            Self::Recovered => bindings::pci_ers_result_PCI_ERS_RESULT_RECOVERED,
            Self::Reset => bindings::pci_ers_result_PCI_ERS_RESULT_NEED_RESET,
            Self::Disconnect => bindings::pci_ers_result_PCI_ERS_RESULT_DISCONNECT,
        }
    }
}

/// A driver of PCI functions. All methods may sleep.
pub trait Driver: Send + Sync + Sized + 'static {
    /// What the driver keeps for a function.
    type Data: Send + Sync + 'static;

    /// The driver's name in sysfs.
    const NAME: &'static CStr;

    /// The functions that it drives.
    const IDS: &'static [Id];

    /// A function was found.
    fn probe(&self, dev: &Device) -> Result<Arc<Self::Data>>;

    /// The function or the driver goes away: nothing may touch the function when this returns.
    fn remove(&self, data: ArcBorrow<'_, Self::Data>);

    /// The machine is about to halt or to start another kernel: the function must be quiet when this returns.
    fn shutdown(&self, data: ArcBorrow<'_, Self::Data>);

    /// The machine is about to sleep: the function must be quiet when this returns.
    fn suspend(&self, data: ArcBorrow<'_, Self::Data>) -> Result;

    /// The machine woke up: the configuration space is what it was, registers are at their defaults.
    fn resume(&self, data: ArcBorrow<'_, Self::Data>) -> Result;

    /// An uncorrectable error of the function or of the link to it. Somebody who resets the function by hand is such an error,
    /// and [`slot_reset`](Self::slot_reset) and [`resume_after_error`](Self::resume_after_error) follow.
    fn error_detected(&self, data: ArcBorrow<'_, Self::Data>, channel: Channel) -> Recovery;

    /// The slot was reset: the configuration space is what it was at [`Device::save_state`], registers are at their
    /// defaults.
    fn slot_reset(&self, data: ArcBorrow<'_, Self::Data>) -> Recovery;

    /// Traffic may go on.
    fn resume_after_error(&self, data: ArcBorrow<'_, Self::Data>);
}

/// The id table of a driver as C wants it: at most [`IDS_MAX`] entries, then one of zeros.
struct IdTable([bindings::pci_device_id; IDS_MAX + 1]);

/// Ids that a driver may have.
const IDS_MAX: usize = 15;

impl IdTable {
    const fn new(ids: &[Id]) -> Self {
        // SAFETY:
        // - All fields are integers, for which zeros are a value.
        let mut table: [bindings::pci_device_id; IDS_MAX + 1] = unsafe { core::mem::zeroed() };
        let mut index = 0;

        assert!(ids.len() <= IDS_MAX, "a driver has too many ids");
        while index < ids.len() {
            // CAST: Widening.
            table[index].vendor = ids[index].vendor as u32;
            table[index].device = ids[index].device as u32;
            // PCI_ANY_ID.
            table[index].subvendor = u32::MAX;
            table[index].subdevice = u32::MAX;
            index += 1;
        }
        Self(table)
    }
}

/// The tables of functions that C keeps pointers to, one set for each driver.
struct Tables<T: Driver>(PhantomData<T>);

impl<T: Driver> Tables<T> {
    const IDS: IdTable = IdTable::new(T::IDS);

    const ERRORS: bindings::pci_error_handlers = {
        // SAFETY:
        // - All fields are optional function pointers, for which zeros are `None`.
        let mut errors: bindings::pci_error_handlers = unsafe { core::mem::zeroed() };

        errors.error_detected = Some(Callbacks::<T>::error_detected);
        errors.slot_reset = Some(Callbacks::<T>::slot_reset);
        errors.reset_prepare = Some(Callbacks::<T>::reset_prepare);
        errors.reset_done = Some(Callbacks::<T>::reset_done);
        errors.resume = Some(Callbacks::<T>::resume_after_error);
        errors
    };

    const POWER: bindings::dev_pm_ops = {
        // SAFETY:
        // - All fields are optional function pointers, for which zeros are `None`.
        let mut power: bindings::dev_pm_ops = unsafe { core::mem::zeroed() };

        power.suspend = Some(Callbacks::<T>::suspend);
        power.resume = Some(Callbacks::<T>::resume);
        power.freeze = Some(Callbacks::<T>::suspend);
        power.thaw = Some(Callbacks::<T>::resume);
        power.poweroff = Some(Callbacks::<T>::suspend);
        power.restore = Some(Callbacks::<T>::resume);
        power
    };
}

/// A registered driver. Dropping it removes it from all its functions first.
///
/// # Invariants
///
/// `raw` is registered, and is the `raw` of a pinned `Registration`.
#[pin_data(PinnedDrop)]
pub struct Registration<T: Driver> {
    #[pin]
    raw: Opaque<bindings::pci_driver>,
    driver: T,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: Registering and the reverse may happen on different threads, and the driver itself is `Send`.
unsafe impl<T: Driver> Send for Registration<T> {}

// SAFETY: Only the driver can be reached by reference, and it is `Sync`.
unsafe impl<T: Driver> Sync for Registration<T> {}

impl<T: Driver> Registration<T> {
    /// Registers `driver` as one of this module; probes what is there.
    pub fn new(driver: T) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // Before `raw`: probe is called while that is initialised, and finds the driver here.
            driver,
            _pin: PhantomPinned,
            raw <- Opaque::try_ffi_init(move |raw: *mut bindings::pci_driver| {
                // SAFETY:
                // - `raw` is valid for writing, and its fields are plain data for which zeros are a value.
                // - The pointers are to constants that live for ever.
                // - `raw` stays where it is until it is unregistered in drop(), for `Self` is pinned.
                unsafe {
                    raw.write(core::mem::zeroed());
                    (*raw).name = T::NAME.as_char_ptr();
                    (*raw).id_table = const { &Tables::<T>::IDS }.0.as_ptr();
                    (*raw).probe = Some(Callbacks::<T>::probe);
                    (*raw).remove = Some(Callbacks::<T>::remove);
                    (*raw).shutdown = Some(Callbacks::<T>::shutdown);
                    (*raw).err_handler = const { &Tables::<T>::ERRORS };
                    (*raw).driver.pm = const { &Tables::<T>::POWER };
                    to_result(bindings::__pci_register_driver(
                        raw,
                        THIS_MODULE,
                        T::NAME.as_char_ptr(),
                    ))
                }
            }),
        })
    }

    /// The driver.
    pub fn driver(&self) -> &T {
        &self.driver
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY:
        // - By the type's invariant it is registered.
        unsafe { bindings::pci_unregister_driver(self.raw.get()) }
    }
}

/// What C calls.
struct Callbacks<T: Driver>(PhantomData<T>);

impl<T: Driver> Callbacks<T> {
    /// The driver that a function is bound to, or is being bound to.
    ///
    /// # Safety
    ///
    /// - `dev` is valid, and its driver is a [`Registration<T>`] that outlives `'a`.
    unsafe fn driver<'a>(dev: *mut bindings::pci_dev) -> &'a T {
        // SAFETY:
        // - `dev` is valid. The PCI core sets `driver` before probe and clears it after remove.
        let raw = Opaque::cast_from(unsafe { (*dev).driver });
        // SAFETY:
        // - By this function's condition `raw` is the field of a registration.
        let registration = unsafe { kernel::container_of!(raw, Registration<T>, raw) };

        // SAFETY:
        // - `driver` is initialised before `raw` is registered, and lives until it is not.
        unsafe { &(*registration).driver }
    }

    /// Calls `call` with the driver and the function's data; gives `none` if there is no data.
    ///
    /// # Safety
    ///
    /// - `dev` is valid, its lock is held, and if it has data it is bound to a [`Registration<T>`].
    unsafe fn with<R>(
        dev: *mut bindings::pci_dev,
        none: R,
        call: impl FnOnce(&T, ArcBorrow<'_, T::Data>) -> R,
    ) -> R {
        // SAFETY:
        // - `dev` is valid.
        let data = unsafe { bindings::dev_get_drvdata(&raw const (*dev).dev) };

        if data.is_null() {
            return none;
        }
        // SAFETY:
        // - What has data is bound to our registration, which waits for its callbacks before it goes.
        let driver = unsafe { Self::driver(dev) };
        // SAFETY:
        // - The data is the Arc that probe() put there; remove() alone takes it away, under the device's lock.
        let data = unsafe { ArcBorrow::from_raw(data.cast::<T::Data>().cast_const()) };

        call(driver, data)
    }

    extern "C" fn probe(dev: *mut bindings::pci_dev, _: *const bindings::pci_device_id) -> c_int {
        from_result(|| {
            // SAFETY:
            // - The PCI core calls with a valid device whose driver is ours.
            let (driver, device) = unsafe { (Self::driver(dev), Device::from_raw(dev)) };
            let data = driver.probe(&device)?;

            // SAFETY:
            // - `dev` is valid and locked. The reference is given back by remove().
            unsafe {
                bindings::dev_set_drvdata(
                    &raw mut (*dev).dev,
                    Arc::into_raw(data).cast_mut().cast(),
                )
            };
            Ok(0)
        })
    }

    extern "C" fn remove(dev: *mut bindings::pci_dev) {
        // SAFETY:
        // - The PCI core calls with a valid device, locked and bound to our driver.
        unsafe { Self::with(dev, (), |driver, data| driver.remove(data)) };
        // SAFETY:
        // - As above; the data is what probe() put there, and nobody finds it afterwards.
        unsafe {
            let data = bindings::dev_get_drvdata(&raw const (*dev).dev).cast::<T::Data>();

            bindings::dev_set_drvdata(&raw mut (*dev).dev, core::ptr::null_mut());
            if !data.is_null() {
                drop(Arc::from_raw(data.cast_const()));
            }
        }
    }

    extern "C" fn shutdown(dev: *mut bindings::pci_dev) {
        // SAFETY:
        // - The PCI core calls with a valid device, locked and bound to our driver.
        unsafe { Self::with(dev, (), |driver, data| driver.shutdown(data)) }
    }

    extern "C" fn suspend(dev: *mut bindings::device) -> c_int {
        // SAFETY:
        // - The PCI core calls with the `struct device` of a PCI function, locked and bound to our driver.
        from_result(|| unsafe {
            Self::with(Self::function(dev), Ok(()), |driver, data| {
                driver.suspend(data)
            })
            .map(|()| 0)
        })
    }

    extern "C" fn resume(dev: *mut bindings::device) -> c_int {
        // SAFETY:
        // - The PCI core calls with the `struct device` of a PCI function, locked and bound to our driver.
        from_result(|| unsafe {
            Self::with(Self::function(dev), Ok(()), |driver, data| {
                driver.resume(data)
            })
            .map(|()| 0)
        })
    }

    /// The PCI function of a device.
    ///
    /// # Safety
    ///
    /// - `dev` is the `dev` of a valid `struct pci_dev`.
    unsafe fn function(dev: *mut bindings::device) -> *mut bindings::pci_dev {
        // SAFETY:
        // - By this function's own condition.
        unsafe { kernel::container_of!(dev, bindings::pci_dev, dev) }
    }

    extern "C" fn error_detected(
        dev: *mut bindings::pci_dev,
        state: bindings::pci_channel_state_t,
    ) -> bindings::pci_ers_result_t {
        // pci_channel_io_normal, pci_channel_io_frozen and pci_channel_io_perm_failure, which are of a `__bitwise`
        // type that bindgen does not know.
        let channel = match state {
            1 => Channel::Normal,
            2 => Channel::Frozen,
            _ => Channel::Failed,
        };
        // SAFETY:
        // - The PCI core calls with a valid device, locked and bound to our driver.
        let recovery = unsafe {
            Self::with(dev, Recovery::Disconnect, |driver, data| {
                driver.error_detected(data, channel)
            })
        };

        recovery.result()
    }

    extern "C" fn slot_reset(dev: *mut bindings::pci_dev) -> bindings::pci_ers_result_t {
        // SAFETY:
        // - The PCI core calls with a valid device, locked and bound to our driver.
        let recovery = unsafe {
            Self::with(dev, Recovery::Disconnect, |driver, data| {
                bindings::pci_restore_state(dev);
                driver.slot_reset(data)
            })
        };

        recovery.result()
    }

    extern "C" fn reset_prepare(dev: *mut bindings::pci_dev) {
        // The reset comes whatever the driver asks for.
        // SAFETY:
        // - The PCI core calls with a valid device, locked and bound to our driver.
        unsafe {
            Self::with(dev, (), |driver, data| {
                driver.error_detected(data, Channel::Normal);
            })
        }
    }

    extern "C" fn reset_done(dev: *mut bindings::pci_dev) {
        // The driver has told why it could not go on, if so.
        // SAFETY:
        // - The PCI core calls with a valid device, locked and bound to our driver.
        unsafe {
            Self::with(dev, (), |driver, data| {
                if driver.slot_reset(data) == Recovery::Recovered {
                    driver.resume_after_error(data);
                }
            })
        }
    }

    extern "C" fn resume_after_error(dev: *mut bindings::pci_dev) {
        // SAFETY:
        // - The PCI core calls with a valid device, locked and bound to our driver.
        unsafe { Self::with(dev, (), |driver, data| driver.resume_after_error(data)) }
    }
}
