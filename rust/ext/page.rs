// SPDX-License-Identifier: GPL-2.0

//! Page runs: memory in whole pages that hold nothing else, for devices to reach and programs to map.
//!
//! A [`Pages`] owns its memory until it is dropped. Whoever hands it to a device or to a page table keeps it alive
//! until neither leads to it any more: nothing here counts the references that hardware holds.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{
    bindings as helpers,
    pin::Pinned, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// The largest order that the page allocator gives.
const ORDER_MAX: u32 = bindings::MAX_PAGE_ORDER;

/// Pages that the machine has.
pub fn total() -> usize {
    // SAFETY: It has no conditions.
    unsafe { helpers::totalram_pages() }
}

/// Physically contiguous pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of the first page frame.
    pub frame: u64,
    /// Pages, at least one.
    pub pages: usize,
}

/// A block of the page allocator.
///
/// # Invariants
///
/// `page` is the first of `1 << order` pages that this object owns.
struct Block {
    /// The first page.
    page: NonNull<bindings::page>,
    /// How many there are.
    order: u32,
}

// SAFETY: Pages can be freed by any thread.
unsafe impl Send for Block {}

// SAFETY: A shared block offers nothing but its frame number.
unsafe impl Sync for Block {}

impl Block {
    /// A zeroed block, charged to the caller's memory cgroup; [`None`] when there is none of that order to be had
    /// without effort. For single pages some effort is made, but nobody is killed for one.
    fn new(order: u32) -> Option<Self> {
        let page = if order == 0 {
            // SAFETY: May sleep, else it has no conditions.
            unsafe { helpers::alloc_single() }
        } else {
            // SAFETY: May sleep, else it has no conditions: the order is below the limit, or there is no page.
            unsafe { helpers::alloc_block(order) }
        };
        // INVARIANT: The allocator has just given these pages away.
        NonNull::new(page).map(|page| Self { page, order })
    }

    /// Its frames.
    fn run(&self) -> Run {
        Run {
            // SAFETY: By the type invariant it is a page.
            frame: unsafe { helpers::page_to_pfn(self.page.as_ptr()) },
            pages: 1 << self.order,
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the pages are ours, and nobody uses them after us.
        unsafe { bindings::__free_pages(self.page.as_ptr(), self.order) };
    }
}

/// A large piece of physically contiguous memory, aligned to its size, that [`Pages::parts`] takes parts of.
///
/// # Invariants
///
/// `run` are pages of `alloc_contig_pages` that this object owns.
pub struct Region {
    /// Its frames.
    run: Run,
}

impl Region {
    /// A region of `pages` pages, which must be a power of two. May move other pages out of the way, which takes time.
    pub fn new(pages: usize) -> Result<Self> {
        if !pages.is_power_of_two() {
            return Err(EINVAL);
        }
        // SAFETY: May sleep, else it has no conditions.
        let page = unsafe { helpers::alloc_contig(pages) };
        let page = NonNull::new(page).ok_or(ENOMEM)?;
        // SAFETY: It was just allocated.
        let frame = unsafe { helpers::page_to_pfn(page.as_ptr()) };
        // INVARIANT: The pages were just given to us.
        Ok(Self {
            run: Run { frame, pages },
        })
    }

