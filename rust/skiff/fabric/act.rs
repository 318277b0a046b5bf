// SPDX-License-Identifier: GPL-2.0

//! What a session wants done: boot words, greetings, and the news of a peer that came or went.
//!
//! When a peer goes, this order holds: no new way to it and no new slot, then [`Events::peer_cut`](super::Events::peer_cut),
//! by which all use of the slots ends, then the slots are emptied, and only then is anybody told.
//!
//! # Locking
//!
//! As in [`worker`](super::worker), whose thread this runs on. A peer's lock is not held while something is done for it.

use super::{
    peer::Posted,
    ring::Outbox,
    slots::Reach,
    Adapter,
    Link, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    show::Show,
    trace,
    work::now_ms, //
};
use skiff_model::{
    ids::Port,
    session::{
        Action,
        Input,
        Life,
        Peer as Who,
        Reason,
        State, //
    },
    wire::{
        Boot,
        Hello,
        Message, //
    },
};

impl Adapter {
    /// Tells the session of the peer behind `port` what was seen, and does what it wants.
    pub(super) fn input(self: &Arc<Self>, port: Port, input: Input) {
        let actions = self.peer(port).lock().feed(input, now_ms());

        for action in actions.iter() {
            self.act(port, action);
        }
        // A peer that is up was announced by the action.
        match self.peer(port).lock().state() {
            State::Up => {}
            State::Greeting | State::Quiet => self.set_link(port, Link::Greeting),
            State::Down | State::Own | State::Stopped => self.set_link(port, Link::Down),
        }
    }

    fn set_link(&self, port: Port, link: Link) {
        // Only what is up can be refused.
        let _ = self.fabric.set_link(self.id, port, link);
    }

    fn act(self: &Arc<Self>, port: Port, action: Action) {
        match action {
            Action::NewInbox => self.peer(port).lock().new_inbox(),
            Action::SendBoot(nonce) => self.peer(port).lock().set_boot(nonce),
            Action::OpenOutbox(boot) => self.open_outbox(port, boot),
            Action::CloseOutbox => self.close_outbox(port),
            Action::SendHello(hello) => self.greet(port, &Message::Hello(hello)),
            Action::SendGoodbye => self.greet(port, &Message::Goodbye),
            Action::Up { peer, life } => self.up(port, peer, life),
            Action::Down(reason) => self.down(port, reason),
            Action::Beat => self.peer(port).lock().beat(),
            Action::Own => self.say(port, fmt!("another adapter of this node")),
            Action::Incompatible(hello) => self.incompatible(port, &hello),
        }
    }

    fn incompatible(&self, port: Port, hello: &Hello) {
        self.say(
            port,
            fmt!(
                "node {} speaks versions {} to {} of the protocol, this node does not",
                Show(hello.node),
                hello.version_min,
                hello.version_max
            ),
        );
    }

    /// Reaches the peer's inbox.
    fn open_outbox(self: &Arc<Self>, port: Port, boot: Boot) {
        if self.peer(port).lock().reaches(boot) {
            return;
        }
        self.slots().lock().set_reach(port, Reach::Ring);
        match Outbox::open(self, port, boot) {
            Ok(outbox) => {
                let former = self.peer(port).lock().set_outbox(Some(outbox));

                drop(former);
            }
            // It will be tried again; nothing else can be said of it, for the address is the peer's.
            Err(_) => self.counters.errors.count(),
        }
    }

    /// Lets go of the peer's inbox. The slot is emptied now if nobody was told of the peer, else when all have let go.
    fn close_outbox(&self, port: Port) {
        let (former, told) = {
            let mut peer = self.peer(port).lock();

            (peer.set_outbox(None), peer.told)
        };

        drop(former);
        if told.is_none() {
            self.empty_slots(port);
        }
    }

    /// Writes a message of the session itself.
    pub(super) fn greet(&self, port: Port, message: &Message) {
        let posted = self.peer(port).lock().write_greeting(message);

        match posted {
            Posted::Written(seq) => self.sent(port, seq, message),
            // Whatever is there is to be read.
            Posted::Queued | Posted::Refused => {}
            Posted::Down => return,
        }
        self.ring(port);
    }

    /// The peer can be talked to.
    fn up(self: &Arc<Self>, port: Port, who: Who, life: Life) {
        let Who {
            node, generation, ..
        } = who;

        if !who.may_be_behind(port)
            || !self
                .fabric
                .set_link(self.id, port, Link::Up { node, generation })
        {
            self.say(
                port,
                fmt!(
                    "somebody who cannot be node {}, generation {}",
                    Show(node),
                    Show(generation)
                ),
            );
            self.input(port, Input::Refused);
            return;
        }
        let resumed = life == Life::Resumed;

        self.peer(port).lock().told = Some(node);
        self.slots().lock().set_reach(port, Reach::All);
        self.peer_counters(port).ups.count();
        self.say(
            port,
            fmt!(
                "node {} is up (generation {})",
                Show(node),
                Show(generation)
            ),
        );
        trace::peer_up(
            self.id.get().into(),
            port.get().into(),
            node.get(),
            generation.get(),
            resumed,
        );
        self.fabric
            .events()
            .peer_up(self, port, node, generation, resumed);
    }

    /// The peer cannot be talked to any more.
    fn down(self: &Arc<Self>, port: Port, reason: Reason) {
        let told = self.peer(port).lock().told.take();
        let counters = self.peer_counters(port);

        match reason {
            Reason::Link | Reason::Goodbye | Reason::Stopped => {}
            Reason::Hung => counters.hung.count(),
            Reason::Restarted | Reason::BadMessage | Reason::Refused => {
                counters.session_resets.count();
            }
        }
        self.set_link(port, Link::Greeting);
        let Some(node) = told else {
            self.empty_slots(port);
            return;
        };

        self.slots().lock().set_reach(port, Reach::Nobody);
        self.fabric.events().peer_cut(self, port);
        self.empty_slots(port);
        self.say(port, fmt!("node {} is down: {}", Show(node), Show(reason)));
        trace::peer_down(self.id.get().into(), port.get().into(), node.get());
        self.fabric.events().peer_down(self, port, node);
    }

    /// Writes a line about the peer behind `port` into the kernel's log, unless there were too many.
    pub(super) fn say(&self, port: Port, what: fmt::Arguments<'_>) {
        let said = self.peer(port).lock().said.may(now_ms());

        if let Some(missed) = said {
            pr_info!(
                "adapter {} port {}: {what}{missed}\n",
                Show(self.id),
                Show(port)
            );
        }
    }
}
