// SPDX-License-Identifier: GPL-2.0
//! The ring under real concurrency: every order that loom finds possible, and two threads for a while.
//!
//! loom's cells notice when an entry is read while it is written; the indices are all that keeps the two apart.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use proptest::prelude::*;
use skiff_model::ids::AdapterId;
use skiff_model::ids::Generation;
use skiff_model::ids::LeaseId;
use skiff_model::ids::NodeId;
use skiff_model::ids::SessionId;
use skiff_model::ring::Full;
use skiff_model::ring::Inbox;
use skiff_model::ring::Outbox;
use skiff_model::ring::Place;
use skiff_model::ring::Reader;
use skiff_model::ring::RingError;
use skiff_model::ring::Word;
use skiff_model::ring::Writer;
use skiff_model::ring::ENTRIES;
use skiff_model::ring::INBOX_BYTES;
use skiff_model::wire::Entry;
use skiff_model::wire::Hello;
use skiff_model::wire::Message;
use skiff_model::wire::Nonce;
use skiff_model::wire::Phase;
use skiff_model::wire::WireError;
use skiff_model::wire::ENTRY_BYTES;

fn session() -> SessionId {
    SessionId::new(0x5e55).unwrap()
}

fn numbered(number: u32) -> Message {
    let lease = LeaseId::new(number);
    Message::Resume { lease }
}

/// An inbox of atomics: both its own side and the peer's. Entries are torn where the protocol is broken.
struct Memory {
    words: [AtomicU32; 3],
    entries: Vec<AtomicU32>,
}

impl Memory {
    fn new() -> Self {
        Self {
            words: Default::default(),
            entries: (0..ENTRIES as usize * ENTRY_BYTES / 4)
                .map(|_| AtomicU32::new(0))
                .collect(),
        }
    }

    fn word(&self, word: Word) -> &AtomicU32 {
        &self.words[word.offset() / 0x40]
    }

    fn entry(&self, place: Place) -> &[AtomicU32] {
        let words = ENTRY_BYTES / 4;
        &self.entries[place.index() * words..][..words]
    }
}

impl Inbox for Memory {
    fn load(&self, word: Word) -> u32 {
        self.word(word).load(Ordering::Acquire)
    }

    fn read_entry(&self, place: Place) -> Entry {
        let mut entry = [0; ENTRY_BYTES];
        for (bytes, word) in entry.chunks_mut(4).zip(self.entry(place)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        entry
    }
}

impl Outbox for Memory {
    fn write_entry(&self, place: Place, entry: &Entry, bytes: usize) {
        for (bytes, word) in entry[..bytes].chunks(4).zip(self.entry(place)) {
            let value = u32::from_le_bytes(bytes.try_into().unwrap());
            word.store(value, Ordering::Relaxed);
        }
    }

    fn store(&self, word: Word, value: u32) {
        self.word(word).store(value, Ordering::Release);
    }
}

#[test]
fn words_and_entries_lie_apart_in_the_inbox() {
    let last = Place::of(u32::MAX);
    assert_eq!(last.index(), ENTRIES as usize - 1);
    assert_eq!(last.offset() + ENTRY_BYTES, INBOX_BYTES);
    assert_eq!(Place::of(ENTRIES).offset(), Place::of(0).offset());
    for word in Word::ALL {
        assert!(word.offset() % 0x40 == 0 && word.offset() + 4 <= Place::of(0).offset());
    }
}

#[test]
fn two_threads_lose_nothing() {
    const MESSAGES: u32 = if cfg!(miri) { 200 } else { 50_000 };
    let to = Arc::new(Memory::new());
    let back = Arc::new(Memory::new());
    let (far, near) = (Arc::clone(&to), Arc::clone(&back));
    let writer = std::thread::spawn(move || {
        let mut writer = Writer::new();
        let mut sent = 0;
        while sent < MESSAGES {
            writer.refresh(&*near).unwrap();
            match writer.send(&*far, Some(session()), &numbered(sent)) {
                Ok(()) => sent += 1,
                Err(Full) => std::thread::yield_now(),
            }
        }
    });
    let mut reader = Reader::new();
    let mut expect = 0;
    while expect < MESSAGES {
        match reader.take(&*to).unwrap() {
            Some(incoming) => {
                assert_eq!(incoming.message, numbered(expect));
                assert_eq!(incoming.session, Some(session()));
                expect += 1;
                // Not each time: the writer runs into a full ring, too.
                if expect % 5 == 0 || expect == MESSAGES {
                    reader.publish(&*back);
                }
            }
            None => {
                reader.publish(&*back);
                std::thread::yield_now();
            }
        }
    }
    writer.join().unwrap();
    assert_eq!(reader.take(&*to), Ok(None));
}

/// The same over loom's cells.
struct Loom {
    words: [loom::sync::atomic::AtomicU32; 3],
    /// The places that the test uses.
    entries: [loom::cell::UnsafeCell<Entry>; 2],
}

impl Loom {
    fn new() -> Self {
        Self {
            words: std::array::from_fn(|_| loom::sync::atomic::AtomicU32::new(0)),
            entries: std::array::from_fn(|_| loom::cell::UnsafeCell::new([0; ENTRY_BYTES])),
        }
    }
}

// SAFETY: Two threads access a cell only one after the other; that they do is what loom checks.
unsafe impl Sync for Loom {}

impl Inbox for Loom {
    fn load(&self, word: Word) -> u32 {
        self.words[word.offset() / 0x40].load(Ordering::Acquire)
    }

