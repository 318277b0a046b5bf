// SPDX-License-Identifier: GPL-2.0
//! A kernel for tests: one node without peers whose segments are memory files, which really can be mapped.
//!
//! It records what it was asked for and fails when it is told to; it does not judge arguments.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::memfd::memfd_create;
use nix::sys::memfd::MFdFlags;
use nix::unistd::ftruncate;

use super::Command;
use super::Os;
use super::Ready;
use super::Result;
use super::Sys;
use crate::info::Access;
use crate::uapi;

/// What the kernel was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    Create(uapi::skiff_segment_create),
    Connect(uapi::skiff_segment_connect),
    Query(uapi::skiff_segment_query),
    Remove(uapi::skiff_segment_remove),
    Revoke(uapi::skiff_segment_revoke),
    Adapter(uapi::skiff_segment_adapter),
    LendAdd(uapi::skiff_lend_add),
    LendRemove(uapi::skiff_lend_device),
    LendAvailable(uapi::skiff_lend_device),
    LendUnavailable(uapi::skiff_lend_device),
    LendConnect(uapi::skiff_lend_peer),
    LendDisconnect(uapi::skiff_lend_peer),
    DeviceQuery(uapi::skiff_device_query),
    Borrow(uapi::skiff_device_borrow),
    /// Return, release of exclusive use, and reset have one argument.
    DevicePlain(&'static str, uapi::skiff_device_plain),
    DeviceCreate(uapi::skiff_device_segment),
    DeviceConnect(uapi::skiff_device_segment),
    DeviceMap(uapi::skiff_device_map),
    DeviceUnmap(uapi::skiff_device_unmap),
    ConfigRead(uapi::skiff_device_config),
    ConfigWrite(uapi::skiff_device_config),
    BusMaster(uapi::skiff_device_bus_master),
    Vectors(uapi::skiff_device_vectors),
    Vector(uapi::skiff_device_vector),
    Map {
        bytes: usize,
        offset: u64,
        access: Access,
    },
    Unmap {
        bytes: usize,
    },
    Poll {
        timeout: Option<Duration>,
    },
}

/// What waiting for an event gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Event(uapi::skiff_event),
    /// An event that another reader takes first.
    Stolen,
    HungUp,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    failures: VecDeque<Errno>,
    waits: VecDeque<Wait>,
    /// Memory by the segment's id.
    segments: HashMap<u32, (OwnedFd, u64)>,
}

/// The kernel of one test.
#[derive(Default)]
pub(crate) struct Fake {
    state: Mutex<State>,
}

impl Fake {
    /// A kernel that lives as long as the test's process.
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    /// The next command, create or connect fails.
    pub(crate) fn fail(&self, errno: Errno) {
        self.state().failures.push_back(errno);
    }

    /// The next wait gives this.
    pub(crate) fn wait(&self, wait: Wait) {
        self.state().waits.push_back(wait);
    }

    /// What it was asked for since the last question.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics in here")
    }

    /// Records a call, and fails if it is to.
    fn called(&self, call: Option<Call>) -> Result<()> {
        let mut state = self.state();
        state.calls.extend(call);
        state.failures.pop_front().map_or(Ok(()), Err)
    }
}

impl Sys for Fake {
    fn open(&self) -> Result<OwnedFd> {
        self.called(None)?;
        memfd_create("context", MFdFlags::MFD_CLOEXEC)
    }

    fn create(
        &self,
        _context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_segment_create,
    ) -> Result<OwnedFd> {
        self.called(Some(Call::Create(*argument)))?;
        if argument.flags & uapi::SKIFF_SEGMENT_ANY_ID != 0 {
            argument.id = 0x8000_0000;
        }
        let memory = memfd_create("segment", MFdFlags::MFD_CLOEXEC)?;
        let pages = argument.bytes.next_multiple_of(4096);
        ftruncate(&memory, pages.try_into().map_err(|_| Errno::ENOMEM)?)?;
        let fd = memory.as_fd().try_clone_to_owned();
        let kept = fd.map_err(|_| Errno::EMFILE)?;
        self.state()
            .segments
            .insert(argument.id, (kept, argument.bytes));
        Ok(memory)
    }

    fn connect(
        &self,
        _context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_segment_connect,
    ) -> Result<OwnedFd> {
        self.called(Some(Call::Connect(*argument)))?;
        let state = self.state();
        let (memory, bytes) = state.segments.get(&argument.id).ok_or(Errno::ENOENT)?;
        argument.bytes = *bytes;
        let fd = memory.as_fd().try_clone_to_owned();
        fd.map_err(|_| Errno::EMFILE)
    }

