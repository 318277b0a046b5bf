// SPDX-License-Identifier: GPL-2.0
//! The files that nodes' memory lies in, mapped into the switch once each.
//!
//! [`Files`] is part of the switch's locked state. The memory itself is shared with running machines: it is only ever
//! copied from and to with volatile accesses, never borrowed as a slice.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};
use nix::sys::stat::fstat;
use std::os::fd::AsRawFd;

use crate::space::FileId;

/// What files that windows are made of have in their names; such a file is not a node's memory.
pub(super) const WINDOW_MARK: &str = "ntbwin";

/// Whether a file that a node maps for device access is a window, and not memory of its own.
pub(super) fn is_window_file(fd: BorrowedFd<'_>) -> bool {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    readlink(path.as_str()).is_ok_and(|name| name.to_string_lossy().contains(WINDOW_MARK))
}

/// The file has become shorter than the node said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truncated;

/// One file of node memory, mapped as a whole.
#[derive(Debug)]
pub(super) struct RamFile {
    fd: OwnedFd,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and stays until it is dropped; all access goes through volatile copies
// of plain bytes, for which it does not matter which thread makes them or who else changes the memory meanwhile.
unsafe impl Send for RamFile {}

impl RamFile {
    fn new(fd: OwnedFd, len: u64) -> Result<Self, Errno> {
        let len = usize::try_from(len)
            .ok()
            .and_then(NonZeroUsize::new)
            .ok_or(Errno::EINVAL)?;
        // SAFETY: no address is asked for, so nothing that exists is replaced; the length is not 0.
        let base = unsafe {
            mmap(
                None,
                len,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                &fd,
                0,
            )?
        };
        Ok(Self {
            fd,
            base: base.cast(),
            len: len.get(),
        })
    }

    /// The address of `len` bytes at `offset`, if the file (still) has them.
    ///
    /// A file that shrinks between this check and the access ends the switch by SIGBUS; nodes' files do not shrink.
    fn at(&self, offset: u64, len: usize) -> Result<NonNull<u8>, Truncated> {
        let offset = usize::try_from(offset).map_err(|_| Truncated)?;
        let end = offset.checked_add(len).ok_or(Truncated)?;
        let now = fstat(&self.fd).map_or(0, |stat| stat.st_size);
        if end > self.len || u64::try_from(now).map_or(true, |now| (end as u64) > now) {
            return Err(Truncated);
        }
        // SAFETY: offset <= end <= self.len, the length of the mapping that starts at base.
        Ok(unsafe { self.base.add(offset) })
    }

    /// Copies out of the file; an aligned 1, 2, 4 or 8 bytes are read at once.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Truncated> {
        let mut from = self.at(offset, data.len())?.as_ptr().cast_const();
        let mut rest = data;
        while !rest.is_empty() {
            let unit = unit(from.addr(), rest.len());
            let (part, more) = rest.split_at_mut(unit);
            // SAFETY: `at` has checked that the mapping reaches as far as data does, of which `unit` bytes are left at
            // least; `unit` divides the address.
            unsafe { load(from, part) };
            // SAFETY: stays within, or one behind, the checked range.
            from = unsafe { from.add(unit) };
            rest = more;
        }
        Ok(())
    }

    /// Copies into the file; an aligned 1, 2, 4 or 8 bytes are written at once.
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> Result<(), Truncated> {
        let mut to = self.at(offset, data.len())?.as_ptr();
        let mut rest = data;
        while !rest.is_empty() {
            let unit = unit(to.addr(), rest.len());
            let (part, more) = rest.split_at(unit);
            // SAFETY: as in `read`.
            unsafe { store(to, part) };
            // SAFETY: as in `read`.
            to = unsafe { to.add(unit) };
            rest = more;
        }
        Ok(())
    }
}

impl Drop for RamFile {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length and nothing refers to it any more.
        if let Err(error) = unsafe { munmap(self.base.cast(), self.len) } {
            tracing::error!(%error, "cannot unmap node memory");
        }
    }
}

/// The largest access at an address that neither crosses its own size nor `len`.
fn unit(addr: usize, len: usize) -> usize {
    [8, 4, 2]
        .into_iter()
        .find(|unit| addr % unit == 0 && *unit <= len)
        .unwrap_or(1)
}

/// Reads 1, 2, 4 or 8 bytes at once.
///
/// # Safety
///
/// `from` is a multiple of `to.len()` and readable for that many bytes.
unsafe fn load(from: *const u8, to: &mut [u8]) {
    match to.len() {
        // SAFETY: the caller's promise.
        8 => to.copy_from_slice(&unsafe { from.cast::<u64>().read_volatile() }.to_ne_bytes()),
        // SAFETY: the caller's promise.
        4 => to.copy_from_slice(&unsafe { from.cast::<u32>().read_volatile() }.to_ne_bytes()),
        // SAFETY: the caller's promise.
        2 => to.copy_from_slice(&unsafe { from.cast::<u16>().read_volatile() }.to_ne_bytes()),
        // SAFETY: the caller's promise.
        _ => to[0] = unsafe { from.read_volatile() },
    }
}

