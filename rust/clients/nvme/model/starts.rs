// SPDX-License-Identifier: GPL-2.0
//! Which start of a controller a node's queues are of, and when they are to be made anew.
//!
//! A reset takes all queues. The owner counts the starts of the controller and tells everybody of a new one, and its number is in
//! all that it says. What it tells may get lost. So whoever learns the number, in whatever way and however often, notes it here:
//! queues are made once for each start, and who waits for the owner for too long asks it.
//!
//! # Locking
//!
//! None of its own: one user at a time.

/// What a node has heard of a controller's starts, and what it has made of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starts {
    /// The start that was heard of last.
    heard: u32,
    /// The one for which queues were made, or tried to.
    made: u32,
    /// When the owner is asked, if it is waited for: milliseconds of some clock.
    ask_ms: Option<u64>,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Queues, for this start and no other.
    Make(u32),
    /// To ask the owner for a reset of this start: it has said nothing for too long. If that start is over it refuses, and tells the
    /// number of the present one.
    Ask(u32),
}

impl Starts {
    /// Of a node that makes queues for this start.
    pub fn new(start: u32) -> Self {
        Self {
            heard: start,
            made: start,
            ask_ms: None,
        }
    }

    /// The controller runs, in this start.
    pub fn heard(&mut self, start: u32) {
        self.heard = start;
    }

    /// The owner is waited for: it is asked at `ask_ms` unless it tells of another start before.
    pub fn wait(&mut self, ask_ms: u64) {
        self.ask_ms = Some(ask_ms);
    }

    /// Whether the owner is waited for.
    pub fn waits(&self) -> bool {
        self.ask_ms.is_some()
    }

    /// What there is to do now, which the caller does before it asks again.
    pub fn due(&mut self, now_ms: u64) -> Due {
        if self.heard != self.made {
            self.made = self.heard;
            self.ask_ms = None;
            return Due::Make(self.made);
        }
        match self.ask_ms {
            Some(ask_ms) if ask_ms <= now_ms => {
                self.ask_ms = None;
                Due::Ask(self.made)
            }
            _ => Due::Nothing,
        }
    }

    /// The start whose queues the node has, or waits to be rid of.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Whether another start was heard of.
    pub fn is_over(&self) -> bool {
        self.heard != self.made
    }
}