    fn borrow(
        &self,
        _context: BorrowedFd<'_>,
        argument: &mut uapi::skiff_device_borrow,
    ) -> Result<OwnedFd> {
        self.called(Some(Call::Borrow(*argument)))?;
        memfd_create("device", MFdFlags::MFD_CLOEXEC)
    }

    fn connect_device(
        &self,
        _device: BorrowedFd<'_>,
        argument: &mut uapi::skiff_device_segment,
    ) -> Result<OwnedFd> {
        self.called(Some(Call::DeviceConnect(*argument)))?;
        argument.bytes = 0x4000;
        memfd_create("registers", MFdFlags::MFD_CLOEXEC)
    }

    fn command(&self, _fd: BorrowedFd<'_>, mut command: Command<'_>) -> Result<()> {
        let called = self.called(match &command {
            Command::Query(argument) => Some(Call::Query(**argument)),
            Command::Remove(argument) => Some(Call::Remove(**argument)),
            Command::Revoke(argument) => Some(Call::Revoke(**argument)),
            Command::Prepare(argument)
            | Command::SetAvailable(argument)
            | Command::SetUnavailable(argument) => Some(Call::Adapter(**argument)),
            Command::LendAdd(argument) => Some(Call::LendAdd(**argument)),
            Command::LendRemove(argument) => Some(Call::LendRemove(**argument)),
            Command::LendAvailable(argument) => Some(Call::LendAvailable(**argument)),
            Command::LendUnavailable(argument) => Some(Call::LendUnavailable(**argument)),
            Command::LendConnect(argument) => Some(Call::LendConnect(**argument)),
            Command::LendDisconnect(argument) => Some(Call::LendDisconnect(**argument)),
            Command::DeviceQuery(argument) => Some(Call::DeviceQuery(**argument)),
            Command::DeviceReturn(argument) => Some(Call::DevicePlain("return", **argument)),
            Command::DeviceReleaseExclusive(argument) => {
                Some(Call::DevicePlain("release", **argument))
            }
            Command::DeviceReset(argument) => Some(Call::DevicePlain("reset", **argument)),
            Command::DeviceSegmentCreate(argument) => Some(Call::DeviceCreate(**argument)),
            Command::DeviceMap(argument) => Some(Call::DeviceMap(**argument)),
            Command::DeviceUnmap(argument) => Some(Call::DeviceUnmap(**argument)),
            Command::DeviceConfigRead(argument) => Some(Call::ConfigRead(**argument)),
            Command::DeviceConfigWrite(argument) => Some(Call::ConfigWrite(**argument)),
            Command::DeviceBusMaster(argument) => Some(Call::BusMaster(**argument)),
            Command::DeviceVectors(argument) => Some(Call::Vectors(**argument)),
            Command::DeviceVector(argument) => Some(Call::Vector(**argument)),
            Command::Info(_)
            | Command::AdapterInfo(_)
            | Command::NodeInfo(_)
            | Command::SegmentInfo(_)
            | Command::Disconnect(_)
            | Command::RemoteInfo(_)
            | Command::DeviceInfo(_) => None,
        });
        if let (Err(Errno::EOPNOTSUPP), Command::LendAvailable(out)) = (called, &mut command) {
            out.refusal = uapi::SKIFF_REFUSAL_NO_IOMMU;
        }
        called?;
        match command {
            Command::Info(out) => {
                out.node = 2;
                out.abi_version = uapi::SKIFF_ABI_VERSION;
                out.flags = uapi::SKIFF_INFO_CONTAINED;
                out.adapters = 0b11;
                out.nodes = 0b101;
                out.generation = 9;
            }
            Command::AdapterInfo(out) => {
                out.flags = uapi::SKIFF_ADAPTER_COMPANION;
                out.port = 2;
                out.slots = 12;
                out.slots_pinned = 1;
                out.slot_bytes = 64 << 20;
                out.ports_up = 0b1;
            }
            Command::NodeInfo(out) => match out.node {
                0 => out.state = uapi::SKIFF_NODE_UP,
                2 | uapi::SKIFF_NODE_LOCAL => {
                    out.node = 2;
                    out.state = uapi::SKIFF_NODE_GREETING;
                }
                _ => return Err(Errno::ENXIO),
            },
            Command::Query(out) => {
                let state = self.state();
                let found = state.segments.iter().filter(|(id, _)| **id >= out.id);
                let (&id, (_, bytes)) = found.min_by_key(|(id, _)| **id).ok_or(Errno::ENOENT)?;
                out.id = id;
                out.bytes = *bytes;
                out.mode = 0o640;
            }
            Command::Revoke(out) => {
                out.revoked = 3;
                out.unconfirmed = 1;
            }
            Command::SegmentInfo(out) => {
                out.id = 7;
                out.bytes = 4097;
                out.available = 0b1;
                out.prepared = 0b11;
            }
            Command::RemoteInfo(out) => {
                out.node = uapi::SKIFF_NODE_LOCAL;
                out.adapter = uapi::SKIFF_ADAPTER_ANY;
                out.state = uapi::SKIFF_REMOTE_LOST;
                out.flags = uapi::SKIFF_CONNECT_READ_ONLY;
            }
            Command::Prepare(_)
            | Command::SetAvailable(_)
            | Command::SetUnavailable(_)
            | Command::Remove(_)
            | Command::Disconnect(_)
            | Command::LendRemove(_)
            | Command::LendAvailable(_)
            | Command::LendUnavailable(_)
            | Command::LendConnect(_)
            | Command::LendDisconnect(_)
            | Command::DeviceReturn(_)
            | Command::DeviceReleaseExclusive(_)
            | Command::DeviceReset(_)
            | Command::DeviceSegmentCreate(_)
            | Command::DeviceUnmap(_)
            | Command::DeviceConfigWrite(_)
            | Command::DeviceBusMaster(_)
            | Command::DeviceVector(_) => {}
            Command::LendAdd(out) => out.fdid = 0xc_0001,
            Command::DeviceQuery(out) => {
                let mut pool = [0x8_0000, 0x8_0001, 0xc_0000].into_iter();
                let found = pool.find(|fdid| *fdid >= out.from);
                out.device = device(found.ok_or(Errno::ENOENT)?);
            }
            Command::DeviceInfo(out) => {
                out.flags = uapi::SKIFF_BORROW_EXCLUSIVE;
                out.maps = 2;
                out.vectors = 5;
                out.device = device(0x8_0001);
            }
            Command::DeviceMap(out) => {
                out.address = 0x1_0000_0000;
                out.map = 6;
            }
            Command::DeviceConfigRead(out) => out.value = 0x8086,
            Command::DeviceVectors(out) => out.count = 4,
        }
        Ok(())
    }

