// SPDX-License-Identifier: GPL-2.0
//! A node of the tests: what the driver does with sessions, rings and slots, over any [`Ntb`] of this room.
//!
//! While up it sends numbered messages, checks those that come, and holds a slot to the peer's second chunk.

use skiff_model::addr::chunk_of;
use skiff_model::addr::BusAddr;
use skiff_model::ids::AdapterId;
use skiff_model::ids::Generation;
use skiff_model::ids::LeaseId;
use skiff_model::ids::NodeId;
use skiff_model::ids::Port;
use skiff_model::ids::PortSet;
use skiff_model::ids::SessionId;
use skiff_model::ntb::CacheMode;
use skiff_model::ntb::EventSet;
use skiff_model::ntb::Ntb;
use skiff_model::ntb::Sent;
use skiff_model::ntb::Side;
use skiff_model::ntb::WindowClass;
use skiff_model::ring::Inbox;
use skiff_model::ring::Outbox;
use skiff_model::ring::Reader;
use skiff_model::ring::Word;
use skiff_model::ring::Writer;
use skiff_model::ring::ENTRIES;
use skiff_model::ring::INBOX_BYTES;
use skiff_model::session::Action;
use skiff_model::session::Input;
use skiff_model::session::Life;
use skiff_model::session::Local;
use skiff_model::session::Reason;
use skiff_model::session::Session;
use skiff_model::session::State;
use skiff_model::slots::Lot;
use skiff_model::slots::Outcome;
use skiff_model::slots::Pin;
use skiff_model::slots::SlotCache;
use skiff_model::slots::SlotState;
use skiff_model::slots::Target;
use skiff_model::wire::Boot;
use skiff_model::wire::BootAssembler;
use skiff_model::wire::Incoming;
use skiff_model::wire::Message;
use skiff_model::wire::Status;

use super::inboxes::Far;
use super::inboxes::Near;
use super::inboxes::INBOX;
use super::Board;
use super::Shared;
use super::RAM_BASE;
use super::SLOT;

/// Bus address of what the peer writes through its slot of this node.
pub const DATA: u64 = RAM_BASE + SLOT;

/// Time between beats.
pub const HEARTBEAT_MS: u32 = 1000;

/// A slot that leads to the peer's data.
enum Hold {
    /// The owner was asked to program it.
    Asked(Pin),
    /// It leads there.
    Live(Pin),
}

struct Outgoing {
    boot: Boot,
    /// Where in the window the peer's inbox is.
    offset: u64,
    pin: Pin,
}

/// What a test looks at.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Lives of the peer that it was up with, in order.
    pub lives: Vec<(u64, Life)>,
    /// Why it was down again.
    pub downs: Vec<Reason>,
    /// Whether it found itself.
    pub own: bool,
}

/// A node with one adapter and one peer.
pub struct Node {
    board: Board,
    peer: Port,
    session: Session,
    reader: Reader,
    writer: Writer,
    assembler: BootAssembler,
    cache: SlotCache,
    words: Vec<u32>,
    linked: PortSet,
    outbox: Option<Outgoing>,
    hold: Option<Hold>,
    beats: u32,
    /// Next message to be sent, and to come.
    send: u32,
    expect: u32,
    /// Somebody has tampered with the inbox: messages in it may be anything.
    tampered: bool,
    /// The session id that was told last, and the oldest life of the peer that can know it.
    told: SessionId,
    floor: u64,
    /// What has happened.
    pub seen: Seen,
}

impl Node {
    /// The node boots at `port` as `generation`.
    pub fn boot(switch: &Shared, port: usize, generation: u64, seed: u32) -> Self {
        let mut board = Board::new(switch, port);
        board.open_gate().unwrap();
        let local = Local {
            generation: Generation::new(generation).unwrap(),
            node: NodeId::new(port as u32).unwrap(),
            adapter: AdapterId::new(0).unwrap(),
        };
        let session = Session::new(local, HEARTBEAT_MS, seed);
        Self {
            cache: SlotCache::new(board.geometry().memory),
            peer: Port::new(1 - port as u8).unwrap(),
            board,
            told: session.own(),
            session,
            reader: Reader::new(),
            writer: Writer::new(),
            assembler: BootAssembler::new(),
            words: Vec::new(),
            linked: PortSet::EMPTY,
            outbox: None,
            hold: None,
            beats: 0,
            send: 0,
            expect: 0,
            tampered: false,
            floor: 0,
            seen: Seen::default(),
        }
    }

