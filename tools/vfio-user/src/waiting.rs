// SPDX-License-Identifier: GPL-2.0
//! The server's own requests that wait for the client's answer, and whether the client still answers.
//!
//! One lock over the table; each waiting thread has a channel of its own. Time-outs and answers are told apart under the lock, so that an
//! answer which comes at the moment of the time-out either counts or clears the stall that the time-out caused.

use std::collections::hash_map::{Entry, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::client::DmaError;
use crate::wire::Command;

/// Ids from here on belong to posted writes, whose replies, should there be any, must meet nobody.
pub(crate) const POSTED_IDS: u16 = 0x8000;
/// Requests that may wait for an answer at a time, those that have given up waiting included.
const MOST_WAITING: usize = 0x4000;

/// What became of a request.
pub(crate) type Answer = Result<Vec<u8>, DmaError>;

#[derive(Debug)]
enum Waiter {
    Waits(Command, SyncSender<Answer>),
    /// Nobody waits any more, but the id is taken until the late answer has come.
    GaveUp,
}

#[derive(Debug, Default)]
struct Table {
    waiters: HashMap<u16, Waiter>,
    next: u16,
    closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    table: Mutex<Table>,
    /// An answer did not come in time and nothing has come since. Written under the lock.
    stalled: AtomicBool,
}

/// A request that has an id and may be sent.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    waiting: &'a Waiting,
    pub(crate) id: u16,
    answer: Receiver<Answer>,
}

impl Waiting {
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Gives an id to a request that is about to be sent.
    pub(crate) fn begin(&self, command: Command) -> Result<Ticket<'_>, DmaError> {
        let mut table = self.lock();
        if table.closed {
            return Err(DmaError::Disconnected);
        }
        if self.is_stalled() || table.waiters.len() >= MOST_WAITING {
            return Err(DmaError::Stalled);
        }
        let (sender, answer) = sync_channel(1);
        // Ends, as fewer ids are taken than there are.
        loop {
            let id = table.next;
            table.next = (id + 1) % POSTED_IDS;
            if let Entry::Vacant(entry) = table.waiters.entry(id) {
                entry.insert(Waiter::Waits(command, sender));
                return Ok(Ticket {
                    waiting: self,
                    id,
                    answer,
                });
            }
        }
    }

    /// The client has sent a command: it lives.
    pub(crate) fn alive(&self) {
        if self.is_stalled() {
            let _table = self.lock();
            self.stalled.store(false, Ordering::Relaxed);
        }
    }

    /// The client has answered. An id that nobody knows, or with another command, is dropped.
    pub(crate) fn answered(&self, id: u16, command: u16, answer: Answer) {
        let mut table = self.lock();
        self.stalled.store(false, Ordering::Relaxed);
        if let Some(Waiter::Waits(expected, _)) = table.waiters.get(&id) {
            if *expected as u16 != command {
                return;
            }
        }
        if let Some(Waiter::Waits(_, sender)) = table.waiters.remove(&id) {
            // The channel has room for the one answer; the receiver lives until its ticket has left the table.
            let _ = sender.try_send(answer);
        }
    }

    /// The client is gone: everybody who waits is told.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        table.waiters.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Takes the request back: it was not sent.
    pub(crate) fn cancel(self) {
        self.waiting.lock().waiters.remove(&self.id);
    }

    /// Waits for the answer until `deadline`.
    pub(crate) fn wait(self, deadline: Instant) -> Answer {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.answer.recv_timeout(left) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(DmaError::Disconnected),
            Err(RecvTimeoutError::Timeout) => self.give_up(),
        }
    }

    fn give_up(self) -> Answer {
        let mut table = self.waiting.lock();
        if let Ok(answer) = self.answer.try_recv() {
            return answer;
        }
        if table.closed {
            return Err(DmaError::Disconnected);
        }
        table.waiters.insert(self.id, Waiter::GaveUp);
        self.waiting.stalled.store(true, Ordering::Relaxed);
        Err(DmaError::Timeout)
    }
}
