// SPDX-License-Identifier: GPL-2.0
//! Memory that others change at any time: never lent out as a slice, only copied and accessed volatilely.
//!
//! Two rules hold for such memory. The compiler must neither repeat nor leave out nor widen
//! an access, since it might be a register or somebody's ring; and what was read once must not
//! be read again to be believed. Accesses are naturally aligned: behind a bridge an access
//! that crosses a boundary is two.

mod copy;

use std::fmt;
use std::ptr::NonNull;

use crate::error::Attempt;
use crate::error::Error;
use crate::error::Result;
use crate::info::Access;

/// A range of memory that is shared with other nodes. All offsets are checked.
///
/// Loads and stores of one word are single accesses. Copies and fills are naturally aligned
/// accesses of any width up to 16 bytes, ascending.
///
/// # Locking
///
/// None: threads may use it at once, as nodes do.
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
    access: Access,
}

// SAFETY: the range belongs to the process, and all accesses are volatile.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

macro_rules! words {
    ($($load:ident $store:ident $word:ty),*) => { $(
        /// Loads one naturally aligned word.
        #[inline]
        pub fn $load(&self, offset: usize) -> Result<$word> {
            let at = self.word::<$word>(offset)?;
            // SAFETY: `word` has checked range and alignment.
            Ok(unsafe { at.read_volatile() })
        }

        /// Stores one naturally aligned word: one write, but see [`Memory::flush`].
        #[inline]
        pub fn $store(&self, offset: usize, value: $word) -> Result<()> {
            let at = self.word::<$word>(offset)?;
            self.writable(offset, size_of::<$word>())?;
            // SAFETY: `word` has checked range and alignment, and the memory is writable.
            unsafe { at.write_volatile(value) };
            Ok(())
        }
    )* };
}

impl Memory {
    /// Memory that somebody else has mapped.
    ///
    /// # Safety
    ///
    /// - `len` bytes from `start` on are mapped as long as the value lives, writable if `access` says so.
    /// - No reference of Rust leads to them.
    pub unsafe fn new(start: NonNull<u8>, len: usize, access: Access) -> Self {
        Self { start, len, access }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its length in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What it may be used for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Its first byte, for volatile accesses by other means. References to it are undefined behaviour.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    words!(
        load_u8 store_u8 u8,
        load_u16 store_u16 u16,
        load_u32 store_u32 u32,
        load_u64 store_u64 u64
    );

    /// Copies from `offset` on to `to`.
    #[inline]
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        let from = self.range(offset, to.len())?;
        // SAFETY: `range` has checked the shared side.
        unsafe { copy::out(from, to) };
        Ok(())
    }

    /// Copies `from` to `offset`. The stores may be on their way when it returns.
    #[inline]
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        let to = self.range(offset, from.len())?;
        self.writable(offset, from.len())?;
        // SAFETY: `range` has checked the shared side, which is writable.
        unsafe { copy::into(from, to) };
        Ok(())
    }

    /// Sets `len` bytes from `offset` on to `value`.
    pub fn fill(&self, offset: usize, len: usize, value: u8) -> Result<()> {
        let to = self.range(offset, len)?;
        self.writable(offset, len)?;
        // SAFETY: `range` has checked the range, which is writable.
        unsafe { copy::fill(to, len, value) };
        Ok(())
    }

    /// Orders stores: those before it reach the bus before those after it. It empties the
    /// CPU's write-combining buffers; that the peer has the data is only known when it says so.
    #[inline]
    pub fn flush(&self) {
        copy::fence();
    }

    /// Checks that `len` bytes at `offset` are within it.
    #[inline]
    fn range(&self, offset: usize, len: usize) -> Result<*mut u8> {
        if offset <= self.len && len <= self.len - offset {
            // SAFETY: the offset is within the range or at its end.
            Ok(unsafe { self.start.as_ptr().add(offset) })
        } else {
            Err(refused(offset, len, libc::EINVAL))
        }
    }

    /// Checks range and alignment of one word.
    #[inline]
    fn word<T>(&self, offset: usize) -> Result<*mut T> {
        let at = self.range(offset, size_of::<T>())?.cast::<T>();
        if at.is_aligned() {
            Ok(at)
        } else {
            Err(refused(offset, size_of::<T>(), libc::EINVAL))
        }
    }

    /// Checks that it may be written.
    #[inline]
    fn writable(&self, offset: usize, len: usize) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(refused(offset, len, libc::EACCES)),
        }
    }
}

/// The error of an access that is not allowed.
#[cold]
fn refused(offset: usize, bytes: usize, errno: i32) -> Error {
    Error::new(Attempt::Access { offset, bytes }, errno)
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("start", &self.start)
            .field("len", &self.len)
            .field("access", &self.access)
            .finish()
    }
}