    /// How far its session is.
    pub fn state(&self) -> State {
        self.session.state()
    }

    /// The life of the peer that it is up with.
    pub fn up_with(&self) -> Option<u64> {
        self.session.peer().map(|peer| peer.generation.get())
    }

    /// Messages that have come since it is up.
    pub fn received(&self) -> u32 {
        self.expect
    }

    /// Whether its slot to the peer's data is there.
    pub fn holds_data(&self) -> bool {
        matches!(self.hold, Some(Hold::Live(_)))
    }

    /// Slots that lead somewhere or are held, by its books.
    pub fn busy_slots(&self) -> usize {
        self.cache
            .iter()
            .filter(|(_, state, pins)| *state != SlotState::Free || *pins > 0)
            .count()
    }

    /// Messages that come from now on may be anything.
    pub fn tampered(&mut self) {
        self.tampered = true;
    }

    /// Stores into the peer's data.
    pub fn write_data(&self, bytes: &[u8]) {
        if let Some(Hold::Live(pin)) = &self.hold {
            self.board.store(u64::from(pin.slot()) * SLOT, bytes);
        }
    }

    /// The node goes away in order.
    pub fn stop(&mut self, now_ms: u64) {
        self.on(Input::Stop, now_ms, 0);
        self.board.close_gate().unwrap();
    }

    /// When it wants to look again.
    pub fn deadline(&self) -> Option<u64> {
        self.session.deadline()
    }

    /// One round of the driver's worker; `peer_life` is what the test knows the peer to be.
    pub fn look(&mut self, now_ms: u64, peer_life: u64) {
        let events = self.board.take_events().unwrap();
        if events.contains(EventSet::LINK) {
            self.links(now_ms, peer_life);
        }
        while let Some((from, word)) = self.board.take_word().unwrap() {
            assert_eq!(from, self.peer);
            if let Ok(Some(boot)) = self.assembler.push(word) {
                self.on(Input::Boot(boot), now_ms, peer_life);
            }
        }
        if self.session.state() == State::Greeting {
            let hello = self.reader.greet(&Near(&self.board), self.session.own());
            if let Some((_, hello)) = hello {
                self.publish();
                self.on(Input::Hello(hello), now_ms, peer_life);
            }
        }
        self.read(now_ms, peer_life);
        let beat = Near(&self.board).load(Word::Beat);
        self.on(Input::Beat(beat), now_ms, peer_life);
        self.on(Input::Tick, now_ms, peer_life);
        while let Some(&word) = self.words.first() {
            match self.board.send_word(self.peer, word).unwrap() {
                Sent::Sent => drop(self.words.remove(0)),
                Sent::Full => break,
            }
        }
        self.talk(now_ms, peer_life);
    }

    fn links(&mut self, now_ms: u64, peer_life: u64) {
        let linked = self.board.linked().unwrap();
        if self.linked.contains(self.peer) && !linked.contains(self.peer) {
            self.on(Input::LinkDown, now_ms, peer_life);
            if self.board.geometry().memory.side() == Side::Owner {
                self.board
                    .clear_slot(WindowClass::Memory, 0, self.peer)
                    .unwrap();
            }
        }
        if !self.linked.contains(self.peer) && linked.contains(self.peer) {
            if self.board.geometry().memory.side() == Side::Owner {
                // The first slot of the pair carries the rings, and the owner of the memory sees to it.
                let chunk = chunk_of(
                    BusAddr::new(INBOX),
                    self.board.geometry().memory.slot_bytes(),
                );
                self.board
                    .set_slot(WindowClass::Memory, 0, self.peer, chunk.base())
                    .unwrap();
            }
            self.on(Input::LinkUp, now_ms, peer_life);
        }
        self.linked = linked;
    }

