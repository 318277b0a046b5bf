// SPDX-License-Identifier: GPL-2.0
//! How two nodes get to know each other, stay in touch and part: the state machine of one pair, without any I/O.
//!
//! It is fed with what was seen ([`Input`]) and says what to do ([`Action`]). Each side tells the other one where its inbox is
//! by boot words, then greets it there; a side is up when a hello echoes the session id that it has told in this very
//! attempt. So a hello of a former life of the peer, or one that answers a former life of ours, brings nobody up.
//!
//! # How it converges
//!
//! A side that starts anew empties its inbox, takes a new nonce and a new session id, and forgets the peer's inbox until it is told
//! again. The peer sees the new nonce: if it was up, it starts anew as well; if it was greeting, it only takes a new session id, so
//! that starting anew does not go back and forth for ever. Whoever is not up repeats its boot words and its hello; whoever
//! is up answers hellos of a peer that is not, and nothing else. Every loss is made good by one of the two.
//!
//! # How to drive it
//!
//! On each round of an adapter's worker: what the hardware says of links, then boot words, then the inbox. While
//! [`State::Greeting`], [`crate::ring::Reader::greet`] with [`Session::own`]; if it finds a hello,
//! [`crate::ring::Reader::publish`] first and [`Input::Hello`] then, for the peer goes by what was published as soon as it is
//! answered. While [`State::Up`], [`crate::ring::Reader::take`]: hellos and goodbyes go to the session, other messages must carry
//! [`Session::own`], an error is [`Input::BadMessage`]; look at the state again after each. Last [`Input::Beat`] and
//! [`Input::Tick`]. tests/fabric/node.rs does it.
//!
//! # Locking
//!
//! None of its own: one thread at a time.

use crate::ids::Generation;
use crate::ids::SessionId;
use crate::wire::Boot;
use crate::wire::Hello;
use crate::wire::Nonce;
use crate::wire::Phase;
use crate::wire::VERSION;

mod words;

pub use words::Action;
pub use words::Input;
pub use words::Life;
pub use words::Local;
pub use words::Peer;
pub use words::Reason;
pub use words::State;

/// Time between the first attempts to greet, in milliseconds. It doubles up to [`RETRY_MAX_MS`].
pub const RETRY_MIN_MS: u64 = 100;

/// The longest time between two attempts, and how long a peer that sent nonsense is left alone.
pub const RETRY_MAX_MS: u64 = 1000;

/// Beats that a peer may miss.
const MISSED_BEATS: u64 = 3;

/// What is known while up.
#[derive(Clone, Copy, Debug)]
struct Alive {
    peer: Peer,
    since_ms: u64,
    /// The counter at the last look, and when it changed last.
    counter: Option<u32>,
    changed_ms: u64,
    /// When the own one is due.
    beat_ms: u64,
}

#[derive(Clone, Copy, Debug)]
enum Inner {
    Down,
    Quiet {
        until_ms: u64,
    },
    Greeting {
        next_ms: u64,
        wait_ms: u64,
    },
    Up(Alive),
    /// With what made it so.
    Own(Option<Boot>),
    Stopped,
}

/// The session of a pair.
#[derive(Debug)]
pub struct Session {
    local: Local,
    heartbeat_ms: u64,
    inner: Inner,
    /// Of the own attempt.
    nonce: Nonce,
    /// What the peer's messages must carry. Changes with everything that makes older ones worthless.
    own: SessionId,
    /// What the peer told by boot words in this attempt.
    boot: Option<Boot>,
    /// What it told in its hello since then.
    heard: Option<SessionId>,
    /// The peer's life when it was up last.
    last: Option<Generation>,
}

impl Session {
    /// A session without a link. `seed` should be random: ids of a former life of this node must not come again.
    pub fn new(local: Local, heartbeat_ms: u32, seed: u32) -> Self {
        // CAST: Only some bits of the seed are wanted.
        let nonce = Nonce::of((seed >> 24) as u8);
        Self {
            local,
            heartbeat_ms: u64::from(heartbeat_ms.max(1)),
            inner: Inner::Down,
            nonce,
            own: after(seed),
            boot: None,
            heard: None,
            last: None,
        }
    }

    /// How far it is.
    pub const fn state(&self) -> State {
        match self.inner {
            Inner::Down => State::Down,
            Inner::Quiet { .. } => State::Quiet,
            Inner::Greeting { .. } => State::Greeting,
            Inner::Up(_) => State::Up,
            Inner::Own(_) => State::Own,
            Inner::Stopped => State::Stopped,
        }
    }

    /// What the peer's messages must carry, but for hellos.
    pub const fn own(&self) -> SessionId {
        self.own
    }

