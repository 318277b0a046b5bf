// SPDX-License-Identifier: GPL-2.0

//! The register of all segments, connections and questions of this node.
//!
//! Ownership: the module and every file own the [`Segments`]. It owns local segments under their id until they are removed,
//! and further under each lease on them; connections until they are given up and the peer was told.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    new_wait_queue,
    wait::WaitQueue, //
};
use skiff_model::{
    access::RootTrust,
    ids::{
        AdapterId,
        Generation,
        LeaseId,
        NodeId,
        Port,
        RequestId,
        SegmentId,
        ADAPTERS_MAX,
        PORTS_MAX, //
    },
    wire::Message, //
};

use super::{
    due::{
        Backlog,
        HolderDue,
        Holding, //
    },
    publish::Published,
    requests::Pending,
    EventQueue,
    Hold,
    Local, //
};
use crate::fabric::Adapter;

/// Connections to this node's segments that one peer may have.
pub(super) const LEASES_MAX: u32 = 4096;

/// First of the ids that the kernel chooses.
const ANY_ID_FIRST: u32 = 0x8000_0000;

/// What the module's parameters say of this room.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// What to make of a peer's root.
    pub(crate) root: RootTrust,
}

/// What is known of the node behind a port.
#[derive(Default)]
pub(super) struct Peer {
    /// Who is up there.
    pub(super) up: Option<(NodeId, Generation)>,
    /// Who was up there last.
    pub(super) last: Option<NodeId>,
    /// Our questions that it has not answered.
    pub(super) pending: u32,
    /// Its leases.
    pub(super) leases: u32,
    /// What is due to it.
    pub(super) backlog: Backlog,
}

/// How the register knows a segment of this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// It is one of a program, which others find by this id.
    Program(SegmentId),
    /// It is one of the kernel, which others find where it is published. The number says nothing.
    Kernel(u64),
}

impl Name {
    /// The lowest one.
    pub(super) const FIRST: Self = Self::Program(SegmentId::new(0));

    /// The one behind this one, if there is one.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Program(id) => Some(match id.get().checked_add(1) {
                Some(id) => Self::Program(SegmentId::new(id)),
                None => Self::Kernel(0),
            }),
            Self::Kernel(number) => number.checked_add(1).map(Self::Kernel),
        }
    }
}

/// All that there is.
pub(super) struct Registry {
    /// Segments with a name that are not removed; `None` while one is made.
    pub(super) locals: RBTree<Name, Option<Arc<Local>>>,
    /// What is published in the kernels' space.
    pub(super) published: RBTree<SegmentId, Published>,
    /// Connections of peers, and their segments.
    pub(super) leases: RBTree<Hold, Arc<Local>>,
    /// Connections to peers' segments.
    pub(super) holdings: RBTree<Hold, Holding>,
    /// Questions without an answer.
    pub(super) requests: RBTree<RequestId, Pending>,
    peers: [[Peer; PORTS_MAX as usize]; ADAPTERS_MAX as usize],
    last_lease: u32,
    last_request: u32,
    last_any: u32,
    last_kernel: u64,
    last_watcher: u64,
    /// Who is told of nodes.
    pub(super) watchers: RBTree<u64, Arc<EventQueue>>,
}

/// The first key of a peer's connections, or the one behind `after`; `None` when there can be none.
pub(super) fn behind(adapter: AdapterId, port: Port, after: Option<LeaseId>) -> Option<Hold> {
    let lease = match after {
        Some(lease) => LeaseId::new(lease.get().checked_add(1)?),
        None => LeaseId::new(0),
    };
    Some(Hold {
        adapter,
        port,
        lease,
    })
}

impl Registry {
    /// What is known of the node behind a port.
    pub(super) fn peer(&self, adapter: AdapterId, port: Port) -> &Peer {
        &self.peers[adapter.index()][port.index()]
    }

    /// The same, to be changed.
    pub(super) fn peer_mut(&mut self, adapter: AdapterId, port: Port) -> &mut Peer {
        &mut self.peers[adapter.index()][port.index()]
    }

