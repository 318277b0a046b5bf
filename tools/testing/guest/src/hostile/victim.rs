// SPDX-License-Identifier: GPL-2.0
//! One victim: an honest session with it, until the attacker decides otherwise.
//!
//! The model's own state machine and rings do the greeting, so that the victim has every reason to believe in a peer; what is
//! forged goes through the same writer. One thread.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use skiff_model::ids;
use skiff_model::ids::Generation;
use skiff_model::ids::SessionId;
use skiff_model::ring::Inbox;
use skiff_model::ring::Outbox;
use skiff_model::ring::Reader;
use skiff_model::ring::Word;
use skiff_model::ring::Writer;
use skiff_model::ring::ENTRIES;
use skiff_model::session::Action;
use skiff_model::session::Input;
use skiff_model::session::Local;
use skiff_model::session::Session;
use skiff_model::session::State;
use skiff_model::wire::Boot;
use skiff_model::wire::BootAssembler;
use skiff_model::wire::Entry;
use skiff_model::wire::Message;
use skiff_model::wire::Nonce;

use super::inbox::Far;
use super::inbox::Forged;
use super::inbox::Near;
use super::port::Port;
use crate::pci::Mapping;

/// Time between beats; a victim's own may be as long.
const HEARTBEAT_MS: u32 = 10_000;

/// What is heard and not yet looked at.
const HEARD_MAX: usize = 1024;

/// Whether hellos are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// They are.
    Polite,
    /// They are not, and the victim goes on greeting.
    Mute,
}

/// One victim.
pub struct Victim<'a> {
    port: &'a Port,
    /// Where it is.
    pub number: ids::Port,
    slot: u32,
    near: Near<'a>,
    far: Option<Far<'a>>,
    local: Local,
    session: Session,
    reader: Reader,
    writer: Writer,
    assembler: BootAssembler,
    words: VecDeque<u32>,
    beats: u32,
    began: Instant,
    /// Whether it is answered.
    pub manners: Manners,
    /// The own attempt.
    pub nonce: Nonce,
    /// Where its inbox is.
    pub boot: Option<Boot>,
    /// How often it came up.
    pub ups: u32,
    /// How often it went down again.
    pub downs: u32,
    /// Whether it is told what was read of what it says.
    pub reports: bool,
    told: Option<SessionId>,
    /// Its generation, once it has greeted.
    pub generation: Option<Generation>,
    /// What it has said, oldest first.
    pub heard: VecDeque<Message>,
}

impl<'a> Victim<'a> {
    /// The victim behind port `number`, reached through slot `slot` of the window. `seed` is that of session ids and of where the
    /// own inbox is.
    pub fn new(
        port: &'a Port,
        memory: &'a Mapping,
        number: ids::Port,
        slot: u32,
        local: Local,
        seed: u32,
    ) -> Self {
        let mut victim = Self {
            port,
            number,
            slot,
            near: Near::of(memory, number, seed.into()),
            far: None,
            local,
            session: Session::new(local, HEARTBEAT_MS, seed),
            reader: Reader::new(),
            writer: Writer::new(),
            assembler: BootAssembler::new(),
            words: VecDeque::new(),
            beats: 0,
            began: Instant::now(),
            manners: Manners::Polite,
            nonce: Nonce::of(0),
            boot: None,
            ups: 0,
            downs: 0,
            reports: true,
            told: None,
            generation: None,
            heard: VecDeque::new(),
        };
        victim.on(Input::LinkUp);
        victim
    }

    /// Begins anew, as after a link that went away.
    pub fn restart(&mut self) {
        self.on(Input::LinkDown);
        self.on(Input::LinkUp);
    }

    /// Whether it takes messages.
    pub fn is_up(&self) -> bool {
        self.session.state() == State::Up
    }

    /// What entries for it must carry.
    pub fn session(&self) -> Option<SessionId> {
        self.session.peer().map(|peer| peer.session)
    }

    /// What its entries must carry.
    pub fn own_session(&self) -> SessionId {
        self.session.own()
    }

    /// The session that its last hello has told.
    pub fn told(&self) -> Option<SessionId> {
        self.told
    }

    /// Page of the bus where the inbox for it is.
    pub fn frame(&self) -> u64 {
        self.near.frame()
    }

    /// Is somebody else from now on.
    pub fn reborn(&mut self, generation: Generation, seed: u32) {
        let local = Local {
            generation,
            ..self.local
        };
        self.on(Input::LinkDown);
        self.local = local;
        self.session = Session::new(local, HEARTBEAT_MS, seed);
        self.on(Input::LinkUp);
    }

    /// Entries that it has not read.
    pub fn unread(&mut self) -> u32 {
        ENTRIES - self.room()
    }

