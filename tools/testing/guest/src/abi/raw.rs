// SPDX-License-Identifier: GPL-2.0
//! Raw system calls on /dev/skiff: nothing is checked on the way, for the kernel's checks are what is tested.
//!
//! An [`Argument`] owns its memory, and ends right before a page that nobody can access: a kernel that reads or writes a
//! byte too many gets EFAULT instead of a neighbour's memory.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::ptr;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use super::layout::Command;
use super::layout::Field;

/// Bytes of a page of x86-64.
pub const PAGE: usize = 4096;

/// The device.
pub const DEVICE: &str = "/dev/skiff";

/// Opens a context.
pub fn open() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .with_context(|| format!("cannot open {DEVICE}"))
}

/// Anonymous memory of whole pages; what it holds is read and written by the kernel, too.
#[derive(Debug)]
pub struct Pages {
    start: *mut u8,
    pages: usize,
}

// SAFETY: The memory belongs to the value, and is only reached through it.
unsafe impl Send for Pages {}

impl Pages {
    /// Zeroed, readable and writable.
    pub fn new(pages: usize) -> Result<Self> {
        // SAFETY: No address is asked for, so no mapping is replaced.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                pages * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        ensure!(
            start != libc::MAP_FAILED,
            "no memory for {pages} pages: {}",
            Errno::last()
        );
        Ok(Self {
            start: start.cast(),
            pages,
        })
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Changes what may be done with the pages from `first` on.
    pub fn protect(&self, first: usize, prot: i32) -> Result<()> {
        ensure!(first < self.pages, "no page {first}");
        let at = self.start.wrapping_add(first * PAGE).cast();
        // SAFETY: The range is the rest of the value's own mapping.
        let result = unsafe { libc::mprotect(at, (self.pages - first) * PAGE, prot) };
        Errno::result(result)
            .map(drop)
            .context("cannot protect memory")
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: The mapping is the value's own, whose life ends here.
        unsafe { libc::munmap(self.start.cast(), self.pages * PAGE) };
    }
}

/// Memory of a command's argument.
#[derive(Debug)]
pub struct Argument {
    pages: Pages,
    at: usize,
    len: usize,
}

impl Argument {
    /// `len` zeroed bytes that end at an inaccessible page.
    pub fn new(len: usize) -> Result<Self> {
        let room = len.div_ceil(PAGE);
        let pages = Pages::new(room + 1)?;
        pages.protect(room, libc::PROT_NONE)?;
        Ok(Self {
            pages,
            at: room * PAGE - len,
            len,
        })
    }

    /// The argument of a command, zeroed but for its size.
    pub fn of(command: &Command) -> Result<Self> {
        let mut argument = Self::new(command.size)?;
        argument.store(0, 4, command.size as u64);
        Ok(argument)
    }

    /// Puts a value into a field.
    pub fn set(&mut self, field: &Field, value: u64) {
        self.store(field.at, field.width, value);
    }

    /// The value of a field.
    pub fn get(&self, field: &Field) -> u64 {
        let mut raw = [0; 8];
        raw[..field.width].copy_from_slice(&self.bytes()[field.at..field.at + field.width]);
        u64::from_le_bytes(raw)
    }

    /// Puts the low `width` bytes of a value at byte `at`; what lies outside is left away.
    pub fn store(&mut self, at: usize, width: usize, value: u64) {
        let raw = value.to_le_bytes();
        for (index, byte) in raw.iter().enumerate().take(width) {
            if let Some(place) = self.bytes_mut().get_mut(at + index) {
                *place = *byte;
            }
        }
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: The range lies in the value's own accessible pages, and only the kernel writes it, during calls that
        // borrow the value mutably.
        unsafe { std::slice::from_raw_parts(self.pages.start.wrapping_add(self.at), self.len) }
    }

    /// All bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: As in `bytes`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pages.start.wrapping_add(self.at), self.len) }
    }

    /// Takes the right to write away from the kernel, and from this program: no `set` afterwards.
    pub fn seal(&self) -> Result<()> {
        self.pages.protect(0, libc::PROT_READ)
    }

    /// Calls.
    pub fn call(&mut self, fd: BorrowedFd<'_>, command: &Command) -> Result<i32, Errno> {
        ioctl(fd, command.request(), self.pages.address() + self.at as u64)
    }
}

/// An ioctl whose argument is any number.
pub fn ioctl(fd: BorrowedFd<'_>, request: u64, argument: u64) -> Result<i32, Errno> {
    // SAFETY: What the kernel writes goes to an `Argument` before its inaccessible page, or to an address at which this
    // program has nothing.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) })
}

