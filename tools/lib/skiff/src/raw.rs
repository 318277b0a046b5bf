// SPDX-License-Identifier: GPL-2.0
//! The same operations on plain descriptors and structures, for bindings to other languages.
//!
//! Rust programs have the types beside it. Nothing here owns anything but what it returns.

pub(crate) mod attempt;

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::context::failed;
use crate::error::Attempt;
use crate::error::Error;
use crate::error::Result;
use crate::event;
use crate::info::Access;
use crate::map::Map;
use crate::options::MapOptions;
use crate::sys::adopt;
use crate::sys::ioctl;
use crate::sys::Os;
use crate::sys::Sys;
use crate::uapi;
use crate::Refusal;

pub use crate::map::unmap;
pub use crate::map::MapParts;

/// Opens `/dev/skiff`.
pub fn open() -> Result<OwnedFd> {
    Os.open().map_err(failed(Attempt::Open))
}

/// Does an ioctl of `/dev/skiff`; gives the object that it made, if it is one that makes one.
///
/// # Safety
///
/// - `argument` is null, or leads to the structure that belongs to `request`, and to as many
///   bytes as its first field says, at least 4, which nobody else uses meanwhile.
pub unsafe fn command(
    fd: BorrowedFd<'_>,
    request: u32,
    argument: *mut c_void,
) -> Result<Option<OwnedFd>> {
    // SAFETY: the caller promises what the kernel and `attempt` need.
    let attempt = unsafe { attempt::of(request, argument) };
    // SAFETY: as above.
    let done = unsafe { ioctl(fd, request, argument) };
    done.map_err(|errno| {
        // SAFETY: as above.
        let refusal = unsafe { refusal(request, errno, argument) };
        failed(attempt)(errno).refused(refusal)
    })?;
    let made = match request {
        uapi::SKIFF_IOC_SEGMENT_CREATE => {
            // SAFETY: the kernel takes no structure that is shorter than this.
            unsafe { argument.cast::<uapi::skiff_segment_create>().read() }.fd
        }
        uapi::SKIFF_IOC_SEGMENT_CONNECT => {
            // SAFETY: as above.
            unsafe { argument.cast::<uapi::skiff_segment_connect>().read() }.fd
        }
        uapi::SKIFF_IOC_DEVICE_BORROW => {
            // SAFETY: as above.
            unsafe { argument.cast::<uapi::skiff_device_borrow>().read() }.fd
        }
        uapi::SKIFF_IOC_DEVICE_SEGMENT_CONNECT => {
            // SAFETY: as above.
            unsafe { argument.cast::<uapi::skiff_device_segment>().read() }.fd
        }
        _ => return Ok(None),
    };
    adopt(made).map(Some).map_err(failed(attempt))
}

/// Maps `bytes` bytes at `offset` of a segment.
pub fn map(fd: BorrowedFd<'_>, bytes: u64, options: &MapOptions) -> Result<Map> {
    let end = options.offset.checked_add(bytes).ok_or(Error::new(
        Attempt::Map {
            offset: options.offset,
            bytes,
        },
        libc::EOVERFLOW,
    ))?;
    Map::new(&Os, fd, end, Access::ReadWrite, options)
}

/// The next event of an object, `None` when `timeout` passes first, which `None` never does.
pub fn next_event(
    fd: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> Result<Option<uapi::skiff_event>> {
    event::next_raw(&Os, fd, timeout)
}

/// Why a device cannot be lent, if the kernel has said so.
///
/// # Safety
///
/// As for [`command`], which the kernel has refused with `errno`.
unsafe fn refusal(request: u32, errno: Errno, argument: *mut c_void) -> Option<Refusal> {
    if request != uapi::SKIFF_IOC_LEND_AVAILABLE || errno != Errno::EOPNOTSUPP {
        return None;
    }
    // SAFETY: the kernel looks at no structure that is shorter than this.
    let raw = unsafe { argument.cast::<uapi::skiff_lend_device>().read_unaligned() };
    Refusal::from_raw(raw.refusal)
}
