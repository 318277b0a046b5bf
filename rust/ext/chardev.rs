// SPDX-License-Identifier: GPL-2.0

//! A misc device whose opened files are [`FileObject`]s.
//!
//! Shaped like the kernel crate's `MiscDevice`, with the operations that it lacks, an owner and a mode.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

use crate::fops::{
    set_object,
    FileObject,
    Operations, //
};

/// What the files of a device are.
pub trait Device: FileObject {
    /// What the registration hands to every open.
    type Shared: Send + Sync + 'static;

    /// Makes what a newly opened file owns. Called under the lock of all misc devices: not to wait.
    fn open(shared: &Self::Shared) -> Result<Arc<Self>>;
}

/// A registered device; it goes with this.
///
/// # Invariants
///
/// `misc` is registered from [`Registration::register`] on, and its table of operations is that of `D`.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub struct Registration<D: Device> {
    /// The C structure; first, so that a pointer to it is one to the registration.
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    /// What every open gets.
    shared: D::Shared,
}

// SAFETY: A misc device may be deregistered by another task than the one that registered it.
unsafe impl<D: Device> Send for Registration<D> {}
// SAFETY: Nothing of it changes after registration, and `shared` is `Sync`.
unsafe impl<D: Device> Sync for Registration<D> {}

impl<D: Device> Registration<D> {
    /// The operations of `D` with an `open`.
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        open: Some(Self::open),
        ..Operations::<D>::TABLE
    };

    /// Registers `/dev/<name>` with the permissions `mode`.
    pub fn register(
        name: &'static CStr,
        mode: u16,
        shared: D::Shared,
    ) -> impl PinInit<Self, Error> {
        // The device can be opened as soon as it is registered, so `shared` goes first.
        try_pin_init!(Self {
            shared,
            misc <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let misc = bindings::miscdevice {
                    minor: bindings::MISC_DYNAMIC_MINOR as c_int,
                    name: name.as_char_ptr(),
                    fops: &Self::OPERATIONS,
                    mode,
                    ..pin_init::zeroed()
                };
                // SAFETY: The slot is valid for writes.
                unsafe { slot.write(misc) };
                // SAFETY: The slot is pinned and is deregistered before it goes.
                // INVARIANT: On success the device is registered with the table of `D`.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }

    /// # Safety
    ///
    /// Called by the misc layer for a file of this device.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The misc layer points the private data to the device and keeps it registered during open.
        let misc = unsafe { (*file).private_data };
        // SAFETY: The device is the first field of a registration, whose other field was filled before.
        let shared = unsafe { &(*misc.cast::<Self>()).shared };
        match D::open(shared) {
            Ok(object) => {
                // SAFETY: The file is being opened with the table of `D`.
                unsafe { set_object(file, object) };
                0
            }
            Err(error) => error.to_errno(),
        }
    }
}

#[pinned_drop]
impl<D: Device> PinnedDrop for Registration<D> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The device is registered by the type invariant.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}