/// A new descriptor out of an answer's field.
pub fn adopt(number: u64) -> Result<OwnedFd> {
    let number = i32::try_from(number).context("a descriptor's number")?;
    ensure!(number >= 0, "descriptor {number}");
    // SAFETY: The kernel has just made the descriptor for the caller, who is told of it once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A map of an object, of any range with any rights.
#[derive(Debug)]
pub struct Map {
    start: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: The mapping belongs to the value, and is only reached through system calls.
unsafe impl Send for Map {}

// SAFETY: As above; the kernel orders system calls on one mapping.
unsafe impl Sync for Map {}

/// Readable and writable.
pub const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Map {
    /// mmap(2), unchecked.
    pub fn new(
        fd: BorrowedFd<'_>,
        bytes: usize,
        prot: i32,
        flags: i32,
        offset: u64,
    ) -> Result<Self, Errno> {
        // SAFETY: No address is asked for, so no mapping is replaced.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mmap,
                0_usize,
                bytes,
                prot,
                flags,
                fd.as_raw_fd(),
                offset,
            )
        };
        let start = Errno::result(result)? as *mut libc::c_void;
        Ok(Self { start, bytes })
    }

    /// The first `bytes` bytes, shared, for reading and writing.
    pub fn shared(fd: BorrowedFd<'_>, bytes: usize, offset: u64) -> Result<Self, Errno> {
        Self::new(fd, bytes, RW, libc::MAP_SHARED, offset)
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// mprotect(2) of the whole.
    pub fn protect(&self, prot: i32) -> Result<(), Errno> {
        // SAFETY: The mapping is the value's own, and this program never touches it but by system calls.
        Errno::result(unsafe { libc::mprotect(self.start, self.bytes, prot) }).map(drop)
    }

    /// mremap(2) to another length; gives the errno, for no map of the device may grow.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Errno> {
        // SAFETY: As in `protect`; where the mapping goes is noted.
        let result = unsafe { libc::mremap(self.start, self.bytes, bytes, libc::MREMAP_MAYMOVE) };
        if result == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        (self.start, self.bytes) = (result, bytes);
        Ok(())
    }

    /// Loads a word by the kernel, through a pipe: an access that would be SIGBUS is EFAULT.
    pub fn load(&self, pipe: &Pipe, offset: usize) -> Result<u64, Errno> {
        let at = self.range(offset, 8)?;
        // SAFETY: The kernel reads the word, and gives EFAULT where it cannot.
        Errno::result(unsafe { libc::write(pipe.write.as_raw_fd(), at, 8) })?;
        let mut raw = [0_u8; 8];
        // SAFETY: The buffer is as long as is said.
        Errno::result(unsafe { libc::read(pipe.read.as_raw_fd(), raw.as_mut_ptr().cast(), 8) })?;
        Ok(u64::from_ne_bytes(raw))
    }

    /// Stores a word in the same way.
    pub fn store(&self, pipe: &Pipe, offset: usize, value: u64) -> Result<(), Errno> {
        self.put(pipe, offset, &mut value.to_ne_bytes())
    }

    /// Stores half a word in the same way.
    pub fn store_half(&self, pipe: &Pipe, offset: usize, value: u32) -> Result<(), Errno> {
        self.put(pipe, offset, &mut value.to_ne_bytes())
    }

    fn put(&self, pipe: &Pipe, offset: usize, raw: &mut [u8]) -> Result<(), Errno> {
        let at = self.range(offset, raw.len())?;
        let (write, read) = (pipe.write.as_raw_fd(), pipe.read.as_raw_fd());
        // SAFETY: The buffer is as long as is said.
        Errno::result(unsafe { libc::write(write, raw.as_ptr().cast(), raw.len()) })?;
        // SAFETY: The kernel writes the range, and gives EFAULT where it cannot.
        let result = Errno::result(unsafe { libc::read(read, at, raw.len()) });
        if result.is_err() {
            // What was not stored is still in the pipe.
            // SAFETY: The buffer is as long as is said.
            unsafe { libc::read(read, raw.as_mut_ptr().cast(), raw.len()) };
        }
        result.map(drop)
    }

    fn range(&self, offset: usize, bytes: usize) -> Result<*mut libc::c_void, Errno> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(self.start.wrapping_byte_add(offset)),
            _ => Err(Errno::EDOM),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: The mapping is the value's own, whose life ends here.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

/// A pipe, by which the kernel copies to and from maps.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A new one; it never blocks.
    pub fn new() -> Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: The array has room for both descriptors.
        Errno::result(unsafe {
            libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK)
        })?;
        Ok(Self {
            read: adopt(u64::try_from(ends[0])?)?,
            write: adopt(u64::try_from(ends[1])?)?,
        })
    }
}
