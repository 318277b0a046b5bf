// SPDX-License-Identifier: GPL-2.0

//! How lender and borrower talk: messages to nodes, this one included, and questions that wait for their answer.
//!
//! A message for which the peer's queue has no room waits here until there is room, so that nothing said to a peer that is up
//! is lost. What is said to the own node goes through a worker, so that lender and borrower never call each other.
//!
//! # Locking
//!
//! `out` is held while a message is handed to the adapter; `asked` while nothing else is.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    work::Worker, //
};
use skiff_model::{
    ids::{
        AdapterId,
        BorrowId,
        DeviceIndex,
        NodeId,
        Port,
        RequestId, //
    },
    lend::Denied,
    wire::{
        DeviceAnswer,
        DeviceInfo,
        Message,
        Refused,
        Status, //
    },
};

use super::{
    Lend,
    Watcher, //
};
use crate::{
    fabric::{
        Adapter,
        Fabric,
        Link, //
    },
    segment::{
        Segments,
        Waiter, //
    },
};

/// Messages that may wait for room at a time. Who gets more of us does not keep to the limit of requests.
const WAITING_MAX: usize = 4096;

/// A node to talk to, and by which way.
#[derive(Clone)]
pub(crate) enum Way {
    /// This node.
    Own,
    /// The node behind a port.
    Peer(Arc<Adapter>, Port, NodeId),
}

/// What tells ways from each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// This node.
    Own,
    /// Behind a port of an adapter.
    Peer(AdapterId, Port),
}

impl Way {
    /// What tells it from others.
    pub(crate) fn end(&self) -> End {
        match self {
            Self::Own => End::Own,
            Self::Peer(adapter, port, _) => End::Peer(adapter.id(), *port),
        }
    }

    /// The adapter; `None` for the own node.
    pub(crate) fn adapter(&self) -> Option<AdapterId> {
        match self {
            Self::Own => None,
            Self::Peer(adapter, ..) => Some(adapter.id()),
        }
    }

    /// The node; `None` for the own one.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match self {
            Self::Own => None,
            Self::Peer(_, _, node) => Some(*node),
        }
    }
}

/// What a lender has answered.
pub(super) enum Answer {
    /// The device is borrowed.
    Borrowed(BorrowId),
    /// What was asked of it is done.
    Done(DeviceAnswer),
}

/// A question without an answer.
struct Asked {
    end: End,
    waiter: Arc<Waiter<Answer>>,
}

/// The questions.
struct Questions {
    open: RBTree<RequestId, Asked>,
    last: u32,
}

/// Messages on their way.
struct Out {
    /// For the own node, in order.
    own: KVVec<Message>,
    /// For peers whose queue is full, in order.
    waiting: KVVec<(Arc<Adapter>, Port, Message)>,
}

/// Where messages go out.
#[pin_data]
pub(crate) struct Net {
    pub(super) fabric: Arc<Fabric>,
    pub(super) segments: Arc<Segments>,
    worker: Arc<Worker<Lend>>,
    watcher: Arc<dyn Watcher>,
    #[pin]
    out: Mutex<Out>,
    #[pin]
    asked: Mutex<Questions>,
    /// Bit n: node n sees this node's pool.
    #[pin]
    shown: Mutex<u64>,
}

/// The bit of a node in a set.
fn bit(node: NodeId) -> u64 {
    // PANIC: Nodes are less than NODES_MAX.
    1 << node.get()
}

/// The errno that a lender's refusal is for the program.
pub(super) fn errno(refused: Refused) -> Error {
    match refused.status() {
        Status::NoEntry => ENOENT,
        Status::Access => EACCES,
        Status::NoMemory => ENOMEM,
        Status::Busy => EBUSY,
        Status::BadRequest => EINVAL,
        Status::Unsupported => Errno::NotSupported.into(),
        Status::NoSpace => ENOSPC,
        Status::NotPermitted => EPERM,
        Status::Io => EIO,
        Status::Exists => Errno::AddrInUse.into(),
        Status::Ended => Errno::ConnReset.into(),
        Status::Ok => Errno::Proto.into(),
    }
}

