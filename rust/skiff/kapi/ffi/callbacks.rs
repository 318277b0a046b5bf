// SPDX-License-Identifier: GPL-2.0

//! Callbacks of clients.

use core::ffi::c_void;

/// A table of callbacks, and what they are called with.
///
/// # Invariants
///
/// As long as this is called: `ops` is null or valid, and its functions may be called with `data`, one at a time, on any thread
/// that may sleep.
pub(super) struct Callbacks<Ops> {
    ops: *const Ops,
    data: *mut c_void,
}

// SAFETY: By the type's invariant any thread may call.
unsafe impl<Ops> Send for Callbacks<Ops> {}

// SAFETY: As above; they are called one at a time.
unsafe impl<Ops> Sync for Callbacks<Ops> {}

impl<Ops> Callbacks<Ops> {
    /// # Safety
    ///
    /// - The type's invariant holds.
    pub(super) unsafe fn new(ops: *const Ops, data: *mut c_void) -> Self {
        // INVARIANT: By this function's own condition.
        Self { ops, data }
    }

    /// One of them, if the client has it.
    pub(super) fn get<F>(&self, pick: impl FnOnce(&Ops) -> Option<F>) -> Option<F> {
        // SAFETY:
        // - By the type's invariant; nobody writes to a table.
        unsafe { self.ops.as_ref() }.and_then(pick)
    }

    /// What they are called with.
    pub(super) fn data(&self) -> *mut c_void {
        self.data
    }
}