    /// Takes what the peer has sent.
    fn read(&mut self, now_ms: u64, peer_life: u64) {
        for _ in 0..ENTRIES {
            if self.session.state() != State::Up {
                return;
            }
            match self.reader.take(&Near(&self.board)) {
                Ok(None) => break,
                Ok(Some(incoming)) => self.message(incoming, now_ms, peer_life),
                Err(_) => self.on(Input::BadMessage, now_ms, peer_life),
            }
        }
        if self.session.state() == State::Up {
            self.publish();
        }
    }

    fn message(&mut self, incoming: Incoming, now_ms: u64, peer_life: u64) {
        match (incoming.session, incoming.message) {
            (None, Message::Hello(hello)) => self.on(Input::Hello(hello), now_ms, peer_life),
            (session, _) if session != Some(self.session.own()) => {
                self.on(Input::BadMessage, now_ms, peer_life);
            }
            (_, Message::Goodbye) => self.on(Input::Goodbye, now_ms, peer_life),
            (_, Message::Resume { lease }) => {
                if !self.tampered {
                    assert_eq!(
                        lease.get(),
                        self.expect,
                        "messages come in order, each once"
                    );
                }
                self.expect += 1;
            }
            (_, Message::SlotSet { slot, bus, .. }) => {
                let status = match self
                    .board
                    .set_slot(WindowClass::Memory, slot, self.peer, bus)
                {
                    Ok(()) if slot != 0 => Status::Ok,
                    _ => Status::BadRequest,
                };
                self.post(&Message::SlotDone { slot, status });
            }
            (_, Message::SlotDone { slot, status }) => {
                assert_eq!(status, Status::Ok);
                match self.hold.take() {
                    Some(Hold::Asked(pin)) if pin.slot() == slot => {
                        self.cache.commit(&pin).unwrap();
                        self.hold = Some(Hold::Live(pin));
                    }
                    _ => panic!("nobody asked"),
                }
            }
            (_, other) => assert!(self.tampered, "nobody sends {other:?}"),
        }
    }

    /// Says what there is to say while the session is up.
    fn talk(&mut self, now_ms: u64, peer_life: u64) {
        if self.session.state() != State::Up {
            return;
        }
        if self.writer.refresh(&Near(&self.board)).is_err() {
            self.on(Input::BadMessage, now_ms, peer_life);
            return;
        }
        self.acquire_data();
        for _ in 0..3 {
            // Some room is left for answers, which have no queue here.
            if self.writer.used() < ENTRIES - 8 {
                let lease = LeaseId::new(self.send);
                self.post(&Message::Resume { lease });
                self.send += 1;
            }
        }
        self.board.ring(self.peer).unwrap();
    }

    fn acquire_data(&mut self) {
        if self.hold.is_some() {
            return;
        }
        let geometry = self.board.geometry().memory;
        let target = Target {
            peer: self.peer,
            chunk: chunk_of(BusAddr::new(DATA), geometry.slot_bytes()),
            mode: CacheMode::Wc,
            lot: Lot::SHARED,
        };
        self.hold = match self.cache.acquire(target) {
            Outcome::Hit(pin) => Some(Hold::Live(pin)),
            Outcome::Program { pin, .. } => {
                let (slot, bus) = (pin.slot(), target.chunk.base());
                match geometry.side() {
                    Side::User => {
                        self.board
                            .set_slot(WindowClass::Memory, slot, self.peer, bus)
                            .unwrap();
                        self.cache.commit(&pin).unwrap();
                        Some(Hold::Live(pin))
                    }
                    Side::Owner => {
                        let mode = CacheMode::Wc;
                        self.post(&Message::SlotSet { slot, bus, mode });
                        Some(Hold::Asked(pin))
                    }
                }
            }
            Outcome::Pending | Outcome::Full => None,
        };
    }