/// Writes 1, 2, 4 or 8 bytes at once.
///
/// # Safety
///
/// `to` is a multiple of `from.len()` and writable for that many bytes.
unsafe fn store(to: *mut u8, from: &[u8]) {
    match *from {
        [a, b, c, d, e, f, g, h] => {
            let value = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
            // SAFETY: the caller's promise.
            unsafe { to.cast::<u64>().write_volatile(value) };
        }
        // SAFETY: the caller's promise.
        [a, b, c, d] => unsafe {
            to.cast::<u32>()
                .write_volatile(u32::from_ne_bytes([a, b, c, d]));
        },
        // SAFETY: the caller's promise.
        [a, b] => unsafe { to.cast::<u16>().write_volatile(u16::from_ne_bytes([a, b])) },
        // SAFETY: the caller's promise.
        _ => unsafe { to.write_volatile(from[0]) },
    }
}

/// All files of node memory, each mapped once however often nodes name it.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: HashMap<FileId, RamFile>,
    /// Device and inode number, which no other file can have as long as this one is open.
    ids: HashMap<(u64, u64), FileId>,
    next: u32,
}

impl Files {
    /// Takes note of a file that has (at least) `end` bytes; keeps `fd` only if the file is new.
    pub(super) fn add(&mut self, fd: OwnedFd, end: u64) -> Result<FileId, Errno> {
        let stat = fstat(&fd)?;
        let len = u64::try_from(stat.st_size).map_err(|_| Errno::EINVAL)?;
        if end > len {
            return Err(Errno::EINVAL);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(&id) = self.ids.get(&inode) {
            if self
                .files
                .get(&id)
                .is_some_and(|file| end <= file.len as u64)
            {
                return Ok(id);
            }
            // The file has grown; what was known of it keeps its mapping under its old number.
        }
        let file = RamFile::new(fd, len)?;
        let id = FileId(self.next);
        self.next = self.next.checked_add(1).ok_or(Errno::ENOSPC)?;
        self.files.insert(id, file);
        self.ids.insert(inode, id);
        Ok(id)
    }

    /// The file of that number.
    pub(super) fn get(&self, id: FileId) -> Option<&RamFile> {
        self.files.get(&id)
    }

    /// The descriptor of the file of that number.
    pub(super) fn fd(&self, id: FileId) -> Option<BorrowedFd<'_>> {
        self.files.get(&id).map(|file| file.fd.as_fd())
    }

    /// Forgets the files that nobody uses.
    pub(super) fn retain(&mut self, used: impl Fn(FileId) -> bool) {
        self.files.retain(|id, _| used(*id));
        self.ids.retain(|_, id| used(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{memfd_create, MFdFlags};
    use nix::unistd::ftruncate;

    fn memory(name: &str, len: i64) -> OwnedFd {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&fd, len).unwrap();
        fd
    }

    #[test]
    fn one_file_is_mapped_once_and_copies_are_exact() {
        let mut files = Files::default();
        let fd = memory("ram", 8192);
        let twin = fd.try_clone().unwrap();
        let id = files.add(fd, 8192).unwrap();
        assert_eq!(files.add(twin, 4096).unwrap(), id);
        let file = files.get(id).unwrap();
        let data: Vec<u8> = (0..255).collect();
        for start in 0..17 {
            for len in [0, 1, 2, 3, 4, 7, 8, 9, 31, 200] {
                file.write(4000 + start, &vec![0xee; 255]).unwrap();
                file.write(4000 + start, &data[..len]).unwrap();
                let mut back = vec![0; 255];
                file.read(4000 + start, &mut back).unwrap();
                assert_eq!(back[..len], data[..len]);
                assert!(back[len..].iter().all(|byte| *byte == 0xee));
            }
        }
        assert_eq!(file.read(8190, &mut [0; 4]), Err(Truncated));
        assert_eq!(file.write(u64::MAX, &[0; 4]), Err(Truncated));
        files.retain(|_| false);
        assert!(files.get(id).is_none());
    }

    #[test]
    fn a_shorter_file_is_refused_and_a_truncated_one_noticed() {
        let mut files = Files::default();
        assert_eq!(files.add(memory("ram", 4096), 8192), Err(Errno::EINVAL));
        let fd = memory("ram", 8192);
        let twin = fd.try_clone().unwrap();
        let id = files.add(fd, 8192).unwrap();
        ftruncate(&twin, 4096).unwrap();
        assert_eq!(files.get(id).unwrap().write(4096, &[1]), Err(Truncated));
        assert_eq!(files.get(id).unwrap().write(4095, &[1]), Ok(()));
    }

    #[test]
    fn window_files_are_told_from_memory() {
        assert!(is_window_file(memory("ntbwin-port3", 4096).as_fd()));
        assert!(!is_window_file(memory("ram", 4096).as_fd()));
    }
}