    /// Who the peer is, while it is up.
    pub const fn peer(&self) -> Option<Peer> {
        match &self.inner {
            Inner::Up(alive) => Some(alive.peer),
            _ => None,
        }
    }

    /// The peer's life when it was up last.
    pub const fn last_generation(&self) -> Option<Generation> {
        self.last
    }

    /// When [`Input::Tick`] is wanted, in milliseconds of the caller's clock.
    pub fn deadline(&self) -> Option<u64> {
        match self.inner {
            Inner::Down | Inner::Own(_) | Inner::Stopped => None,
            Inner::Quiet { until_ms } => Some(until_ms),
            Inner::Greeting { next_ms, .. } => Some(next_ms),
            Inner::Up(alive) => Some(alive.beat_ms.min(self.hung_ms(&alive))),
        }
    }

    fn hung_ms(&self, alive: &Alive) -> u64 {
        alive
            .changed_ms
            .saturating_add(self.heartbeat_ms.saturating_mul(MISSED_BEATS))
    }

    /// Takes what was seen at `now_ms`, and calls `act` with what to do about it.
    pub fn on(&mut self, input: Input, now_ms: u64, act: &mut impl FnMut(Action)) {
        if let Inner::Stopped = self.inner {
            return;
        }
        match input {
            Input::LinkUp => {
                if let Inner::Down = self.inner {
                    self.start(now_ms, act);
                }
            }
            Input::LinkDown => self.leave(Reason::Link, Inner::Down, act),
            Input::Boot(boot) => self.on_boot(boot, now_ms, act),
            Input::Hello(hello) => self.on_hello(hello, now_ms, act),
            Input::Goodbye => self.rest(Reason::Goodbye, now_ms, act),
            Input::BadMessage => self.rest(Reason::BadMessage, now_ms, act),
            Input::Refused => self.rest(Reason::Refused, now_ms, act),
            Input::Beat(counter) => {
                if let Inner::Up(alive) = &mut self.inner {
                    if alive.counter != Some(counter) {
                        alive.counter = Some(counter);
                        alive.changed_ms = now_ms;
                    }
                }
            }
            Input::Tick => self.on_tick(now_ms, act),
            Input::Stop => {
                if let Inner::Up(_) = self.inner {
                    act(Action::SendGoodbye);
                }
                self.leave(Reason::Stopped, Inner::Stopped, act);
            }
        }
    }

    /// Lets go of the peer.
    fn leave(&mut self, reason: Reason, to: Inner, act: &mut impl FnMut(Action)) {
        let from = core::mem::replace(&mut self.inner, to);
        if self.boot.take().is_some() {
            act(Action::CloseOutbox);
        }
        self.heard = None;
        if let Inner::Up(_) = from {
            act(Action::Down(reason));
        }
    }

    /// Leaves an up peer alone for a while, then starts anew.
    fn rest(&mut self, reason: Reason, now_ms: u64, act: &mut impl FnMut(Action)) {
        if let Inner::Up(_) = self.inner {
            let until_ms = now_ms.saturating_add(RETRY_MAX_MS);
            self.leave(reason, Inner::Quiet { until_ms }, act);
        }
    }

    /// Starts anew because the peer has. One that does it all the time is made to wait.
    fn follow(
        &mut self,
        alive: &Alive,
        boot: Option<Boot>,
        now_ms: u64,
        act: &mut impl FnMut(Action),
    ) {
        let until_ms = alive.since_ms.saturating_add(RETRY_MAX_MS);
        self.leave(Reason::Restarted, Inner::Quiet { until_ms }, act);
        self.boot = boot;
        if now_ms >= until_ms {
            self.start(now_ms, act);
        }
    }

    /// Starts anew: all that was told before is void.
    fn start(&mut self, now_ms: u64, act: &mut impl FnMut(Action)) {
        self.own = after(self.own.get());
        self.nonce = self.nonce.next();
        self.inner = Inner::Greeting {
            next_ms: now_ms.saturating_add(RETRY_MIN_MS),
            wait_ms: RETRY_MIN_MS,
        };
        act(Action::NewInbox);
        act(Action::SendBoot(self.nonce));
        self.greet(act);
    }

    /// Says what there is to say to the peer, if it is known where.
    fn greet(&self, act: &mut impl FnMut(Action)) {
        if let Some(boot) = self.boot {
            act(Action::OpenOutbox(boot));
            act(Action::SendHello(self.hello()));
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            version_min: VERSION,
            version_max: VERSION,
            generation: self.local.generation,
            session: self.own,
            echo: self.heard,
            node: self.local.node,
            adapter: self.local.adapter,
            nonce: self.nonce,
            phase: match self.inner {
                Inner::Up(_) => Phase::Up,
                _ => Phase::Greeting,
            },
            start: 0,
        }
    }

