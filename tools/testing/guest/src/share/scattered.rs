// SPDX-License-Identifier: GPL-2.0
//! Memory of this process whose neighbouring pages are no neighbours in physical memory.

use anyhow::Result;
use nix::sys::mman::madvise;
use nix::sys::mman::MmapAdvise;
use skiff::Buffer;
use std::ptr::NonNull;

use super::pages::PAGE;

/// Takes so many bytes, none of them in a huge page, and touches the pages in an order that jumps to and fro.
pub fn scattered(bytes: usize) -> Result<Buffer> {
    let buffer = Buffer::new(bytes)?;
    let start = NonNull::new(buffer.as_ptr()).ok_or(nix::errno::Errno::EFAULT)?;
    // SAFETY: The range is the buffer's own, and only how it is backed changes.
    unsafe { madvise(start.cast(), buffer.len(), MmapAdvise::MADV_NOHUGEPAGE) }?;
    let pages = buffer.len() / PAGE;
    let order = (0..pages)
        .step_by(7)
        .chain((0..pages).filter(|page| page % 7 != 0).rev());
    for page in order {
        buffer.store_u8(page * PAGE, 0)?;
    }
    Ok(buffer)
}
