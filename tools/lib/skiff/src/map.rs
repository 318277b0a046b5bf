// SPDX-License-Identifier: GPL-2.0
//! A segment in this process: owns its range of addresses, and nothing else.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use crate::context::failed;
use crate::error::Attempt;
use crate::error::Error;
use crate::error::Result;
use crate::info::Access;
use crate::memory::Memory;
use crate::options::Caching;
use crate::options::Loss;
use crate::options::MapOptions;
use crate::sys::Os;
use crate::sys::Sys;
use crate::uapi;

/// Granularity of maps, in bytes.
pub(crate) const PAGE: u64 = 4096;

/// A mapped piece of a segment; it is used as the [`Memory`] that it holds. It keeps
/// the connection or the segment's memory, even when the object that it was made of is gone.
pub struct Map {
    sys: &'static dyn Sys,
    /// First byte of the first page, which the memory may begin behind.
    start: NonNull<u8>,
    /// Length of the pages.
    bytes: usize,
    memory: Memory,
}

// SAFETY: the range belongs to the process, not to a thread, and all accesses are volatile.
unsafe impl Send for Map {}
// SAFETY: as above; `Memory` may be used by several threads at once.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the pages that hold the wanted bytes of a segment of `segment` bytes.
    pub(crate) fn new(
        sys: &'static dyn Sys,
        fd: BorrowedFd<'_>,
        segment: u64,
        allowed: Access,
        options: &MapOptions,
    ) -> Result<Self> {
        let left = segment.saturating_sub(options.offset);
        // CAST: a usize is 64 bits wide where this runs.
        let wanted = options.len.map_or(left, |len| len as u64);
        let attempt = Attempt::Map {
            offset: options.offset,
            bytes: wanted,
        };
        if wanted == 0 || wanted > left {
            return Err(Error::new(attempt, libc::EINVAL));
        }
        let skip = options.offset % PAGE;
        let pages = skip
            .checked_add(wanted)
            .and_then(|bytes| bytes.checked_next_multiple_of(PAGE))
            .ok_or(Error::new(attempt, libc::EOVERFLOW))?;
        let mut offset = options.offset - skip;
        if offset >= uapi::SKIFF_MAP_ALL_ONES {
            return Err(Error::new(attempt, libc::EINVAL));
        }
        if options.caching == Caching::Uncached {
            offset |= uapi::SKIFF_MAP_UNCACHED;
        }
        if options.loss == Loss::AllOnes {
            offset |= uapi::SKIFF_MAP_ALL_ONES;
        }
        let access = options.access.unwrap_or(allowed);
        // CAST: as above.
        let bytes = pages as usize;
        let mapped = sys.map(fd, bytes, offset, access);
        let start = mapped.map_err(failed(attempt))?;
        // SAFETY: the byte is within the first of the pages that were mapped.
        let first = unsafe { start.add(skip as usize) };
        // SAFETY:
        // - `wanted` bytes from `first` on are within the pages that were mapped.
        // - They stay mapped as long as `Map` lives, which owns the `Memory`.
        // - Nothing but `Memory` reaches them.
        let memory = unsafe { Memory::new(first, wanted as usize, access) };
        Ok(Self {
            sys,
            start,
            bytes,
            memory,
        })
    }
}

/// A [`Map`] taken apart, for languages without destructors.
#[derive(Clone, Copy, Debug)]
pub struct MapParts {
    /// First byte of the first page.
    pub pages: NonNull<u8>,
    /// Length of the pages.
    pub page_bytes: usize,
    /// First byte of the memory.
    pub address: NonNull<u8>,
    /// Length of the memory.
    pub bytes: usize,
}

impl Map {
    /// Takes it apart; it stays mapped.
    pub fn into_parts(self) -> MapParts {
        let map = ManuallyDrop::new(self);
        MapParts {
            pages: map.start,
            page_bytes: map.bytes,
            address: map.memory.start(),
            bytes: map.memory.len(),
        }
    }
}

/// Unmaps the pages of [`MapParts`].
///
/// # Safety
///
/// - `pages` and `page_bytes` are of one [`Map::into_parts`], and are not used again.
pub unsafe fn unmap(pages: NonNull<u8>, page_bytes: usize) {
    // SAFETY: the caller promises that this is a whole map that nobody uses any more.
    unsafe { Os.unmap(pages, page_bytes) };
}

impl Deref for Map {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY:
        // - This is the range that `Sys::map` gave.
        // - References to the memory borrow `self`, so there are none.
        unsafe { self.sys.unmap(self.start, self.bytes) };
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Map").field(&self.memory).finish()
    }
}
