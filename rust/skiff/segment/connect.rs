// SPDX-License-Identifier: GPL-2.0

//! How connections are made and given up.

use kernel::{
    prelude::*,
    rbtree::{
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    },
};
use skiff_ext::{
    errno::Errno,
    trace, //
};
use skiff_model::{
    access::Caller,
    ids::{
        AdapterId,
        Gid,
        LeaseId,
        NodeId,
        Port,
        RequestId,
        SegmentId,
        Uid, //
    },
    wire::{
        Access,
        Message,
        Space, //
    },
};

use super::{
    due::{
        HolderDue,
        LeasePhase, //
    },
    local::{
        bit,
        LocalState,
        Loop, //
    },
    remote::Path,
    requests::{
        Answer,
        Pending,
        Subject,
        PENDING_MAX, //
    },
    table::Name,
    EventKind,
    Hold,
    Local,
    Remote,
    Segments,
    Waiter, //
};
use crate::fabric::{
    Adapter,
    Fabric, //
};

/// Where to, and for how long a peer may think about it.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The node; `None` for the own one.
    pub(crate) node: Option<NodeId>,
    /// The adapter to reach it by; `None` for the first that does.
    pub(crate) adapter: Option<AdapterId>,
    /// The limit in milliseconds.
    pub(crate) timeout_ms: u32,
    /// Who wants it.
    pub(crate) uid: Uid,
    /// Their group.
    pub(crate) gid: Gid,
}

/// A connection to be made.
#[derive(Clone, Copy)]
pub(crate) struct Connect {
    /// To whom.
    pub(crate) target: Target,
    /// Where to look the segment up.
    pub(crate) space: Space,
    /// The segment.
    pub(crate) segment: SegmentId,
    /// What for.
    pub(crate) access: Access,
}

/// What a connection is to.
#[derive(Clone, Copy)]
pub(super) struct Aim {
    /// Where the segment is looked up.
    pub(super) space: Space,
    /// The segment.
    pub(super) segment: SegmentId,
    /// What the connection may do.
    pub(super) access: Access,
}

impl Connect {
    fn aim(&self) -> Aim {
        Aim {
            space: self.space,
            segment: self.segment,
            access: self.access,
        }
    }
}

/// A limit that several waits share.
struct Limit {
    start: Instant<Monotonic>,
    ms: u32,
}

impl Limit {
    /// From now on.
    fn new(ms: u32) -> Self {
        Self {
            start: Instant::now(),
            ms,
        }
    }

    /// Milliseconds left.
    fn left(&self) -> u32 {
        let gone = u32::try_from(self.start.elapsed().as_millis()).unwrap_or(u32::MAX);
        self.ms.saturating_sub(gone)
    }
}

/// Where a target turned out to be.
pub(super) enum Place {
    /// On this node.
    Own(NodeId),
    /// Behind a port.
    Peer(Arc<Adapter>, Port, NodeId),
}

impl Target {
    /// Finds it. Errors: `ENODEV`, `ENXIO`, `EHOSTDOWN`, `ENOLINK`.
    pub(super) fn find(&self, fabric: &Fabric) -> Result<Place> {
        if let Some(adapter) = self.adapter {
            fabric.adapter(adapter)?;
        }
        let own = fabric.node();
        match self.node {
            None => Ok(Place::Own(own.ok_or(ENODEV)?)),
            Some(node) if own == Some(node) => Ok(Place::Own(node)),
            Some(node) => {
                let (adapter, port) = fabric.route(node, self.adapter)?;
                Ok(Place::Peer(adapter, port, node))
            }
        }
    }
}

impl Segments {
    /// Connects to a segment.
    ///
    /// Errors: `EACCES`, `ECONNRESET`, `EHOSTDOWN`, `EINTR`, `ENODEV`, `ENOENT`, `ENOLINK`, `ENOMEM`, `ENXIO`, `EPROTO`,
    /// `ETIMEDOUT`; in the kernels' space `EBUSY` when it is not prepared there, and `EOPNOTSUPP` when there is no window for it
    /// here.
    pub(crate) fn connect(&self, fabric: &Fabric, what: &Connect) -> Result<Arc<Remote>> {
        let (direction, node, result) = match what.target.find(fabric)? {
            Place::Own(node) => (trace::Direction::In, node, self.connect_own(node, what)),
            Place::Peer(adapter, port, node) => {
                let result = self.connect_peer(&adapter, port, node, what);
                (trace::Direction::Out, node, result)
            }
        };
        let (lease, bytes, error) = match &result {
            Ok(remote) => (
                remote.hold().map_or(0, |hold| hold.lease.get()),
                remote.info().map_or(0, |info| info.bytes),
                0,
            ),
            Err(error) => (0, 0, error.to_errno()),
        };
        trace::connect(
            direction,
            node.get(),
            what.segment.get(),
            lease,
            bytes,
            error,
        );
        result
    }

