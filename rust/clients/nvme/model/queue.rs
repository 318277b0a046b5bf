// SPDX-License-Identifier: GPL-2.0
//! How queues run: indices of submission and completion queues (base specification, 3.3.1).
//!
//! # Locking
//!
//! None of its own: each has one user at a time.

use core::ops::DerefMut;

/// Entries that a queue may have in these models, at least and at most: one page of submissions.
pub const ENTRIES: core::ops::RangeInclusive<u16> = 2..=1024;

/// What a doorbell is to say, and what it said before; the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// What it said.
    pub from: u16,
    /// What it is to say.
    pub to: u16,
}

impl Moved {
    /// Notes in `rung` what a doorbell will have said; nothing unless it is something else.
    fn note(rung: &mut u16, to: u16) -> Option<Self> {
        let from = core::mem::replace(rung, to);
        (from != to).then_some(Self { from, to })
    }
}

/// The indices of a submission queue. Whoever submits sees to it that fewer commands are under way than it has entries: each
/// has a tag, and there is one tag less than there are entries. So it is never full.
///
/// # Invariants
///
/// `entries` is in [`ENTRIES`], `tail` and `rung` are below it.
#[derive(Debug)]
pub struct Submissions {
    entries: u16,
    tail: u16,
    rung: u16,
}

impl Submissions {
    /// Of an empty queue; nothing if it cannot have so many entries.
    pub fn new(entries: u16) -> Option<Self> {
        // INVARIANT: It is checked.
        ENTRIES.contains(&entries).then_some(Self {
            entries,
            tail: 0,
            rung: 0,
        })
    }

    /// Takes the next place.
    pub fn push(&mut self) -> u16 {
        let place = self.tail;
        // INVARIANT: It wraps at the end.
        self.tail = next(place, self.entries);
        place
    }

    /// What the doorbell is to say, unless it has said so before.
    pub fn ring(&mut self) -> Option<Moved> {
        Moved::note(&mut self.rung, self.tail)
    }
}

/// Which commands the places of a submission queue hold. A place is used again while the command that was there before may still
/// be under way: the controller has fetched it.
pub struct Holders<S> {
    /// By tag.
    places: S,
    /// By place.
    tags: S,
}

/// No tag, and no place.
pub const NOBODY: u16 = u16::MAX;

impl<S: DerefMut<Target = [u16]>> Holders<S> {
    /// Of an empty queue: as many elements as there are tags, and as many as there are entries; what they are does not matter.
    pub fn new(mut places: S, mut tags: S) -> Self {
        places.fill(NOBODY);
        tags.fill(NOBODY);
        Self { places, tags }
    }

    /// The queue is empty again.
    pub fn clear(&mut self) {
        self.places.fill(NOBODY);
        self.tags.fill(NOBODY);
    }

    /// The command with this tag is in this place from here on.
    pub fn put(&mut self, place: u16, tag: u16) {
        if let (Some(at), Some(of)) = (
            self.places.get_mut(usize::from(tag)),
            self.tags.get_mut(usize::from(place)),
        ) {
            (*at, *of) = (place, tag);
        }
    }

    /// The command with this tag is over: its place, if no other command is there.
    pub fn take(&mut self, tag: u16) -> Option<u16> {
        let at = self.places.get_mut(usize::from(tag))?;
        let place = core::mem::replace(at, NOBODY);
        let of = self.tags.get_mut(usize::from(place))?;

        if *of != tag {
            return None;
        }
        *of = NOBODY;
        Some(place)
    }
}

/// The indices of a completion queue.
///
/// # Invariants
///
/// `entries` is in [`ENTRIES`], `head` and `rung` are below it.
#[derive(Debug)]
pub struct Completions {
    entries: u16,
    head: u16,
    rung: u16,
    phase: bool,
}

impl Completions {
    /// Of an empty queue that is all zeros; nothing if it cannot have so many entries.
    pub fn new(entries: u16) -> Option<Self> {
        // INVARIANT: It is checked.
        ENTRIES.contains(&entries).then_some(Self {
            entries,
            head: 0,
            rung: 0,
            phase: true,
        })
    }

    /// Where the next completion will be.
    pub fn place(&self) -> u16 {
        self.head
    }

    /// Whether there is one, going by its last word.
    pub fn is_new(&self, last: u32) -> bool {
        (last & (1 << 16) != 0) == self.phase
    }

    /// It was read.
    pub fn pop(&mut self) {
        // INVARIANT: It wraps at the end.
        self.head = next(self.head, self.entries);
        if self.head == 0 {
            self.phase = !self.phase;
        }
    }

    /// What the doorbell is to say, unless it has said so before. Once for many completions will do: the
    /// queue is as long as that of submissions, so that what is under way always fits.
    pub fn ring(&mut self) -> Option<Moved> {
        Moved::note(&mut self.rung, self.head)
    }

    /// As [`Completions::ring`], but not before half of the queue was read: for a queue without interrupts, or whose doorbell has a
    /// shadow. A controller that finds no room waits for the doorbell, and by then all of the queue is there to be read.
    pub fn ring_late(&mut self) -> Option<Moved> {
        let read = match self.head.checked_sub(self.rung) {
            Some(read) => read,
            // By the invariant both are below `entries`.
            None => self.entries - (self.rung - self.head),
        };
        match read >= self.entries / 2 {
            true => self.ring(),
            false => None,
        }
    }
}

fn next(place: u16, entries: u16) -> u16 {
    match place.saturating_add(1) {
        next if next < entries => next,
        _ => 0,
    }
}