    fn read_entry(&self, place: Place) -> Entry {
        // SAFETY: loom ends the test if somebody writes it at this time.
        self.entries[place.index() % 2].with(|entry| unsafe { *entry })
    }
}

impl Outbox for Loom {
    fn write_entry(&self, place: Place, entry: &Entry, _bytes: usize) {
        // SAFETY: loom ends the test if somebody else accesses it at this time.
        self.entries[place.index() % 2].with_mut(|to| unsafe { *to = *entry });
    }

    fn store(&self, word: Word, value: u32) {
        self.words[word.offset() / 0x40].store(value, Ordering::Release);
    }
}

// loom switches stacks in a way that Miri does not know.
#[test]
#[cfg_attr(miri, ignore)]
fn no_order_of_events_tears_an_entry() {
    loom::model(|| {
        let to = loom::sync::Arc::new(Loom::new());
        let far = loom::sync::Arc::clone(&to);
        let writer = loom::thread::spawn(move || {
            let mut writer = Writer::new();
            for number in 0..2 {
                writer
                    .send(&*far, Some(session()), &numbered(number))
                    .unwrap();
            }
        });
        let mut reader = Reader::new();
        let mut expect = 0;
        while expect < 2 {
            match reader.take(&*to).unwrap() {
                Some(incoming) => {
                    assert_eq!(incoming.message, numbered(expect));
                    expect += 1;
                }
                None => loom::thread::yield_now(),
            }
        }
        writer.join().unwrap();
    });
}

// loom switches stacks in a way that Miri does not know.
#[test]
#[cfg_attr(miri, ignore)]
fn a_place_is_written_again_only_when_it_has_been_read() {
    loom::model(|| {
        let to = loom::sync::Arc::new(Loom::new());
        let back = loom::sync::Arc::new(Loom::new());
        let mut writer = Writer::new();
        let mut reader = Reader::new();
        // A full ring but for the last two entries, all of it read but for those: from here on the places are used again.
        for number in 0..ENTRIES {
            writer
                .send(&*to, Some(session()), &numbered(number))
                .unwrap();
            if number < ENTRIES - 2 {
                assert!(reader.take(&*to).unwrap().is_some());
            }
        }
        assert_eq!(writer.send(&*to, Some(session()), &numbered(0)), Err(Full));
        let (far, near) = (loom::sync::Arc::clone(&to), loom::sync::Arc::clone(&back));
        let sender = loom::thread::spawn(move || {
            // Two of the test's places are free as soon as the reader has got past them; it publishes nothing before.
            while writer.used() > ENTRIES - 1 {
                writer.refresh(&*near).unwrap();
                loom::thread::yield_now();
            }
            writer
                .send(&*far, Some(session()), &numbered(ENTRIES))
                .unwrap();
        });
        for number in ENTRIES - 2..=ENTRIES {
            loop {
                if let Some(incoming) = reader.take(&*to).unwrap() {
                    assert_eq!(incoming.message, numbered(number));
                    break;
                }
                loom::thread::yield_now();
            }
            if number == ENTRIES - 1 {
                reader.publish(&*back);
            }
        }
        sender.join().unwrap();
    });
}

fn hello(phase: Phase, echo: Option<SessionId>, nonce: u8) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        generation: Generation::new(4).unwrap(),
        session: SessionId::new(9).unwrap(),
        echo,
        node: NodeId::new(0).unwrap(),
        adapter: AdapterId::new(0).unwrap(),
        nonce: Nonce::of(nonce),
        phase,
        start: 0,
    }
}

