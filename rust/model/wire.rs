// SPDX-License-Identifier: GPL-2.0
//! The wire format, the only definition of it: boot words, and the messages that entries of a ring carry.
//!
//! Numbers are little endian. An entry is copied out of shared memory once and decoded here; whatever the decoder lets through
//! is in range. A peer's entry that it does not let through ends the session.

use core::fmt;

use crate::addr::BusAddr;
use crate::addr::EXTENTS_MAX;
use crate::ids::AdapterId;
use crate::ids::BorrowId;
use crate::ids::ChannelId;
use crate::ids::DeviceIndex;
use crate::ids::Generation;
use crate::ids::Gid;
use crate::ids::LeaseId;
use crate::ids::NodeId;
use crate::ids::RequestId;
use crate::ids::SegmentId;
use crate::ids::SessionId;
use crate::ids::Uid;
use crate::ntb::CacheMode;
use crate::ntb::WindowClass;
use crate::ntb::SLOTS_MAX;

mod boot;
mod bytes;
mod client;
mod code;
mod extents;
mod kind;
mod lend;

pub use boot::Boot;
pub use boot::BootAssembler;
pub use boot::BootWord;
pub use boot::Nonce;
pub use boot::FRAME_LIMIT;
pub use client::ClientBytes;
pub use client::CLIENT_BYTES;
pub use extents::Extents;
pub use lend::Contained;
pub use lend::DeviceAnswer;
pub use lend::DeviceInfo;
pub use lend::DeviceMemory;
pub use lend::DeviceOp;
pub use lend::DeviceState;
pub use lend::MapWhat;
pub use lend::Mastering;
pub use lend::Raw;
pub use lend::Share;
pub use lend::Width;
pub use lend::BARS;
pub use lend::CLASS_BITS;
pub use lend::CONFIG_BYTES;
pub use lend::MSIX_MAX;
pub use lend::VECTORS_MAX;

/// Bytes of an entry of a ring.
pub const ENTRY_BYTES: usize = 256;

/// Bytes of its header: session, seq, kind, length, a reserved word.
pub const HEADER_BYTES: usize = 16;

/// Bytes that a message may have at most.
pub const PAYLOAD_BYTES: usize = ENTRY_BYTES - HEADER_BYTES;

/// The protocol's version that this is.
pub const VERSION: u16 = 1;

/// An entry of a ring, as it is in memory.
pub type Entry = [u8; ENTRY_BYTES];

/// Ranges that one message may carry.
pub const EXTENTS_A_MESSAGE: usize = (PAYLOAD_BYTES - code::EXTENTS_HEAD) / code::EXTENT_BYTES;

/// Permission bits that a segment may have.
pub const MODE_BITS: u32 = 0o777;

/// Why an entry is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The kind of message is none that is known.
    Kind(u16),
    /// It is not as long as messages of its kind are.
    Length,
    /// A field is out of range, or a reserved one not 0.
    Field(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "messages of kind {kind} are not known"),
            Self::Length => f.write_str("the message is not as long as its kind says"),
            Self::Field(name) => write!(f, "field {name} is out of range"),
        }
    }
}

impl core::error::Error for WireError {}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// There is no such segment that is available, or no such lease.
    NoEntry,
    /// The segment's owner, mode or list of nodes does not allow it.
    Access,
    /// No memory, or the peer has all that one peer may have.
    NoMemory,
    /// Not in this state.
    Busy,
    /// The request makes no sense.
    BadRequest,
    /// This node cannot do that.
    Unsupported,
    /// There is no room: no slots, no addresses.
    NoSpace,
    /// It must not be done, whoever asks; or the asking program lacks a capability.
    NotPermitted,
    /// The device has failed.
    Io,
    /// There is such a thing already.
    Exists,
    /// The borrow has ended.
    Ended,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load and store.
    ReadWrite,
    /// Load only.
    ReadOnly,
}

/// Which segments an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Those that programs have made.
    Programs,
    /// Those that kernels have published for one node each; no program can name them.
    Kernels,
}

/// What an owner tells the holders of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// It takes no new connections.
    Unavailable,
    /// It is removed; connections stay good.
    Removed,
}

