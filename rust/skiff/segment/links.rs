// SPDX-License-Identifier: GPL-2.0

//! What the coming and going of links means for connections.
//!
//! A link that goes down leaves both ends of a connection standing. When it comes back with the same generation, the holder
//! tells all connections that it still has ([`Message::Resume`], then [`Message::ResumeEnd`]); the owner ends the others: what
//! was said last before the link went down may never have arrived. With another generation all is over.
//!
//! Called on the adapter's worker.
//!
//! [`Message::Resume`]: skiff_model::wire::Message::Resume
//! [`Message::ResumeEnd`]: skiff_model::wire::Message::ResumeEnd

use kernel::sync::Arc;
use skiff_model::{
    ids::{
        AdapterId,
        Generation,
        LeaseId,
        NodeId,
        Port,
        RequestId, //
    },
    wire::Message, //
};

use super::{
    due::{
        Claim,
        HolderDue,
        Inventory,
        LeasePhase, //
    },
    table::Name,
    EventKind,
    Hold,
    Local,
    Remote,
    Segments, //
};
use crate::fabric::{
    Adapter,
    Events, //
};
use skiff_ext::errno::Errno;

impl Events for Segments {
    fn peer_cut(&self, adapter: &Arc<Adapter>, port: Port) {
        let mut after = None;
        while let Some((hold, remote)) = self.next_remote(adapter.id(), port, after) {
            if let Some(remote) = remote {
                remote.cut();
            }
            after = Some(hold.lease);
        }
    }

    fn peer_down(&self, adapter: &Arc<Adapter>, port: Port, node: NodeId) {
        let mut registry = self.registry.lock();
        let peer = registry.peer_mut(adapter.id(), port);
        let was_up = peer.up.take().is_some();
        peer.backlog.cut();
        let last = was_up && !registry.is_up(node);
        if last {
            for events in registry.watchers.values() {
                events.post(EventKind::NotOperational, node, Some(adapter.id()));
            }
        }
        drop(registry);
        self.fail_requests(adapter.id(), port);
        let mut after = None;
        while let Some((hold, remote)) = self.next_remote(adapter.id(), port, after) {
            match remote {
                Some(remote) => remote.down(),
                // The owner gives up what we do not claim when the link is back.
                None => drop(self.registry.lock().holdings.remove(&hold)),
            }
            after = Some(hold.lease);
        }
        let mut after = None;
        while let Some((hold, local)) = self.next_lease(adapter.id(), port, after) {
            if let Some(lease) = local.state.lock().leases.get_mut(&hold) {
                lease.cut();
            }
            local.confirmations().wake_all();
            after = Some(hold.lease);
        }
    }

    fn peer_up(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        node: NodeId,
        generation: Generation,
        resumed: bool,
    ) {
        if !resumed {
            self.forget(adapter, port);
        }
        let mut registry = self.registry.lock();
        let news = !registry.is_up(node);
        let peer = registry.peer_mut(adapter.id(), port);
        peer.up = Some((node, generation));
        peer.last = Some(node);
        // In any case: what is a new life for us, whose adapter was away, may be the same one for the peer.
        peer.backlog.inventory = Inventory::Due;
        if resumed {
            let mut after = None;
            while let Some(hold) = registry.next_holding(adapter.id(), port, after) {
                if let Some(holding) = registry.holdings.get_mut(&hold) {
                    holding.due = Some(HolderDue::Resume);
                }
                after = Some(hold.lease);
            }
        }
        if news {
            for events in registry.watchers.values() {
                events.post(EventKind::Operational, node, Some(adapter.id()));
            }
        }
        drop(registry);
        if resumed {
            let mut after = None;
            while let Some((hold, local)) = self.next_lease(adapter.id(), port, after) {
                if let Some(lease) = local.state.lock().leases.get_mut(&hold) {
                    lease.claim = Claim::Open;
                }
                after = Some(hold.lease);
            }
        }
        self.say_due(adapter, port);
    }

    fn message(&self, adapter: &Arc<Adapter>, port: Port, message: &Message) {
        self.hear(adapter, port, message);
    }

    fn room(&self, adapter: &Arc<Adapter>, port: Port) {
        self.say_due(adapter, port);
        // Who could not ask may try again.
        self.places.wake_all();
    }

    fn adapter_gone(&self, adapter: &Arc<Adapter>) {
        for port in Port::all() {
            self.forget(adapter, port);
        }
        let mut after = None;
        while let Some((name, local)) = self.next_local(after) {
            if let Some(local) = local {
                local.adapter_gone(adapter.id());
            }
            after = Some(name);
        }
        // Segments that were removed live on in the leases of peers behind other adapters.
        for other in AdapterId::all().filter(|other| *other != adapter.id()) {
            for port in Port::all() {
                let mut after = None;
                while let Some((hold, local)) = self.next_lease(other, port, after) {
                    local.adapter_gone(adapter.id());
                    after = Some(hold.lease);
                }
            }
        }
    }
}

