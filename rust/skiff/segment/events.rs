// SPDX-License-Identifier: GPL-2.0

//! What programs are told of an object: a bounded queue of events that drops the oldest ones.
//!
//! The object that a file stands for, or a kernel client has, owns its queue. Posting never fails and never allocates.
//!
//! # Locking
//!
//! `ring` is innermost: nothing is locked under it.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
};
use skiff_ext::{
    errno::Errno,
    fops::{
        Blocking,
        Ready, //
    },
    new_wait_queue,
    wait::WaitQueue, //
};
use skiff_model::ids::{
    AdapterId,
    NodeId, //
};

/// Events that a queue holds.
const DEPTH: usize = 64;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A local segment: a node has connected.
    Connected,
    /// A local segment: a node has disconnected.
    Disconnected,
    /// A local segment: a connection is gone without a disconnect.
    PeerLost,
    /// A connection, or a node: the link went down.
    NotOperational,
    /// A connection, or a node: the link is back.
    Operational,
    /// A connection: it is gone for good.
    Lost,
    /// A connection: its segment takes no new ones.
    Unavailable,
    /// A connection: its segment was removed.
    Removed,
    /// Events were dropped.
    Overflow,
    /// A borrowed device: the borrow has ended.
    Ended,
    /// A borrowed device: somebody else who had it is dead.
    SharerGone,
}

/// One event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// What happened.
    pub(crate) kind: EventKind,
    /// The node that it is about; `None` for an overflow.
    pub(crate) node: Option<NodeId>,
    /// The adapter that leads there; `None` for the own node.
    pub(crate) adapter: Option<AdapterId>,
    /// Events lost, for an overflow; else 1.
    pub(crate) count: u32,
}

/// Who is told that there are events, without having to wait for them.
pub(crate) trait Listener: Send + Sync {
    /// Something was posted. Called with any locks held: it must not wait.
    fn posted(&self);
}

/// How far an object is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is there.
    Alive,
    /// It is lost: what happened until then can still be read.
    Lost,
    /// It was given up: there is nothing more to read.
    Closed,
}

/// The events themselves.
struct Ring {
    /// Places, of which `length` from `head` on are taken, around the end.
    places: [Option<Event>; DEPTH],
    head: usize,
    length: usize,
    /// Events dropped since the last overflow was read.
    dropped: u32,
    end: End,
}

impl Ring {
    /// The place `distance` behind the head.
    fn index(&self, distance: usize) -> usize {
        // PANIC: Both numbers are at most DEPTH.
        (self.head + distance) % DEPTH
    }

    /// Takes the oldest event out, an overflow first.
    fn pop(&mut self) -> Option<Event> {
        if self.dropped > 0 {
            let count = core::mem::take(&mut self.dropped);
            return Some(Event {
                kind: EventKind::Overflow,
                node: None,
                adapter: None,
                count,
            });
        }
        if self.length == 0 {
            return None;
        }
        let event = self.places[self.head].take();
        self.head = self.index(1);
        self.length -= 1;
        event
    }

    /// Puts an event behind the last one.
    fn push(&mut self, event: Event) {
        if self.length == DEPTH {
            self.head = self.index(1);
            self.length -= 1;
            self.dropped = self.dropped.saturating_add(1);
        }
        let place = self.index(self.length);
        self.places[place] = Some(event);
        self.length += 1;
    }

    /// Puts back what was taken out last.
    fn unpop(&mut self, event: Event) {
        if event.kind == EventKind::Overflow {
            self.dropped = self.dropped.saturating_add(event.count);
        } else if self.length == DEPTH {
            self.dropped = self.dropped.saturating_add(1);
        } else {
            self.head = self.index(DEPTH - 1);
            self.places[self.head] = Some(event);
            self.length += 1;
        }
    }
}

/// The queue of an object.
#[pin_data]
pub(crate) struct EventQueue {
    #[pin]
    queue: WaitQueue,
    listener: SetOnce<Arc<dyn Listener>>,
    #[pin]
    ring: Mutex<Ring>,
}

impl EventQueue {
    /// An empty queue.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            queue <- new_wait_queue!(),
            listener: SetOnce::new(),
            ring <- new_mutex!(
                Ring {
                    places: [None; DEPTH],
                    head: 0,
                    length: 0,
                    dropped: 0,
                    end: End::Alive,
                },
                "EventQueue::ring"
            ),
        })
    }

    /// Has `listener` told from now on, as long as the queue is there. Error: `EBUSY` when somebody is.
    pub(crate) fn listen(&self, listener: Arc<dyn Listener>) -> Result {
        self.listener.populate(listener).then_some(()).ok_or(EBUSY)
    }

    /// Tells an event.
    pub(crate) fn post(&self, kind: EventKind, node: NodeId, adapter: Option<AdapterId>) {
        self.ring.lock().push(Event {
            kind,
            node: Some(node),
            adapter,
            count: 1,
        });
        self.queue.wake_all();
        if let Some(listener) = self.listener.as_ref() {
            listener.posted();
        }
    }

    /// The object is lost: readers get what is there and then `ECONNRESET`.
    pub(crate) fn hang_up(&self) {
        let mut ring = self.ring.lock();
        if ring.end == End::Alive {
            ring.end = End::Lost;
        }
        drop(ring);
        self.queue.wake_all();
    }

    /// The object was given up: readers get `ECONNRESET` at once.
    pub(crate) fn close(&self) {
        self.ring.lock().end = End::Closed;
        self.queue.wake_all();
    }

    /// Takes the oldest event out, waiting for one if that is allowed.
    ///
    /// Errors: `EAGAIN` when it is not, `EINTR`, `ECONNRESET` when there is nothing more to come.
    pub(crate) fn take(&self, blocking: Blocking) -> Result<Event> {
        let next = || {
            let mut ring = self.ring.lock();
            if ring.end == End::Closed {
                return Some(Err(Errno::ConnReset.into()));
            }
            match (ring.pop(), ring.end) {
                (Some(event), _) => Some(Ok(event)),
                (None, End::Alive) => None,
                (None, End::Lost | End::Closed) => Some(Err(Errno::ConnReset.into())),
            }
        };
        match blocking {
            Blocking::Never => next().unwrap_or(Err(EAGAIN)),
            Blocking::Wait => self.queue.wait_for(None, next)?,
        }
    }

    /// Gives back an event that was taken out but not delivered.
    pub(crate) fn give_back(&self, event: Event) {
        self.ring.lock().unpop(event);
    }

    /// The queue that is woken on events.
    pub(crate) fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// What a poll finds.
    pub(crate) fn ready(&self) -> Ready {
        let ring = self.ring.lock();
        Ready {
            readable: ring.end != End::Closed && (ring.length > 0 || ring.dropped > 0),
            hung_up: ring.end != End::Alive,
        }
    }
}
