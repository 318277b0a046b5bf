// SPDX-License-Identifier: GPL-2.0
//! What a session is told and what it says.

use core::fmt;

use crate::ids::AdapterId;
use crate::ids::Generation;
use crate::ids::NodeId;
use crate::ids::Port;
use crate::ids::SessionId;
use crate::wire::Boot;
use crate::wire::Hello;
use crate::wire::Nonce;

/// Who this side is.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// This node's life.
    pub generation: Generation,
    /// This node.
    pub node: NodeId,
    /// The adapter of the pair.
    pub adapter: AdapterId,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A link leads to the peer.
    LinkUp,
    /// None does.
    LinkDown,
    /// The peer has told where its inbox is. To be fed before what is in the own inbox.
    Boot(Boot),
    /// A hello in the own inbox: from [`crate::ring::Reader::greet`], or a message if the session is up.
    Hello(Hello),
    /// The peer says that it goes away.
    Goodbye,
    /// The peer's part of the rings makes no sense.
    BadMessage,
    /// Who the peer says it is cannot be.
    Refused,
    /// The peer's beat counter. To be fed before [`Input::Tick`].
    Beat(u32),
    /// Time has gone by.
    Tick,
    /// This side goes away for good.
    Stop,
}

/// What to do, in the order in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Empty the own inbox, and look for hellos in it.
    NewInbox,
    /// Send the boot words of the own inbox with this nonce. Words of an attempt before that could not be sent yet are void.
    SendBoot(Nonce),
    /// Reach the inbox that the peer has told, if that is not done already. If it cannot be done now, it will be said again.
    OpenOutbox(Boot),
    /// The peer's inbox is not where it was: let go of it.
    CloseOutbox,
    /// Send this, if there is an outbox.
    SendHello(Hello),
    /// Send [`crate::wire::Message::Goodbye`].
    SendGoodbye,
    /// The peer can be talked to.
    Up {
        /// Who it says it is.
        peer: Peer,
        /// What is new about it.
        life: Life,
    },
    /// It cannot be any more. Nothing that was sent since [`Action::Up`] is known to have arrived.
    Down(Reason),
    /// Count the beat in the peer's inbox up, and store both indices again: what the fabric may have lost is found out so.
    Beat,
    /// The peer is another adapter of this very node.
    Own,
    /// The peer speaks no version of the protocol that this side does.
    Incompatible(Hello),
}

/// Who a peer says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its life.
    pub generation: Generation,
    /// What messages to it must carry.
    pub session: SessionId,
    /// Its node.
    pub node: NodeId,
    /// Its adapter.
    pub adapter: AdapterId,
}

impl Peer {
    /// Whether it can be what the hardware has found behind `port`: a node's number is the port of its adapter 0.
    pub fn may_be_behind(&self, port: Port) -> bool {
        self.adapter.get() != 0 || self.node.get() == u32::from(port.get())
    }
}

/// Whether a peer that came up is the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It has not been up before, or has booted anew: everything of the former one is over.
    New,
    /// It is the same.
    Resumed,
}

/// Why a peer is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The link is.
    Link,
    /// It said so.
    Goodbye,
    /// It has started anew.
    Restarted,
    /// It sent nonsense.
    BadMessage,
    /// It claims to be somebody that it cannot be.
    Refused,
    /// Nothing has come from it for too long.
    Hung,
    /// This side stops.
    Stopped,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "the link is down",
            Self::Goodbye => "it said goodbye",
            Self::Restarted => "it has started anew",
            Self::BadMessage => "it sent nonsense",
            Self::Refused => "it claims to be somebody else",
            Self::Hung => "it gives no sign of life",
            Self::Stopped => "this node stops",
        })
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No link.
    Down,
    /// The peer is left alone for a while.
    Quiet,
    /// Hellos are under way: [`crate::ring::Reader::greet`] reads the ring.
    Greeting,
    /// [`crate::ring::Reader::take`] reads the ring.
    Up,
    /// The peer is an adapter of this very node.
    Own,
    /// Stopped for good.
    Stopped,
}
