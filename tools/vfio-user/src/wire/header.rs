// SPDX-License-Identifier: GPL-2.0
//! The header that every message begins with, and the command numbers.

use super::bytes::{Input, Output};
use super::{WireError, HEADER_SIZE};

/// A command that this side knows (VFIO_USER_* in docs/vfio-user.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Command {
    /// First message of a connection: versions and capabilities.
    Version = 1,
    /// A piece of the client's memory can be reached.
    DmaMap = 2,
    /// A piece of the client's memory can no longer be reached.
    DmaUnmap = 3,
    /// Ask for the shape of the device.
    DeviceGetInfo = 4,
    /// Ask about one region.
    DeviceGetRegionInfo = 5,
    /// Ask for the ioeventfds of one region.
    DeviceGetRegionIoFds = 6,
    /// Ask about one interrupt index.
    DeviceGetIrqInfo = 7,
    /// Set up, mask or fire interrupts.
    DeviceSetIrqs = 8,
    /// Read from a region.
    RegionRead = 9,
    /// Write to a region.
    RegionWrite = 10,
    /// Server to client: read from the bus.
    DmaRead = 11,
    /// Server to client: write to the bus.
    DmaWrite = 12,
    /// Reset the device.
    DeviceReset = 13,
    /// Several small writes to regions at once.
    RegionWriteMulti = 15,
}

impl Command {
    const ALL: [Self; 14] = [
        Self::Version,
        Self::DmaMap,
        Self::DmaUnmap,
        Self::DeviceGetInfo,
        Self::DeviceGetRegionInfo,
        Self::DeviceGetRegionIoFds,
        Self::DeviceGetIrqInfo,
        Self::DeviceSetIrqs,
        Self::RegionRead,
        Self::RegionWrite,
        Self::DmaRead,
        Self::DmaWrite,
        Self::DeviceReset,
        Self::RegionWriteMulti,
    ];

    /// The command of this number, if it is a known one.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|command| *command as u16 == number)
    }
}

/// Whether the sender of a command waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It does.
    Wanted,
    /// It does not, not even for an error (VFIO_USER_NO_REPLY).
    Unwanted,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It asks for something.
    Command(Reply),
    /// It answers the command with the same id.
    Reply,
    /// It says that the command with the same id failed, and why.
    ErrorReply {
        /// A Linux error number.
        errno: u32,
    },
}

/// What every message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the sender of a command, repeated in the reply. Each direction has its own.
    pub id: u16,
    /// Number of the command; see [`Command`].
    pub command: u16,
    /// Length of the message in bytes with this header, at least [`HEADER_SIZE`].
    pub size: u32,
    /// Command or reply.
    pub kind: Kind,
}

const TYPE_MASK: u32 = 0xf;
const TYPE_COMMAND: u32 = 0;
const TYPE_REPLY: u32 = 1;
const FLAG_NO_REPLY: u32 = 1 << 4;
const FLAG_ERROR: u32 = 1 << 5;

impl Header {
    /// Lays the header out.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let (flags, errno) = match self.kind {
            Kind::Command(Reply::Wanted) => (TYPE_COMMAND, 0),
            Kind::Command(Reply::Unwanted) => (TYPE_COMMAND | FLAG_NO_REPLY, 0),
            Kind::Reply => (TYPE_REPLY, 0),
            Kind::ErrorReply { errno } => (TYPE_REPLY | FLAG_ERROR, errno),
        };
        let mut fields = Vec::with_capacity(HEADER_SIZE);
        fields.put16(self.id);
        fields.put16(self.command);
        fields.put32(self.size);
        fields.put32(flags);
        fields.put32(errno);
        let mut out = [0; HEADER_SIZE];
        out.copy_from_slice(&fields);
        out
    }

    /// Reads a header. The command number and a size above [`HEADER_SIZE`] are for the caller to judge.
    ///
    /// # Errors
    /// The size is below [`HEADER_SIZE`], or the message is neither command nor reply.
    pub fn decode(bytes: &[u8; HEADER_SIZE]) -> Result<Self, WireError> {
        let mut input = Input::new(bytes);
        let id = input.u16()?;
        let command = input.u16()?;
        let size = input.u32()?;
        let flags = input.u32()?;
        let errno = input.u32()?;
        if usize::try_from(size).is_ok_and(|size| size < HEADER_SIZE) {
            return Err(WireError::Size);
        }
        let kind = match (flags & TYPE_MASK, flags & FLAG_ERROR != 0) {
            (TYPE_COMMAND, _) if flags & FLAG_NO_REPLY != 0 => Kind::Command(Reply::Unwanted),
            (TYPE_COMMAND, _) => Kind::Command(Reply::Wanted),
            (TYPE_REPLY, false) => Kind::Reply,
            (TYPE_REPLY, true) => Kind::ErrorReply { errno },
            _ => return Err(WireError::Value),
        };
        Ok(Self {
            id,
            command,
            size,
            kind,
        })
    }

    /// Lays out a whole message: this header, with its size set, before `payload`.
    ///
    /// # Errors
    /// The payload does not fit a message.
    pub fn message(mut self, payload: &[u8]) -> Result<Vec<u8>, WireError> {
        let size = HEADER_SIZE
            .checked_add(payload.len())
            .ok_or(WireError::Size)?;
        self.size = u32::try_from(size).map_err(|_| WireError::Size)?;
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(&self.encode());
        out.extend_from_slice(payload);
        Ok(out)
    }
}
