// SPDX-License-Identifier: GPL-2.0
//! The kernel itself.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::ptr;
use std::ptr::NonNull;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::fcntl;
use nix::fcntl::open;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::mman;
use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;
use nix::sys::stat::Mode;

use super::Command;
use super::Ready;
use super::Result;
use super::Sys;
use crate::info::Access;
use crate::uapi;

/// The kernel that this process runs on.
#[derive(Debug)]
pub(crate) struct Os;

/// Calls ioctl.
///
/// # Safety
///
/// - `argument` leads to the struct that the ABI has for `request`, whose first field holds its
///   size, or the kernel finds out that it does not: the struct is used by nobody else.
pub(crate) unsafe fn ioctl(fd: BorrowedFd<'_>, request: u32, argument: *mut c_void) -> Result<()> {
    // SAFETY:
    // - `fd` is open while it is borrowed.
    // - The kernel stays within the size that the struct holds, as the caller promises.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request.into(), argument) };
    Errno::result(done).map(drop)
}

/// Calls ioctl with an argument struct of the ABI.
fn call<T>(fd: BorrowedFd<'_>, request: u32, argument: &mut T) -> Result<()> {
    // SAFETY: each request is paired below with the struct that the ABI has for it, which is
    // borrowed exclusively; the modules above set its size.
    unsafe { ioctl(fd, request, ptr::from_mut(argument).cast()) }
}

/// Takes a descriptor that the kernel has just made, and makes it non-blocking: it
/// is waited for by poll only.
pub(crate) fn adopt(fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::EPROTO);
    }
    // SAFETY: the kernel has made this descriptor for this call; nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(fd)
}

impl Sys for Os {
    fn open(&self) -> Result<OwnedFd> {
        open(
            crate::DEVICE,
            OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK,
            Mode::empty(),
        )
    }

    fn create(
        &self,
        context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_segment_create,
    ) -> Result<OwnedFd> {
        call(context, uapi::SKIFF_IOC_SEGMENT_CREATE, argument)?;
        adopt(argument.fd)
    }

    fn connect(
        &self,
        context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_segment_connect,
    ) -> Result<OwnedFd> {
        call(context, uapi::SKIFF_IOC_SEGMENT_CONNECT, argument)?;
        adopt(argument.fd)
    }

    fn borrow(
        &self,
        context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_device_borrow,
    ) -> Result<OwnedFd> {
        call(context, uapi::SKIFF_IOC_DEVICE_BORROW, argument)?;
        adopt(argument.fd)
    }

    fn connect_device(
        &self,
        device: BorrowedFd<'_>,
        argument: &mut uapi::skiff_device_segment,
    ) -> Result<OwnedFd> {
        call(device, uapi::SKIFF_IOC_DEVICE_SEGMENT_CONNECT, argument)?;
        adopt(argument.fd)
    }