    /// Connects to a segment of this node.
    fn connect_own(&self, node: NodeId, what: &Connect) -> Result<Arc<Remote>> {
        let local = match what.space {
            Space::Programs => {
                let caller = Caller::local(what.target.uid, what.target.gid);
                let local = self.available(what.segment, what.target.adapter)?;
                local.may(&caller, what.access)?;
                local
            }
            Space::Kernels => {
                let registry = self.registry.lock();
                let local = registry.published(what.segment, node).ok_or(ENOENT)?;
                local.clone()
            }
        };
        let still = |state: &LocalState| match what.space {
            Space::Programs => state.available & what.target.adapter.map_or(u32::MAX, bit) != 0,
            Space::Kernels => state.alive().is_ok(),
        };
        Self::connect_loop(&local, node, node, what.aim(), still)
    }

    /// Connects this node to a segment of its kernel. Errors: `ECONNRESET` when it was removed, `ENODEV`, `ENOMEM`.
    pub(crate) fn connect_kernel(
        &self,
        fabric: &Fabric,
        local: &Arc<Local>,
    ) -> Result<Arc<Remote>> {
        let node = fabric.node().ok_or(ENODEV)?;
        let aim = Aim {
            space: Space::Kernels,
            segment: SegmentId::new(0),
            access: Access::ReadWrite,
        };

        Self::connect_loop(local, node, node, aim, |state| state.alive().is_ok())
    }

    /// Connects this node, `node`, to the segment that a peer has a connection to by the name `lease`, on behalf of that peer:
    /// what is taken from the peer is taken from this connection as well.
    ///
    /// Errors: `EACCES` when the peer may only read it, `ECONNRESET` when the segment was removed, `ENOENT`, `ENOMEM`.
    pub(crate) fn connect_leased(
        &self,
        node: NodeId,
        adapter: AdapterId,
        port: Port,
        lease: LeaseId,
    ) -> Result<Arc<Remote>> {
        let hold = Hold {
            adapter,
            port,
            lease,
        };
        let local = self.registry.lock().leases.get(&hold).cloned();
        let local = local.ok_or(ENOENT)?;
        let (holder, access) = {
            let state = local.state.lock();
            let lease = state.leases.get(&hold).ok_or(ENOENT)?;
            (lease.node, lease.access)
        };
        if access == Access::ReadOnly {
            return Err(EACCES);
        }
        let aim = Aim {
            space: Space::Kernels,
            segment: local.id().unwrap_or(SegmentId::new(0)),
            access,
        };
        let still = |state: &LocalState| {
            let lease = state.leases.get(&hold);
            lease.is_some_and(|lease| lease.phase == LeasePhase::Granted)
        };
        Self::connect_loop(&local, node, holder, aim, still)
    }

    /// Connects this node, `node`, to a segment of its own on behalf of `holder`, if it `still` may be.
    fn connect_loop(
        local: &Arc<Local>,
        node: NodeId,
        holder: NodeId,
        aim: Aim,
        still: impl Fn(&LocalState) -> bool,
    ) -> Result<Arc<Remote>> {
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let (number, memory) = {
            let mut state = local.state.lock();
            // PANIC: There are no 2^64 connections in the life of a node.
            state.last_loop += 1;
            (state.last_loop, state.usable()?.memory.clone())
        };
        let remote = Remote::own(local, &memory, number, node, aim)?;
        let mut state = local.state.lock();
        if !still(&state) {
            return Err(ENOENT);
        }
        let entry = Loop {
            remote: remote.clone(),
            holder,
        };
        state.loops.insert(place.into_node(number, entry));
        // With the lock held: what may end the connection tells its event later.
        local.events.post(EventKind::Connected, node, None);
        drop(state);
        Ok(remote)
    }

    /// The segment with an id, if it can be connected to by `adapter`, or at all. Error: `ENOENT`.
    fn available(&self, segment: SegmentId, adapter: Option<AdapterId>) -> Result<Arc<Local>> {
        let registry = self.registry.lock();
        let name = Name::Program(segment);
        let entry = registry.locals.get(&name).and_then(Option::as_ref);
        let local = entry.ok_or(ENOENT)?;
        let available = local.state.lock().available;
        if available & adapter.map_or(u32::MAX, bit) == 0 {
            return Err(ENOENT);
        }
        Ok(local.clone())
    }