    fn map(
        &self,
        fd: BorrowedFd<'_>,
        bytes: usize,
        offset: u64,
        access: Access,
    ) -> Result<NonNull<u8>> {
        self.called(Some(Call::Map {
            bytes,
            offset,
            access,
        }))?;
        let flags = uapi::SKIFF_MAP_UNCACHED | uapi::SKIFF_MAP_ALL_ONES;
        Os.map(fd, bytes, offset & !flags, access)
    }

    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        Os.allocate(bytes)
    }

    unsafe fn unmap(&self, at: NonNull<u8>, bytes: usize) {
        self.state().calls.push(Call::Unmap { bytes });
        // SAFETY: the caller promises the same.
        unsafe { Os.unmap(at, bytes) };
    }

    fn poll(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Ready> {
        assert!(fd.as_raw_fd() >= 0);
        let mut state = self.state();
        state.calls.push(Call::Poll { timeout });
        Ok(match state.waits.front() {
            None => Ready::TimedOut,
            Some(Wait::HungUp) => Ready::HungUp,
            Some(Wait::Event(_) | Wait::Stolen) => Ready::Readable,
        })
    }

    fn read_event(&self, _fd: BorrowedFd<'_>) -> Result<uapi::skiff_event> {
        match self.state().waits.pop_front() {
            Some(Wait::Event(event)) => Ok(event),
            _ => Err(Errno::EAGAIN),
        }
    }
}

/// A device of the pool.
fn device(fdid: u32) -> uapi::skiff_device {
    uapi::skiff_device {
        fdid,
        node: 1,
        state: uapi::SKIFF_DEVICE_EXCLUSIVE,
        flags: uapi::SKIFF_DEVICE_CONTAINED,
        domain: 1,
        bdf: 0x0319,
        class_code: 0x01_0802,
        vendor: 0x8086,
        device: 0xf1a5,
        bars: [0x4000, 0, 0, 0, 0, 0],
        vectors: 16,
        borrowers: 1,
        ..Default::default()
    }
}
