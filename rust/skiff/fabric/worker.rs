// SPDX-License-Identifier: GPL-2.0

//! What an adapter's worker does: it takes in all that comes from the hardware and from peers, one thing after the other.
//!
//! A pass looks at what has happened, takes the boot words, looks at the links, and serves each peer: its inbox, its clock, what
//! waits to be sent. The amount of each is bounded, so that a peer that never stops talking holds up neither the others nor the
//! end of the worker.
//!
//! # Locking
//!
//! Everything here runs on the worker, or after it was stopped on the thread that stops the adapter. A peer's lock is held for one
//! step at a time.

use super::{
    adapter::payload_bytes,
    peer::Received,
    ring::Inbox,
    Adapter, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        ArcBorrow, //
    },
};
use skiff_ext::{
    show::Show,
    trace,
    work::{
        now_ms,
        Work, //
    },
};
use skiff_model::{
    ids::{
        Port,
        PortSet, //
    },
    ntb::{
        EventSet,
        Ntb,
        Sent, //
    },
    ring::{
        RingError,
        ENTRIES, //
    },
    session::{
        Input,
        State, //
    },
    wire::Message, //
};

/// Boot words that one pass takes.
const WORDS_A_PASS: u32 = 32;

/// Milliseconds after which a boot word that the hardware refused, or a message that found no room, is tried again.
const RETRY_MS: u64 = 20;

/// Milliseconds after which a failed look at the hardware, or for memory, is tried again.
const RECOVER_MS: u64 = 1000;

impl Work for Adapter {
    fn run(this: ArcBorrow<'_, Self>) {
        let adapter: Arc<Self> = this.into();

        adapter.counters.wakeups.count();
        let next = match adapter.pass() {
            Ok(next) => next,
            // The function is gone, which the PCI core will notice.
            Err(_) => Some(RECOVER_MS),
        };

        if let Some(ms) = next {
            // CAST: Cut to what fits.
            adapter.worker.kick_after(ms.min(u32::MAX.into()) as u32);
        }
    }
}

impl Adapter {
    /// Looks at everything once; the result is in how many milliseconds to look again, if not for a cause.
    fn pass(self: &Arc<Self>) -> Result<Option<u64>> {
        let events = self.with_hw(|hw| hw.take_events())?;
        let mut again = None;

        if events.contains(EventSet::ERROR) {
            self.counters.errors.count();
        }
        if events.contains(EventSet::LINK) || self.due() {
            again = earliest(again, self.look_at_links()?);
        }
        if events.contains(EventSet::WORD) {
            again = earliest(again, self.take_words()?);
        }
        for port in self.ports.iter() {
            again = earliest(again, self.serve(port));
        }
        Ok(again)
    }

    /// Whether some peer's clock has run down, or the links were never looked at.
    fn due(&self) -> bool {
        let now = now_ms();

        self.linked().is_empty()
            || self
                .ports
                .iter()
                .filter_map(|port| self.peer(port).lock().deadline())
                .any(|deadline| deadline <= now)
    }

    /// Tells the sessions which links went up and down.
    fn look_at_links(self: &Arc<Self>) -> Result<Option<u64>> {
        let now = self.with_hw(|hw| hw.linked())?;
        let before = self.linked();
        let mut again = None;

        for port in before.without(now).iter() {
            self.unlink(port);
        }
        for port in now.without(before).iter() {
            if self.link(port).is_err() {
                again = Some(RECOVER_MS);
            }
        }
        Ok(again)
    }

    /// A link leads to `port`.
    fn link(self: &Arc<Self>, port: Port) -> Result {
        if self.peer(port).lock().inbox.is_none() {
            let inbox = Inbox::new(&self.bus, self.fabric.pool()).inspect_err(|error| {
                pr_err!(
                    "adapter {} port {}: no memory for the inbox ({})\n",
                    Show(self.id),
                    Show(port),
                    error.to_errno()
                );
            })?;

            self.peer(port).lock().inbox = Some(inbox);
        }
        self.set_linked(|linked| linked.insert(port));
        self.input(port, Input::LinkUp);
        Ok(())
    }

    /// No link leads to `port`.
    pub(super) fn unlink(self: &Arc<Self>, port: Port) {
        self.set_linked(|linked| linked.remove(port));
        self.peer_counters(port).link_downs.count();
        self.input(port, Input::LinkDown);
    }

    fn set_linked(&self, change: impl FnOnce(&mut PortSet)) {
        let mut linked = self.linked();

        change(&mut linked);
        self.linked.store(linked.bits().into(), Relaxed);
    }

