// SPDX-License-Identifier: GPL-2.0
//! Memory of the process that may become a segment: owns its pages, which hold nothing else.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::context::failed;
use crate::error::Attempt;
use crate::error::Error;
use crate::error::Result;
use crate::info::Access;
use crate::map::PAGE;
use crate::memory::Memory;
use crate::sys::Os;
use crate::sys::Sys;

/// Whole pages of this process, zeroed at first; used as the [`Memory`] that it holds.
/// See [`SegmentOptions::buffer`](crate::SegmentOptions::buffer).
pub struct Buffer {
    start: NonNull<u8>,
    bytes: usize,
    memory: Memory,
}

// SAFETY: the range belongs to the process, not to a thread, and all accesses are volatile.
unsafe impl Send for Buffer {}
// SAFETY: as above; `Memory` may be used by several threads at once.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Takes `bytes` bytes, rounded up to whole pages.
    pub fn new(bytes: usize) -> Result<Self> {
        let attempt = Attempt::Allocate { bytes };
        // CAST: a page's size fits any integer.
        let bytes = bytes
            .checked_next_multiple_of(PAGE as usize)
            .ok_or(Error::new(attempt, libc::EOVERFLOW))?;
        let start = Os.allocate(bytes).map_err(failed(attempt))?;
        // SAFETY:
        // - The pages were just allocated with this length.
        // - They stay as long as `Buffer` lives, which owns the `Memory`.
        // - Nothing but `Memory` reaches them.
        let memory = unsafe { Memory::new(start, bytes, Access::ReadWrite) };
        Ok(Self {
            start,
            bytes,
            memory,
        })
    }
}

impl Deref for Buffer {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY:
        // - This is the range that `Sys::allocate` gave.
        // - References to the memory borrow `self`, so there are none. Peers keep the pinned
        //   pages, not the addresses.
        unsafe { Os.unmap(self.start, self.bytes) };
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buffer").field(&self.memory).finish()
    }
}
