// SPDX-License-Identifier: GPL-2.0

//! The data of requests: pages are linked into the window of the borrow, or copied there and back, or the controller reaches all
//! memory.
//!
//! Each tag of each queue has, at the lender, a list of pages and room for ranges to discard. Where there is a window it has a
//! chunk of that, too, whose pages are in the list once and for all; else those of each request are written there, if it needs it.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use skiff_block::{
    Op,
    Request, //
};
use skiff_client::{
    Direct,
    Window, //
};
use skiff_nvme_model::{
    command::{
        Blocks,
        Command,
        Direction,
        Durable, //
    },
    data::{
        self,
        Pointers,
        Scattered,
        LIST_BYTES,
        PIECE_PAGES,
        RANGES, //
    },
    identify::Namespace,
    PAGE, //
};

use crate::{
    disk::Nvme,
    memory::Part, //
};

/// Bytes of a chunk of the window.
pub(crate) const CHUNK: u32 = PIECE_PAGES * PAGE;

/// Bytes at the lender for each tag: the list of pages, and ranges to discard.
pub(crate) const TAG_BYTES: usize = 2 * LIST_BYTES as usize;

/// What is kept for each tag.
pub(crate) struct Tag {
    /// Pages that are linked into its chunk.
    linked: Atomic<u32>,
    /// How often its request took too long.
    pub(crate) late: Atomic<u32>,
    /// How often its request was aborted.
    pub(crate) aborted: Atomic<u32>,
}

impl Tag {
    /// Of a tag that nobody uses.
    pub(crate) fn new() -> Self {
        Self {
            linked: Atomic::new(0),
            late: Atomic::new(0),
            aborted: Atomic::new(0),
        }
    }
}

/// Why a request does not become a command.
pub(crate) enum Not {
    /// For a moment.
    Now,
    /// It makes no sense.
    Ever,
}

/// How the controller gets at data.
#[derive(Clone)]
pub(crate) enum Reach {
    /// By chunks of a window.
    Window(Arc<Window>),
    /// It reaches all memory.
    Direct(Arc<Direct>),
}

impl Reach {
    /// Whether data are copied.
    pub(crate) fn copies(&self) -> bool {
        match self {
            Self::Window(window) => window.copies(),
            Self::Direct(_) => false,
        }
    }
}

/// Where the data of the requests of one queue are.
pub(crate) struct Transfer {
    reach: Reach,
    /// Number of the chunk of tag 0, if there are chunks.
    first: u32,
    /// As many [`TAG_BYTES`] as the queue has tags.
    lists: Part,
}

impl Transfer {
    /// For as many tags, whose chunks in the window are those from `first` on; writes their lists. Process context.
    pub(crate) fn new(reach: Reach, first: u32, lists: Part, tags: u16) -> Result<Self> {
        let this = Self {
            reach,
            first,
            lists,
        };

        if let Reach::Window(window) = &this.reach {
            for tag in 0..tags {
                let list = data::list(this.piece(window, tag));

                this.lists.write(usize::from(tag) * TAG_BYTES, &list)?;
            }
        }
        Ok(this)
    }

    fn chunk(&self, tag: u16) -> u32 {
        // There are as many chunks as queues have tags, in 32 bits.
        self.first + u32::from(tag)
    }

    /// The address of a tag's chunk for the controller.
    fn piece(&self, window: &Window, tag: u16) -> u64 {
        window.address() + u64::from(self.chunk(tag)) * u64::from(CHUNK)
    }

    /// The command for a request; the controller reaches its data from here on, until [`Transfer::finish`]. Atomic context.
    pub(crate) fn command(&self, request: &Request<Nvme>) -> Result<Command, Not> {
        let namespace = request.disk();
        let direction = match request.op() {
            Op::Flush => return Ok(Command::flush(namespace.id())),
            Op::Discard => return self.discard(request, namespace),
            Op::WriteZeroes => {
                let blocks = blocks(namespace, request.sector(), request.bytes())?;

                return Ok(Command::write_zeroes(
                    namespace.id(),
                    blocks,
                    durable(request),
                ));
            }
            Op::Read => Direction::Read,
            Op::Write => Direction::Write,
        };
        let blocks = blocks(namespace, request.sector(), request.bytes())?;
        let pointers = match &self.reach {
            Reach::Window(window) => self.within(window, request, direction)?,
            Reach::Direct(direct) => self.scatter(direct, request)?,
        };

        Ok(Command::transfer(
            direction,
            namespace.id(),
            blocks,
            durable(request),
            pointers,
        ))
    }

    /// Where the list of a tag is for the controller.
    fn list(&self, tag: u16) -> u64 {
        self.lists.address() + (usize::from(tag) * TAG_BYTES) as u64
    }

    /// Brings the data of a request into its chunk.
    fn within(
        &self,
        window: &Window,
        request: &Request<Nvme>,
        direction: Direction,
    ) -> Result<Pointers, Not> {
        let offset = match window.copies() {
            true => self.copy_in(window, request, direction)?,
            false => self.link(window, request)?,
        };
        let tag = request.tag();
        let piece = self.piece(window, tag);
        let pointers = Pointers::within(piece, self.list(tag), offset, request.bytes());

        pointers.ok_or_else(|| {
            self.unlink(request);
            Not::Ever
        })
    }