    fn far(&self) -> Option<Far<'_>> {
        self.outbox.as_ref().map(|outgoing| Far {
            board: &self.board,
            offset: outgoing.offset,
        })
    }

    fn publish(&self) {
        if let Some(far) = self.far() {
            self.reader.publish(&far);
        }
    }

    fn post(&mut self, message: &Message) {
        let session = self.session.peer().map(|peer| peer.session);
        let mut writer = self.writer;
        if let Some(far) = self.far() {
            // A hello that does not fit is sent again; all else is sent only while there is room.
            let sent = writer.send(&far, session, message);
            assert!(sent.is_ok() || matches!(message, Message::Hello(_)));
        }
        self.writer = writer;
    }

    fn on(&mut self, input: Input, now_ms: u64, peer_life: u64) {
        let mut actions = Vec::new();
        self.session
            .on(input, now_ms, &mut |action| actions.push(action));
        if self.session.own() != self.told {
            self.told = self.session.own();
            self.floor = peer_life;
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::NewInbox => {
                self.board.clear(INBOX, INBOX_BYTES);
                self.tampered = false;
            }
            Action::SendBoot(nonce) => {
                self.words = Boot::new(INBOX / 4096, nonce).unwrap().words().to_vec();
            }
            Action::OpenOutbox(boot) => self.open(boot),
            Action::CloseOutbox => {
                if let Some(outgoing) = self.outbox.take() {
                    self.cache.release(outgoing.pin).unwrap();
                }
            }
            Action::SendHello(hello) => {
                // Best effort: the word may be of another time while greeting.
                let _ = self.writer.refresh(&Near(&self.board));
                self.post(&Message::Hello(hello));
            }
            Action::SendGoodbye => self.post(&Message::Goodbye),
            Action::Up { peer, life } => {
                let generation = peer.generation.get();
                assert!(
                    generation >= self.floor,
                    "up with life {generation}, which was over when {} was told",
                    self.told
                );
                self.seen.lives.push((generation, life));
                self.send = 0;
                self.expect = 0;
            }
            Action::Down(reason) => {
                self.seen.downs.push(reason);
                self.forget();
            }
            Action::Beat => {
                self.beats += 1;
                if let Some(far) = self.far() {
                    far.store(Word::Beat, self.beats);
                    self.writer.repeat(&far);
                    self.reader.publish(&far);
                }
            }
            Action::Own => self.seen.own = true,
            Action::Incompatible(_) => panic!("there is one version"),
        }
    }

    fn open(&mut self, boot: Boot) {
        if self.outbox.as_ref().is_some_and(|out| out.boot == boot) {
            return;
        }
        assert!(self.outbox.is_none(), "the former one is closed first");
        let geometry = self.board.geometry().memory;
        let bus = BusAddr::from_frame(boot.frame()).unwrap();
        let target = Target {
            peer: self.peer,
            chunk: chunk_of(bus, geometry.slot_bytes()),
            mode: CacheMode::Uc,
            lot: Lot::SHARED,
        };
        let pin = match (geometry.side(), self.cache.acquire(target)) {
            (_, Outcome::Hit(pin)) => Some(pin),
            (Side::User, Outcome::Program { pin, .. }) => {
                let base = target.chunk.base();
                self.board
                    .set_slot(WindowClass::Memory, pin.slot(), self.peer, base)
                    .unwrap();
                self.cache.commit(&pin).unwrap();
                Some(pin)
            }
            (Side::Owner, Outcome::Program { pin, .. }) => {
                // Not this way: the peer has set its first slot.
                self.cache.abort(pin).unwrap();
                self.cache.install(0, target).ok()
            }
            (_, Outcome::Pending | Outcome::Full) => None,
        };
        if let Some(pin) = pin {
            let offset =
                geometry.slot_offset(pin.slot()).unwrap() + geometry.slot_bytes().offset_of(bus);
            self.writer.restart();
            self.outbox = Some(Outgoing { boot, offset, pin });
        }
    }

    /// Empties all slots towards the peer.
    fn forget(&mut self) {
        let lost = self.cache.forget(self.peer);
        match self.hold.take() {
            Some(Hold::Live(pin)) => self.cache.release(pin).unwrap(),
            Some(Hold::Asked(pin)) => self.cache.abort(pin).unwrap(),
            None => {}
        }
        for slot in lost.iter() {
            if self.board.geometry().memory.side() == Side::User {
                self.board
                    .clear_slot(WindowClass::Memory, slot, self.peer)
                    .unwrap();
            }
            self.cache.cleared(slot).unwrap();
        }
        if self.board.geometry().memory.side() == Side::Owner {
            for slot in 1..self.board.geometry().memory.slots() {
                self.board
                    .clear_slot(WindowClass::Memory, slot, self.peer)
                    .unwrap();
            }
        }
    }
}