/// The error that a denial is.
pub(super) fn denied(denied: Denied) -> Error {
    match denied {
        Denied::Busy => EBUSY,
        Denied::Ended => Errno::ConnReset.into(),
    }
}

/// What a lender says of an error of its own.
pub(super) fn refused(error: Error) -> Refused {
    let status = if error == ENOENT {
        Status::NoEntry
    } else if error == EACCES {
        Status::Access
    } else if error == ENOMEM {
        Status::NoMemory
    } else if error == EBUSY {
        Status::Busy
    } else if error == EINVAL {
        Status::BadRequest
    } else if error == Error::from(Errno::NotSupported) {
        Status::Unsupported
    } else if error == ENOSPC {
        Status::NoSpace
    } else if error == EPERM {
        Status::NotPermitted
    } else if error == Error::from(Errno::AddrInUse) {
        Status::Exists
    } else if error == Error::from(Errno::ConnReset) {
        Status::Ended
    } else {
        Status::Io
    };

    Refused::new(status).unwrap_or(Refused::IO)
}

impl Net {
    /// Nobody was told anything yet.
    pub(super) fn new(
        fabric: &Arc<Fabric>,
        segments: &Arc<Segments>,
        worker: Arc<Worker<Lend>>,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Arc<Self>> {
        let (fabric, segments) = (fabric.clone(), segments.clone());

        Arc::pin_init(
            pin_init!(Self {
                fabric,
                segments,
                worker,
                watcher,
                out <- new_mutex!(
                    Out {
                        own: KVVec::new(),
                        waiting: KVVec::new(),
                    },
                    "Net::out"
                ),
                asked <- new_mutex!(
                    Questions {
                        open: RBTree::new(),
                        last: 0,
                    },
                    "Net::asked"
                ),
                shown <- new_mutex!(0, "Net::shown"),
            }),
            GFP_KERNEL,
        )
    }

    /// The thread that hears what is said to the own node.
    pub(super) fn worker(&self) -> &Arc<Worker<Lend>> {
        &self.worker
    }

    /// Who wants to know when devices come, go, or change.
    pub(super) fn watcher(&self) -> &Arc<dyn Watcher> {
        &self.watcher
    }

    /// Says something, now or when there is room. A node that is not up is not told.
    pub(super) fn send(&self, way: &Way, message: &Message) {
        let mut out = self.out.lock();

        match way {
            Way::Own => {
                if out.own.len() < WAITING_MAX && out.own.push(*message, GFP_KERNEL).is_ok() {
                    self.worker.kick();
                }
            }
            Way::Peer(adapter, port, _) => {
                let waits = out
                    .waiting
                    .iter()
                    .any(|(other, at, _)| at == port && Arc::ptr_eq(other, adapter));

                if !waits {
                    match adapter.send(*port, message) {
                        Err(error) if error == EBUSY => {}
                        // It was said, or there is nobody to hear it.
                        Ok(()) | Err(_) => return,
                    }
                }
                if out.waiting.len() < WAITING_MAX {
                    // Without memory the peer waits for its limit.
                    let _ = out
                        .waiting
                        .push((adapter.clone(), *port, *message), GFP_KERNEL);
                }
            }
        }
    }

    /// Whether a node sees this node's pool.
    pub(super) fn sees(&self, node: NodeId) -> bool {
        *self.shown.lock() & bit(node) != 0
    }

    /// From now on it does; false if it has already.
    pub(super) fn show(&self, node: NodeId) -> bool {
        let mut shown = self.shown.lock();
        let before = *shown;

        *shown |= bit(node);
        before & bit(node) == 0
    }

    /// From now on it does not; false if it has not before.
    pub(super) fn hide(&self, node: NodeId) -> bool {
        let mut shown = self.shown.lock();
        let before = *shown;

        *shown &= !bit(node);
        before & bit(node) != 0
    }

    /// Says something to all nodes that are meant, by every way that leads to them.
    fn tell(&self, meant: impl Fn(NodeId) -> bool, message: &Message) {
        for adapter in self.fabric.adapters() {
            for port in adapter.ports().iter() {
                if let Link::Up { node, .. } = self.fabric.link(adapter.id(), port) {
                    if meant(node) {
                        self.send(&Way::Peer(adapter.clone(), port, node), message);
                    }
                }
            }
        }
    }

    /// Tells all nodes that see the pool of a device.
    pub(super) fn offer(&self, info: &DeviceInfo) {
        self.tell(|node| self.sees(node), &Message::Offer(*info));
    }

    /// Tells a node of a device.
    pub(super) fn offer_to(&self, to: NodeId, info: &DeviceInfo) {
        self.tell(|node| node == to, &Message::Offer(*info));
    }

    /// Tells all nodes that see the pool that a device is gone.
    pub(super) fn withdraw(&self, index: DeviceIndex) {
        self.tell(|node| self.sees(node), &Message::Withdraw { index });
    }

    /// Tells a node that it does not see a device any more.
    pub(super) fn withdraw_from(&self, from: NodeId, index: DeviceIndex) {
        self.tell(|node| node == from, &Message::Withdraw { index });
    }

    /// There is room again: says what waits for it.
    pub(super) fn room(&self, adapter: &Arc<Adapter>, port: Port) {
        let mut out = self.out.lock();
        let mut full = false;

        out.waiting.retain(|(other, at, message)| {
            if *at != port || !Arc::ptr_eq(other, adapter) {
                return true;
            }
            if !full {
                full = matches!(adapter.send(port, message), Err(error) if error == EBUSY);
            }
            full
        });
    }

    /// What was said to the own node and not heard yet, oldest first.
    pub(super) fn take_own(&self) -> KVVec<Message> {
        core::mem::take(&mut self.out.lock().own)
    }

    /// Nobody is there any more: what waits for room is lost, and nobody answers.
    pub(super) fn cut(&self, adapter: &Arc<Adapter>, port: Port) {
        self.out
            .lock()
            .waiting
            .retain(|(other, at, _)| *at != port || !Arc::ptr_eq(other, adapter));
        self.fail(End::Peer(adapter.id(), port));
    }

    /// Ends all questions to an end with `ENOLINK`.
    fn fail(&self, end: End) {
        loop {
            let mut asked = self.asked.lock();
            let found = asked
                .open
                .iter()
                .find(|(_, question)| question.end == end)
                .map(|(request, _)| *request);
            let Some(question) = found.and_then(|request| asked.open.remove(&request)) else {
                return;
            };

            drop(asked);
            question.waiter.answer(Err(Errno::NoLink.into()));
        }
    }

    /// Asks a node and waits for the answer.
    ///
    /// Errors: the lender's; `EINTR`, `ENOLINK`, `ENOMEM`, `ETIMEDOUT`.
    pub(super) fn ask(
        &self,
        way: &Way,
        timeout_ms: u32,
        message: impl FnOnce(RequestId) -> Message,
    ) -> Result<Answer> {
        let waiter = Waiter::new()?;
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut asked = self.asked.lock();
        let request = loop {
            asked.last = asked.last.wrapping_add(1);
            let request = RequestId::new(asked.last);
            if asked.open.get(&request).is_none() {
                break request;
            }
        };
        let question = Asked {
            end: way.end(),
            waiter: waiter.clone(),
        };

        // In the table first: the answer comes on another thread.
        asked.open.insert(place.into_node(request, question));
        drop(asked);
        if let Way::Peer(_, _, node) = way {
            // After it is in the table: who goes from here on fails it.
            if let Err(error) = self.fabric.route(*node, way.adapter()) {
                let gone = self.asked.lock().open.remove(&request);

                drop(gone);
                return Err(error);
            }
        }
        self.send(way, &message(request));
        let result = waiter.wait(timeout_ms);
        let gone = self.asked.lock().open.remove(&request);

        drop(gone);
        result
    }

    /// A lender has answered. Whether somebody has waited for it.
    pub(super) fn answered(&self, end: End, request: RequestId, answer: Result<Answer>) -> bool {
        let mut asked = self.asked.lock();
        let known = matches!(asked.open.get(&request), Some(question) if question.end == end);
        let question = if known {
            asked.open.remove(&request)
        } else {
            None
        };

        drop(asked);
        match question {
            Some(question) => question.waiter.answer(answer),
            None => false,
        }
    }
}
