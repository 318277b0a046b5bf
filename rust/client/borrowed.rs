// SPDX-License-Identifier: GPL-2.0

//! Devices that were borrowed.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    handler::Held,
    io::Owner,
    Direct,
    Dma,
    IoMap,
    Place,
    Window, //
};

/// Whether others may have it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// They may, and with it its bus mastering and vectors.
    Shared,
    /// They may not.
    Exclusive,
}

/// What happens to a borrowed device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BorrowEvent {
    /// The borrow has ended: its lender took the device back, or is gone, or the device is.
    Ended,
    /// Somebody else who had borrowed it is gone without having returned it.
    SharerGone,
}

/// Who is told what a borrowed device does. One call at a time.
pub trait BorrowHandler: Send + Sync + 'static {
    /// Vectors were signalled; bit n: vector n. On a thread that serves all peers: be short.
    fn interrupt(&self, vectors: u64);

    /// Something has happened to the borrow.
    fn event(&self, event: BorrowEvent);
}

/// The operations of a handler as C has them.
struct Operations<H>(PhantomData<H>);

impl<H: BorrowHandler> Operations<H> {
    const TABLE: bindings::skiff_borrow_ops = bindings::skiff_borrow_ops {
        interrupt: Some(Self::interrupt),
        event: Some(Self::event),
    };

    /// # Safety
    ///
    /// Called by skiff.ko with the data of a device of `H`.
    unsafe extern "C" fn interrupt(data: *mut c_void, vectors: u64) {
        // SAFETY:
        // - The device holds its handler until no callback comes any more.
        unsafe { &*data.cast::<H>() }.interrupt(vectors);
    }

    /// # Safety
    ///
    /// Called by skiff.ko with the data of a device of `H`.
    unsafe extern "C" fn event(data: *mut c_void, event: u32) {
        let event = match event {
            bindings::skiff_event_type_SKIFF_EVENT_ENDED => BorrowEvent::Ended,
            bindings::skiff_event_type_SKIFF_EVENT_SHARER_GONE => BorrowEvent::SharerGone,
            _ => return,
        };

        // SAFETY:
        // - The device holds its handler until no callback comes any more.
        unsafe { &*data.cast::<H>() }.event(event);
    }
}

/// A borrowed device. Dropping it, after its maps, memory and windows, returns it.
///
/// # Invariants
///
/// `raw` is a borrowed device whose data are those of `_handler`.
pub struct Borrowed {
    raw: NonNull<bindings::skiff_borrowed>,
    _handler: Held,
}

// SAFETY: The functions for borrowed devices may be called by any thread.
unsafe impl Send for Borrowed {}
// SAFETY: As above, at the same time.
unsafe impl Sync for Borrowed {}

impl Borrowed {
    /// Borrows a device, in at most `timeout_ms` milliseconds. Callbacks may come before this returns.
    pub fn new<H: BorrowHandler>(
        fdid: u32,
        share: Share,
        handler: Arc<H>,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let handler = Held::new(handler);
        let flags = match share {
            Share::Shared => 0,
            Share::Exclusive => bindings::skiff_borrow_flags_SKIFF_BORROW_EXCLUSIVE,
        };
        // SAFETY:
        // - The table is static, and its functions are for the handler's type, which outlives the device.
        let raw = from_err_ptr(unsafe {
            bindings::skiff_borrow(
                fdid,
                flags,
                &Operations::<H>::TABLE,
                handler.data(),
                timeout_ms,
            )
        })?;

        // INVARIANT: Just borrowed.
        let borrowed = Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _handler: handler,
        };

        Ok(Arc::new(borrowed, GFP_KERNEL)?)
    }

    /// As C has it.
    pub(crate) fn raw(&self) -> *mut bindings::skiff_borrowed {
        self.raw.as_ptr()
    }

    /// Lets others borrow it as well.
    pub fn release_exclusive(&self, timeout_ms: u32) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_release_exclusive(self.raw(), timeout_ms) })
    }

    /// Resets it; `EBUSY` unless it is borrowed exclusively.
    pub fn reset(&self, timeout_ms: u32) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_device_reset(self.raw(), timeout_ms) })
    }

    /// Lets it read and write memory, or not.
    pub fn master(&self, on: bool) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_device_master(self.raw(), on) })
    }

    /// Reads `width` bytes (1, 2 or 4) of its configuration space.
    pub fn config_read(&self, offset: u32, width: u32) -> Result<u32> {
        let mut value = 0;

        // SAFETY:
        // - By the type's invariant; the value is valid for writes.
        to_result(unsafe {
            bindings::skiff_device_config_read(self.raw(), offset, width, &mut value)
        })?;
        Ok(value)
    }

    /// Writes `width` bytes (1, 2 or 4) of its configuration space; `EPERM` where that is not allowed.
    pub fn config_write(&self, offset: u32, width: u32, value: u32) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_device_config_write(self.raw(), offset, width, value) })
    }

    /// Turns interrupt vectors on: how many there are, maybe fewer or more than `count`.
    pub fn vectors(&self, count: u32) -> Result<u32> {
        // SAFETY:
        // - By the type's invariant.
        let count = unsafe { bindings::skiff_device_vectors(self.raw(), count) };

        u32::try_from(count).map_err(|_| Error::from_errno(count))
    }

    /// Chooses the vectors that the handler is told of: bit n is vector n.
    pub fn listen(&self, vectors: u64) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_device_listen(self.raw(), vectors) })
    }

    /// Maps registers, uncached; `offset` is a multiple of the page size. `ENXIO` if they do not lie in one piece behind one slot:
    /// map less.
    pub fn bar(self: &Arc<Self>, bar: u32, offset: u64, bytes: usize) -> Result<IoMap> {
        // SAFETY:
        // - By the type's invariant; the map is handed over, and holds `self`.
        unsafe {
            // CAST: A usize is 64 bits wide.
            let raw = bindings::skiff_device_bar(self.raw(), bar, offset, bytes as u64);

            IoMap::new(
                raw,
                bytes,
                Owner::Device {
                    _borrowed: self.clone(),
                },
            )
        }
    }

    /// Allocates zeroed memory that the device reaches, in whole pages.
    pub fn dma(self: &Arc<Self>, bytes: usize, place: Place, timeout_ms: u32) -> Result<Dma> {
        Dma::new(self, bytes, place, timeout_ms)
    }

    /// Lets the device reach all memory of this node, for which slots of the lender are aimed at it.
    ///
    /// `EOPNOTSUPP` where that is not possible, `ENOSPC` when it takes more slots than are to spare.
    pub fn direct(self: &Arc<Self>, timeout_ms: u32) -> Result<Direct> {
        Direct::new(self, timeout_ms)
    }

    /// Makes a window of `chunks` chunks, each a multiple of the page size.
    pub fn window(
        self: &Arc<Self>,
        chunks: u32,
        chunk_bytes: u32,
        timeout_ms: u32,
    ) -> Result<Window> {
        Window::new(self, chunks, chunk_bytes, timeout_ms)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; what is of it holds it, so there is nothing. The handler goes after this.
        unsafe { bindings::skiff_return(self.raw()) };
    }
}
