// SPDX-License-Identifier: GPL-2.0
//! A borrowed device. Its methods may be called by several threads at once; the kernel orders them.
//!
//! It owns its descriptor, with which the borrow ends; what it was asked to make lives until then.

use std::fmt;
use std::ops::Bound;
use std::ops::RangeBounds;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::context::failed;
use crate::context::milliseconds;
use crate::device::state::BorrowInfo;
use crate::error::Attempt;
use crate::error::Error;
use crate::error::Result;
use crate::event;
use crate::event::Event;
use crate::info::Access;
use crate::size_of_abi;
use crate::sys::Command;
use crate::sys::Os;
use crate::sys::Sys;
use crate::uapi;
use crate::RemoteSegment;

/// A borrowed device. Dropping it gives the device back, with force; when the last borrower is
/// gone the device is reset.
///
/// ```no_run
/// use skiff::{Adapter, BorrowOptions, Context, Filter, MapOptions, Mastering, SegmentOptions};
///
/// let context = Context::open()?;
/// let nvme = Filter::new().class(0x010802, 0xffffff);
/// for found in context.devices(&nvme)? {
///     let device = context.borrow(found.fdid, &BorrowOptions::new().exclusive())?;
///     let registers = device.connect_bar(0)?.map(&MapOptions::new().uncached())?;
///     println!("{}: version {:#x}", found.fdid, registers.load_u32(0x08)?);
///
///     // Memory of this node that the device may read and write.
///     let memory = context.create(&SegmentOptions::new(1 << 16))?;
///     memory.prepare(Adapter::Any)?;
///     let mapped = device.map(&memory, ..)?;
///     device.bus_master(Mastering::On)?;
///     println!("the device finds it at {:#x}", mapped.address());
/// }
/// # Ok::<(), skiff::Error>(())
/// ```
pub struct Borrowed {
    sys: &'static dyn Sys,
    fd: OwnedFd,
    timeout: Option<Duration>,
}

/// Whose memory of a device it is that a borrower makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceMemory {
    /// The borrower's; it lives as long as the borrow.
    Private,
    /// All borrowers'; it lives as long as any borrow.
    Shared,
}

impl DeviceMemory {
    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            uapi::SKIFF_DEVICE_PRIVATE => Self::Private,
            uapi::SKIFF_DEVICE_SHARED => Self::Shared,
            _ => return None,
        })
    }

    fn raw(self) -> u32 {
        match self {
            Self::Private => uapi::SKIFF_DEVICE_PRIVATE,
            Self::Shared => uapi::SKIFF_DEVICE_SHARED,
        }
    }
}

impl fmt::Display for DeviceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Shared => "shared",
        })
    }
}

/// Who reads and writes memory of a device. Loads across the fabric wait, stores do not: private
/// memory that the borrower's CPUs read is made on its node, all other memory close to the device.
///
/// ```
/// use skiff::Hints;
///
/// // Commands for a device, and what it answers.
/// let submissions = Hints::new().host_writes().device_reads();
/// let completions = Hints::new().device_writes().host_reads();
/// # let _ = (submissions, completions);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints(u32);

impl Hints {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The device reads it.
    pub fn device_reads(self) -> Self {
        Self(self.0 | uapi::SKIFF_HINT_DEVICE_READ)
    }

    /// The device writes it.
    pub fn device_writes(self) -> Self {
        Self(self.0 | uapi::SKIFF_HINT_DEVICE_WRITE)
    }

    /// The borrower's CPUs read it.
    pub fn host_reads(self) -> Self {
        Self(self.0 | uapi::SKIFF_HINT_HOST_READ)
    }

    /// The borrower's CPUs write it.
    pub fn host_writes(self) -> Self {
        Self(self.0 | uapi::SKIFF_HINT_HOST_WRITE)
    }

    /// CPUs of several nodes read or write it.
    pub fn many_hosts(self) -> Self {
        Self(self.0 | uapi::SKIFF_HINT_MULTIHOST)
    }

    /// Other devices read or write it.
    pub fn other_devices(self) -> Self {
        Self(self.0 | uapi::SKIFF_HINT_PEER)
    }
}

/// Memory that is mapped for a device. It stays so until [`Borrowed::unmap`], or until the
/// borrow ends.
#[must_use = "the device needs its address"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMap {
    map: u32,
    address: u64,
}

impl DeviceMap {
    /// The address by which the device reaches it.
    pub fn address(&self) -> u64 {
        self.address
    }
}

/// How much of the configuration space is read or written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
}

impl Width {
    fn raw(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// Whether a device may read and write memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mastering {
    /// It may not.
    Off,
    /// It may, as far as something is mapped for it.
    On,
}

impl Borrowed {
    pub(crate) fn new(sys: &'static dyn Sys, fd: OwnedFd, timeout: Option<Duration>) -> Self {
        Self { sys, fd, timeout }
    }

