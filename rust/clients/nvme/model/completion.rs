// SPDX-License-Identifier: GPL-2.0
//! Completions as they lie in a completion queue (base specification, 3.3.3.2).

/// Bytes of an entry of a completion queue.
pub const ENTRY: usize = 16;

/// Where the word with phase, status and identifier is in an entry: whoever has seen its phase change may read the others.
pub const LAST: usize = 12;

/// How a command ended: bits 7:0 are the status code, 10:8 its type, 14 "do not retry".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

/// What a status means for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went well.
    Good,
    /// The controller cannot do that.
    NotSupported,
    /// The blocks are not on the disk, or there is no room for them.
    NoSpace,
    /// The disk has lost what was there.
    Medium,
    /// It was aborted: by us, or since its queue went away.
    Aborted,
    /// The namespace is not ready now.
    NotReady,
    /// Anything else.
    Failed,
}

impl Status {
    /// Whether it went well.
    pub fn good(self) -> bool {
        self.outcome() == Outcome::Good
    }

    /// What it means.
    pub fn outcome(self) -> Outcome {
        match self.0 & 0x7ff {
            0x000 => Outcome::Good,
            0x001 | 0x00a => Outcome::NotSupported,
            0x080 | 0x081 => Outcome::NoSpace,
            0x007 | 0x008 => Outcome::Aborted,
            0x082 => Outcome::NotReady,
            0x280 | 0x281 | 0x286 | 0x287 => Outcome::Medium,
            _ => Outcome::Failed,
        }
    }
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What the command gives back.
    pub result: u32,
    /// Where the controller reads submissions next.
    pub submission_head: u16,
    /// Which command it is of.
    pub id: u16,
    /// How it ended.
    pub status: Status,
}

impl Completion {
    /// Of the first, the third and the last word of an entry.
    pub fn read(first: u32, third: u32, last: u32) -> Self {
        // CAST: The low halves.
        Self {
            result: first,
            submission_head: third as u16,
            id: last as u16,
            status: Status((last >> 17) as u16),
        }
    }
}
