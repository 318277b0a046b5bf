// SPDX-License-Identifier: GPL-2.0
//! libskiff: the functions that `skiff.h` declares.
//!
//! They take plain descriptors and own nothing but the text of the last error, one per thread.
//! `libskiff.map` lists what the shared library exports; a test holds it, the header and
//! this file together.

mod failure;

use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_uint;
use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::os::fd::IntoRawFd;
use std::ptr::NonNull;
use std::time::Duration;

use skiff::raw;
use skiff::uapi;
use skiff::Access;
use skiff::Attempt;
use skiff::Error;
use skiff::MapOptions;
use skiff::Memory;

use crate::failure::failed;

/// The flag of `skiff.h` that has no meaning to the kernel.
const MAP_READ_ONLY: u64 = 1;

/// `struct skiff_map` of `skiff.h`.
#[repr(C)]
#[derive(Debug)]
pub struct SkiffMap {
    address: *mut u8,
    bytes: usize,
    pages: *mut c_void,
    page_bytes: usize,
}

/// The descriptor of a caller, who keeps it open during the call.
fn borrow<'a>(fd: c_int, attempt: Attempt) -> Result<BorrowedFd<'a>, Error> {
    if fd < 0 {
        return Err(Error::new(attempt, libc::EBADF));
    }
    // SAFETY: it is not -1. A descriptor that is not open is EBADF from the kernel, no harm.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// `skiff_open` of `skiff.h`.
#[no_mangle]
pub extern "C" fn skiff_open() -> c_int {
    raw::open().map_or_else(failed, IntoRawFd::into_raw_fd)
}

/// `skiff_command` of `skiff.h`.
///
/// # Safety
///
/// - `argument` is null or leads to the structure of `request`, with its size filled in.
#[no_mangle]
pub unsafe extern "C" fn skiff_command(fd: c_int, request: c_uint, argument: *mut c_void) -> c_int {
    let done = borrow(fd, Attempt::Command { request }).and_then(|fd| {
        // SAFETY: the caller promises the same.
        unsafe { raw::command(fd, request, argument) }
    });
    done.map_or_else(failed, |made| made.map_or(0, IntoRawFd::into_raw_fd))
}

/// `skiff_map` of `skiff.h`.
///
/// # Safety
///
/// - `map` may be written.
#[no_mangle]
pub unsafe extern "C" fn skiff_map(
    segment: c_int,
    offset: u64,
    bytes: usize,
    flags: u64,
    map: *mut SkiffMap,
) -> c_int {
    // CAST: a usize is 64 bits wide where this runs.
    let length = bytes as u64;
    let attempt = Attempt::Map {
        offset,
        bytes: length,
    };
    let known = MAP_READ_ONLY | uapi::SKIFF_MAP_UNCACHED | uapi::SKIFF_MAP_ALL_ONES;
    if flags & !known != 0 {
        return failed(Error::new(attempt, libc::EINVAL));
    }
    let mut options = MapOptions::new().offset(offset).len(bytes);
    if flags & MAP_READ_ONLY != 0 {
        options = options.read_only();
    }
    if flags & uapi::SKIFF_MAP_UNCACHED != 0 {
        options = options.uncached();
    }
    if flags & uapi::SKIFF_MAP_ALL_ONES != 0 {
        options = options.all_ones();
    }
    let mapped = borrow(segment, attempt).and_then(|fd| raw::map(fd, length, &options));
    let parts = match mapped {
        Ok(mapped) => mapped.into_parts(),
        Err(error) => return failed(error),
    };
    let parts = SkiffMap {
        address: parts.address.as_ptr(),
        bytes: parts.bytes,
        pages: parts.pages.as_ptr().cast(),
        page_bytes: parts.page_bytes,
    };
    // SAFETY: the caller promises that it may be written.
    unsafe { map.write(parts) };
    0
}

/// `skiff_unmap` of `skiff.h`.
///
/// # Safety
///
/// - `map` is of a successful [`skiff_map`], and its memory is used no more; or it has been
///   unmapped, or is all zero.
#[no_mangle]
pub unsafe extern "C" fn skiff_unmap(map: *mut SkiffMap) -> c_int {
    let empty = SkiffMap {
        address: std::ptr::null_mut(),
        bytes: 0,
        pages: std::ptr::null_mut(),
        page_bytes: 0,
    };
    // SAFETY: the caller promises that it is a map, of which there is no other reference.
    let parts = unsafe { map.replace(empty) };
    let Some(pages) = NonNull::new(parts.pages) else {
        return failed(Error::new(Attempt::Unmap, libc::EINVAL));
    };
    // SAFETY: the caller promises that `skiff_map` made them, and they are forgotten now.
    unsafe { raw::unmap(pages.cast(), parts.page_bytes) };
    0
}

/// `skiff_next_event` of `skiff.h`.
///
/// # Safety
///
/// - `event` may be written.
#[no_mangle]
pub unsafe extern "C" fn skiff_next_event(
    object: c_int,
    timeout_ms: c_int,
    event: *mut uapi::skiff_event,
) -> c_int {
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    let next = borrow(object, Attempt::Wait).and_then(|fd| raw::next_event(fd, timeout));
    match next {
        Ok(Some(next)) => {
            // SAFETY: the caller promises that it may be written.
            unsafe { event.write(next) };
            1
        }
        Ok(None) => 0,
        Err(error) => failed(error),
    }
}

/// `skiff_error` of `skiff.h`.
#[no_mangle]
pub extern "C" fn skiff_error() -> *const c_char {
    failure::text()
}

/// `skiff_mend` of `skiff.h`.
#[no_mangle]
pub extern "C" fn skiff_mend() -> *const c_char {
    failure::mend()
}

/// `skiff_copy_out` of `skiff.h`.
///
/// # Safety
///
/// - `bytes` bytes of mapped memory at `from` may be read, and as many at `to` written.
/// - They do not overlap.
#[no_mangle]
pub unsafe extern "C" fn skiff_copy_out(from: *const c_void, to: *mut c_void, bytes: usize) {
    let (Some(from), Some(to)) = (NonNull::new(from.cast_mut()), NonNull::new(to)) else {
        return;
    };
    // SAFETY: the caller promises that it is mapped during the call.
    let memory = unsafe { Memory::new(from.cast(), bytes, Access::ReadOnly) };
    // SAFETY: the caller promises that it may be written, and is apart from the memory.
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast().as_ptr(), bytes) };
    // The range is the whole memory, so it is within.
    let _: Result<(), Error> = memory.read(0, to);
}

/// `skiff_copy_into` of `skiff.h`.
///
/// # Safety
///
/// - `bytes` bytes at `from` may be read, and as many of mapped memory at `to` written.
/// - They do not overlap.
#[no_mangle]
pub unsafe extern "C" fn skiff_copy_into(from: *const c_void, to: *mut c_void, bytes: usize) {
    let (Some(from), Some(to)) = (NonNull::new(from.cast_mut()), NonNull::new(to)) else {
        return;
    };
    // SAFETY: the caller promises that it is mapped during the call.
    let memory = unsafe { Memory::new(to.cast(), bytes, Access::ReadWrite) };
    // SAFETY: the caller promises that it may be read, and is apart from the memory.
    let from = unsafe { std::slice::from_raw_parts(from.cast().as_ptr(), bytes) };
    // The range is the whole memory, so it is within.
    let _: Result<(), Error> = memory.write(0, from);
}
