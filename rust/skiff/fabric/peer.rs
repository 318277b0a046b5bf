// SPDX-License-Identifier: GPL-2.0

//! One peer: its session, its rings, and the messages that wait for room.
//!
//! # Locking
//!
//! A [`Peer`] is in a mutex of its adapter. The adapter's worker feeds the session and reads the ring; anybody may send, and
//! does all of it under the mutex, in which `hw` nests. The session's state is changed by the worker alone.

use super::{
    ring::{
        Inbox,
        Outbox, //
    },
    say::Said, //
};
use kernel::prelude::*;
use skiff_model::{
    ids::NodeId,
    ring::{
        Inbox as _,
        Outbox as _,
        Reader,
        RingError,
        Word,
        Writer,
        ENTRIES, //
    },
    session::{
        Action,
        Input,
        Local,
        Session,
        State, //
    },
    wire::{
        Boot,
        BootAssembler,
        Hello,
        Incoming,
        Message,
        Nonce, //
    },
};

/// Messages that may wait for room in the ring.
const QUEUE_MAX: usize = 256;

/// Entries after whose reading the peer is told that there is room. Less than the ring has, so that a writer who waits for
/// room always hears of it.
const ROOM_EVERY: u32 = ENTRIES / 2;

/// What one input leads to, at most.
const ACTIONS_MAX: usize = 12;

/// What the session wants done, in order.
pub(super) struct Actions {
    list: [Option<Action>; ACTIONS_MAX],
    count: usize,
}

impl Actions {
    const fn new() -> Self {
        Self {
            list: [None; ACTIONS_MAX],
            count: 0,
        }
    }

    fn push(&mut self, action: Action) {
        if let Some(place) = self.list.get_mut(self.count) {
            *place = Some(action);
            self.count = self.count.saturating_add(1);
        }
    }

    /// The actions, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Action> + '_ {
        self.list.iter().flatten().copied()
    }
}

/// What is in the inbox.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on its way from the inbox to who handles it"
)]
pub(super) enum Received {
    /// Nothing new.
    Nothing,
    /// A greeting, and its sequence number if it was not taken before: one that is the newest is taken again and again.
    Hello(Option<u32>, Hello),
    /// A message of the session: sequence number and content.
    Message(u32, Message),
    /// Something that the peer must not put there.
    Nonsense(RingError),
    /// An entry of another session.
    Stranger,
}

/// Whether a message was written, waits, or was refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Posted {
    /// It is in the peer's inbox, with this sequence number: ring.
    Written(u32),
    /// It waits for room.
    Queued,
    /// Too many wait already.
    Refused,
    /// The peer is not up.
    Down,
}

/// Whether somebody waits for room in the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Nobody was refused.
    Enough,
    /// A message was refused, and who has it wants to be told of room.
    Wanted,
}

/// The state of one peer.
pub(super) struct Peer {
    session: Session,
    pub(super) inbox: Option<Inbox>,
    outbox: Option<Outbox>,
    reader: Reader,
    writer: Writer,
    queue: KVVec<Message>,
    room: Room,
    /// Entries that were read when the peer was last told of room.
    told_room: u32,
    /// The hello that was taken last, while greeting.
    greeted: Option<u32>,
    /// Own beats so far.
    beat: u32,
    /// Boot words that are still to be sent, last one first.
    words: [Option<u32>; 2],
    assembler: BootAssembler,
    /// The node that was told to be up.
    pub(super) told: Option<NodeId>,
    /// What was said of the peer.
    pub(super) said: Said,
}

impl Peer {
    /// Nothing is known of the peer.
    pub(super) fn new(local: Local, heartbeat_ms: u32, seed: u32) -> Self {
        Self {
            session: Session::new(local, heartbeat_ms, seed),
            inbox: None,
            outbox: None,
            reader: Reader::new(),
            writer: Writer::new(),
            queue: KVVec::new(),
            room: Room::Enough,
            told_room: 0,
            greeted: None,
            beat: 0,
            words: [None; 2],
            assembler: BootAssembler::new(),
            told: None,
            said: Said::new(),
        }
    }