    /// Its frames.
    pub fn run(&self) -> Run {
        self.run
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // CAST: Both are 64 bits wide.
        let frame = self.run.frame as usize;
        // SAFETY: By the type invariant the pages are ours; each part holds a reference to the region, so that there
        // are none left.
        unsafe { bindings::free_contig_range(frame, self.run.pages) };
    }
}

/// Some pages of a [`Region`].
#[derive(Clone)]
pub struct Part {
    /// What they are part of.
    pub region: Arc<Region>,
    /// Their first page in it.
    pub first: usize,
    /// How many there are.
    pub pages: usize,
}

impl Part {
    /// Its frames, if it is inside of the region.
    pub fn run(&self) -> Result<Run> {
        let end = self.first.checked_add(self.pages).ok_or(EOVERFLOW)?;
        if self.pages == 0 || end > self.region.run.pages {
            return Err(EINVAL);
        }
        Ok(Run {
            // CAST: Both are 64 bits wide. Frame numbers are below 2^52.
            frame: self.region.run.frame + self.first as u64,
            pages: self.pages,
        })
    }
}

/// Overwrites pages of a region with zeros.
fn zero(run: Run) {
    // SAFETY: It is a part of a region, whose pages are there, and all memory is in the direct map.
    let address = unsafe { helpers::pfn_to_kaddr(run.frame) }.cast::<u8>();
    // SAFETY: As above; pages of a region are one behind the other. Whoever writes them now must not rely on it.
    unsafe { core::ptr::write_bytes(address, 0, run.pages.saturating_mul(PAGE_SIZE)) };
}

/// Contiguous pages of any number.
///
/// # Invariants
///
/// `address` is what `alloc_pages_exact` gave for `bytes` bytes.
struct Exact {
    /// Where the kernel sees them.
    address: NonNull<u8>,
    /// Whole pages.
    bytes: usize,
}

// SAFETY: Pages can be freed by any thread.
unsafe impl Send for Exact {}

// SAFETY: Shared, it offers nothing.
unsafe impl Sync for Exact {}

impl Drop for Exact {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::free_pages_exact(self.address.as_ptr().cast(), self.bytes) };
    }
}