impl Segments {
    /// The first connection to a peer's segment behind `after`; without the connection itself if it was given up.
    fn next_remote(
        &self,
        adapter: AdapterId,
        port: Port,
        after: Option<LeaseId>,
    ) -> Option<(Hold, Option<Arc<Remote>>)> {
        let registry = self.registry.lock();
        let hold = registry.next_holding(adapter, port, after)?;
        let holding = registry.holdings.get(&hold)?;
        Some((hold, holding.remote.clone()))
    }

    /// The first segment with a name behind `after`; without the segment itself while it is made.
    pub(super) fn next_local(&self, after: Option<Name>) -> Option<(Name, Option<Arc<Local>>)> {
        let registry = self.registry.lock();
        let from = after.map_or(Some(Name::FIRST), Name::next)?;
        let cursor = registry.locals.cursor_lower_bound(&from)?;
        let (name, local) = cursor.current();
        Some((*name, local.clone()))
    }

    /// Nobody will answer what this peer was asked.
    fn fail_requests(&self, adapter: AdapterId, port: Port) {
        let mut after: Option<RequestId> = None;
        loop {
            let mut registry = self.registry.lock();
            let from = match after {
                None => Some(RequestId::new(0)),
                Some(request) => request.get().checked_add(1).map(RequestId::new),
            };
            let Some(from) = from else { break };
            let Some(cursor) = registry.requests.cursor_lower_bound(&from) else {
                break;
            };
            let (request, pending) = cursor.current();
            let request = *request;
            let pending = if pending.is_of(adapter, port) {
                registry.remove_request(request)
            } else {
                None
            };
            drop(registry);
            if let Some(pending) = pending {
                pending.waiter.answer(Err(Errno::NoLink.into()));
            }
            after = Some(request);
        }
        self.places.wake_all();
    }

    /// The life of a peer is over, and all that it has and that we have of it.
    fn forget(&self, adapter: &Arc<Adapter>, port: Port) {
        while let Some((hold, remote)) = self.next_remote(adapter.id(), port, None) {
            if let Some(remote) = &remote {
                remote.lose();
            }
            let gone = self.registry.lock().holdings.remove(&hold);
            drop(gone);
        }
        while let Some((hold, _)) = self.next_lease(adapter.id(), port, None) {
            self.lease_ended(hold, EventKind::PeerLost);
        }
    }

    /// A peer has let go of a lease, or is dead: what it had is free.
    pub(super) fn lease_ended(&self, hold: Hold, kind: EventKind) {
        let Some(local) = self.registry.lock().remove_lease(hold) else {
            return;
        };
        let mut state = local.state.lock();
        let lease = state.leases.remove(&hold);
        let parts = state.settle();
        drop(state);
        drop(parts);
        if let Some(lease) = lease {
            // A revocation was told when it began.
            if lease.phase == LeasePhase::Granted {
                local.events.post(kind, lease.node, Some(hold.adapter));
            }
        }
        local.confirmations().wake_all();
    }

    /// A holder says, after the link came back, that it still has a lease.
    pub(super) fn resume(&self, adapter: &Arc<Adapter>, hold: Hold) {
        let local = self.registry.lock().leases.get(&hold).cloned();
        if let Some(local) = local {
            let mut state = local.state.lock();
            let space = state.leases.get(&hold).map(|lease| lease.space);
            let notice = space.and_then(|space| state.notice(hold.adapter, space));
            let lease = state.leases.get_mut(&hold);
            let good = lease.map(|lease| lease.claimed(notice));
            drop(state);
            match good {
                Some(true) => {
                    // What cannot be said now stays due.
                    let _ = local.say(hold);
                    return;
                }
                // It has not used it since the link went down, and will not now.
                Some(false) => self.lease_ended(hold, EventKind::PeerLost),
                None => {}
            }
        }
        self.answer_stale(adapter, hold);
    }

    /// A holder has told all leases that it still has: the others are over.
    pub(super) fn resume_end(&self, adapter: &Arc<Adapter>, port: Port) {
        let mut after = None;
        while let Some((hold, local)) = self.next_lease(adapter.id(), port, after) {
            let over = {
                let state = local.state.lock();
                let lease = state.leases.get(&hold);
                lease.is_some_and(|lease| lease.claim == Claim::Open)
            };
            if over {
                self.lease_ended(hold, EventKind::Disconnected);
            }
            after = Some(hold.lease);
        }
    }
}
