// SPDX-License-Identifier: GPL-2.0
//! The registers of a controller in BAR 0 (base specification, 3.1).

use crate::doorbell::Stride;
use crate::Wrong;

/// Controller capabilities, 64 bits, read as two halves.
pub const CAP: u32 = 0x00;
/// Version.
pub const VS: u32 = 0x08;
/// Controller configuration.
pub const CC: u32 = 0x14;
/// Controller status.
pub const CSTS: u32 = 0x1c;
/// Entries of the admin queues.
pub const AQA: u32 = 0x24;
/// Where the admin submission queue is, 64 bits.
pub const ASQ: u32 = 0x28;
/// Where the admin completion queue is, 64 bits.
pub const ACQ: u32 = 0x30;

/// What loads give when there is no device.
pub const GONE: u32 = u32::MAX;

/// CC: enabled, NVM command set, pages of 4 KiB, submission entries of 2^6 and completion entries of 2^4 bytes.
pub const CC_START: u32 = 1 | (6 << 16) | (4 << 20);
/// CC: stopped.
pub const CC_STOP: u32 = 0;
/// CC: what of a running controller's configuration must be kept to shut it down.
pub const CC_SHUTDOWN: u32 = CC_START | (1 << 14);

/// What a controller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Entries that a queue may have, at least 2.
    pub entries: u32,
    /// Milliseconds that it may take to get ready or to stop, 500 at least.
    pub patience: u32,
    /// Where its doorbells are.
    pub stride: Stride,
}

impl Capabilities {
    /// Of the two halves of CAP.
    pub fn read(low: u32, high: u32) -> Result<Self, Wrong> {
        if (low, high) == (GONE, GONE) {
            return Err(Wrong("there is no controller"));
        }
        if high & (1 << 5) == 0 {
            return Err(Wrong("it has no NVM command set"));
        }
        if (high >> 16) & 0xf != 0 {
            return Err(Wrong("it has no pages of 4 KiB"));
        }
        let entries = (low & 0xffff) + 1;
        if entries < 2 {
            return Err(Wrong("its queues have one entry"));
        }
        // CAST: Eight and four bits.
        Ok(Self {
            entries,
            patience: 500 * (low >> 24).max(1),
            stride: Stride::of((high & 0xf) as u8),
        })
    }
}

/// How it stands with a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes no commands.
    Stopped,
    /// It takes commands.
    Ready,
    /// It has failed and has to be reset.
    Failed,
    /// It is not there.
    Gone,
}

impl State {
    /// Of CSTS.
    pub fn read(status: u32) -> Self {
        match status {
            GONE => Self::Gone,
            _ if status & 2 != 0 => Self::Failed,
            _ if status & 1 != 0 => Self::Ready,
            _ => Self::Stopped,
        }
    }
}

/// Whether CSTS says that a shutdown is over.
pub fn is_shut_down(status: u32) -> bool {
    (status >> 2) & 3 == 2
}

/// AQA for admin queues of so many entries each.
pub fn admin_queues(entries: u16) -> u32 {
    let last = u32::from(entries.saturating_sub(1)) & 0xfff;
    last | (last << 16)
}
