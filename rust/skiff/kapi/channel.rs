// SPDX-License-Identifier: GPL-2.0

//! Messages between modules of all nodes that have opened the same channel.
//!
//! What comes for a channel waits in its queue and is handed to its user by a thread of its own, so that no user holds up the
//! adapter's worker, or another user. The queue is bounded for each sender: a peer that floods a channel loses messages of its
//! own only. What a node says to itself goes the same way.
//!
//! Ownership: the user owns the [`Channel`], and so do the table of [`Channels`] and the channel's worker until it is closed.
//!
//! # Locking
//!
//! `table` and `queue` are innermost, and never held while the user is called.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
};
use skiff_ext::work::{
    Work,
    Worker, //
};
use skiff_model::{
    ids::{
        ChannelId,
        NodeId,
        Port,
        NODES_MAX, //
    },
    wire::{
        ClientBytes,
        Message, //
    },
};

use crate::fabric::{
    Adapter,
    Counter, //
};

/// Messages of one node that may wait for the user of a channel.
const WAITING_MAX: u16 = 256;

/// The user of a channel.
pub(crate) trait Receiver: Send + Sync {
    /// A node has said something. Called on the channel's thread, with no lock held, one message after the other.
    fn message(&self, node: NodeId, bytes: &[u8]);

    /// A node has nobody who has the channel open, and has dropped a message. Called as above.
    fn refused(&self, node: NodeId);
}

/// What waits for the user.
enum Said {
    /// A message.
    Message(ClientBytes),
    /// One of ours has found nobody.
    Refused,
}

/// What waits, in order, and how much of it is from each node.
struct Queue {
    said: RBTree<u64, (NodeId, Said)>,
    last: u64,
    waiting: [u16; NODES_MAX as usize],
}

impl Queue {
    /// Takes the oldest out.
    fn pop(&mut self) -> Option<(NodeId, Said)> {
        let oldest = *self.said.keys().next()?;
        let (node, said) = self.said.remove(&oldest)?;

        if let Some(waiting) = self.waiting.get_mut(node.index()) {
            *waiting = waiting.saturating_sub(1);
        }
        Some((node, said))
    }
}

/// What has happened to a channel.
pub(crate) struct ChannelCounters {
    /// Messages that were sent.
    pub(crate) sent: Counter,
    /// Messages that came.
    pub(crate) received: Counter,
    /// Messages that came and were dropped: too many waited, or there was no memory.
    pub(crate) dropped: Counter,
    /// Messages that a peer has not taken.
    pub(crate) refused: Counter,
}

/// An open channel.
#[pin_data]
pub(crate) struct Channel {
    number: ChannelId,
    receiver: Arc<dyn Receiver>,
    worker: Arc<Worker<Self>>,
    /// Not 0 once it is closed.
    closed: Atomic<u32>,
    counters: ChannelCounters,
    #[pin]
    queue: Mutex<Queue>,
}