    /// Takes the boot words that have come.
    fn take_words(self: &Arc<Self>) -> Result<Option<u64>> {
        for _ in 0..WORDS_A_PASS {
            let Some((port, word)) = self.with_hw(|hw| hw.take_word())? else {
                return Ok(None);
            };

            self.counters.words_rx.count();
            if !self.ports.contains(port) {
                continue;
            }
            if !self.linked().contains(port) {
                // The peer was quicker than the news of its link.
                self.look_at_links()?;
            }
            let boot = self.peer(port).lock().word_came(word);

            match boot {
                Ok(Some(boot)) => self.input(port, Input::Boot(boot)),
                Ok(None) => {}
                Err(_) => self.peer_counters(port).decode_errors.count(),
            }
        }
        Ok(Some(0))
    }

    /// Serves one peer.
    fn serve(self: &Arc<Self>, port: Port) -> Option<u64> {
        let mut again = self.drain(port);
        let now = now_ms();
        let (deadline, beat) = {
            let peer = self.peer(port).lock();

            (peer.deadline(), peer.heard_beat())
        };

        if deadline.is_some_and(|deadline| deadline <= now) {
            if let Some(beat) = beat {
                self.input(port, Input::Beat(beat));
            }
            self.input(port, Input::Tick);
        }
        again = earliest(again, self.send_words(port));
        again = earliest(again, self.pump(port));
        let deadline = self.peer(port).lock().deadline();

        earliest(again, deadline.map(|at| at.saturating_sub(now_ms())))
    }

    /// Takes what is in the inbox of the peer behind `port`.
    fn drain(self: &Arc<Self>, port: Port) -> Option<u64> {
        let mut taken: u32 = 0;

        while taken < ENTRIES {
            let (received, state) = {
                let mut peer = self.peer(port).lock();

                (peer.receive(), peer.state())
            };

            match received {
                Received::Nothing => break,
                Received::Hello(seq, hello) => {
                    if let Some(seq) = seq {
                        self.took(port, seq, &Message::Hello(hello));
                    }
                    self.input(port, Input::Hello(hello));
                    if state == State::Greeting && self.peer(port).lock().state() != State::Up {
                        // There is but one newest hello.
                        return None;
                    }
                }
                Received::Message(seq, message) => {
                    self.received(port, seq, &message);
                }
                Received::Nonsense(error) => {
                    self.nonsense(port, Some(error));
                    return None;
                }
                Received::Stranger => {
                    self.nonsense(port, None);
                    return None;
                }
            }
            taken = taken.saturating_add(1);
        }
        if taken != 0 && self.peer(port).lock().publish() {
            self.ring(port);
        }
        (taken >= ENTRIES).then_some(0)
    }

    /// An entry was taken from the inbox of the peer behind `port`.
    fn took(&self, port: Port, seq: u32, message: &Message) {
        self.peer_counters(port).messages_rx.count();
        trace::msg_rx(
            self.id.get().into(),
            port.get().into(),
            message.kind(),
            seq,
            payload_bytes(message),
        );
    }

    /// Passes a message on.
    fn received(self: &Arc<Self>, port: Port, seq: u32, message: &Message) {
        self.took(port, seq, message);
        match message {
            Message::Goodbye => self.input(port, Input::Goodbye),
            _ if self.peer(port).lock().told.is_some() => {
                self.fabric.events().message(self, port, message);
            }
            _ => {}
        }
    }

    /// The peer has put something into the inbox that it must not.
    fn nonsense(self: &Arc<Self>, port: Port, error: Option<RingError>) {
        self.peer_counters(port).decode_errors.count();
        match error {
            Some(error) => self.say(port, fmt!("{}", Show(error))),
            None => self.say(port, fmt!("a message of another session")),
        }
        self.input(port, Input::BadMessage);
    }

    /// Sends what is left of the boot words.
    fn send_words(&self, port: Port) -> Option<u64> {
        let mut peer = self.peer(port).lock();

        while let Some(word) = peer.next_word() {
            match self.with_hw(|hw| hw.send_word(port, word)) {
                Ok(Sent::Sent) => {
                    self.counters.words_tx.count();
                    peer.word_sent();
                }
                Ok(Sent::Full) | Err(_) => return Some(RETRY_MS),
            }
        }
        None
    }

    /// Sends what waits for room.
    fn pump(self: &Arc<Self>, port: Port) -> Option<u64> {
        let mut count: u32 = 0;
        let (result, room) = {
            let mut peer = self.peer(port).lock();
            let result = peer.pump(|seq, message| {
                self.sent(port, seq, message);
                count = count.saturating_add(1);
            });

            (result, peer.take_room())
        };

        if count != 0 {
            self.ring(port);
        }
        if let Err(error) = result {
            self.nonsense(port, Some(error));
            return None;
        }
        if room {
            self.fabric.events().room(self, port);
        }
        (self.peer(port).lock().queued() != 0).then_some(RETRY_MS)
    }
}

/// The earlier of two times, if there are any.
fn earliest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