    /// Finds out where the pages of a request are for the controller, and writes their list.
    fn scatter(&self, direct: &Direct, request: &Request<Nvme>) -> Result<Pointers, Not> {
        let mask = u64::from(PAGE) - 1;
        let list = usize::from(request.tag()) * TAG_BYTES;
        let mut pages = Scattered::default();
        let mut end = None;

        for piece in request.pieces() {
            let stop = piece.address + u64::from(piece.bytes);
            let mut at = match end {
                // It goes on in a page that is there already.
                Some(end) if end == piece.address => (end + mask) & !mask,
                _ => piece.address,
            };

            while at < stop {
                let page = direct.page(at & !mask).map_err(|_| Not::Ever)?;

                pages
                    .push(page + (at & mask), |entry, page| {
                        self.lists.write_longs(list + 8 * entry, &[page]).ok()
                    })
                    .ok_or(Not::Ever)?;
                at = (at & !mask) + u64::from(PAGE);
            }
            end = Some(stop);
        }
        pages.pointers(self.list(request.tag())).ok_or(Not::Ever)
    }

    fn discard(&self, request: &Request<Nvme>, namespace: &Namespace) -> Result<Command, Not> {
        let at = usize::from(request.tag()) * TAG_BYTES + LIST_BYTES as usize;
        let mut count = 0_u16;

        for range in request.ranges() {
            let first = namespace.block_of(range.sector).ok_or(Not::Ever)?;
            let blocks = namespace.blocks_of(range.bytes).ok_or(Not::Ever)?;

            if u32::from(count) >= RANGES {
                return Err(Not::Ever);
            }
            let place = at + usize::from(count) * data::RANGE;

            self.lists
                .write(place, &data::discard(first, blocks))
                .map_err(|_| Not::Ever)?;
            count += 1;
        }
        if count == 0 {
            return Err(Not::Ever);
        }
        Ok(Command::discard(
            namespace.id(),
            count,
            self.lists.address() + at as u64,
        ))
    }

    /// Copies what is to be written; the offset of the data in the chunk.
    fn copy_in(
        &self,
        window: &Window,
        request: &Request<Nvme>,
        direction: Direction,
    ) -> Result<u32, Not> {
        let mut copied = Ok(());

        if direction == Direction::Write {
            let chunk = self.chunk(request.tag());

            request.for_each_bytes(|at, from| {
                copied = copied.and(window.copy_in(chunk, at, from));
            });
        }
        copied.map(|()| 0).map_err(|_| Not::Ever)
    }

    /// Links the pages of the request into its chunk; the offset of the data in the first of them.
    fn link(&self, window: &Window, request: &Request<Nvme>) -> Result<u32, Not> {
        let chunk = self.chunk(request.tag());
        let mut pages = 0;
        let mut first = None;
        let mut run: Option<(u64, u64)> = None;
        let mut add = |(start, end): (u64, u64)| {
            let mask = u64::from(PAGE) - 1;
            // CAST: Pages of one request.
            let count = (((end + mask) & !mask) - (start & !mask)) / u64::from(PAGE);
            let count = u32::try_from(count).map_err(|_| Not::Ever)?;

            first.get_or_insert((start & mask) as u32);
            window
                .link(chunk, pages, start & !mask, count)
                .map_err(|_| Not::Now)?;
            pages += count;
            Ok(())
        };
        let mut linked = Ok(());

        for piece in request.pieces() {
            let end = piece.address + u64::from(piece.bytes);

            run = match run {
                // Parts of one page, or neighbours.
                Some((start, last)) if last == piece.address => Some((start, end)),
                Some(done) => {
                    linked = add(done);
                    if linked.is_err() {
                        break;
                    }
                    Some((piece.address, end))
                }
                None => Some((piece.address, end)),
            };
        }
        if let (Ok(()), Some(last)) = (&linked, run) {
            linked = add(last);
        }
        request.data().linked.store(pages, Relaxed);
        if linked.is_ok() {
            linked = window.commit(chunk, pages).map_err(|_| Not::Now);
        }
        if let Err(not) = linked {
            self.unlink(request);
            return Err(not);
        }
        first.ok_or(Not::Ever)
    }

    /// The controller does not reach the pages of a request any more.
    fn unlink(&self, request: &Request<Nvme>) {
        let linked = request.data().linked.xchg(0, Relaxed);

        if let (Reach::Window(window), true) = (&self.reach, linked != 0) {
            window.unlink(self.chunk(request.tag()), linked);
        }
    }

    /// The controller has done with the data of a request, or does not reach it any more; `good` if it has done what it was to
    /// do: whether the data are where they should be. Any context but hard interrupts.
    pub(crate) fn finish(&self, request: &Request<Nvme>, good: bool) -> bool {
        let mut copied = Ok(());

        match &self.reach {
            Reach::Window(window) if good && request.op() == Op::Read && window.copies() => {
                let chunk = self.chunk(request.tag());

                request.for_each_bytes(|at, to| {
                    copied = copied.and(window.copy_out(chunk, at, to));
                });
            }
            _ => {}
        }
        self.unlink(request);
        good && copied.is_ok()
    }
}

fn blocks(namespace: &Namespace, sector: u64, bytes: u32) -> Result<Blocks, Not> {
    let first = namespace.block_of(sector).ok_or(Not::Ever)?;
    let count = namespace.blocks_of(bytes).ok_or(Not::Ever)?;

    Blocks::new(first, count).ok_or(Not::Ever)
}

fn durable(request: &Request<Nvme>) -> Durable {
    match request.fua() {
        true => Durable::Yes,
        false => Durable::No,
    }
}
