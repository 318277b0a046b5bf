// SPDX-License-Identifier: GPL-2.0

//! Devices that nodes lend to each other.
//!
//! A lender has a pool of PCI functions, each a [`Lent`](lent::Lent) device with a thread of its own; a borrower knows what
//! others have told of theirs and has [`Borrowed`] devices. Both talk by messages, also when they are the same node. Memory
//! goes both ways as segments: BARs and memory close to the device are segments of the lender that the borrower connects to,
//! and what the device is to reach is a segment that the lender connects to. So a lease ends, and memory is reused, by the
//! rules of segments; what this room adds is that the device is stopped first.
//!
//! # Locking
//!
//! `Lend::control` (one administrator at a time), then the state of a device, then that of a mapping, then what is below:
//! segments are connected and revoked with neither held. The tables of what is known and what is borrowed are innermost.

mod aim;
mod bell;
mod borrowed;
mod condition;
mod end;
mod hardware;
mod iova;
mod jobs;
mod known;
mod lent;
mod mapping;
mod net;
mod parts;
mod pool;
mod serve;
mod show;
mod spell;

pub(crate) use self::{
    borrowed::{
        Borrow,
        Borrowed,
        Caller,
        Client,
        Memory,
        NewMemory,
        Own, //
    },
    condition::TakeFrom,
    hardware::{
        Containment,
        NotAvailable,
        Refusal, //
    },
    net::End,
    spell::{
        Spell,
        Watcher, //
    },
};

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    pci::{
        stub,
        Device, //
    },
    work::{
        Work,
        Worker, //
    },
};
use skiff_model::{
    access::RootTrust,
    ids::{
        BorrowId,
        Fdid,
        NodeId,
        Port, //
    },
    lend::Filter,
    wire::{
        DeviceInfo,
        Message, //
    },
};

use self::{
    known::Known,
    net::{
        errno,
        Answer,
        Net,
        Way, //
    },
    pool::Pool,
};
use crate::{
    fabric::{
        Adapter,
        Fabric,
        Link, //
    },
    segment::{
        EventKind,
        Segments, //
    },
};

/// What this node lends and borrows.
#[pin_data]
pub(crate) struct Lend {
    net: Arc<Net>,
    trust: RootTrust,
    #[pin]
    control: Mutex<()>,
    #[pin]
    pool: Pool,
    #[pin]
    known: Known,
    #[pin]
    borrowed: Mutex<RBTree<(End, BorrowId), Arc<Borrowed>>>,
}

