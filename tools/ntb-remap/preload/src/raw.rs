// SPDX-License-Identifier: GPL-2.0
//! The system calls that must not pass through our own stand-ins.
//!
//! Direct system calls, so that there is nothing to look up: they work before the loader is done, inside malloc and in a signal handler. All
//! but [`Saved`] set errno like the C functions.

use libc::{c_int, c_void, off_t};

/// mmap(2).
///
/// # Safety
/// As for mmap(2): a fixed mapping replaces what is there.
pub(crate) unsafe fn mmap(
    addr: *mut c_void,
    len: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: the arguments are those of the system call; the caller answers for the mapping.
    let result = unsafe { libc::syscall(libc::SYS_mmap, addr, len, prot, flags, fd, offset) };
    // MAP_FAILED is -1, like a failed system call's result.
    result as *mut c_void
}

/// munmap(2).
///
/// # Safety
/// As for munmap(2): nobody may use the range any more.
pub(crate) unsafe fn munmap(addr: *mut c_void, len: usize) -> c_int {
    // SAFETY: the arguments are those of the system call; the caller answers for the range.
    let result = unsafe { libc::syscall(libc::SYS_munmap, addr, len) };
    // 0 or -1.
    result as c_int
}

/// errno of this thread.
pub(crate) fn errno() -> c_int {
    // SAFETY: takes nothing; the pointer is valid for this thread as long as it lives.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: see above.
    unsafe { *place }
}

/// Sets errno of this thread.
pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: takes nothing; the pointer is valid for this thread as long as it lives.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: see above.
    unsafe { *place = errno };
}

/// Puts errno back to what it was, when dropped.
pub(crate) struct Saved(c_int);

impl Saved {
    pub(crate) fn errno() -> Self {
        Self(errno())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        set_errno(self.0);
    }
}