    fn on_boot(&mut self, boot: Boot, now_ms: u64, act: &mut impl FnMut(Action)) {
        let changed = self.boot != Some(boot);
        match self.inner {
            Inner::Down | Inner::Stopped => {}
            Inner::Quiet { .. } => self.boot = Some(boot),
            Inner::Up(alive) if changed => self.follow(&alive, Some(boot), now_ms, act),
            Inner::Up(_) => {}
            Inner::Greeting { .. } if changed => {
                if self.boot.replace(boot).is_some() {
                    act(Action::CloseOutbox);
                }
                self.heard = None;
                self.own = after(self.own.get());
                act(Action::SendBoot(self.nonce));
                self.greet(act);
            }
            Inner::Greeting { .. } => {}
            Inner::Own(known) if known != Some(boot) => {
                // Somebody else is there now, whatever the link has shown.
                self.boot = Some(boot);
                self.start(now_ms, act);
            }
            Inner::Own(_) => {
                // The other adapter of this node has not found out yet.
                self.boot = Some(boot);
                self.greet(act);
                self.boot = None;
                act(Action::CloseOutbox);
            }
        }
    }

    fn on_hello(&mut self, hello: Hello, now_ms: u64, act: &mut impl FnMut(Action)) {
        match self.inner {
            Inner::Up(alive) => {
                if (hello.session, hello.generation) != (alive.peer.session, alive.peer.generation)
                {
                    // Its boot words are on their way.
                    self.follow(&alive, None, now_ms, act);
                } else if hello.phase == Phase::Greeting {
                    act(Action::SendHello(self.hello()));
                }
            }
            Inner::Greeting { .. } => self.on_greeting(hello, now_ms, act),
            Inner::Down | Inner::Quiet { .. } | Inner::Own(_) | Inner::Stopped => {}
        }
    }

    fn on_greeting(&mut self, hello: Hello, now_ms: u64, act: &mut impl FnMut(Action)) {
        // Of another attempt than the boot words, and one of the two is yet to come.
        if self.boot.is_none_or(|boot| boot.nonce() != hello.nonce) {
            return;
        }
        if hello.generation == self.local.generation {
            self.heard = Some(hello.session);
            self.greet(act);
            let known = self.boot;
            self.leave(Reason::Stopped, Inner::Own(known), act);
            act(Action::Own);
            return;
        }
        if hello.common_version().is_none() {
            if self.heard.replace(hello.session) != Some(hello.session) {
                act(Action::Incompatible(hello));
            }
            return;
        }
        let known = self.heard.replace(hello.session) == Some(hello.session);
        if hello.echo != Some(self.own) {
            if !known {
                self.greet(act);
            }
            return;
        }
        let peer = Peer {
            generation: hello.generation,
            session: hello.session,
            node: hello.node,
            adapter: hello.adapter,
        };
        self.inner = Inner::Up(Alive {
            peer,
            since_ms: now_ms,
            counter: None,
            changed_ms: now_ms,
            beat_ms: now_ms.saturating_add(self.heartbeat_ms),
        });
        let life = match self.last.replace(hello.generation) {
            Some(last) if last == hello.generation => Life::Resumed,
            _ => Life::New,
        };
        // Before anything else is sent: it says where the session starts.
        self.greet(act);
        act(Action::Up { peer, life });
    }

    fn on_tick(&mut self, now_ms: u64, act: &mut impl FnMut(Action)) {
        match &mut self.inner {
            Inner::Down | Inner::Own(_) | Inner::Stopped => {}
            Inner::Quiet { until_ms } => {
                if now_ms >= *until_ms {
                    self.start(now_ms, act);
                }
            }
            Inner::Greeting { next_ms, wait_ms } => {
                if now_ms >= *next_ms {
                    *wait_ms = wait_ms.saturating_mul(2).min(RETRY_MAX_MS);
                    *next_ms = now_ms.saturating_add(*wait_ms);
                    act(Action::SendBoot(self.nonce));
                    self.greet(act);
                }
            }
            Inner::Up(alive) => {
                let alive = *alive;
                if now_ms >= self.hung_ms(&alive) {
                    self.leave(Reason::Hung, Inner::Down, act);
                    self.start(now_ms, act);
                    return;
                }
                if now_ms >= alive.beat_ms {
                    let beat_ms = now_ms.saturating_add(self.heartbeat_ms);
                    self.inner = Inner::Up(Alive { beat_ms, ..alive });
                    act(Action::Beat);
                }
            }
        }
    }
}

/// A session id that has not been used for long: the steps go through all numbers before one comes again.
fn after(id: u32) -> SessionId {
    // The golden ratio's bits: odd, and neighbours are far apart.
    let next = id.wrapping_add(0x9e37_79b9);
    match SessionId::new(next) {
        Some(id) => id,
        None => after(next),
    }
}
