// SPDX-License-Identifier: GPL-2.0
//! Where the pages of a mapping are in physical memory (Documentation/admin-guide/mm/pagemap.rst in the kernel source).

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::ensure;
use anyhow::Result;

/// Bytes of a page.
pub const PAGE: usize = 4096;

const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// Physical addresses of `pages` pages from the address `start` on, which must have been touched. Root only.
pub fn physical(start: usize, pages: usize) -> Result<Vec<u64>> {
    let file = File::open("/proc/self/pagemap")?;
    let mut found = Vec::with_capacity(pages);
    for page in start / PAGE..start / PAGE + pages {
        let mut entry = [0; 8];
        file.read_exact_at(&mut entry, page as u64 * 8)?;
        let entry = u64::from_le_bytes(entry);
        ensure!(
            entry & PRESENT != 0 && entry & FRAME != 0,
            "page {page:#x} is not there: {entry:#x}"
        );
        found.push((entry & FRAME) * PAGE as u64);
    }
    Ok(found)
}