#[test]
fn reading_starts_where_the_session_does() {
    let memory = Memory::new();
    let own = SessionId::new(7).unwrap();
    let mut writer = Writer::new();
    let mut reader = Reader::new();
    assert_eq!(reader.greet(&memory, own), None);
    let mut send = |message: Message| writer.send(&memory, Some(session()), &message).unwrap();
    send(Message::Hello(hello(Phase::Greeting, None, 1)));
    let (seq, found) = reader.greet(&memory, own).unwrap();
    assert_eq!((seq, found.start), (0, 1));
    assert_eq!(reader.taken(), 1);
    send(Message::Hello(hello(Phase::Up, Some(own), 1)));
    send(numbered(0));
    send(Message::Hello(hello(Phase::Up, Some(own), 1)));
    send(numbered(1));
    // The newest hello counts, and what came between the first one and it is not lost.
    let (seq, found) = reader.greet(&memory, own).unwrap();
    assert_eq!((seq, found.phase, found.start), (3, Phase::Up, 2));
    let mut rest = Vec::new();
    while let Some(incoming) = reader.take(&memory).unwrap() {
        rest.push(incoming.message);
    }
    assert_eq!(rest.len(), 3);
    assert_eq!((rest[0], rest[2]), (numbered(0), numbered(1)));
    // What echoes somebody else is read past.
    let other = SessionId::new(8).unwrap();
    assert!(reader.greet(&memory, other).is_some());
    assert_eq!(reader.taken(), writer.written());
}

#[test]
fn entries_that_were_lost_are_found_out() {
    let memory = Memory::new();
    let (mut writer, mut reader) = (Writer::new(), Reader::new());
    writer.send(&memory, Some(session()), &numbered(0)).unwrap();
    assert!(reader.take(&memory).unwrap().is_some());
    // The index arrives, the entry does not.
    memory.store(Word::WriteIndex, 2);
    assert_eq!(
        reader.take(&memory),
        Err(RingError::Wire(WireError::Kind(0)))
    );
    // Neither does until the index is said again.
    let lost = Memory::new();
    for number in 1..=ENTRIES {
        let _ = writer.send(
            if number == 1 { &lost } else { &memory },
            Some(session()),
            &numbered(number),
        );
    }
    memory.store(Word::WriteIndex, 1);
    assert_eq!(reader.take(&memory), Ok(None));
    writer.repeat(&memory);
    assert!(reader.take(&memory).is_err());
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore)]
    fn no_index_of_the_peer_harms(values in prop::collection::vec(any::<u32>(), 1..50), sends in 0..100_u32) {
        let memory = Memory::new();
        let (mut writer, mut reader) = (Writer::new(), Reader::new());
        for number in 0..sends {
            let room = writer.used() < ENTRIES;
            let sent = writer.send(&memory, Some(session()), &numbered(number));
            prop_assert_eq!(sent.is_ok(), room);
        }
        for value in values {
            let used = writer.used();
            memory.store(Word::ReadIndex, value);
            let sound = writer.written().wrapping_sub(value) <= used;
            prop_assert_eq!(writer.refresh(&memory).is_ok(), sound);
            prop_assert!(writer.used() <= used);
            memory.store(Word::WriteIndex, value);
            let ahead = value.wrapping_sub(reader.taken());
            let before = reader.taken();
            match reader.take(&memory) {
                Ok(None) => prop_assert_eq!(ahead, 0),
                Ok(Some(incoming)) => prop_assert_eq!(incoming.seq, before),
                Err(RingError::Index) => prop_assert!(ahead > ENTRIES),
                Err(_) => prop_assert!(ahead > 0),
            }
            let _ = reader.greet(&memory, session());
            reader = Reader::new();
        }
    }
}
