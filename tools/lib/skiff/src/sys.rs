// SPDX-License-Identifier: GPL-2.0
//! The only door to the operating system, small enough to be faked.
//!
//! The typed modules above it hold no system call. Descriptors come from here as
//! [`OwnedFd`], close-on-exec and non-blocking, and close themselves.

#[cfg(test)]
pub(crate) mod fake;
mod os;

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::time::Duration;

use nix::errno::Errno;

use crate::info::Access;
use crate::uapi;

pub(crate) use os::adopt;
pub(crate) use os::ioctl;
pub(crate) use os::Os;

/// Result of a call of the system.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// A command of `/dev/skiff` that makes no descriptor, with its argument.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    Info(&'a mut uapi::skiff_info),
    AdapterInfo(&'a mut uapi::skiff_adapter_info),
    NodeInfo(&'a mut uapi::skiff_node_info),
    Query(&'a mut uapi::skiff_segment_query),
    Prepare(&'a mut uapi::skiff_segment_adapter),
    SetAvailable(&'a mut uapi::skiff_segment_adapter),
    SetUnavailable(&'a mut uapi::skiff_segment_adapter),
    Remove(&'a mut uapi::skiff_segment_remove),
    Revoke(&'a mut uapi::skiff_segment_revoke),
    SegmentInfo(&'a mut uapi::skiff_segment_info),
    Disconnect(&'a mut uapi::skiff_remote_disconnect),
    RemoteInfo(&'a mut uapi::skiff_remote_info),
    LendAdd(&'a mut uapi::skiff_lend_add),
    LendRemove(&'a mut uapi::skiff_lend_device),
    LendAvailable(&'a mut uapi::skiff_lend_device),
    LendUnavailable(&'a mut uapi::skiff_lend_device),
    LendConnect(&'a mut uapi::skiff_lend_peer),
    LendDisconnect(&'a mut uapi::skiff_lend_peer),
    DeviceQuery(&'a mut uapi::skiff_device_query),
    DeviceInfo(&'a mut uapi::skiff_device_info),
    DeviceReturn(&'a mut uapi::skiff_device_plain),
    DeviceReleaseExclusive(&'a mut uapi::skiff_device_plain),
    DeviceReset(&'a mut uapi::skiff_device_plain),
    DeviceSegmentCreate(&'a mut uapi::skiff_device_segment),
    DeviceMap(&'a mut uapi::skiff_device_map),
    DeviceUnmap(&'a mut uapi::skiff_device_unmap),
    DeviceConfigRead(&'a mut uapi::skiff_device_config),
    DeviceConfigWrite(&'a mut uapi::skiff_device_config),
    DeviceBusMaster(&'a mut uapi::skiff_device_bus_master),
    DeviceVectors(&'a mut uapi::skiff_device_vectors),
    DeviceVector(&'a mut uapi::skiff_device_vector),
}

/// What [`Sys::poll`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// There is an event.
    Readable,
    /// There is none and there will be none.
    HungUp,
    /// The time has passed.
    TimedOut,
}

/// The system calls that this crate makes.
pub(crate) trait Sys: Sync {
    /// Opens `/dev/skiff`.
    fn open(&self) -> Result<OwnedFd>;
    /// Makes a local segment.
    fn create(
        &self,
        context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_segment_create,
    ) -> Result<OwnedFd>;
    /// Makes a connection.
    fn connect(
        &self,
        context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_segment_connect,
    ) -> Result<OwnedFd>;
    /// Borrows a device.
    fn borrow(
        &self,
        context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_device_borrow,
    ) -> Result<OwnedFd>;
    /// Makes a connection to a segment of a borrowed device.
    fn connect_device(
        &self,
        device: BorrowedFd<'_>,
        argument: &mut uapi::skiff_device_segment,
    ) -> Result<OwnedFd>;
    /// Does what needs no new descriptor.
    fn command(&self, fd: BorrowedFd<'_>, command: Command<'_>) -> Result<()>;
    /// Maps `bytes` at `offset`, flags of `linux/skiff.h` included, of an object.
    fn map(
        &self,
        fd: BorrowedFd<'_>,
        bytes: usize,
        offset: u64,
        access: Access,
    ) -> Result<NonNull<u8>>;
    /// Takes zeroed memory of the process, page-aligned and page-granular.
    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>>;
    /// Unmaps.
    ///
    /// # Safety
    ///
    /// - `at` and `bytes` are those of one successful [`Sys::map`] or [`Sys::allocate`].
    /// - Nobody uses the memory any more.
    unsafe fn unmap(&self, at: NonNull<u8>, bytes: usize);
    /// Waits for an event; `None`: for ever.
    fn poll(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Ready>;
    /// Takes one event without waiting: EAGAIN when there is none.
    fn read_event(&self, fd: BorrowedFd<'_>) -> Result<uapi::skiff_event>;
}
