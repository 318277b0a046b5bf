// SPDX-License-Identifier: GPL-2.0

//! How often a peer may make this kernel talk: its log is not the peer's to fill.

use kernel::fmt;

/// Milliseconds of an interval.
const INTERVAL_MS: u64 = 5000;

/// Messages of an interval.
const BURST: u32 = 10;

/// Messages about one peer. Plain data, under the peer's lock.
pub(super) struct Said {
    since_ms: u64,
    count: u32,
    /// Messages that were left out since the last one.
    missed: u32,
}

/// What to add to a message: how many before it were left out.
pub(super) struct Missed(u32);

impl Said {
    /// Nothing was said.
    pub(super) const fn new() -> Self {
        Self {
            since_ms: 0,
            count: 0,
            missed: 0,
        }
    }

    /// Whether there may be a message at `now_ms`; it is counted.
    pub(super) fn may(&mut self, now_ms: u64) -> Option<Missed> {
        if now_ms.saturating_sub(self.since_ms) >= INTERVAL_MS {
            self.since_ms = now_ms;
            self.count = 0;
        }
        if self.count >= BURST {
            self.missed = self.missed.saturating_add(1);
            return None;
        }
        self.count = self.count.saturating_add(1);
        Some(Missed(core::mem::replace(&mut self.missed, 0)))
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} messages before were left out)"),
        }
    }
}