/// The greeting, repeated until it is answered: who the sender is, and how to speak to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version that the sender speaks.
    pub version_min: u16,
    /// The newest one. Both sides speak the newest that both know.
    pub version_max: u16,
    /// The sender's life.
    pub generation: Generation,
    /// What entries for the sender must carry from now on.
    pub session: SessionId,
    /// What the receiver has told in its hello, if that has come.
    pub echo: Option<SessionId>,
    /// The sender's node number.
    pub node: NodeId,
    /// The sender's adapter.
    pub adapter: AdapterId,
    /// The sender's attempt: that of its boot words.
    pub nonce: Nonce,
    /// How far the sender is.
    pub phase: Phase,
    /// Index of the entry that is the session's first one: what the receiver reads from there on is in sequence, or the session
    /// is over. [`crate::ring::Writer::send`] fills it in.
    pub start: u32,
}

/// How far the sender of a hello is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not been echoed yet, and wants an answer.
    Greeting,
    /// It has been, and is up.
    Up,
}

impl Hello {
    /// The version that this node and the sender of this hello both speak, if there is one.
    pub fn common_version(&self) -> Option<u16> {
        (self.version_min..=self.version_max)
            .contains(&VERSION)
            .then_some(VERSION)
    }
}

/// The answer to a request to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectReply {
    /// The request.
    pub request: RequestId,
    /// What became of it; the other fields are set if it is [`Status::Ok`].
    pub granted: Result<Grant, Refused>,
}

/// Why a request was refused: any [`Status`] but [`Status::Ok`].
///
/// # Invariants
///
/// It is not [`Status::Ok`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(Status);

impl Refused {
    /// The device does not do what it should.
    pub const IO: Self = Self(Status::Io);

    /// The refusal of this status; `None` for [`Status::Ok`], which is none.
    pub const fn new(status: Status) -> Option<Self> {
        match status {
            Status::Ok => None,
            // INVARIANT: It is another one.
            _ => Some(Self(status)),
        }
    }

    /// Its status.
    pub const fn status(self) -> Status {
        self.0
    }
}

/// A connection that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The owner's name for it.
    pub lease: LeaseId,
    /// The window that the holder has to reach it through.
    pub class: WindowClass,
    /// Length of the segment in bytes, at least 1.
    pub bytes: u64,
    /// Ranges of the whole segment, 1 to [`EXTENTS_MAX`]: more than `first` are to come in [`Message::Extents`].
    pub total: u32,
    /// The first of them.
    pub first: Extents,
}