    /// Its inbox, when that is known.
    pub fn far(&self) -> Option<Far<'a>> {
        self.far
    }

    /// The index that the next entry has.
    pub fn seq(&self) -> u32 {
        self.writer.written()
    }

    /// Entries that its inbox has room for.
    pub fn room(&mut self) -> u32 {
        // Victims are honest; a former life's index is none.
        let _ = self.writer.refresh(&self.near);
        ENTRIES - self.writer.used()
    }

    /// Takes a word that it has sent.
    pub fn word(&mut self, word: u32) {
        if let Ok(Some(boot)) = self.assembler.push(word) {
            self.on(Input::Boot(boot));
        }
    }

    /// Reads what it has said.
    pub fn listen(&mut self) {
        if self.session.state() == State::Greeting {
            if let Some((_, hello)) = self.reader.greet(&self.near, self.session.own()) {
                self.generation = Some(hello.generation);
                self.told = Some(hello.session);
                self.publish();
                self.on(Input::Hello(hello));
            }
        }
        let mut taken = 0;
        while self.is_up() {
            match self.reader.take(&self.near) {
                Ok(None) => break,
                Ok(Some(incoming)) => match incoming.message {
                    Message::Hello(hello) => self.on(Input::Hello(hello)),
                    Message::Goodbye => self.on(Input::Goodbye),
                    message if self.heard.len() < HEARD_MAX => self.heard.push_back(message),
                    _ => {}
                },
                // It has begun anew, and its words will say so.
                Err(_) => break,
            }
            taken += 1;
        }
        if taken > 0 {
            self.publish();
        }
    }

    /// Keeps the session going.
    pub fn keep(&mut self) -> Result<()> {
        self.on(Input::Beat(self.near.load(Word::Beat)));
        self.on(Input::Tick);
        while let Some(word) = self.words.front() {
            if !self.port.send_word(self.number, *word)? {
                break;
            }
            self.words.pop_front();
        }
        Ok(())
    }

    /// Says something. Whether there was room.
    pub fn say(&mut self, message: &Message) -> bool {
        let session = self.session();
        match self.far {
            Some(far) => self.writer.send(&far, session, message).is_ok(),
            None => false,
        }
    }

    /// Writes `entry` where the next one belongs. Whether there was room.
    pub fn forge(&mut self, entry: Entry) -> bool {
        let session = self.session();
        match self.far {
            Some(far) => {
                let forged = Forged::new(far, entry);
                self.writer
                    .send(&forged, session, &Message::Goodbye)
                    .is_ok()
            }
            None => false,
        }
    }

    /// Rings it.
    pub fn ring(&self) -> Result<()> {
        self.port.ring(self.number)
    }

    fn publish(&self) {
        if let (Some(far), true) = (&self.far, self.reports) {
            self.reader.publish(far);
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn on(&mut self, input: Input) {
        let mut actions = Vec::new();
        let now = self.now();
        self.session
            .on(input, now, &mut |action| actions.push(action));
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::NewInbox => {
                self.near.empty();
                self.reader = Reader::new();
            }
            Action::SendBoot(nonce) => {
                self.nonce = nonce;
                if let Some(boot) = Boot::new(self.near.frame(), nonce) {
                    self.words = boot.words().into();
                }
            }
            Action::OpenOutbox(boot) => {
                if self.boot != Some(boot) {
                    self.open(boot);
                }
            }
            Action::CloseOutbox => {
                self.far = None;
                self.reports = true;
                self.boot = None;
                self.writer.restart();
            }
            Action::SendHello(_) if self.manners == Manners::Mute => {}
            Action::SendHello(hello) => {
                let _ = self.writer.refresh(&self.near);
                if !self.say(&Message::Hello(hello)) && !self.is_up() {
                    self.writer.restart();
                    self.say(&Message::Hello(hello));
                }
                // The next tick says it again.
                let _ = self.ring();
            }
            Action::SendGoodbye => drop(self.say(&Message::Goodbye)),
            Action::Up { .. } => self.ups += 1,
            Action::Down(_) => self.downs += 1,
            Action::Beat => {
                self.beats = self.beats.wrapping_add(1);
                if let Some(far) = &self.far {
                    far.store(Word::Beat, self.beats);
                    self.writer.repeat(far);
                }
                self.publish();
            }
            Action::Own | Action::Incompatible(_) => {}
        }
    }

    fn open(&mut self, boot: Boot) {
        let bytes = self.port.slot_bytes();
        let bus = boot.frame() * 4096;
        let base = bus - bus % bytes;
        if self.port.aim(self.slot, self.number, base).is_err() {
            return;
        }
        let offset = u64::from(self.slot) * bytes + (bus - base);
        self.writer.restart();
        // CAST: It is inside of the window.
        self.far = Some(Far::at(self.port.window(), offset as usize));
        self.boot = Some(boot);
    }
}

/// All victims, and the words that they send.
pub struct Victims<'a> {
    port: &'a Port,
    /// Each of them.
    pub all: Vec<Victim<'a>>,
}

impl<'a> Victims<'a> {
    /// These victims.
    pub fn new(port: &'a Port, all: Vec<Victim<'a>>) -> Self {
        Self { port, all }
    }

    /// Takes in what all of them say.
    pub fn turn(&mut self) -> Result<()> {
        self.words()?;
        for victim in &mut self.all {
            victim.listen();
            victim.keep()?;
        }
        Ok(())
    }

    /// The same without reading what they have written.
    pub fn deaf(&mut self) -> Result<()> {
        self.words()?;
        self.all.iter_mut().try_for_each(Victim::keep)
    }

    fn words(&mut self) -> Result<()> {
        while let Some((from, word)) = self.port.take_word()? {
            if let Some(victim) = self.all.iter_mut().find(|victim| victim.number == from) {
                victim.word(word);
            }
        }
        Ok(())
    }

    /// Turns until something is so, for `limit` at most.
    pub fn until(
        &mut self,
        limit: Duration,
        what: &str,
        mut so: impl FnMut(&mut [Victim<'_>]) -> bool,
    ) -> Result<()> {
        let began = Instant::now();
        while !so(&mut self.all) {
            ensure!(began.elapsed() < limit, "{what}: not within {limit:?}");
            self.turn()?;
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Waits until all are up.
    pub fn up(&mut self) -> Result<()> {
        // Longer than it takes to miss three beats.
        self.until(Duration::from_secs(60), "up", |all| {
            all.iter().all(|victim| victim.is_up())
        })
        .context("the victims do not greet")
    }
}