    /// Connects to a segment of a peer.
    fn connect_peer(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        node: NodeId,
        what: &Connect,
    ) -> Result<Arc<Remote>> {
        let remote = Remote::asking(adapter, port, node, what.aim())?;
        let subject = Subject::Connect {
            remote: remote.clone(),
            place: RBTreeNodeReservation::new(GFP_KERNEL)?,
        };
        let (space, segment, access) = (what.space, what.segment, what.access);
        let (uid, gid) = (what.target.uid, what.target.gid);
        let ask = |request| Message::ConnectRequest {
            request,
            segment,
            uid,
            gid,
            access,
            space,
        };
        let timeout = what.target.timeout_ms;
        let result = match self.ask(adapter, port, node, timeout, subject, ask) {
            Ok(Answer::Connected(extents)) => remote.found(extents),
            Ok(Answer::Found(_)) => Err(Errno::Proto.into()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // It may stand all the same, and nobody wants it.
            let _ = self.disconnect(&remote);
            return Err(error);
        }
        Ok(remote)
    }

    /// Asks a peer something and waits for the answer.
    ///
    /// Errors: `ENOLINK`, `ENOMEM`, `EINTR`, `ETIMEDOUT`, and what the answer says.
    pub(super) fn ask(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        node: NodeId,
        timeout_ms: u32,
        subject: Subject,
        message: impl Fn(RequestId) -> Message,
    ) -> Result<Answer> {
        let limit = Limit::new(timeout_ms);
        let waiter = Waiter::new()?;
        let mut place = Some((RBTreeNodeReservation::new(GFP_KERNEL)?, subject));
        self.places.wait_for(Some(limit.left()), || {
            let mut registry = self.registry.lock();
            let peer = registry.peer(adapter.id(), port);
            if peer.up.is_none_or(|(up, _)| up != node) {
                return Some(Err(Error::from(Errno::NoLink)));
            }
            if peer.pending >= PENDING_MAX {
                return None;
            }
            let request = registry.new_request();
            // In the register first: the answer comes on another thread, and waits for the lock.
            match adapter.send(port, &message(request)) {
                Ok(()) => {}
                Err(error) if error == EBUSY => return None,
                Err(error) => return Some(Err(error)),
            }
            let (place, subject) = place.take()?;
            let pending = Pending {
                adapter: adapter.id(),
                port,
                subject,
                waiter: waiter.clone(),
            };
            let node: RBTreeNode<_, _> = place.into_node(request, pending);
            registry.requests.insert(node);
            registry.peer_mut(adapter.id(), port).pending += 1;
            Some(Ok(()))
        })??;
        waiter.wait(limit.left())
    }

    /// Gives a connection up. Errors: `EBUSY` while it is mapped, `ECONNRESET` when it was given up before.
    pub(crate) fn disconnect(&self, remote: &Remote) -> Result {
        remote.close()?;
        if let Path::Own(local, number) = &remote.path {
            let gone = local.state.lock().loops.remove(number);
            if gone.is_some() {
                let node = remote.node();
                local.events.post(EventKind::Disconnected, node, None);
            }
            return Ok(());
        }
        let (Some(hold), Path::Peer(adapter, port)) = (remote.hold(), &remote.path) else {
            return Ok(());
        };
        let mut registry = self.registry.lock();
        let up = registry.peer(hold.adapter, *port).up.is_some();
        let Some(holding) = registry.holdings.get_mut(&hold) else {
            return Ok(());
        };
        // A peer that was booted anew may have named another connection as its former life has named this one.
        let gone = match holding.remote.take() {
            Some(held) if core::ptr::eq(&*held, remote) => held,
            other => {
                holding.remote = other;
                return Ok(());
            }
        };
        if holding.due != Some(HolderDue::RevokeDone) {
            holding.due = Some(HolderDue::Disconnect);
        }
        if up {
            // What cannot be said now stays due.
            let _ = registry.say_holding(adapter, hold);
        } else {
            // The owner gives up what we do not claim when the link is back.
            registry.holdings.remove(&hold);
        }
        drop(registry);
        drop(gone);
        Ok(())
    }
}

impl Local {
    /// Whether somebody may connect. Error: `EACCES`.
    pub(super) fn may(&self, caller: &Caller, access: Access) -> Result {
        skiff_model::access::check(&self.what.rights, caller, access).map_err(|_| EACCES)
    }
}
