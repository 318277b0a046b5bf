// SPDX-License-Identifier: GPL-2.0
//! Numbers of messages and of statuses.

use super::Message;
use super::Status;
use super::WireError;

pub(super) const HELLO: u16 = 1;
pub(super) const GOODBYE: u16 = 2;
pub(super) const CONNECT_REQUEST: u16 = 16;
pub(super) const CONNECT_REPLY: u16 = 17;
pub(super) const EXTENTS: u16 = 18;
pub(super) const DISCONNECT: u16 = 19;
pub(super) const QUERY_REQUEST: u16 = 20;
pub(super) const QUERY_REPLY: u16 = 21;
pub(super) const REVOKE: u16 = 22;
pub(super) const REVOKE_DONE: u16 = 23;
pub(super) const NOTICE: u16 = 24;
pub(super) const RESUME: u16 = 25;
pub(super) const RESUME_REPLY: u16 = 26;
pub(super) const RESUME_END: u16 = 27;
pub(super) const SLOT_SET: u16 = 32;
pub(super) const SLOT_CLEAR: u16 = 33;
pub(super) const SLOT_DONE: u16 = 34;
pub(super) const OFFER: u16 = 40;
pub(super) const WITHDRAW: u16 = 41;
pub(super) const BORROW_REQUEST: u16 = 42;
pub(super) const BORROW_REPLY: u16 = 43;
pub(super) const DEVICE_REQUEST: u16 = 44;
pub(super) const DEVICE_REPLY: u16 = 45;
pub(super) const ENDED: u16 = 46;
pub(super) const SHARER_GONE: u16 = 47;
pub(super) const INTERRUPT: u16 = 48;
pub(super) const GIVEN_UP: u16 = 49;
pub(super) const CLIENT_MESSAGE: u16 = 50;
pub(super) const CLIENT_REFUSED: u16 = 51;

impl Status {
    /// Its number on the wire.
    pub const fn code(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::NoEntry => 1,
            Self::Access => 2,
            Self::NoMemory => 3,
            Self::Busy => 4,
            Self::BadRequest => 5,
            Self::Unsupported => 6,
            Self::NoSpace => 7,
            Self::NotPermitted => 8,
            Self::Io => 9,
            Self::Exists => 10,
            Self::Ended => 11,
        }
    }

    /// The status of a number of the wire.
    pub(super) fn decode(code: u32) -> Result<Self, WireError> {
        Ok(match code {
            0 => Self::Ok,
            1 => Self::NoEntry,
            2 => Self::Access,
            3 => Self::NoMemory,
            4 => Self::Busy,
            5 => Self::BadRequest,
            6 => Self::Unsupported,
            7 => Self::NoSpace,
            8 => Self::NotPermitted,
            9 => Self::Io,
            10 => Self::Exists,
            11 => Self::Ended,
            _ => return Err(WireError::Field("status")),
        })
    }
}

impl Message {
    /// Its kind, as the entry says it.
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Goodbye => GOODBYE,
            Self::ConnectRequest { .. } => CONNECT_REQUEST,
            Self::ConnectReply(_) => CONNECT_REPLY,
            Self::Extents { .. } => EXTENTS,
            Self::Disconnect { .. } => DISCONNECT,
            Self::QueryRequest { .. } => QUERY_REQUEST,
            Self::QueryReply { .. } => QUERY_REPLY,
            Self::Revoke { .. } => REVOKE,
            Self::RevokeDone { .. } => REVOKE_DONE,
            Self::Notice { .. } => NOTICE,
            Self::Resume { .. } => RESUME,
            Self::ResumeReply { .. } => RESUME_REPLY,
            Self::ResumeEnd => RESUME_END,
            Self::SlotSet { .. } => SLOT_SET,
            Self::SlotClear { .. } => SLOT_CLEAR,
            Self::SlotDone { .. } => SLOT_DONE,
            Self::Offer(_) => OFFER,
            Self::Withdraw { .. } => WITHDRAW,
            Self::BorrowRequest { .. } => BORROW_REQUEST,
            Self::BorrowReply { .. } => BORROW_REPLY,
            Self::DeviceRequest { .. } => DEVICE_REQUEST,
            Self::DeviceReply { .. } => DEVICE_REPLY,
            Self::Ended { .. } => ENDED,
            Self::SharerGone { .. } => SHARER_GONE,
            Self::Interrupt { .. } => INTERRUPT,
            Self::GivenUp { .. } => GIVEN_UP,
            Self::ClientMessage { .. } => CLIENT_MESSAGE,
            Self::ClientRefused { .. } => CLIENT_REFUSED,
        }
    }
}
