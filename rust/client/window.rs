// SPDX-License-Identifier: GPL-2.0

//! One range of device addresses for the data of many requests.

use core::{
    ptr::NonNull,
    sync::atomic::AtomicU8, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    errno::Errno,
    memory::Shared,
    Borrowed, //
};

/// A window. Pages are linked into its chunks, or data copied: [`Window::copies`]. Any context, but for the drop, before which all
/// is to be unlinked.
///
/// # Invariants
///
/// `raw` is a window of `_borrowed` with `chunks` chunks of `chunk_bytes` each, and `memory` that of all chunks, if there is any.
pub struct Window {
    raw: NonNull<bindings::skiff_window>,
    memory: Option<Shared>,
    address: u64,
    chunks: u32,
    chunk_bytes: u32,
    /// Last: it outlives its window.
    _borrowed: Arc<Borrowed>,
}

// SAFETY: The functions for windows may be called by any thread.
unsafe impl Send for Window {}
// SAFETY: As above, at the same time.
unsafe impl Sync for Window {}

impl Window {
    pub(crate) fn new(
        borrowed: &Arc<Borrowed>,
        chunks: u32,
        chunk_bytes: u32,
        timeout_ms: u32,
    ) -> Result<Self> {
        // SAFETY:
        // - The device is borrowed, and stays so as the result holds it.
        let raw = from_err_ptr(unsafe {
            bindings::skiff_window_create(borrowed.raw(), chunks, chunk_bytes, timeout_ms)
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY:
        // - It was just made.
        let (address, memory) = unsafe {
            (
                bindings::skiff_window_address(raw.as_ptr()),
                bindings::skiff_window_memory(raw.as_ptr()),
            )
        };
        let memory = NonNull::new(memory).map(|memory| {
            // CAST: Memory that is mapped has a length of a usize.
            let bytes = (u64::from(chunks) * u64::from(chunk_bytes)) as usize;

            // SAFETY:
            // - The memory stays mapped until the window is freed, and nobody makes references to it.
            unsafe { Shared::new(memory.as_ptr(), bytes) }
        });

        // INVARIANT: Just made, with these chunks.
        Ok(Self {
            raw,
            memory,
            address,
            chunks,
            chunk_bytes,
            _borrowed: borrowed.clone(),
        })
    }

    /// What the device uses for the first chunk; others follow it.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Whether the chunks are memory that is copied into and out of, and linking gives `EOPNOTSUPP`.
    pub fn copies(&self) -> bool {
        self.memory.is_some()
    }

    /// The memory, and where in it a part of a chunk is.
    fn part(&self, chunk: u32, at: usize, length: usize) -> Result<(&Shared, usize)> {
        let memory = self.memory.as_ref().ok_or(Errno::NotSupported)?;
        // CAST: 32 bits fit into a usize.
        let (chunk, bytes) = (chunk as usize, self.chunk_bytes as usize);

        match at.checked_add(length) {
            // The whole is mapped, so the sum is below the end of the address space.
            Some(end) if end <= bytes && chunk < self.chunks as usize => {
                Ok((memory, chunk * bytes + at))
            }
            _ => Err(EINVAL),
        }
    }

    /// Copies into a chunk; `EINVAL` if it does not lie inside, `EOPNOTSUPP` if pages are linked instead.
    pub fn copy_in(&self, chunk: u32, at: usize, from: &[AtomicU8]) -> Result {
        let (memory, offset) = self.part(chunk, at, from.len())?;

        memory.copy_in(offset, from)
    }

    /// Copies out of a chunk; `EINVAL` if it does not lie inside, `EOPNOTSUPP` if pages are linked instead.
    pub fn copy_out(&self, chunk: u32, at: usize, to: &[AtomicU8]) -> Result {
        let (memory, offset) = self.part(chunk, at, to.len())?;

        memory.copy_out(offset, to)
    }

    /// Writes into a chunk what the device is to read, such as a list; as [`Window::copy_in`].
    pub fn write(&self, chunk: u32, at: usize, from: &[u8]) -> Result {
        let (memory, offset) = self.part(chunk, at, from.len())?;

        memory.write(offset, from)
    }

    /// Links pages into a chunk, from page 0 on without holes; `start` is page-aligned.
    ///
    /// The device may read and write them from [`Window::commit`] to [`Window::unlink`], which the compiler cannot see: the caller has
    /// them all that time, as the owner of a request has its pages.
    pub fn link(&self, chunk: u32, page: u32, start: u64, pages: u32) -> Result {
        // SAFETY:
        // - By the type's invariant; what does not fit is refused.
        to_result(unsafe {
            bindings::skiff_window_link(self.raw.as_ptr(), chunk, page, start, pages)
        })
    }

    /// Lets the device reach the first `pages` pages, which were linked.
    pub fn commit(&self, chunk: u32, pages: u32) -> Result {
        // SAFETY:
        // - By the type's invariant.
        to_result(unsafe { bindings::skiff_window_commit(self.raw.as_ptr(), chunk, pages) })
    }

    /// Unlinks the first `pages` pages: nobody reaches them when this returns.
    pub fn unlink(&self, chunk: u32, pages: u32) {
        // SAFETY:
        // - By the type's invariant.
        unsafe { bindings::skiff_window_unlink(self.raw.as_ptr(), chunk, pages) };
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; nobody uses it any more.
        unsafe { bindings::skiff_window_free(self.raw.as_ptr()) };
    }
}
