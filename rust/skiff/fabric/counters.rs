// SPDX-License-Identifier: GPL-2.0

//! Counters: what has happened since the adapter was found.
//!
//! # Locking
//!
//! None. Each counter is an atomic number of its own, so that readers may see one of two that go together.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Counts up, for ever; wraps after 2^64.
pub(crate) struct Counter(Atomic<u64>);

impl Counter {
    /// Nothing has happened.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// One more.
    pub(crate) fn count(&self) {
        self.0.add(1u64, Relaxed);
    }

    /// How often it was counted.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What happened between an adapter and the peer behind one port.
pub(crate) struct PeerCounters {
    /// Messages put into the peer's inbox.
    pub(crate) messages_tx: Counter,
    /// Messages taken from the own inbox that were what they should be.
    pub(crate) messages_rx: Counter,
    /// Messages that found the ring full and waited.
    pub(crate) queued: Counter,
    /// Messages that found the waiting queue full and were refused.
    pub(crate) refused: Counter,
    /// Entries and indices of the ring that were not what they should be.
    pub(crate) decode_errors: Counter,
    /// Sessions that ended for another reason than the link.
    pub(crate) session_resets: Counter,
    /// Sessions that ended because the peer's heartbeat stood still.
    pub(crate) hung: Counter,
    /// How often the link went down.
    pub(crate) link_downs: Counter,
    /// How often the peer came up.
    pub(crate) ups: Counter,
}

impl PeerCounters {
    pub(super) const fn new() -> Self {
        Self {
            messages_tx: Counter::new(),
            messages_rx: Counter::new(),
            queued: Counter::new(),
            refused: Counter::new(),
            decode_errors: Counter::new(),
            session_resets: Counter::new(),
            hung: Counter::new(),
            link_downs: Counter::new(),
            ups: Counter::new(),
        }
    }
}

/// What happened at an adapter.
pub(crate) struct AdapterCounters {
    /// How often its worker ran.
    pub(crate) wakeups: Counter,
    /// Slots pointed at something.
    pub(crate) slots_set: Counter,
    /// Slots made to lead nowhere.
    pub(crate) slots_cleared: Counter,
    /// Doorbells rung.
    pub(crate) rings: Counter,
    /// Boot words that the hardware took.
    pub(crate) words_tx: Counter,
    /// Boot words that came.
    pub(crate) words_rx: Counter,
    /// Errors that the hardware reported of itself.
    pub(crate) errors: Counter,
}

impl AdapterCounters {
    pub(super) const fn new() -> Self {
        Self {
            wakeups: Counter::new(),
            slots_set: Counter::new(),
            slots_cleared: Counter::new(),
            rings: Counter::new(),
            words_tx: Counter::new(),
            words_rx: Counter::new(),
            errors: Counter::new(),
        }
    }
}