impl Lend {
    /// Nothing is lent or borrowed, and `watcher` is told of changes. [`stop`](Self::stop) ends it.
    pub(crate) fn new(
        fabric: &Arc<Fabric>,
        segments: &Arc<Segments>,
        trust: RootTrust,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Arc<Self>> {
        let net = Net::new(
            fabric,
            segments,
            Worker::new(c"skiff-loop", kernel::static_lock_class!())?,
            watcher,
        )?;
        let lend = Arc::pin_init(
            pin_init!(Self {
                net,
                trust,
                control <- new_mutex!((), "Lend::control"),
                pool <- Pool::new(),
                known <- Known::new(),
                borrowed <- new_mutex!(RBTree::new(), "Lend::borrowed"),
            }),
            GFP_KERNEL,
        )?;

        lend.net.worker().start(lend.clone());
        Ok(lend)
    }

    /// Forgets all devices. No file is open any more, and our stub has let go of every function.
    fn stop(&self) {
        let _control = self.control.lock();

        for lent in self.pool.iter() {
            self.withdraw(&lent);
        }
        self.net.worker().stop();
    }

    /// Where messages go out.
    fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// A device that is known on this node. Error: ENOENT.
    pub(crate) fn device(&self, fdid: Fdid) -> Result<DeviceInfo> {
        if fdid.node() == self.net.fabric.node() {
            return Ok(self.pool.get(fdid.index())?.info());
        }
        self.known.way_to(fdid).map(|(_, info)| info)
    }

    /// The device with the lowest fdid from `from` on that a filter lets through. Error: ENOENT.
    pub(crate) fn find(&self, from: Fdid, filter: &Filter) -> Result<(Fdid, DeviceInfo)> {
        let known = self.known.find(from, filter);
        let own = self.net.fabric.node().and_then(|node| {
            self.pool
                .iter()
                .map(|lent| (Fdid::of(node, lent.index()), lent.info()))
                .find(|(fdid, info)| *fdid >= from && filter.matches(*fdid, info))
        });

        match (known, own) {
            (Some(known), Some(own)) if own.0 < known.0 => Ok(own),
            (Some(found), _) | (None, Some(found)) => Ok(found),
            (None, None) => Err(ENOENT),
        }
    }

    /// How to reach a device's lender. Error: ENOENT.
    fn way_to(&self, fdid: Fdid) -> Result<Way> {
        match (fdid.node(), self.net.fabric.node()) {
            (Some(node), Some(own)) if node == own => {
                self.pool.get(fdid.index())?;
                Ok(Way::Own)
            }
            _ => self.known.way_to(fdid).map(|(way, _)| way),
        }
    }

    /// Borrows a device, on behalf of a kernel module if there is a `client`, which may be called before this returns.
    ///
    /// Errors: EACCES, EBUSY, EINTR, ENOENT, ENOLINK, ENOMEM, EPERM, EPROTO, ETIMEDOUT.
    pub(crate) fn borrow(
        self: &Arc<Self>,
        what: &Borrow,
        client: Option<Arc<dyn Client>>,
    ) -> Result<Arc<Borrowed>> {
        let way = self.way_to(what.fdid)?;
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let answer = self
            .net
            .ask(&way, what.timeout_ms, |request| Message::BorrowRequest {
                request,
                index: what.fdid.index(),
                uid: what.uid,
                gid: what.gid,
                share: what.share,
                raw: what.raw,
            })?;
        let Answer::Borrowed(id) = answer else {
            return Err(Errno::Proto.into());
        };
        let borrowed = Borrowed::new(self, what.fdid, way.clone(), id, what.share, client);

        match borrowed {
            Ok(borrowed) => {
                let key = borrowed.key();
                let former = self
                    .borrowed
                    .lock()
                    .insert(place.into_node(key, borrowed.clone()));

                drop(former);
                Ok(borrowed)
            }
            Err(error) => {
                self.net.send(&way, &Message::GivenUp { borrow: id });
                Err(error)
            }
        }
    }

    /// A borrow has ended.
    fn forget(&self, key: (End, BorrowId)) {
        let gone = self.borrowed.lock().remove(&key);

        drop(gone);
    }

    /// The device that was borrowed so.
    fn borrowed(&self, end: End, id: BorrowId) -> Option<Arc<Borrowed>> {
        self.borrowed.lock().get(&(end, id)).cloned()
    }

    /// Tells kernel modules of ends that nobody has heard of.
    fn tell_ended(&self) {
        loop {
            let borrowed = self.borrowed.lock();
            let untold = borrowed.values().find(|borrowed| borrowed.take_untold());
            let Some(untold) = untold.cloned() else {
                return;
            };

            drop(borrowed);
            untold.call(|client| client.event(EventKind::Ended));
        }
    }

    /// Ends all borrows from a node: its link is down.
    fn lose(&self, end: End) {
        loop {
            let mut borrowed = self.borrowed.lock();
            let key = borrowed.keys().find(|(of, _)| *of == end).copied();
            let Some(gone) = key.and_then(|key| borrowed.remove(&key)) else {
                return;
            };

            drop(borrowed);
            gone.cut();
        }
    }

    /// Takes in what a node says, this one included.
    fn hear(&self, way: &Way, message: &Message) {
        match message {
            Message::Offer(info) => {
                if let Some(node) = way.node() {
                    self.known.offered(way, node, info);
                    self.net.watcher().changed();
                }
            }
            Message::Withdraw { index } => {
                if let Some(node) = way.node() {
                    self.known.withdrawn(way, node, *index);
                    self.net.watcher().changed();
                }
            }
            Message::BorrowRequest {
                request,
                index,
                uid,
                gid,
                share,
                raw,
            } => match self.pool.get(*index) {
                Ok(lent) => {
                    lent.borrow_wanted(way, *request, (*uid, *gid), *share, *raw);
                }
                Err(error) => {
                    let (request, granted) = (*request, Err(net::refused(error)));

                    self.net
                        .send(way, &Message::BorrowReply { request, granted });
                }
            },
            Message::BorrowReply { request, granted } => {
                let answer = granted.map(Answer::Borrowed).map_err(errno);

                if let (false, Ok(borrow)) =
                    (self.net.answered(way.end(), *request, answer), *granted)
                {
                    // Nobody has waited that long.
                    self.net.send(way, &Message::GivenUp { borrow });
                }
            }
            Message::DeviceRequest {
                request,
                borrow,
                op,
            } => match self.pool.of_borrow(*borrow) {
                Ok(lent) => lent.op_wanted(way, *request, *borrow, *op),
                Err(_) => {
                    let request = *request;
                    let done = Err(net::refused(Errno::ConnReset.into()));

                    self.net.send(way, &Message::DeviceReply { request, done });
                }
            },
            Message::DeviceReply { request, done } => {
                let answer = done.map(Answer::Done).map_err(errno);

                self.net.answered(way.end(), *request, answer);
            }
            Message::GivenUp { borrow } => {
                if let Ok(lent) = self.pool.of_borrow(*borrow) {
                    lent.given_up(way.end(), *borrow);
                }
            }
            Message::Ended { borrow } => {
                if let Some(borrowed) = self.borrowed(way.end(), *borrow) {
                    borrowed.ended_there();
                    self.forget(borrowed.key());
                }
            }
            Message::SharerGone { borrow } => {
                if let Some(borrowed) = self.borrowed(way.end(), *borrow) {
                    borrowed.notice(EventKind::SharerGone);
                }
            }
            Message::Interrupt { borrow, vectors } => {
                if let Some(borrowed) = self.borrowed(way.end(), *borrow) {
                    borrowed.interrupt(*vectors);
                }
            }
            // Those of the fabric and of segments.
            _ => {}
        }
    }
}

impl Work for Lend {
    fn run(this: ArcBorrow<'_, Self>) {
        this.tell_ended();
        loop {
            let said = this.net.take_own();

            if said.is_empty() {
                return;
            }
            for message in said.iter() {
                this.hear(&Way::Own, message);
            }
        }
    }
}

/// What our stub tells of functions. Dropping it, which the stub does when it has let go of all of them, ends lending.
pub(crate) struct Lender(Arc<Lend>);

impl Lender {
    /// On behalf of `lend`.
    pub(crate) fn new(lend: Arc<Lend>) -> Self {
        Self(lend)
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl stub::Host for Lender {
    fn taken(&self, _: &Device) {
        // It is looked at when it is made available.
    }

    fn released(&self, dev: &Device) {
        if let Some(lent) = self.0.pool.of_function(dev) {
            lent.released();
        }
    }
}

impl Lend {
    /// A peer is cut: the devices that it has borrowed reach nothing of it when this returns.
    pub(crate) fn peer_cut(&self, adapter: &Arc<Adapter>, port: Port) {
        let end = End::Peer(adapter.id(), port);

        for lent in self.pool.iter() {
            lent.peer_cut(end);
        }
    }

    /// It is down: what it has lent is lost.
    pub(crate) fn peer_down(&self, adapter: &Arc<Adapter>, port: Port) {
        self.net.cut(adapter, port);
        // Before the devices are unknown: a driver that was removed for that would not hear of the end.
        self.lose(End::Peer(adapter.id(), port));
        self.known.cut(adapter, port);
        self.net.watcher().changed();
    }

    /// A node answers behind a port: tells it of the pool if it may see it.
    pub(crate) fn peer_up(&self, adapter: &Arc<Adapter>, port: Port, node: NodeId) {
        if self.net.sees(node) {
            let way = Way::Peer(adapter.clone(), port, node);

            for lent in self.pool.iter() {
                self.net.send(&way, &Message::Offer(lent.info()));
            }
        }
    }

    /// A message of the peer, which is up.
    pub(crate) fn message(&self, adapter: &Arc<Adapter>, port: Port, message: &Message) {
        if let Link::Up { node, .. } = self.net.fabric.link(adapter.id(), port) {
            self.hear(&Way::Peer(adapter.clone(), port, node), message);
        }
    }

    /// The queue of messages to a peer has room again.
    pub(crate) fn room(&self, adapter: &Arc<Adapter>, port: Port) {
        self.net.room(adapter, port);
    }
}
