// SPDX-License-Identifier: GPL-2.0

//! What a request asks for, and how it ended.

use crate::bindings;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fill its pages from the device.
    Read,
    /// Write its pages to the device.
    Write,
    /// What was written before is to outlive a loss of power.
    Flush,
    /// The contents of its ranges are not needed any more.
    Discard,
    /// Its sectors are to read as zeroes; it has no pages.
    WriteZeroes,
}

impl Op {
    /// The operation in the flags of a request, or `None` for one that no disk of this crate offers.
    pub(crate) fn of(flags: u32) -> Option<Self> {
        match flags & bindings::SKIFF_REQ_OP_MASK {
            bindings::SKIFF_REQ_OP_READ => Some(Self::Read),
            bindings::SKIFF_REQ_OP_WRITE => Some(Self::Write),
            bindings::SKIFF_REQ_OP_FLUSH => Some(Self::Flush),
            bindings::SKIFF_REQ_OP_DISCARD => Some(Self::Discard),
            bindings::SKIFF_REQ_OP_WRITE_ZEROES => Some(Self::WriteZeroes),
            _ => None,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It was done.
    Ok = 0,
    /// The device cannot do that.
    NotSupported = bindings::SKIFF_BLK_STS_NOTSUPP,
    /// The device took too long.
    Timeout = bindings::SKIFF_BLK_STS_TIMEOUT,
    /// There is no room left on the device.
    NoSpace = bindings::SKIFF_BLK_STS_NOSPC,
    /// The device says that asking again is of no use.
    Target = bindings::SKIFF_BLK_STS_TARGET,
    /// The medium is bad there.
    Medium = bindings::SKIFF_BLK_STS_MEDIUM,
    /// The data are not what their checksum says.
    Protection = bindings::SKIFF_BLK_STS_PROTECTION,
    /// Anything else.
    Io = bindings::SKIFF_BLK_STS_IOERR,
}

impl Status {
    /// As the block layer has it.
    pub(crate) fn raw(self) -> u8 {
        // CAST: The enumeration is of bytes.
        self as u8
    }
}
