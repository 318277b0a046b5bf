// SPDX-License-Identifier: GPL-2.0
//! A pair's rings: each lies in the memory of its reader, the inbox, and no side ever reads the other one's memory.
//!
//! An inbox holds the entries of the ring that its owner reads, the write index of that ring, and the read index of the ring
//! that its owner writes. Indices run freely and wrap at 2^32. What the peer puts there is only ever compared: an index that
//! cannot be right is an error, and an entry is copied out once.
//!
//! # Locking
//!
//! None of its own: a [`Writer`] and a [`Reader`] have one user at a time each.

use core::fmt;

use crate::ids::SessionId;
use crate::wire::Entry;
use crate::wire::Hello;
use crate::wire::Incoming;
use crate::wire::Message;
use crate::wire::Phase;
use crate::wire::WireError;
use crate::wire::ENTRY_BYTES;

/// Entries of a ring.
pub const ENTRIES: u32 = 64;

/// Bytes of an inbox: a page of indices and four of entries.
pub const INBOX_BYTES: usize = 5 * 4096;

/// Where the entries start in an inbox.
const ENTRIES_AT: usize = 4096;

/// A word of an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Entries that the peer has written.
    WriteIndex,
    /// Entries of the other ring that the peer has read.
    ReadIndex,
    /// What the peer counts up while it lives.
    Beat,
}

impl Word {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WriteIndex, Self::ReadIndex, Self::Beat];

    /// Where it is in the inbox, in bytes: each in a cache line of its own.
    pub const fn offset(self) -> usize {
        match self {
            Self::WriteIndex => 0x00,
            Self::ReadIndex => 0x40,
            Self::Beat => 0x80,
        }
    }
}

/// The place of an entry in a ring.
///
/// # Invariants
///
/// Less than [`ENTRIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// Where entry number `index` of all entries lies.
    pub const fn of(index: u32) -> Self {
        // INVARIANT: The rest of a division.
        Self(index % ENTRIES)
    }

    /// As the index of an array of [`ENTRIES`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Where it is in the inbox, in bytes.
    pub const fn offset(self) -> usize {
        // By the invariant this stays within INBOX_BYTES.
        ENTRIES_AT + self.index() * ENTRY_BYTES
    }
}

/// The own inbox: local memory that the peer writes.
pub trait Inbox {
    /// Loads a word, before whatever is read later (acquire).
    fn load(&self, word: Word) -> u32;

    /// Copies an entry out, once. It may be torn if the peer does not keep to the protocol.
    fn read_entry(&self, place: Place) -> Entry;
}

/// The peer's inbox, through the window. There is no way to read it.
pub trait Outbox {
    /// Writes the first `bytes` bytes of an entry; more may be written.
    fn write_entry(&self, place: Place, entry: &Entry, bytes: usize);

    /// Stores a word, after whatever has been written earlier (release, and past the write-combining buffers).
    fn store(&self, word: Word, value: u32);
}

/// Why a ring cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The peer claims to have written or read what cannot be.
    Index,
    /// An entry carries the number of another one.
    Sequence,
    /// An entry is no message.
    Wire(WireError),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("an index is out of range"),
            Self::Sequence => f.write_str("an entry is out of sequence"),
            Self::Wire(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RingError {}

/// The peer has not yet read what is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The writing end of the ring to the peer.
///
/// # Invariants
///
/// `read` is behind `write` by [`ENTRIES`] at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writer {
    /// Entries written.
    write: u32,
    /// Entries that the peer has read, as known last.
    read: u32,
    /// The session's first entry, once it has been told.
    start: Option<u32>,
}

impl Writer {
    /// Nothing has been written.
    pub const fn new() -> Self {
        Self {
            write: 0,
            read: 0,
            start: None,
        }
    }

    /// The peer's inbox is a new one, or the peer has started anew: whatever it has not read it never will. The indices
    /// go on, so that none of before can be taken for one of after.
    pub fn restart(&mut self) {
        // INVARIANT: They are equal.
        self.read = self.write;
        self.start = None;
    }

    /// Looks what the peer has read meanwhile. While greeting, the word may be of another time: the error says nothing then.
    pub fn refresh(&mut self, inbox: &impl Inbox) -> Result<(), RingError> {
        let read = inbox.load(Word::ReadIndex);
        if self.write.wrapping_sub(read) > self.used() {
            return Err(RingError::Index);
        }
        // INVARIANT: It is not farther behind than before.
        self.read = read;
        Ok(())
    }

