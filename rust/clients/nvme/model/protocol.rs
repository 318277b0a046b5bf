// SPDX-License-Identifier: GPL-2.0
//! What the owner of a controller and those who share it say to each other, over a channel between their skiff_nvme.
//!
//! A request has a token, which its answer repeats; events have none. Each message names the controller, and the generation of
//! its queues that the sender knows: queues do not survive a reset of the controller, so that a request of an older generation
//! is refused as stale.

mod code;

use crate::doorbell::Stride;
use crate::identify::Abilities;
use crate::identify::Namespace;
use crate::queue::ENTRIES;
use crate::Wrong;
use crate::PAGE;

/// The number of the channel for a controller, of whose fabric device id 25 bits are used.
pub const fn channel(fdid: u32) -> u32 {
    0x4e00_0000 | (fdid & 0x01ff_ffff)
}

/// Version of what is here; others are refused.
pub const VERSION: u16 = 1;

/// Bytes of a message, at most: those of the channel.
pub const MOST: usize = 192;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The controller: its fabric device id.
    pub fdid: u32,
    /// The generation of its queues; 0 in [`Request::Attach`] and where none is known.
    pub generation: u32,
    /// What is said.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Somebody wants something of the owner.
    Request(Token, Request),
    /// The owner's answer.
    Answer(Token, Answer),
    /// The owner tells everybody.
    Event(Event),
}

/// Joins a request and its answer; not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u32);

/// What somebody wants of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To share the controller; queues that the node had before are gone.
    Attach,
    /// To share it no longer; the node's queues are to go.
    Detach,
    /// A pair of queues.
    CreateQueue(Pair),
    /// The active namespace with the lowest number above this one.
    Namespace {
        /// 0 at first.
        after: u32,
    },
    /// A command takes too long.
    Abort {
        /// The queue's number.
        queue: u16,
        /// The command's identifier.
        command: u16,
    },
    /// The controller does not do what it should.
    Reset,
}

/// Memory of a pair of queues, as the controller sees it.
///
/// # Invariants
///
/// The addresses are of pages, and not 0; `entries` is in [`ENTRIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    submissions: u64,
    completions: u64,
    entries: u16,
    polled: bool,
}

/// How a controller is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries that a queue may have.
    pub entries: u16,
    /// Pairs of queues that a node may have.
    pub queues: u16,
    /// Bytes that a command may move; whole pages.
    pub most: u32,
    /// Where the doorbells are.
    pub stride: Stride,
    /// What the controller can do.
    pub abilities: Abilities,
}

/// The owner's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Attach`].
    Attached(Limits),
    /// To [`Request::CreateQueue`].
    Queue {
        /// Its number.
        queue: u16,
        /// The vector of its interrupts; 0 with a queue that is polled.
        vector: u16,
    },
    /// To [`Request::Namespace`].
    Namespace(Namespace),
    /// To [`Request::Namespace`] when there are no more, and to others when there is nothing to be said.
    Done,
    /// No.
    Refused(Refusal),
}

/// Why the owner refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not own that controller.
    NotOwned,
    /// The controller was reset meanwhile.
    Stale,
    /// The node has not attached itself, or has no such queue.
    NotYours,
    /// There are no queues left for the node.
    Exhausted,
    /// The controller has refused, or does not answer.
    Failed,
}

/// What the owner tells everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The controller is being reset: all queues are gone. [`Event::Restarted`] follows, or [`Event::Gone`].
    Stopped,
    /// It runs again, in the message's generation.
    Restarted,
    /// The owner gives the controller up.
    Gone,
    /// Nothing: the owner finds out whether the node can be reached.
    Nothing,
}

impl Pair {
    /// Of two addresses and the number of entries of each.
    pub fn new(
        submissions: u64,
        completions: u64,
        entries: u16,
        polled: bool,
    ) -> Result<Self, Wrong> {
        let page = |address: u64| address != 0 && address % u64::from(PAGE) == 0;
        if !page(submissions) || !page(completions) {
            return Err(Wrong("address of a queue"));
        }
        if !ENTRIES.contains(&entries) {
            return Err(Wrong("entries of a queue"));
        }
        // INVARIANT: It is checked.
        Ok(Self {
            submissions,
            completions,
            entries,
            polled,
        })
    }

    /// Where submissions are.
    pub fn submissions(&self) -> u64 {
        self.submissions
    }

    /// Where completions are.
    pub fn completions(&self) -> u64 {
        self.completions
    }

    /// Entries of each.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Whether no interrupts are wanted.
    pub fn polled(&self) -> bool {
        self.polled
    }
}
