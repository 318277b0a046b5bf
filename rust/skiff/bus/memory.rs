// SPDX-License-Identifier: GPL-2.0

//! Memory that can be exported: pages, what they cost, and where they came from; and registers, which are exported alike.

use super::{
    charge::Charge,
    open::Open,
    pool::{
        Carved,
        Pool, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    cred::effective_uid,
    iova::Target,
    page::{
        Pages,
        Run,
        Shared, //
    },
    pin::Pinned, //
};
use skiff_model::{
    addr::{
        BusAddr,
        PAGE, //
    },
    ids::Uid, //
};

/// Where this machine takes the messages of interrupts, whatever an IOMMU does with other addresses.
const MESSAGES: Run = Run {
    frame: 0xfee00,
    pages: 256,
};

/// What a memory consists of.
enum Content {
    /// Pages.
    Pages(Pages),
    /// Frames of a device's BAR, which belong to whoever drives the device.
    Registers(Run),
    /// Frames of this machine's memory, whoever has them.
    Ram(Run),
    /// No memory: who stores there interrupts this machine.
    Messages,
    /// What is linked into a range of bus addresses for the moment: no pages that could be named.
    Open(Arc<Open>),
}

impl Content {
    /// The frames.
    fn runs(&self) -> &[Run] {
        match self {
            Self::Pages(pages) => pages.runs(),
            Self::Registers(run) | Self::Ram(run) => core::slice::from_ref(run),
            Self::Messages => core::slice::from_ref(&MESSAGES),
            Self::Open(_) => &[],
        }
    }
}

/// Whole pages that hold nothing else. The last reference frees them.
pub(crate) struct Memory {
    // The order matters: pages go back to the pool only when nothing owns them any more, and are paid for until then.
    /// The pages.
    content: Content,
    /// The first page of each run.
    starts: KVVec<usize>,
    /// Their place in the pool, if that is where they are from.
    _carved: Option<Carved>,
    /// The user's account.
    _charge: Option<Charge>,
}

impl Memory {
    /// `pages` zeroed pages, charged to the caller: from the pool if some adapter needs it, else ordinary ones in the
    /// largest blocks to be had.
    ///
    /// Errors: EDQUOT, ENOMEM, ENOSPC when the pool has no room.
    pub(crate) fn kernel(pool: &Arc<Pool>, pages: usize) -> Result<Arc<Self>> {
        let charge = pool.ledger().charge(Uid::new(effective_uid()), pages)?;
        let (pages, carved) = match pool.carve(pages)? {
            Some(carved) => (Pages::parts(carved.parts()?)?, Some(carved)),
            None => (Pages::new(pages)?, None),
        };
        Self::of(Content::Pages(pages), carved, Some(charge))
    }

    /// The caller's memory from `address` on, pinned.
    ///
    /// Errors: EFAULT, EINVAL, EINTR, ENOMEM also when RLIMIT_MEMLOCK does not allow it.
    pub(crate) fn user(address: usize, pages: usize) -> Result<Arc<Self>> {
        let pages = Pages::pinned(Pinned::new(address, pages)?)?;
        Self::of(Content::Pages(pages), None, None)
    }

    /// `pages` pages of a device's registers, from the physical address `start` on. The caller drives the device, and takes the
    /// memory from everybody before the registers are anything else.
    ///
    /// Errors: EINVAL, ENOMEM.
    pub(crate) fn registers(start: u64, pages: usize) -> Result<Arc<Self>> {
        // CAST: Both are 64 bits wide.
        let bytes = (pages as u64).checked_mul(PAGE).ok_or(EINVAL)?;
        if pages == 0 || start % PAGE != 0 || start.checked_add(bytes).is_none() {
            return Err(EINVAL);
        }
        let frame = start / PAGE;
        Self::of(Content::Registers(Run { frame, pages }), None, None)
    }

    /// Frames of this machine's memory, which belong to whoever has them. What peers may do with them is for the caller to know.
    ///
    /// Errors: EINVAL, ENOMEM.
    pub(crate) fn ram(run: Run) -> Result<Arc<Self>> {
        if run.pages == 0 {
            return Err(EINVAL);
        }
        Self::of(Content::Ram(run), None, None)
    }

    /// The addresses where this machine takes the messages of interrupts. Whether peers may store there, by the node's adapter, is
    /// for the caller to know.
    ///
    /// Error: ENOMEM.
    pub(crate) fn messages() -> Result<Arc<Self>> {
        Self::of(Content::Messages, None, None)
    }

    /// Which message goes to this bus address: its place in [`messages`](Self::messages).
    pub(crate) fn message_at(at: BusAddr) -> Option<u64> {
        let first = BusAddr::from_frame(MESSAGES.frame)?;
        // CAST: Both are 64 bits wide.
        let bytes = (MESSAGES.pages as u64).checked_mul(PAGE)?;

        at.offset_from(first).filter(|offset| *offset < bytes)
    }

    /// Whether it is [`messages`](Self::messages).
    pub(super) fn is_messages(&self) -> bool {
        matches!(self.content, Content::Messages)
    }

    /// Whether it is frames that others have.
    pub(super) fn is_ram(&self) -> bool {
        matches!(self.content, Content::Ram(_))
    }

    /// What is linked into a range of bus addresses. Error: ENOMEM.
    pub(super) fn open(open: &Arc<Open>) -> Result<Arc<Self>> {
        Self::of(Content::Open(open.clone()), None, None)
    }

    /// A few zeroed pages one behind the other, for the module itself: [`shared`](Self::shared) looks into them.
    ///
    /// Errors: ENOMEM, ENOSPC.
    pub(crate) fn contiguous(pool: &Arc<Pool>, pages: usize) -> Result<Arc<Self>> {
        let (pages, carved) = match pool.carve_run(pages)? {
            Some(carved) => (Pages::parts(carved.parts()?)?, Some(carved)),
            None => (Pages::contiguous(pages)?, None),
        };
        Self::of(Content::Pages(pages), carved, None)
    }

    /// A memory of these pages.
    fn of(content: Content, carved: Option<Carved>, charge: Option<Charge>) -> Result<Arc<Self>> {
        let mut starts = KVVec::with_capacity(content.runs().len(), GFP_KERNEL)?;
        let mut start: usize = 0;
        for run in content.runs() {
            starts.push(start, GFP_KERNEL)?;
            start = start.checked_add(run.pages).ok_or(EOVERFLOW)?;
        }
        let memory = Self {
            content,
            starts,
            _carved: carved,
            _charge: charge,
        };
        Ok(Arc::new(memory, GFP_KERNEL)?)
    }

    /// How many pages there are.
    pub(crate) fn pages(&self) -> usize {
        match &self.content {
            Content::Pages(pages) => pages.len(),
            Content::Registers(run) | Content::Ram(run) => run.pages,
            Content::Messages => MESSAGES.pages,
            Content::Open(open) => open.pages(),
        }
    }

    /// How long they are, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        // CAST: Both are 64 bits wide. There are no 2^64 bytes of memory.
        (self.pages() as u64).saturating_mul(PAGE)
    }

    /// The range that it is, if it is one.
    pub(super) fn as_open(&self) -> Option<&Open> {
        match &self.content {
            Content::Open(open) => Some(open),
            Content::Pages(_) | Content::Registers(_) | Content::Ram(_) | Content::Messages => None,
        }
    }

    /// What they are.
    pub(crate) fn target(&self) -> Target {
        match &self.content {
            Content::Pages(_) | Content::Ram(_) | Content::Open(_) => Target::Memory,
            Content::Registers(_) | Content::Messages => Target::Registers,
        }
    }

    /// Their frames, in the order of the content; none of an [`Open`] range.
    pub(crate) fn runs(&self) -> &[Run] {
        self.content.runs()
    }

    /// The frames from page `page` on, as far as they are one behind the other; [`None`] behind the last page.
    pub(crate) fn run_at(&self, page: usize) -> Option<Run> {
        let index = self
            .starts
            .partition_point(|start| *start <= page)
            .checked_sub(1)?;
        let within = page.checked_sub(*self.starts.get(index)?)?;
        let run = self.runs().get(index)?;
        let pages = run.pages.checked_sub(within).filter(|pages| *pages > 0)?;
        // CAST: Both are 64 bits wide.
        Some(Run {
            frame: run.frame.checked_add(within as u64)?,
            pages,
        })
    }

    /// A look into memory that was made by [`contiguous`](Self::contiguous).
    pub(crate) fn shared(&self) -> Option<Shared<'_>> {
        match &self.content {
            Content::Pages(pages) => pages.shared(),
            Content::Registers(_) | Content::Ram(_) | Content::Messages | Content::Open(_) => None,
        }
    }

    /// The frames of `pages` pages from page `first` on, run by run; fewer if it ends before.
    pub(crate) fn pieces(&self, first: usize, pages: usize) -> Pieces<'_> {
        Pieces {
            memory: self,
            first,
            left: pages,
        }
    }
}

/// The runs of some pages of a memory.
pub(crate) struct Pieces<'a> {
    /// Whose pages they are.
    memory: &'a Memory,
    /// The next page.
    first: usize,
    /// Pages that are still to come.
    left: usize,
}

impl Iterator for Pieces<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.left == 0 {
            return None;
        }
        let mut run = self.memory.run_at(self.first)?;
        run.pages = run.pages.min(self.left);
        self.first = self.first.checked_add(run.pages)?;
        self.left = self.left.saturating_sub(run.pages);
        Some(run)
    }
}