impl Channel {
    /// One that nobody finds yet.
    fn new(number: ChannelId, receiver: Arc<dyn Receiver>) -> Result<Arc<Self>> {
        let worker = Worker::new(c"skiff-channel", kernel::static_lock_class!())?;

        Arc::pin_init(
            pin_init!(Self {
                number,
                receiver,
                worker,
                closed: Atomic::new(0),
                counters: ChannelCounters {
                    sent: Counter::new(),
                    received: Counter::new(),
                    dropped: Counter::new(),
                    refused: Counter::new(),
                },
                queue <- new_mutex!(
                    Queue {
                        said: RBTree::new(),
                        last: 0,
                        waiting: [0; NODES_MAX as usize],
                    },
                    "Channel::queue"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Its number.
    pub(crate) fn number(&self) -> ChannelId {
        self.number
    }

    /// What has happened to it.
    pub(crate) fn counters(&self) -> &ChannelCounters {
        &self.counters
    }

    /// Lets something wait for the user. Errors: `EBUSY` when too much of this node does, `ENOMEM`.
    fn put(&self, node: NodeId, said: Said) -> Result {
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut queue = self.queue.lock();
        let waiting = queue.waiting.get_mut(node.index()).ok_or(EINVAL)?;

        if *waiting >= WAITING_MAX {
            return Err(EBUSY);
        }
        *waiting = waiting.saturating_add(1);
        // No channel lives for 2^64 messages.
        queue.last = queue.last.wrapping_add(1);
        let key = queue.last;

        queue.said.insert(place.into_node(key, (node, said)));
        drop(queue);
        self.worker.kick();
        Ok(())
    }

    /// A node has said something.
    fn heard(&self, node: NodeId, said: Said) {
        match said {
            Said::Message(_) => self.counters.received.count(),
            Said::Refused => self.counters.refused.count(),
        }
        if self.put(node, said).is_err() {
            self.counters.dropped.count();
        }
    }
}

impl Work for Channel {
    fn run(this: ArcBorrow<'_, Self>) {
        while this.closed.load(Relaxed) == 0 {
            let next = this.queue.lock().pop();

            match next {
                Some((node, Said::Message(bytes))) => {
                    this.receiver.message(node, bytes.as_slice());
                }
                Some((node, Said::Refused)) => this.receiver.refused(node),
                None => return,
            }
        }
    }
}

/// The channels that are open on this node.
#[pin_data]
pub(crate) struct Channels {
    #[pin]
    table: Mutex<RBTree<ChannelId, Arc<Channel>>>,
    /// Messages for channels that nobody had open.
    strays: Counter,
}

impl Channels {
    /// None is.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- new_mutex!(RBTree::new(), "Channels::table"),
            strays: Counter::new(),
        })
    }

    /// Opens a channel. Errors: `EBUSY` when somebody has it, `ENOMEM`.
    pub(super) fn open(
        &self,
        number: ChannelId,
        receiver: Arc<dyn Receiver>,
    ) -> Result<Arc<Channel>> {
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let channel = Channel::new(number, receiver)?;
        let mut table = self.table.lock();

        if table.get(&number).is_some() {
            return Err(EBUSY);
        }
        channel.worker.start(channel.clone());
        table.insert(place.into_node(number, channel.clone()));
        Ok(channel)
    }

    /// Closes a channel: its user is not called any more when this returns. Waits for a call that is under way.
    pub(super) fn close(&self, channel: &Channel) {
        let gone = self.table.lock().remove(&channel.number);

        channel.closed.store(1, Relaxed);
        channel.worker.stop();
        drop(gone);
    }

    fn get(&self, number: ChannelId) -> Option<Arc<Channel>> {
        self.table.lock().get(&number).cloned()
    }

    /// The open channel with the lowest number from `from` on.
    pub(crate) fn next(&self, from: ChannelId) -> Option<Arc<Channel>> {
        let table = self.table.lock();
        let cursor = table.cursor_lower_bound(&from)?;

        Some(cursor.current().1.clone())
    }

    /// Messages for channels that nobody had open.
    pub(crate) fn strays(&self) -> u64 {
        self.strays.get()
    }

    /// What the peer behind a port says; called on the adapter's worker.
    pub(super) fn message(&self, adapter: &Arc<Adapter>, port: Port, message: &Message) {
        let (channel, said) = match message {
            Message::ClientMessage { channel, bytes } => (*channel, Said::Message(*bytes)),
            Message::ClientRefused { channel } => (*channel, Said::Refused),
            _ => return,
        };
        let Some(node) = adapter.node_behind(port) else {
            return;
        };

        match (self.get(channel), &said) {
            (Some(open), _) => open.heard(node, said),
            (None, Said::Refused) => {}
            (None, Said::Message(_)) => {
                self.strays.count();
                // When there is no room the sender learns nothing: its messages may get lost as well.
                let _ = adapter.send(port, &Message::ClientRefused { channel });
            }
        }
    }
}

impl super::Node {
    /// Sends a message by a channel; waits for nobody.
    ///
    /// Errors: `EBUSY` when too many wait, `EHOSTDOWN`, `EMSGSIZE`, `ENOLINK`, `ENOMEM`, `ENXIO`.
    pub(super) fn send(&self, channel: &Channel, node: NodeId, bytes: ClientBytes) -> Result {
        if self.fabric.node() == Some(node) {
            channel.put(node, Said::Message(bytes))?;
            channel.counters.received.count();
        } else {
            let (adapter, port) = self.fabric.route(node, None)?;
            let channel = channel.number;

            adapter.send(port, &Message::ClientMessage { channel, bytes })?;
        }
        channel.counters.sent.count();
        Ok(())
    }
}