    /// Takes over the descriptor of a borrowed device, for example one that another process
    /// has sent. ENOTTY when it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let borrowed = Self::new(&Os, fd, None);
        borrowed.info()?;
        Ok(borrowed)
    }

    /// Its state.
    pub fn info(&self) -> Result<BorrowInfo> {
        let mut raw = uapi::skiff_device_info {
            size: size_of_abi::<uapi::skiff_device_info>(),
            ..Default::default()
        };
        self.command(Attempt::BorrowInfo, Command::DeviceInfo(&mut raw))?;
        Ok(raw.into())
    }

    /// Gives it back, unless segments of it are connected: EBUSY. Everything else fails with
    /// ECONNRESET afterwards.
    pub fn give_back(&self) -> Result<()> {
        self.command(Attempt::GiveBack, Command::DeviceReturn(&mut self.plain()))
    }

    /// Lets others borrow it as well. EBUSY when they may.
    pub fn release_exclusive(&self) -> Result<()> {
        let attempt = Attempt::ReleaseExclusive;
        self.command(attempt, Command::DeviceReleaseExclusive(&mut self.plain()))
    }

    /// Resets it, which needs that it was borrowed exclusively. Bus mastering is off then;
    /// vectors and what is mapped for it stay.
    pub fn reset(&self) -> Result<()> {
        self.command(
            Attempt::ResetDevice,
            Command::DeviceReset(&mut self.plain()),
        )
    }

    /// Makes memory of the device, on the node that the hints ask for: without any at the lender,
    /// close to the device.
    pub fn create_segment(
        &self,
        memory: DeviceMemory,
        id: u32,
        bytes: u64,
        hints: Hints,
    ) -> Result<()> {
        let mut raw = uapi::skiff_device_segment {
            flags: hints.0,
            bytes,
            ..self.segment(memory.raw(), id)
        };
        let attempt = Attempt::DeviceCreate { memory, id, bytes };
        self.command(attempt, Command::DeviceSegmentCreate(&mut raw))
    }

    /// Connects to memory that was made by [`create_segment`](Self::create_segment);
    /// [`RemoteInfo::node`](crate::RemoteInfo::node) tells where it is.
    pub fn connect_segment(&self, memory: DeviceMemory, id: u32) -> Result<RemoteSegment> {
        let raw = self.segment(memory.raw(), id);
        self.connect(raw, Attempt::DeviceConnect { memory, id })
    }

    /// Connects to registers of the device. A map of them with
    /// [`MapOptions::uncached`](crate::MapOptions::uncached) has the ordering that registers want.
    pub fn connect_bar(&self, bar: u32) -> Result<RemoteSegment> {
        let raw = self.segment(uapi::SKIFF_DEVICE_BAR, bar);
        self.connect(raw, Attempt::DeviceBar { bar })
    }

    fn connect(
        &self,
        mut raw: uapi::skiff_device_segment,
        attempt: Attempt,
    ) -> Result<RemoteSegment> {
        let connected = self.sys.connect_device(self.fd.as_fd(), &mut raw);
        let fd = connected.map_err(failed(attempt))?;
        Ok(RemoteSegment::new(
            self.sys,
            fd,
            raw.bytes,
            Access::ReadWrite,
        ))
    }

    /// Maps a range of a segment for the device; `..` is all of it. The segment is a local one,
    /// prepared for the adapter that leads to the lender, or a remote one. The range is in
    /// whole pages.
    pub fn map(&self, segment: &impl AsFd, range: impl RangeBounds<u64>) -> Result<DeviceMap> {
        let (offset, bytes) = extent(range)?;
        let mut raw = uapi::skiff_device_map {
            size: size_of_abi::<uapi::skiff_device_map>(),
            fd: segment.as_fd().as_raw_fd(),
            timeout_ms: milliseconds(self.timeout),
            offset,
            bytes,
            ..Default::default()
        };
        let attempt = Attempt::DeviceMap { offset, bytes };
        self.command(attempt, Command::DeviceMap(&mut raw))?;
        Ok(DeviceMap {
            map: raw.map,
            address: raw.address,
        })
    }

    /// Takes memory from the device, which must not have anything under way there. It cannot
    /// reach it any more when this returns.
    pub fn unmap(&self, map: DeviceMap) -> Result<()> {
        let mut raw = uapi::skiff_device_unmap {
            size: size_of_abi::<uapi::skiff_device_unmap>(),
            map: map.map,
            timeout_ms: milliseconds(self.timeout),
            ..Default::default()
        };
        self.command(Attempt::DeviceUnmap, Command::DeviceUnmap(&mut raw))
    }

    /// Reads its configuration space, at a multiple of the width. Behind its end are ones.
    pub fn config_read(&self, offset: u32, width: Width) -> Result<u32> {
        let mut raw = self.config(offset, width, 0);
        let attempt = Attempt::ConfigRead { offset };
        self.command(attempt, Command::DeviceConfigRead(&mut raw))?;
        Ok(raw.value)
    }

