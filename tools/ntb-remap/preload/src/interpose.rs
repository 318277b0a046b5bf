// SPDX-License-Identifier: GPL-2.0
//! Stand-ins for mmap, mmap64 and munmap: they find windows and are otherwise what they stand in for.
//!
//! They may be called at any time, even before the loader is done or inside malloc. Only a shared mapping of a file costs more than the system
//! call, and only a window allocates memory. QEMU maps over a reservation (MAP_FIXED): that gives up a window which was there before.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use libc::{c_int, c_void, off_t, size_t};
use packets::wire::{Hello, MAX_NAME, MAX_WINDOW};

use crate::raw::{self, Saved};
use crate::window::{self, PAGE_SIZE};
use crate::{connection, fault};

/// Part of the name of every file that is a window.
const MARK: &[u8] = b"ntbwin";

/// mmap(2), and windows.
///
/// # Safety
/// As for mmap(2).
#[no_mangle]
pub unsafe extern "C" fn mmap(
    addr: *mut c_void,
    len: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    if flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE) == libc::MAP_FIXED {
        let _errno = Saved::errno();
        window::release(addr as usize, whole_pages(len));
    }
    // SAFETY: the caller's own call.
    let result = unsafe { raw::mmap(addr, len, prot, flags, fd, offset) };
    let shared = matches!(
        flags & libc::MAP_TYPE,
        libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE
    );
    if result == libc::MAP_FAILED || !shared || flags & libc::MAP_ANONYMOUS != 0 {
        return result;
    }
    let errno = Saved::errno();
    let Some(name) = window_name(fd) else {
        return result;
    };
    let Some(socket) = std::env::var_os("NTB_REMAP_SOCKET") else {
        return result;
    };
    // SAFETY: the mapping was made just now, and nobody else knows it yet.
    match unsafe { make_window(result as usize, len, offset, name.text(), &socket) } {
        Ok(()) => result,
        Err(number) => {
            eprintln!(
                "ntb-remap: cannot make a window of {}: error {number}",
                name.text()
            );
            // SAFETY: as above; the caller is told that there is no mapping.
            unsafe { raw::munmap(result, len) };
            drop(errno);
            raw::set_errno(number);
            libc::MAP_FAILED
        }
    }
}

/// The same with another name: off_t has 64 bits here.
///
/// # Safety
/// As for mmap(2).
#[no_mangle]
pub unsafe extern "C" fn mmap64(
    addr: *mut c_void,
    len: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: the caller's own call.
    unsafe { mmap(addr, len, prot, flags, fd, offset) }
}

/// munmap(2), and windows: one that is unmapped in part is given up.
///
/// # Safety
/// As for munmap(2).
#[no_mangle]
pub unsafe extern "C" fn munmap(addr: *mut c_void, len: size_t) -> c_int {
    {
        let _errno = Saved::errno();
        window::release(addr as usize, whole_pages(len));
    }
    // SAFETY: the caller's own call.
    unsafe { raw::munmap(addr, len) }
}

/// The kernel rounds lengths up.
fn whole_pages(len: usize) -> usize {
    len.checked_next_multiple_of(PAGE_SIZE).unwrap_or(len)
}

/// Makes a window of a new mapping; an error number if that cannot be.
///
/// # Safety
/// The range must be a mapping that only its owner, by the stand-ins, will unmap.
unsafe fn make_window(
    start: usize,
    len: usize,
    offset: off_t,
    name: &str,
    socket: &std::ffi::OsStr,
) -> Result<(), c_int> {
    let len = whole_pages(len);
    if u64::try_from(len).map_or(true, |len| len > MAX_WINDOW) {
        return Err(libc::EFBIG);
    }
    fault::prepare()?;
    // SAFETY: the caller hands the mapping over.
    let window = unsafe { window::adopt(start, len) }.ok_or_else(raw::errno)?;
    let hello = Hello {
        pid: std::process::id(),
        window: name.to_owned(),
        offset: u64::try_from(offset).map_err(|_| libc::EINVAL)?,
        len: u64::try_from(len).map_err(|_| libc::EINVAL)?,
    };
    if let Err(error) = connection::start(window, socket.as_bytes(), &hello) {
        // The window stays, and stays dead, as if nobody answered on the other side.
        eprintln!("ntb-remap: no switch for {name}: {error}");
    }
    Ok(())
}

/// The name of a window's file without directories.
struct Name {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl Name {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// The name of an open file if it is a window's. Does not allocate.
fn window_name(fd: c_int) -> Option<Name> {
    let mut path = [0_u8; 32];
    // The last byte stays 0.
    write!(&mut path[..31], "/proc/self/fd/{fd}").ok()?;
    let mut link = [0_u8; 4096];
    // SAFETY: the path ends with a 0 byte, and the buffer is as long as said.
    let len = unsafe { libc::readlink(path.as_ptr().cast(), link.as_mut_ptr().cast(), link.len()) };
    let link = link.get(..usize::try_from(len).ok()?)?;
    name_in(link)
}

/// Finds the name in what the kernel calls an open file, such as "/memfd:NAME (deleted)" or "/dir/NAME".
fn name_in(link: &[u8]) -> Option<Name> {
    let name = link.rsplit(|byte| *byte == b'/').next()?;
    let name = name.strip_prefix(b"memfd:").unwrap_or(name);
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let marked = name.windows(MARK.len()).any(|part| part == MARK);
    if !marked || name.len() > MAX_NAME || std::str::from_utf8(name).is_err() {
        return None;
    }
    let mut bytes = [0; MAX_NAME];
    bytes[..name.len()].copy_from_slice(name);
    Some(Name {
        bytes,
        len: name.len(),
    })
}
