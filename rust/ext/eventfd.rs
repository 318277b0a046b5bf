// SPDX-License-Identifier: GPL-2.0

//! An eventfd of a program, which the kernel signals.
//!
//! An [`EventFd`] keeps the counter, not the file: it is the program's to close, and a signal that nobody can read is lost.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// The counter of an eventfd.
///
/// # Invariants
///
/// The pointer is to a context that this object holds a reference to.
pub struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: The context is counted atomically and has a lock of its own.
unsafe impl Send for EventFd {}

// SAFETY: As above.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The counter behind a descriptor of the current task. `EBADF` if it is not open, `EINVAL` if it is no eventfd.
    pub fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: Any number may be asked for.
        let context = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: The reference was just taken.
        NonNull::new(context).map(Self).ok_or(EBADF)
    }

    /// Adds 1, unless the counter is at its end, and wakes who reads or polls. Callable from any context but NMI, with
    /// interrupts off as well; with the realtime kernel only where it is allowed to sleep. Not from what an eventfd wakes
    /// up itself: the kernel warns and drops the signal.
    pub fn signal(&self) {
        // SAFETY: By the type invariant the context is there.
        unsafe { bindings::eventfd_signal_mask(self.0.as_ptr(), 0) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give back.
        unsafe { bindings::eventfd_ctx_put(self.0.as_ptr()) };
    }
}