/// Who owns the memory of a [`Pages`]; dropped to give it back.
enum Owner {
    /// Blocks of the page allocator.
    Blocks(#[expect(dead_code, reason = "owned")] KVVec<Block>),
    /// Contiguous pages.
    Exact(#[expect(dead_code, reason = "owned")] Exact),
    /// Parts of regions.
    Parts(#[expect(dead_code, reason = "owned")] KVec<Part>),
    /// Memory of a program.
    Pinned(#[expect(dead_code, reason = "owned")] Pinned),
}

/// Memory in whole pages, in as few runs as it came in.
///
/// # Invariants
///
/// `owner` keeps the pages of `runs`, which are `pages` altogether.
pub struct Pages {
    /// The frames, in the order of the memory's content.
    runs: KVVec<Run>,
    /// Sum of the runs.
    pages: usize,
    /// What keeps them.
    owner: Owner,
}

impl Pages {
    /// `pages` zeroed pages, charged to the caller's memory cgroup, in the largest blocks to be had.
    pub fn new(pages: usize) -> Result<Self> {
        let mut blocks = KVVec::new();
        let mut runs = KVVec::new();
        let mut left = pages;
        let mut limit = ORDER_MAX;
        while left > 0 {
            let order = left.ilog2().min(limit);
            let Some(block) = Block::new(order) else {
                // PANIC: The order is not 0 here.
                limit = order.checked_sub(1).ok_or(ENOMEM)?;
                continue;
            };
            let run = block.run();
            // PANIC: The block is not larger than what is left.
            left -= run.pages;
            blocks.push(block, GFP_KERNEL)?;
            append(&mut runs, run)?;
        }
        Self::of(runs, Owner::Blocks(blocks))
    }

    /// `pages` zeroed pages one behind the other; for a few of them.
    pub fn contiguous(pages: usize) -> Result<Self> {
        let bytes = pages.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
        let flags = bindings::GFP_KERNEL | bindings::__GFP_ZERO | bindings::__GFP_NOWARN;
        // SAFETY: May sleep, else it has no conditions.
        let address = unsafe { bindings::alloc_pages_exact_noprof(bytes, flags) };
        // INVARIANT: Just allocated.
        let exact = Exact {
            address: NonNull::new(address.cast()).ok_or(ENOMEM)?,
            bytes,
        };
        // SAFETY: The address is that of a page in the direct map, which `virt_to_page` takes.
        let page = unsafe { helpers::virt_to_page(address) };
        // SAFETY: It is the page of our allocation.
        let frame = unsafe { helpers::page_to_pfn(page) };
        let mut runs = KVVec::new();
        append(&mut runs, Run { frame, pages })?;
        Self::of(runs, Owner::Exact(exact))
    }

    /// Memory that consists of `parts`, zeroed. No two parts that live at the same time may overlap: that is what the
    /// caller's allocator is for.
    pub fn parts(parts: KVec<Part>) -> Result<Self> {
        let mut runs = KVVec::new();
        for part in &parts {
            let run = part.run()?;
            zero(run);
            append(&mut runs, run)?;
        }
        Self::of(runs, Owner::Parts(parts))
    }

    /// The pages that a program's memory consists of, see [`Pinned`].
    pub fn pinned(pinned: Pinned) -> Result<Self> {
        let mut runs = KVVec::new();
        for frame in pinned.frames() {
            append(&mut runs, Run { frame, pages: 1 })?;
        }
        Self::of(runs, Owner::Pinned(pinned))
    }

    /// What `owner` keeps, in these runs.
    fn of(runs: KVVec<Run>, owner: Owner) -> Result<Self> {
        let pages = runs.iter().map(|run| run.pages).sum();
        if pages == 0 {
            return Err(EINVAL);
        }
        // INVARIANT: The sum was just taken.
        Ok(Self { runs, pages, owner })
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.pages
    }

    /// Whether there are none, which never is.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// The frames in the order of the content; runs that follow on each other are one.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Kernel memory that is one run can be looked into while others write it.
    pub fn shared(&self) -> Option<Shared<'_>> {
        let [run] = self.runs.as_slice() else {
            return None;
        };
        if matches!(self.owner, Owner::Pinned(_)) {
            return None;
        }
        // SAFETY: By the type invariant the frame is that of a page of ours, and all memory is in the direct map.
        let address = unsafe { helpers::pfn_to_kaddr(run.frame) };
        Some(Shared {
            address: NonNull::new(address.cast())?,
            bytes: run.pages.checked_mul(PAGE_SIZE)?,
            owner: PhantomData,
        })
    }
}

/// Appends `run`, to the last one if it follows on it.
pub fn append(runs: &mut KVVec<Run>, run: Run) -> Result {
    if let Some(last) = runs.last_mut() {
        // CAST: Both are 64 bits wide; frame numbers are below 2^52, so that nothing overflows.
        if last.frame + last.pages as u64 == run.frame {
            last.pages += run.pages;
            return Ok(());
        }
    }
    runs.push(run, GFP_KERNEL)?;
    Ok(())
}

/// Contiguous kernel memory that devices and peers write at the same time.
///
/// Each access is a volatile one of the width that its name says; what two words say together is the caller's affair,
/// and so are barriers. Accesses beyond the end read 0 and write nothing.
///
/// # Invariants
///
/// `address` is that of `bytes` bytes that live as long as `'a`, aligned to a page.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// Where the kernel sees it.
    address: NonNull<u8>,
    /// Its length.
    bytes: usize,
    /// It is borrowed.
    owner: PhantomData<&'a Pages>,
}

// SAFETY: The memory may be accessed by any thread, at any time: all accesses are volatile.
unsafe impl Send for Shared<'_> {}

// SAFETY: As above.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    /// The aligned word at `offset`, if it is inside.
    fn word(&self, offset: usize) -> Option<*mut u32> {
        if offset % 4 != 0 || offset.checked_add(4)? > self.bytes {
            return None;
        }
        // SAFETY: By the type invariant and the check it stays inside the memory.
        Some(unsafe { self.address.as_ptr().add(offset) }.cast())
    }

    /// Reads 32 bits.
    pub fn load32(&self, offset: usize) -> u32 {
        let Some(word) = self.word(offset) else {
            return 0;
        };
        // SAFETY: `word` says that it is inside and aligned; others write it with volatile or device accesses.
        unsafe { word.read_volatile() }
    }

    /// Writes 32 bits.
    pub fn store32(&self, offset: usize, value: u32) {
        if let Some(word) = self.word(offset) {
            // SAFETY: As in `load32`.
            unsafe { word.write_volatile(value) };
        }
    }

    /// Copies what is at `offset` out, word by word; the offset must be aligned to 4.
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        for (index, bytes) in to.chunks_mut(4).enumerate() {
            let at = index
                .checked_mul(4)
                .and_then(|distance| offset.checked_add(distance));
            let word = at.map_or(0, |at| self.load32(at)).to_ne_bytes();
            for (byte, value) in bytes.iter_mut().zip(word) {
                *byte = value;
            }
        }
    }

    /// Overwrites all of it with ones.
    pub fn fill_ones(&self) {
        // SAFETY: By the type invariant the memory is there; who looks at it now must not rely on what it sees.
        unsafe { core::ptr::write_bytes(self.address.as_ptr(), 0xff, self.bytes) };
    }
}
