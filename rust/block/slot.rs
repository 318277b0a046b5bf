// SPDX-License-Identifier: GPL-2.0

//! Whose hand a request is in.

use core::cell::UnsafeCell;

use kernel::{
    bindings,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    }, //
};

use crate::Status;

/// The block layer's: there is no request here.
const FREE: u32 = 0;
/// In the hand of a [`crate::Request`].
const HELD: u32 = 1;
/// With the device.
const FLYING: u32 = 2;
/// On its way back to the block layer.
const DONE: u32 = 3;

/// What belongs to one tag of one hardware queue, as long as the tag set lives.
///
/// # Invariants
///
/// Unless it is free, `request` is a request that the block layer has handed to the driver with this queue and tag, and that was not
/// ended since. `request` changes only while the slot is held, and only by who holds it.
pub(crate) struct Slot<T> {
    state: Atomic<u32>,
    /// How the request ended, once it is done.
    status: Atomic<u32>,
    request: UnsafeCell<*mut bindings::request>,
    /// What the driver keeps for each tag.
    pub(crate) data: T,
}

// SAFETY: The request may be used by any thread, one at a time, which is the one that holds the slot.
unsafe impl<T: Send> Send for Slot<T> {}
// SAFETY: As above; `request` is read and written only by who holds the slot.
unsafe impl<T: Sync> Sync for Slot<T> {}

impl<T> Slot<T> {
    /// A free slot.
    pub(crate) fn new(data: T) -> Self {
        Self {
            state: Atomic::new(FREE),
            status: Atomic::new(0),
            request: UnsafeCell::new(core::ptr::null_mut()),
            data,
        }
    }

    /// From free to held.
    ///
    /// # Safety
    ///
    /// The block layer hands `request`, which has this slot's queue and tag, to the driver.
    pub(crate) unsafe fn hold(&self, request: *mut bindings::request) -> bool {
        if self.state.cmpxchg(FREE, HELD, Acquire).is_err() {
            return false;
        }
        // SAFETY:
        // - The slot has just been held by this function.
        // INVARIANT: By this function's own condition.
        unsafe { *self.request.get() = request };
        true
    }

    /// From flying to held, for whoever comes first.
    pub(crate) fn take(&self) -> Option<*mut bindings::request> {
        self.state.cmpxchg(FLYING, HELD, Acquire).ok()?;
        // SAFETY:
        // - The slot has just been held by this function.
        Some(unsafe { *self.request.get() })
    }

    /// From held to flying.
    ///
    /// # Safety
    ///
    /// The caller holds the slot, and does so no more.
    pub(crate) unsafe fn fly(&self) {
        self.state.store(FLYING, Release);
    }

    /// From held to free.
    ///
    /// # Safety
    ///
    /// The caller holds the slot, and does so no more; it gives the request back to the block layer at once.
    pub(crate) unsafe fn free(&self) {
        self.state.store(FREE, Release);
    }

    /// From held to done, with a status.
    ///
    /// # Safety
    ///
    /// The caller holds the slot, and does so no more; it tells the block layer at once that the request is complete.
    pub(crate) unsafe fn done(&self, status: Status) {
        self.status.store(u32::from(status.raw()), Relaxed);
        self.state.store(DONE, Release);
    }

    /// From done to free: the status.
    pub(crate) fn finish(&self) -> Option<u8> {
        let status = self.status.load(Relaxed);

        self.state.cmpxchg(DONE, FREE, Acquire).ok()?;
        // CAST: It was a byte.
        Some(status as u8)
    }

    /// Whether the device has it.
    pub(crate) fn is_flying(&self) -> bool {
        self.state.load(Relaxed) == FLYING
    }
}
