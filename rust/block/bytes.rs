// SPDX-License-Identifier: GPL-2.0

//! Bytes of pages that others may write at any time.

use core::sync::atomic::AtomicU8;

/// Copies as many bytes as both have, which may be the same memory.
///
/// The pages of a request may be those of a program, which writes them whenever it likes; a slice of atomic bytes is how such
/// memory is lent out. What is copied while it is being written is any mixture.
pub fn copy(from: &[AtomicU8], to: &[AtomicU8]) {
    let bytes = from.len().min(to.len());

    // SAFETY:
    // - Both are valid for as many bytes, and atomic bytes may be written through shared references.
    // - Races with others that write the same memory give any mixture, as for the kernel's memcpy() of user pages.
    unsafe { core::ptr::copy(from.as_ptr(), to.as_ptr().cast_mut(), bytes) }
}