    /// Entries that the peer has not read, as known at the last [`Writer::refresh`].
    pub const fn used(&self) -> u32 {
        self.write.wrapping_sub(self.read)
    }

    /// Entries written so far, modulo 2^32.
    pub const fn written(&self) -> u32 {
        self.write
    }

    /// Sends a message in `session`, the peer's; a hello needs none. The peer has to be rung then.
    pub fn send(
        &mut self,
        outbox: &impl Outbox,
        session: Option<SessionId>,
        message: &Message,
    ) -> Result<(), Full> {
        if self.used() >= ENTRIES {
            return Err(Full);
        }
        let (entry, bytes) = match message {
            Message::Hello(hello) => Message::Hello(self.starting(hello)).encode(None, self.write),
            other => other.encode(session, self.write),
        };
        outbox.write_entry(Place::of(self.write), &entry, bytes);
        // INVARIANT: There was room.
        self.write = self.write.wrapping_add(1);
        outbox.store(Word::WriteIndex, self.write);
        Ok(())
    }

    /// Says again how much has been written: should entries have been lost, the peer finds out.
    pub fn repeat(&self, outbox: &impl Outbox) {
        outbox.store(Word::WriteIndex, self.write);
    }

    /// The hello, saying where the session starts: behind the first one that says that it is up, and behind this one as long as none
    /// has said so.
    fn starting(&mut self, hello: &Hello) -> Hello {
        let behind = self.write.wrapping_add(1);
        let start = match hello.phase {
            Phase::Greeting => {
                self.start = None;
                behind
            }
            Phase::Up => *self.start.get_or_insert(behind),
        };
        Hello { start, ..*hello }
    }
}

/// The reading end of the ring from the peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    /// Entries read.
    next: u32,
}

impl Reader {
    /// Nothing has been read.
    pub const fn new() -> Self {
        Self { next: 0 }
    }

    /// While greeting: the newest hello in the ring, if there is one. Where the peer's indices stand is not known then, so
    /// that all places are looked at, and what is no hello is ignored.
    ///
    /// If it echoes `own`, reading goes on where it says that the session starts, else behind everything.
    /// [`Reader::publish`] before the session is told.
    ///
    /// The number is that of the entry: the same one as before means that there is nothing newer.
    pub fn greet(&mut self, inbox: &impl Inbox, own: SessionId) -> Option<(u32, Hello)> {
        let write = inbox.load(Word::WriteIndex);
        self.next = write;
        let (seq, hello) =
            (1..=ENTRIES).find_map(|back| hello_at(inbox, write.wrapping_sub(back)))?;
        if hello.echo == Some(own) {
            self.next = hello.start;
        }
        Some((seq, hello))
    }

    /// The next message, if there is one.
    pub fn take(&mut self, inbox: &impl Inbox) -> Result<Option<Incoming>, RingError> {
        match inbox.load(Word::WriteIndex).wrapping_sub(self.next) {
            0 => return Ok(None),
            1..=ENTRIES => {}
            _ => return Err(RingError::Index),
        }
        let entry = inbox.read_entry(Place::of(self.next));
        let incoming = Message::decode(&entry).map_err(RingError::Wire)?;
        if incoming.seq != self.next {
            return Err(RingError::Sequence);
        }
        self.next = self.next.wrapping_add(1);
        Ok(Some(incoming))
    }

    /// Entries read so far, modulo 2^32.
    pub const fn taken(&self) -> u32 {
        self.next
    }

    /// Tells the peer what has been read: there is room for as much.
    pub fn publish(&self, outbox: &impl Outbox) {
        outbox.store(Word::ReadIndex, self.next);
    }
}

/// The hello that is entry number `index` of all entries, and that number.
fn hello_at(inbox: &impl Inbox, index: u32) -> Option<(u32, Hello)> {
    match Message::decode(&inbox.read_entry(Place::of(index))) {
        Ok(Incoming {
            seq,
            message: Message::Hello(hello),
            ..
        }) if seq == index => Some((seq, hello)),
        _ => None,
    }
}