    /// How far the session is.
    pub(super) fn state(&self) -> State {
        self.session.state()
    }

    /// When something is due, in milliseconds of [`now_ms`](skiff_ext::work::now_ms).
    pub(super) fn deadline(&self) -> Option<u64> {
        self.session.deadline()
    }

    /// Whether the peer's inbox is reached.
    pub(super) fn has_outbox(&self) -> bool {
        self.outbox.is_some()
    }

    /// Messages that wait for room.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Entries written, read by the peer as far as known, and taken from the own inbox; all modulo 2^32.
    pub(super) fn indices(&self) -> (u32, u32, u32) {
        let written = self.writer.written();

        (
            written,
            written.wrapping_sub(self.writer.used()),
            self.reader.taken(),
        )
    }

    /// Tells the session what was seen; the result is to be done in order, not under the peer's lock.
    pub(super) fn feed(&mut self, input: Input, now_ms: u64) -> Actions {
        let mut actions = Actions::new();

        self.session
            .on(input, now_ms, &mut |action| actions.push(action));
        if self.session.state() != State::Up {
            self.queue.clear();
        }
        actions
    }

    /// The peer's beat counter, as it is in the own inbox.
    pub(super) fn heard_beat(&self) -> Option<u32> {
        self.inbox.as_ref().map(|inbox| inbox.load(Word::Beat))
    }

    /// Counts the beat in the peer's inbox up.
    pub(super) fn beat(&mut self) {
        self.beat = self.beat.wrapping_add(1);
        if let Some(outbox) = &self.outbox {
            outbox.store(Word::Beat, self.beat);
        }
    }

    /// Empties the own inbox.
    pub(super) fn new_inbox(&mut self) {
        if let Some(inbox) = &self.inbox {
            inbox.empty();
        }
        self.reader = Reader::new();
        self.told_room = 0;
        self.greeted = None;
    }

    /// The boot words to send are those of this attempt.
    pub(super) fn set_boot(&mut self, nonce: Nonce) {
        let boot = self
            .inbox
            .as_ref()
            .and_then(Inbox::frame)
            .and_then(|frame| Boot::new(frame, nonce));

        self.words = boot.map_or([None; 2], |boot| {
            let [first, second] = boot.words();

            [Some(second), Some(first)]
        });
    }

    /// The boot word that is to be sent next.
    pub(super) fn next_word(&self) -> Option<u32> {
        self.words.iter().rev().find_map(|word| *word)
    }

    /// It was sent.
    pub(super) fn word_sent(&mut self) {
        if let Some(word) = self.words.iter_mut().rev().find(|word| word.is_some()) {
            *word = None;
        }
    }

    /// Takes a boot word of the peer; a pair of them is a boot.
    pub(super) fn word_came(&mut self, word: u32) -> Result<Option<Boot>> {
        self.assembler.push(word).map_err(|_| EINVAL)
    }

    /// Whether what the peer told of is reached.
    pub(super) fn reaches(&self, boot: Boot) -> bool {
        self.outbox
            .as_ref()
            .is_some_and(|outbox| outbox.boot() == boot)
    }

    /// Uses `outbox` from now on; gives back the former one, which is not to be dropped under the peer's lock.
    pub(super) fn set_outbox(&mut self, outbox: Option<Outbox>) -> Option<Outbox> {
        self.writer.restart();
        core::mem::replace(&mut self.outbox, outbox)
    }

    /// Puts a message that the session wants into the peer's inbox, over what it has not read if there is no room: it greets
    /// anew, and reads the newest. A peer that is up reads what is there, and greets again if it needs to.
    pub(super) fn write_greeting(&mut self, message: &Message) -> Posted {
        let Some(outbox) = &self.outbox else {
            return Posted::Down;
        };
        let session = self.session.peer().map(|peer| peer.session);

        if self.writer.used() >= ENTRIES {
            if self.session.state() == State::Up {
                return Posted::Refused;
            }
            self.writer.restart();
        }
        let seq = self.writer.written();

        match self.writer.send(outbox, session, message) {
            Ok(()) => Posted::Written(seq),
            Err(_) => Posted::Refused,
        }
    }

