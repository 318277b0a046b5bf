// SPDX-License-Identifier: GPL-2.0

//! Drivers for peers, and for devices that can be borrowed.
//!
//! Shaped like the kernel crate's `auxiliary::Driver`, which differs between the kernels that we support, and of which a module has
//! one only. A module is loaded by itself when it says so in its `alias`: `auxiliary:skiff.peer`, `auxiliary:skiff.device`.
//!
//! C header: [`include/linux/auxiliary_bus.h`](srctree/include/linux/auxiliary_bus.h)

use core::marker::PhantomData;

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

use crate::THIS_MODULE;

/// A driver for all devices of a name.
pub trait Driver: 'static {
    /// [`crate::PEER_NAME`] or [`crate::DEVICE_NAME`].
    const NAME: &'static CStr;

    /// What there is for a device while it is bound.
    type Data: ForeignOwnable + Send;

    /// The device with this id, the number of a node or an fdid, is there. Process context; may wait for a peer with a limit.
    fn probe(id: u32, device: &Device<Bound>) -> Result<Self::Data>;

    /// It is gone, or somebody unbinds it. Process context, as above.
    fn remove(data: Self::Data) {
        drop(data);
    }
}

/// The functions of a driver as the bus has them.
struct Operations<D>(PhantomData<D>);

impl<D: Driver> Operations<D> {
    /// The name, and the end of the table.
    const IDS: [bindings::auxiliary_device_id; 2] = [Self::id(), pin_init::zeroed()];

    const fn id() -> bindings::auxiliary_device_id {
        let mut id: bindings::auxiliary_device_id = pin_init::zeroed();
        let name = D::NAME.to_bytes_with_nul();
        let mut at = 0;

        while at < name.len() {
            // CAST: Bytes, whatever a C character is.
            id.name[at] = name[at] as c_char;
            at += 1;
        }
        id
    }

    /// # Safety
    ///
    /// Called by the bus with a device of the name of `D`.
    unsafe extern "C" fn probe(
        device: *mut bindings::auxiliary_device,
        _id: *const bindings::auxiliary_device_id,
    ) -> c_int {
        from_result(|| {
            // SAFETY:
            // - The bus keeps the device bound to this driver during the call, and until remove().
            let (id, raw) = unsafe { ((*device).id, &raw mut (*device).dev) };
            // SAFETY:
            // - A `Device` is a transparent `struct device`; this one is bound.
            let data = D::probe(id, unsafe { &*raw.cast::<Device<Bound>>() })?;

            // SAFETY:
            // - The field is the driver's.
            unsafe { bindings::dev_set_drvdata(raw, data.into_foreign()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the bus with a device that probe() has taken, once.
    unsafe extern "C" fn remove(device: *mut bindings::auxiliary_device) {
        // SAFETY:
        // - probe() has set it, and nobody has borrowed it.
        let data =
            unsafe { D::Data::from_foreign(bindings::dev_get_drvdata(&raw mut (*device).dev)) };

        D::remove(data);
    }
}

/// A registered driver. Dropping it unbinds its devices.
///
/// # Invariants
///
/// `driver` is registered from [`Registration::new`] on.
#[pin_data(PinnedDrop)]
pub struct Registration<D: Driver> {
    #[pin]
    driver: Opaque<bindings::auxiliary_driver>,
    _driver: PhantomData<D>,
}

// SAFETY: A driver may be unregistered by any thread.
unsafe impl<D: Driver> Send for Registration<D> {}
// SAFETY: Nothing can be done with a shared reference.
unsafe impl<D: Driver> Sync for Registration<D> {}

impl<D: Driver> Registration<D> {
    /// Registers a driver; `name` is what it is called in sysfs, behind the module's name. It is probed for the devices that are there
    /// before this returns.
    pub fn new(name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver <- Opaque::try_ffi_init(move |slot: *mut bindings::auxiliary_driver| {
                let driver = bindings::auxiliary_driver {
                    name: name.as_char_ptr(),
                    probe: Some(Operations::<D>::probe),
                    remove: Some(Operations::<D>::remove),
                    id_table: Operations::<D>::IDS.as_ptr(),
                    ..pin_init::zeroed()
                };

                // SAFETY:
                // - The slot is valid for writes, and pinned from here on.
                unsafe { slot.write(driver) };
                // SAFETY:
                // - The table is static, as the name and the module with its name are.
                // INVARIANT: On success it is registered.
                to_result(unsafe {
                    bindings::__auxiliary_driver_register(
                        slot,
                        THIS_MODULE,
                        (&raw const (*THIS_MODULE).name).cast(),
                    )
                })
            }),
            _driver: PhantomData,
        })
    }
}

#[pinned_drop]
impl<D: Driver> PinnedDrop for Registration<D> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY:
        // - By the type's invariant.
        unsafe { bindings::auxiliary_driver_unregister(self.driver.get()) };
    }
}