/// A segment that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub segment: SegmentId,
    /// Its owner.
    pub uid: Uid,
    /// Its permission bits.
    pub mode: u32,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The greeting; the only message of no session.
    Hello(Hello),
    /// The sender is about to go away: as if its link went down.
    Goodbye,
    /// Asks for a connection to a segment.
    ConnectRequest {
        /// The asking node's name for this.
        request: RequestId,
        /// The segment.
        segment: SegmentId,
        /// Who asks.
        uid: Uid,
        /// Their group.
        gid: Gid,
        /// What for.
        access: Access,
        /// Where to look the segment up. In that of the kernels nobody looks at user and group.
        space: Space,
    },
    /// The answer.
    ConnectReply(ConnectReply),
    /// More ranges of a segment that a [`ConnectReply`] has begun to tell.
    Extents {
        /// The request that the reply answers.
        request: RequestId,
        /// Index of the first one.
        first: u32,
        /// The ranges.
        extents: Extents,
    },
    /// The holder has let go of a lease.
    Disconnect {
        /// The lease.
        lease: LeaseId,
    },
    /// Asks for the segment with the lowest id, from one up, that somebody may connect to.
    QueryRequest {
        /// The asking node's name for this.
        request: RequestId,
        /// The lowest id to look at.
        from: SegmentId,
        /// Who asks.
        uid: Uid,
        /// Their group.
        gid: Gid,
    },
    /// The answer.
    QueryReply {
        /// The request.
        request: RequestId,
        /// What was found.
        found: Result<Found, Refused>,
    },
    /// The owner takes a lease back; the holder answers with [`Message::RevokeDone`].
    Revoke {
        /// The lease.
        lease: LeaseId,
    },
    /// No access through this lease will ever arrive again.
    RevokeDone {
        /// The lease.
        lease: LeaseId,
    },
    /// The owner tells a holder what has become of the segment.
    Notice {
        /// The holder's lease.
        lease: LeaseId,
        /// What it is.
        kind: NoticeKind,
    },
    /// After the link came back: the holder still has this lease.
    Resume {
        /// The lease.
        lease: LeaseId,
    },
    /// Whether it is still good.
    ResumeReply {
        /// The lease.
        lease: LeaseId,
        /// [`Status::Ok`], or [`Status::NoEntry`] when the owner has it no more.
        status: Status,
    },
    /// The holder has told all leases that it still has: the owner ends the others.
    ResumeEnd,
    /// Asks the owner to let a slot reach its memory; only where the owner programs slots.
    SlotSet {
        /// A slot of the sender's window.
        slot: u8,
        /// Where it shall lead.
        bus: BusAddr,
        /// How the sender will access it.
        mode: CacheMode,
    },
    /// Asks the owner to empty it.
    SlotClear {
        /// The slot.
        slot: u8,
    },
    /// The answer to both.
    SlotDone {
        /// The slot.
        slot: u8,
        /// What became of it.
        status: Status,
    },
    /// A lender tells a node that it is connected to what a device of its pool is like, and when that changes.
    Offer(DeviceInfo),
    /// A lender tells that a device is not in its pool any more, or not for the receiver to see.
    Withdraw {
        /// The device.
        index: DeviceIndex,
    },
    /// Asks the lender for a device.
    BorrowRequest {
        /// The asking node's name for this.
        request: RequestId,
        /// The device.
        index: DeviceIndex,
        /// Who asks.
        uid: Uid,
        /// Their group.
        gid: Gid,
        /// Who else may have it meanwhile.
        share: Share,
        /// Whether they may have one that nothing contains.
        raw: Raw,
    },
    /// The answer.
    BorrowReply {
        /// The request.
        request: RequestId,
        /// The lender's name for the borrow.
        granted: Result<BorrowId, Refused>,
    },
    /// A borrower asks the lender to do something with or for a device.
    DeviceRequest {
        /// The asking node's name for this.
        request: RequestId,
        /// The borrow.
        borrow: BorrowId,
        /// What to do.
        op: DeviceOp,
    },
    /// The answer.
    DeviceReply {
        /// The request.
        request: RequestId,
        /// What has come of it; which answer it is follows from what was asked.
        done: Result<DeviceAnswer, Refused>,
    },
    /// The lender has ended a borrow.
    Ended {
        /// The borrow.
        borrow: BorrowId,
    },
    /// The borrower gives a device up, whatever it still has of it.
    GivenUp {
        /// The lender's name for the borrow.
        borrow: BorrowId,
    },
    /// Somebody else who had the same device is gone without having returned it.
    SharerGone {
        /// The receiver's borrow.
        borrow: BorrowId,
    },
    /// The device has interrupted; several interrupts may have become one.
    Interrupt {
        /// The receiver's borrow.
        borrow: BorrowId,
        /// Bit n is vector n; not 0.
        vectors: u64,
    },
    /// A module of the sender has something to say to its like.
    ClientMessage {
        /// Who it is for.
        channel: ChannelId,
        /// What it says.
        bytes: ClientBytes,
    },
    /// Nobody here has the channel that a message was for.
    ClientRefused {
        /// The channel.
        channel: ChannelId,
    },
}

/// What came in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The session that it says it is of; `None` for a hello, and for a hello only.
    pub session: Option<SessionId>,
    /// Its free-running index.
    pub seq: u32,
    /// The message.
    pub message: Message,
}

impl Message {
    /// The entry that carries it, and how many bytes of that count. A hello is of no session.
    pub fn encode(&self, session: Option<SessionId>, seq: u32) -> (Entry, usize) {
        code::encode(self, session, seq)
    }

    /// The message in an entry.
    pub fn decode(entry: &Entry) -> Result<Incoming, WireError> {
        code::decode(entry)
    }
}