    /// Puts a message into the peer's inbox, or into the queue when there is no room.
    pub(super) fn post(&mut self, message: &Message) -> Posted {
        if self.session.peer().is_none() || self.outbox.is_none() {
            return Posted::Down;
        }
        if self.queue.is_empty() {
            if let Some(seq) = self.write(message) {
                return Posted::Written(seq);
            }
        }
        if self.queue.len() >= QUEUE_MAX || self.queue.push(*message, GFP_KERNEL).is_err() {
            self.room = Room::Wanted;
            return Posted::Refused;
        }
        Posted::Queued
    }

    /// Puts a message into the peer's inbox, if there is room.
    fn write(&mut self, message: &Message) -> Option<u32> {
        let session = self.session.peer()?.session;
        let outbox = self.outbox.as_ref()?;
        let seq = self.writer.written();

        if self.writer.used() >= ENTRIES {
            // What is wrong with the index is the worker's to find out: see `pump`.
            let _ = self.writer.refresh(self.inbox.as_ref()?);
        }
        self.writer.send(outbox, Some(session), message).ok()?;
        Some(seq)
    }

    /// Writes what waits for room, as far as there is, and tells `sent` of each: sequence number and message.
    pub(super) fn pump(&mut self, mut sent: impl FnMut(u32, &Message)) -> Result<(), RingError> {
        if self.session.state() != State::Up {
            return Ok(());
        }
        if let Some(inbox) = &self.inbox {
            self.writer.refresh(inbox)?;
        }
        let mut count: usize = 0;

        while let Some(message) = self.queue.get(count).copied() {
            let Some(seq) = self.write(&message) else {
                break;
            };

            sent(seq, &message);
            count = count.saturating_add(1);
        }
        let mut index: usize = 0;

        self.queue.retain(|_| {
            index = index.saturating_add(1);
            index > count
        });
        Ok(())
    }

    /// Whether the queue is empty and somebody is to be told so; only once.
    pub(super) fn take_room(&mut self) -> bool {
        self.queue.is_empty() && core::mem::replace(&mut self.room, Room::Enough) == Room::Wanted
    }

    /// Takes the next thing out of the inbox.
    pub(super) fn receive(&mut self) -> Received {
        let Some(inbox) = &self.inbox else {
            return Received::Nothing;
        };

        match self.session.state() {
            State::Greeting => match self.reader.greet(inbox, self.session.own()) {
                Some((seq, hello)) => {
                    self.told_room = self.reader.taken();
                    if let Some(outbox) = &self.outbox {
                        self.reader.publish(outbox);
                    }
                    let known = self.greeted.replace(seq) == Some(seq);

                    Received::Hello((!known).then_some(seq), hello)
                }
                None => Received::Nothing,
            },
            State::Up => match self.reader.take(inbox) {
                Ok(None) => Received::Nothing,
                Ok(Some(Incoming {
                    seq,
                    message: Message::Hello(hello),
                    ..
                })) => Received::Hello(Some(seq), hello),
                Ok(Some(Incoming {
                    session,
                    seq,
                    message,
                })) => {
                    if session == Some(self.session.own()) {
                        Received::Message(seq, message)
                    } else {
                        Received::Stranger
                    }
                }
                Err(error) => Received::Nonsense(error),
            },
            State::Down | State::Quiet | State::Own | State::Stopped => Received::Nothing,
        }
    }

    /// Tells the peer what was read. True if it is to be rung, for it may wait for the room.
    pub(super) fn publish(&mut self) -> bool {
        let taken = self.reader.taken();
        let Some(outbox) = &self.outbox else {
            return false;
        };

        if self.session.state() != State::Up {
            return false;
        }
        self.reader.publish(outbox);
        if taken.wrapping_sub(self.told_room) < ROOM_EVERY {
            return false;
        }
        self.told_room = taken;
        true
    }
}