    fn command(&self, fd: BorrowedFd<'_>, command: Command<'_>) -> Result<()> {
        match command {
            Command::Info(argument) => call(fd, uapi::SKIFF_IOC_INFO, argument),
            Command::AdapterInfo(argument) => call(fd, uapi::SKIFF_IOC_ADAPTER_INFO, argument),
            Command::NodeInfo(argument) => call(fd, uapi::SKIFF_IOC_NODE_INFO, argument),
            Command::Query(argument) => call(fd, uapi::SKIFF_IOC_SEGMENT_QUERY, argument),
            Command::Prepare(argument) => call(fd, uapi::SKIFF_IOC_SEGMENT_PREPARE, argument),
            Command::SetAvailable(argument) => {
                call(fd, uapi::SKIFF_IOC_SEGMENT_SET_AVAILABLE, argument)
            }
            Command::SetUnavailable(argument) => {
                call(fd, uapi::SKIFF_IOC_SEGMENT_SET_UNAVAILABLE, argument)
            }
            Command::Remove(argument) => call(fd, uapi::SKIFF_IOC_SEGMENT_REMOVE, argument),
            Command::Revoke(argument) => call(fd, uapi::SKIFF_IOC_SEGMENT_REVOKE, argument),
            Command::SegmentInfo(argument) => call(fd, uapi::SKIFF_IOC_SEGMENT_INFO, argument),
            Command::Disconnect(argument) => call(fd, uapi::SKIFF_IOC_REMOTE_DISCONNECT, argument),
            Command::RemoteInfo(argument) => call(fd, uapi::SKIFF_IOC_REMOTE_INFO, argument),
            Command::LendAdd(argument) => call(fd, uapi::SKIFF_IOC_LEND_ADD, argument),
            Command::LendRemove(argument) => call(fd, uapi::SKIFF_IOC_LEND_REMOVE, argument),
            Command::LendAvailable(argument) => call(fd, uapi::SKIFF_IOC_LEND_AVAILABLE, argument),
            Command::LendUnavailable(argument) => {
                call(fd, uapi::SKIFF_IOC_LEND_UNAVAILABLE, argument)
            }
            Command::LendConnect(argument) => call(fd, uapi::SKIFF_IOC_LEND_CONNECT, argument),
            Command::LendDisconnect(argument) => {
                call(fd, uapi::SKIFF_IOC_LEND_DISCONNECT, argument)
            }
            Command::DeviceQuery(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_QUERY, argument),
            Command::DeviceInfo(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_INFO, argument),
            Command::DeviceReturn(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_RETURN, argument),
            Command::DeviceReleaseExclusive(argument) => {
                call(fd, uapi::SKIFF_IOC_DEVICE_RELEASE_EXCLUSIVE, argument)
            }
            Command::DeviceReset(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_RESET, argument),
            Command::DeviceSegmentCreate(argument) => {
                call(fd, uapi::SKIFF_IOC_DEVICE_SEGMENT_CREATE, argument)
            }
            Command::DeviceMap(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_MAP, argument),
            Command::DeviceUnmap(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_UNMAP, argument),
            Command::DeviceConfigRead(argument) => {
                call(fd, uapi::SKIFF_IOC_DEVICE_CONFIG_READ, argument)
            }
            Command::DeviceConfigWrite(argument) => {
                call(fd, uapi::SKIFF_IOC_DEVICE_CONFIG_WRITE, argument)
            }
            Command::DeviceBusMaster(argument) => {
                call(fd, uapi::SKIFF_IOC_DEVICE_BUS_MASTER, argument)
            }
            Command::DeviceVectors(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_VECTORS, argument),
            Command::DeviceVector(argument) => call(fd, uapi::SKIFF_IOC_DEVICE_VECTOR, argument),
        }
    }

    fn map(
        &self,
        fd: BorrowedFd<'_>,
        bytes: usize,
        offset: u64,
        access: Access,
    ) -> Result<NonNull<u8>> {
        let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let offset = offset.try_into().map_err(|_| Errno::EOVERFLOW)?;
        let prot = match access {
            Access::ReadOnly => ProtFlags::PROT_READ,
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        // SAFETY: without an address the kernel chooses a range that nothing uses.
        let at = unsafe { mman::mmap(None, length, prot, MapFlags::MAP_SHARED, fd, offset) }?;
        Ok(at.cast())
    }

    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: without an address the kernel chooses a range that nothing uses.
        let at = unsafe { mman::mmap_anonymous(None, length, prot, MapFlags::MAP_PRIVATE) }?;
        Ok(at.cast())
    }

    unsafe fn unmap(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller promises that the range is one map that nobody uses any more.
        let done = unsafe { mman::munmap(at.cast::<c_void>(), bytes) };
        debug_assert_eq!(done, Ok(()), "munmap of an own map");
    }

    fn poll(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Ready> {
        // Rounded up: a wait that ends early would be taken for one without end.
        let timeout = timeout.map_or(PollTimeout::NONE, |limit| {
            let limit = limit.saturating_add(Duration::from_nanos(999_999));
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        poll(&mut fds, timeout)?;
        let found = fds[0].revents().unwrap_or(PollFlags::empty());
        Ok(if found.contains(PollFlags::POLLIN) {
            Ready::Readable
        } else if found.is_empty() {
            Ready::TimedOut
        } else {
            Ready::HungUp
        })
    }

    fn read_event(&self, fd: BorrowedFd<'_>) -> Result<uapi::skiff_event> {
        let mut event = uapi::skiff_event::default();
        let size = size_of_val(&event);
        // SAFETY:
        // - `fd` is open while it is borrowed.
        // - The kernel writes at most `size` bytes to `event`, which consists of integers.
        let got = unsafe { libc::read(fd.as_raw_fd(), ptr::from_mut(&mut event).cast(), size) };
        let got = usize::try_from(Errno::result(got)?).map_err(|_| Errno::EPROTO)?;
        if got == size {
            Ok(event)
        } else {
            Err(Errno::EPROTO)
        }
    }
}
