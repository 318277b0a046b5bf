// SPDX-License-Identifier: GPL-2.0
//! The commands that the reader has received and the worker has not yet begun.
//!
//! One lock; the worker waits on a condition variable, the reader never waits here: it asks for room before it reads the next message.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wire::Header;

/// Commands in the queue at which the reader stops; few enough that replies behind them in the socket still come in time.
const MOST_MESSAGES: usize = 1024;
/// Bytes in the queue at which the reader stops.
const MOST_BYTES: usize = 4 << 20;

/// A command as it was received.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
    /// The reader has found no room and must be woken when there is.
    reader_waits: bool,
    closed: bool,
    /// The worker has taken one that it has not done yet.
    working: bool,
    /// How many were done.
    done: u64,
    /// How many threads wait for the worker to get on.
    watchers: usize,
}

impl Queue {
    /// How many there are that are not done.
    fn left(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX) + u64::from(self.working)
    }

    fn is_at_least(&self, part: usize) -> bool {
        self.messages.len() >= MOST_MESSAGES / part || self.bytes >= MOST_BYTES / part
    }
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// One was done that somebody watches for.
    progressed: Condvar,
}

/// How far the connection is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// How many commands were done.
    pub(crate) done: u64,
    /// How many there are that the worker has not done.
    pub(crate) left: u64,
}

/// What the worker takes out of the inbox.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) message: Message,
    /// The reader waits for room, and there is enough now.
    pub(crate) wake_reader: bool,
}

impl Inbox {
    /// Whether there is room for a message. Once it has said no, some [`Taken`] will say that the reader is to be woken.
    pub(crate) fn has_room(&self) -> bool {
        let mut queue = self.lock();
        queue.reader_waits = queue.is_at_least(1);
        !queue.reader_waits
    }

    /// Puts a message in, whether or not there is room.
    pub(crate) fn push(&self, message: Message) {
        let mut queue = self.lock();
        queue.bytes += message.payload.len();
        queue.messages.push_back(message);
        drop(queue);
        self.arrived.notify_one();
    }

    /// Whether the worker has nothing to do, nor will before the next [`Inbox::push`].
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().left() == 0
    }

    /// One was done without the worker.
    pub(crate) fn pass(&self) {
        let mut queue = self.lock();
        queue.done += 1;
        if queue.watchers > 0 {
            self.progressed.notify_all();
        }
    }

    /// Takes the oldest message, waiting for one; none when the inbox is closed and empty. What was taken before is done.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut queue = self.lock();
        if std::mem::take(&mut queue.working) {
            queue.done += 1;
            if queue.watchers > 0 {
                self.progressed.notify_all();
            }
        }
        let mut queue = self
            .arrived
            .wait_while(queue, |queue| queue.messages.is_empty() && !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let message = queue.messages.pop_front()?;
        queue.working = true;
        queue.bytes -= message.payload.len();
        let wake_reader = queue.reader_waits && !queue.is_at_least(2);
        if wake_reader {
            queue.reader_waits = false;
        }
        Some(Taken {
            message,
            wake_reader,
        })
    }

    /// How far the connection is.
    pub(crate) fn progress(&self) -> Progress {
        let queue = self.lock();
        Progress {
            done: queue.done,
            left: queue.left(),
        }
    }

    /// Waits until the worker has got on, or for `limit`.
    pub(crate) fn watch(&self, done: u64, limit: Duration) {
        let mut queue = self.lock();
        queue.watchers += 1;
        let (mut queue, _) = self
            .progressed
            .wait_timeout_while(queue, limit, |queue| queue.done == done)
            .unwrap_or_else(PoisonError::into_inner);
        queue.watchers -= 1;
    }

    /// No more messages will come; those that are there can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// No more messages will come, and those that are there are dropped.
    pub(crate) fn discard(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.bytes = 0;
        let messages = std::mem::take(&mut queue.messages);
        drop(queue);
        drop(messages);
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics half way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