    /// Whether some adapter leads to `node`.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        let mut peers = self.peers.iter().flatten();
        peers.any(|peer| peer.up.is_some_and(|(up, _)| up == node))
    }

    /// The first connection to a segment of a peer behind `after`.
    pub(super) fn next_holding(
        &self,
        adapter: AdapterId,
        port: Port,
        after: Option<LeaseId>,
    ) -> Option<Hold> {
        let from = behind(adapter, port, after)?;
        let cursor = self.holdings.cursor_lower_bound(&from)?;
        let (hold, _) = cursor.current();
        (hold.adapter == adapter && hold.port == port).then_some(*hold)
    }

    /// Says what is due of a connection, and forgets it if that was the last word.
    pub(super) fn say_holding(&mut self, adapter: &Adapter, hold: Hold) -> Result {
        let Some(holding) = self.holdings.get_mut(&hold) else {
            return Ok(());
        };
        let lease = hold.lease;
        let (message, last) = match holding.due {
            None => return Ok(()),
            Some(HolderDue::Resume) => (Message::Resume { lease }, false),
            Some(HolderDue::Disconnect) => (Message::Disconnect { lease }, true),
            Some(HolderDue::RevokeDone) => (Message::RevokeDone { lease }, true),
        };
        adapter.send(hold.port, &message)?;
        if last {
            self.holdings.remove(&hold);
        } else {
            holding.due = None;
        }
        Ok(())
    }

    /// A lease id that is not in use at this port.
    pub(super) fn new_hold(&mut self, adapter: AdapterId, port: Port) -> Hold {
        loop {
            self.last_lease = self.last_lease.wrapping_add(1);
            let hold = Hold {
                adapter,
                port,
                lease: LeaseId::new(self.last_lease),
            };
            if self.leases.get(&hold).is_none() {
                return hold;
            }
        }
    }

    /// A request id that is not in use.
    pub(super) fn new_request(&mut self) -> RequestId {
        loop {
            self.last_request = self.last_request.wrapping_add(1);
            let request = RequestId::new(self.last_request);
            if self.requests.get(&request).is_none() {
                return request;
            }
        }
    }

    /// A segment id that is not in use, of those that the kernel chooses; `None` when all are.
    pub(super) fn new_segment(&mut self) -> Option<SegmentId> {
        for _ in ANY_ID_FIRST..=u32::MAX {
            let number = self.last_any.max(ANY_ID_FIRST);
            self.last_any = number.wrapping_add(1);
            let id = SegmentId::new(number);
            if self.locals.get(&Name::Program(id)).is_none() {
                return Some(id);
            }
        }
        None
    }

    /// The name of one more segment of the kernel.
    pub(super) fn new_kernel(&mut self) -> Name {
        // PANIC: There are no 2^64 segments in the life of a node.
        self.last_kernel += 1;
        Name::Kernel(self.last_kernel)
    }

    /// Takes a lease out; the peer may have another one.
    pub(super) fn remove_lease(&mut self, hold: Hold) -> Option<Arc<Local>> {
        let local = self.leases.remove(&hold)?;
        let peer = self.peer_mut(hold.adapter, hold.port);
        peer.leases = peer.leases.saturating_sub(1);
        Some(local)
    }

    /// Takes a question out; the peer may be asked another one.
    pub(super) fn remove_request(&mut self, request: RequestId) -> Option<Pending> {
        let pending = self.requests.remove(&request)?;
        let peer = self.peer_mut(pending.adapter, pending.port);
        peer.pending = peer.pending.saturating_sub(1);
        Some(pending)
    }
}

/// The segments of this node and its connections to those of others.
#[pin_data]
pub(crate) struct Segments {
    #[pin]
    pub(super) registry: Mutex<Registry>,
    /// Woken when a peer has answered: another question may be asked.
    #[pin]
    pub(super) places: WaitQueue,
    pub(super) limits: Limits,
}

impl Segments {
    /// An empty register.
    pub(crate) fn new(limits: Limits) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                registry <- new_mutex!(
                    Registry {
                        locals: RBTree::new(),
                        published: RBTree::new(),
                        leases: RBTree::new(),
                        holdings: RBTree::new(),
                        requests: RBTree::new(),
                        peers: Default::default(),
                        last_lease: 0,
                        last_request: 0,
                        last_any: ANY_ID_FIRST,
                        last_kernel: 0,
                        last_watcher: 0,
                        watchers: RBTree::new(),
                    },
                    "Segments::registry"
                ),
                places <- new_wait_queue!(),
                limits,
            }),
            GFP_KERNEL,
        )
    }

    /// Has nodes' coming and going told to `events`; the number is for [`Segments::unwatch`].
    pub(crate) fn watch(&self, events: Arc<EventQueue>) -> Result<u64> {
        let place = kernel::rbtree::RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut registry = self.registry.lock();
        // PANIC: There are no 2^64 opens in the life of a node.
        registry.last_watcher += 1;
        let number = registry.last_watcher;
        let node: RBTreeNode<_, _> = place.into_node(number, events);
        registry.watchers.insert(node);
        Ok(number)
    }

    /// Ends it.
    pub(crate) fn unwatch(&self, number: u64) {
        let gone = self.registry.lock().watchers.remove(&number);
        drop(gone);
    }

    /// Bit n: a node answers behind port n of an adapter.
    pub(crate) fn ports_up(&self, adapter: AdapterId) -> u64 {
        let registry = self.registry.lock();
        Port::all()
            .filter(|port| registry.peer(adapter, *port).up.is_some())
            .fold(0, |ports, port| ports | 1 << port.get())
    }

    /// Connections of this node to segments of `node`, and of `node` to segments of this one.
    pub(crate) fn connections(&self, node: NodeId) -> (u64, u64) {
        let registry = self.registry.lock();
        let out = registry
            .holdings
            .values()
            .filter_map(|holding| holding.remote.as_ref())
            .filter(|remote| remote.node() == node)
            .count();
        let ports = registry.peers.iter().flatten();
        let inward = ports
            .filter(|peer| peer.last == Some(node))
            .fold(0u64, |sum, peer| sum.saturating_add(peer.leases.into()));
        (out as u64, inward)
    }
}
