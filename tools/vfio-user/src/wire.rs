// SPDX-License-Identifier: GPL-2.0
//! Every message of the protocol as a plain value with its layout; no I/O, no state.
//!
//! Layouts are those of libvfio-user's docs/vfio-user.rst and, where the two differ, of QEMU's hw/vfio-user/protocol.h; all fields are little
//! endian. Decoding is total: any bytes give a value or a [`WireError`], and what is allocated is bounded by the bytes that are there.

mod bytes;
mod dma;
mod header;
mod info;
mod irq;
mod region;
mod request;
mod version;

pub use dma::{DmaData, DmaMapMessage, DmaRange, DmaUnmapMessage};
pub use header::{Command, Header, Kind, Reply};
pub use info::{DeviceInfoMessage, IrqInfoMessage, RegionInfoMessage};
pub use irq::{IrqDataKind, SetIrqsMessage};
pub use region::{RegionData, RegionRange, RegionWriteMulti, SmallWrite, MULTI_DATA, MULTI_MAX};
pub use request::Request;
pub use version::{Capabilities, Version, MAX_VERSION_TEXT};

use thiserror::Error;

/// Major version of the protocol that is spoken here (VFIO_USER_MAJOR_VER).
pub const MAJOR: u16 = 0;
/// Minor version of the protocol that is spoken here.
pub const MINOR: u16 = 0;
/// Length of every message's header in bytes.
pub const HEADER_SIZE: usize = 16;

/// Why bytes are not the message that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// The message ends before its last field.
    #[error("the message is too short")]
    Short,
    /// The message is longer than its fields say.
    #[error("the message is too long")]
    Long,
    /// A size or count field contradicts the message.
    #[error("a size or count field is wrong")]
    Size,
    /// A field has a value that the protocol does not know.
    #[error("a field has an unknown value")]
    Value,
    /// The range that the message names overflows.
    #[error("the range overflows")]
    Range,
    /// The text of the version message is not valid.
    #[error("the version text is not valid JSON")]
    Text,
    /// The command number is not known, or not one that a client sends.
    #[error("unknown command {0}")]
    Command(u16),
}