    /// Writes its configuration space, at a multiple of the width. EPERM where borrowers must
    /// not write, which is nearly everywhere.
    pub fn config_write(&self, offset: u32, width: Width, value: u32) -> Result<()> {
        let mut raw = self.config(offset, width, value);
        let attempt = Attempt::ConfigWrite { offset };
        self.command(attempt, Command::DeviceConfigWrite(&mut raw))
    }

    /// Lets it read and write memory, or stops it. Borrowers of a shared device have one bus
    /// mastering between them.
    pub fn bus_master(&self, mastering: Mastering) -> Result<()> {
        let mut raw = uapi::skiff_device_bus_master {
            size: size_of_abi::<uapi::skiff_device_bus_master>(),
            flags: match mastering {
                Mastering::Off => 0,
                Mastering::On => uapi::SKIFF_BUS_MASTER_ON,
            },
            timeout_ms: milliseconds(self.timeout),
            ..Default::default()
        };
        self.command(Attempt::BusMaster, Command::DeviceBusMaster(&mut raw))
    }

    /// Gives it up to `count` interrupt vectors, 1 to 64; how many there are. Borrowers of a
    /// shared device have the same vectors.
    pub fn vectors(&self, count: u32) -> Result<u32> {
        let mut raw = uapi::skiff_device_vectors {
            size: size_of_abi::<uapi::skiff_device_vectors>(),
            count,
            timeout_ms: milliseconds(self.timeout),
            ..Default::default()
        };
        self.command(Attempt::Vectors { count }, Command::DeviceVectors(&mut raw))?;
        Ok(raw.count)
    }

    /// Has an eventfd signalled for each interrupt of a vector, several of which may become
    /// one; `None`: no eventfd any more. An interrupt is a write to memory: without bus mastering
    /// the device raises none.
    pub fn vector(&self, index: u32, eventfd: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut raw = uapi::skiff_device_vector {
            size: size_of_abi::<uapi::skiff_device_vector>(),
            index,
            fd: eventfd.map_or(-1, |fd| fd.as_raw_fd()),
            ..Default::default()
        };
        self.command(Attempt::Vector { index }, Command::DeviceVector(&mut raw))
    }

    /// Waits for the borrow to end or for another borrower to go; `None` when `timeout` passes
    /// first, which `None` never does.
    pub fn next_event(&self, timeout: Option<Duration>) -> Result<Option<Event>> {
        event::next(self.sys, self.fd.as_fd(), timeout)
    }

    fn command(&self, attempt: Attempt, command: Command<'_>) -> Result<()> {
        let done = self.sys.command(self.fd.as_fd(), command);
        done.map_err(failed(attempt))
    }

    fn plain(&self) -> uapi::skiff_device_plain {
        uapi::skiff_device_plain {
            size: size_of_abi::<uapi::skiff_device_plain>(),
            timeout_ms: milliseconds(self.timeout),
            ..Default::default()
        }
    }

    fn segment(&self, memory: u32, id: u32) -> uapi::skiff_device_segment {
        uapi::skiff_device_segment {
            size: size_of_abi::<uapi::skiff_device_segment>(),
            memory,
            id,
            timeout_ms: milliseconds(self.timeout),
            ..Default::default()
        }
    }

    fn config(&self, offset: u32, width: Width, value: u32) -> uapi::skiff_device_config {
        uapi::skiff_device_config {
            size: size_of_abi::<uapi::skiff_device_config>(),
            offset,
            width: width.raw(),
            value,
            timeout_ms: milliseconds(self.timeout),
            ..Default::default()
        }
    }
}

/// Offset and length of a range; length 0 is up to the segment's end, so an empty range is none.
fn extent(range: impl RangeBounds<u64>) -> Result<(u64, u64)> {
    let offset = match range.start_bound() {
        Bound::Unbounded => Some(0),
        Bound::Included(&start) => Some(start),
        Bound::Excluded(&start) => start.checked_add(1),
    };
    let end = match range.end_bound() {
        Bound::Unbounded => return Ok((offset.unwrap_or(u64::MAX), 0)),
        Bound::Included(&end) => end.checked_add(1),
        Bound::Excluded(&end) => Some(end),
    };
    let attempt = |offset| Attempt::DeviceMap { offset, bytes: 0 };
    match (offset, end) {
        (Some(offset), Some(end)) if offset < end => Ok((offset, end - offset)),
        (offset, _) => Err(Error::new(
            attempt(offset.unwrap_or(u64::MAX)),
            libc::EINVAL,
        )),
    }
}

impl AsFd for Borrowed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Borrowed> for OwnedFd {
    fn from(borrowed: Borrowed) -> Self {
        borrowed.fd
    }
}

impl fmt::Debug for Borrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Borrowed").field(&self.fd).finish()
    }
}
