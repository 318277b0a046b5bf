// SPDX-License-Identifier: GPL-2.0
//! Commands as they lie in a submission queue (base specification, 3.3.3.1 and 5; NVM command set, 3.2). Plain values.

use crate::data::Pointers;

/// Bytes of an entry of a submission queue.
pub const ENTRY: usize = 64;

/// A command without its identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Command {
    opcode: u8,
    namespace: u32,
    data: Pointers,
    words: [u32; 6],
}

/// Which way the data of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the disk to memory.
    Read,
    /// From memory to the disk.
    Write,
}

/// When a write is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// When others read what was written.
    No,
    /// When it will survive a loss of power ("force unit access").
    Yes,
}

/// Blocks of a namespace.
///
/// # Invariants
///
/// `count` is 1 to 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    first: u64,
    count: u32,
}

impl Blocks {
    /// As many blocks from `first` on; nothing unless a command can name so many.
    pub fn new(first: u64, count: u32) -> Option<Self> {
        // INVARIANT: It is checked.
        (1..=1 << 16)
            .contains(&count)
            .then_some(Self { first, count })
    }

    fn words(self, last: u32) -> [u32; 6] {
        // CAST: The two halves.
        let (low, high) = (self.first as u32, (self.first >> 32) as u32);
        // PANIC: By the invariant there is at least one.
        [low, high, (self.count - 1) | last, 0, 0, 0]
    }
}

/// Who tells that a completion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Nobody: it is looked for.
    None,
    /// An interrupt vector.
    Vector(u16),
}

/// "Force unit access" in word 12.
const FUA: u32 = 1 << 30;

impl Command {
    const fn new(opcode: u8) -> Self {
        Self {
            opcode,
            namespace: 0,
            data: Pointers::NONE,
            words: [0; 6],
        }
    }

    fn identify(what: u32, namespace: u32, to: u64) -> Self {
        Self {
            namespace,
            data: Pointers::one(to),
            words: [what, 0, 0, 0, 0, 0],
            ..Self::new(0x06)
        }
    }

    /// Identify a namespace; `to` is a page.
    pub fn identify_namespace(namespace: u32, to: u64) -> Self {
        Self::identify(0, namespace, to)
    }

    /// Identify the controller; `to` is a page.
    pub fn identify_controller(to: u64) -> Self {
        Self::identify(1, 0, to)
    }

    /// List the active namespaces above `after`; `to` is a page.
    pub fn identify_active(after: u32, to: u64) -> Self {
        Self::identify(2, after, to)
    }

    /// Ask for so many pairs of I/O queues; not 0.
    pub fn set_queues(count: u16) -> Self {
        let last = u32::from(count.saturating_sub(1));
        Self {
            words: [0x07, last | (last << 16), 0, 0, 0, 0],
            ..Self::new(0x09)
        }
    }

    /// Make a completion queue of memory in one piece.
    pub fn create_completions(queue: u16, entries: u16, at: u64, signal: Signal) -> Self {
        let interrupt = match signal {
            Signal::None => 0,
            Signal::Vector(vector) => (u32::from(vector) << 16) | 2,
        };
        Self {
            data: Pointers::one(at),
            words: [size_and_id(entries, queue), interrupt | 1, 0, 0, 0, 0],
            ..Self::new(0x05)
        }
    }

    /// Make a submission queue of memory in one piece, that completes to the queue of the same number.
    pub fn create_submissions(queue: u16, entries: u16, at: u64) -> Self {
        let to = u32::from(queue) << 16;
        Self {
            data: Pointers::one(at),
            words: [size_and_id(entries, queue), to | 1, 0, 0, 0, 0],
            ..Self::new(0x01)
        }
    }

    /// Give a submission queue up.
    pub fn delete_submissions(queue: u16) -> Self {
        Self {
            words: [queue.into(), 0, 0, 0, 0, 0],
            ..Self::new(0x00)
        }
    }

    /// Give a completion queue up, whose submission queue is gone.
    pub fn delete_completions(queue: u16) -> Self {
        Self {
            words: [queue.into(), 0, 0, 0, 0, 0],
            ..Self::new(0x04)
        }
    }

    /// Abort a command of a submission queue, if that is still possible.
    pub fn abort(queue: u16, command: u16) -> Self {
        Self {
            words: [u32::from(queue) | (u32::from(command) << 16), 0, 0, 0, 0, 0],
            ..Self::new(0x08)
        }
    }

    /// Have the controller look at `shadows` for what doorbells would say, and write to `events` of what it wants to be told by
    /// the doorbell; both are pages.
    pub fn set_shadows(shadows: u64, events: u64) -> Self {
        Self {
            data: Pointers {
                first: shadows,
                second: events,
            },
            ..Self::new(0x7c)
        }
    }

    /// Read or write blocks.
    pub fn transfer(
        direction: Direction,
        namespace: u32,
        blocks: Blocks,
        durable: Durable,
        data: Pointers,
    ) -> Self {
        let opcode = match direction {
            Direction::Write => 0x01,
            Direction::Read => 0x02,
        };
        let flags = match durable {
            Durable::No => 0,
            Durable::Yes => FUA,
        };
        Self {
            namespace,
            data,
            words: blocks.words(flags),
            ..Self::new(opcode)
        }
    }

    /// Have all that was written survive a loss of power.
    pub fn flush(namespace: u32) -> Self {
        Self {
            namespace,
            ..Self::new(0x00)
        }
    }

    /// Make blocks zeros.
    pub fn write_zeroes(namespace: u32, blocks: Blocks, durable: Durable) -> Self {
        let durable = match durable {
            Durable::No => 0,
            Durable::Yes => FUA,
        };
        Self {
            namespace,
            words: blocks.words(durable),
            ..Self::new(0x08)
        }
    }

    /// Nobody needs what is in 1 to 256 ranges of blocks any more; they lie at `ranges`, as [`crate::data::discard`] makes them.
    pub fn discard(namespace: u32, count: u16, ranges: u64) -> Self {
        Self {
            namespace,
            data: Pointers::one(ranges),
            words: [
                u32::from(count.saturating_sub(1)) & 0xff,
                1 << 2,
                0,
                0,
                0,
                0,
            ],
            ..Self::new(0x09)
        }
    }

    /// The entry in the queue, as numbers whose bytes are to be stored in little-endian order.
    pub fn longs(&self, id: u16) -> [u64; ENTRY / 8] {
        let long = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
        let [a, b, c, d, e, f] = self.words;
        let first = u32::from(self.opcode) | (u32::from(id) << 16);
        [
            long(first, self.namespace),
            0,
            0,
            self.data.first,
            self.data.second,
            long(a, b),
            long(c, d),
            long(e, f),
        ]
    }

    /// The entry in the queue.
    pub fn entry(&self, id: u16) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        for (bytes, long) in entry.chunks_exact_mut(8).zip(self.longs(id)) {
            bytes.copy_from_slice(&long.to_le_bytes());
        }
        entry
    }
}

fn size_and_id(entries: u16, queue: u16) -> u32 {
    (u32::from(entries.saturating_sub(1)) << 16) | u32::from(queue)
}
