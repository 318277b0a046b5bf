// SPDX-License-Identifier: GPL-2.0

//! What peers say. Every id is looked up together with the adapter and port that it came by; what is not found is ignored,
//! for it may have crossed what makes it void.
//!
//! Called on the adapter's worker, one message at a time.

use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc, //
};
use skiff_ext::{
    errno::Errno,
    trace, //
};
use skiff_model::{
    access::{
        Caller,
        RootTrust, //
    },
    addr::{
        Extent,
        PAGE, //
    },
    ids::{
        Port,
        RequestId,
        SegmentId, //
    },
    ntb::WindowClass,
    wire::{
        Access,
        ConnectReply,
        Extents,
        Found,
        Grant,
        Message,
        NoticeKind,
        Refused,
        Space,
        Status, //
    },
};

use super::{
    due::{
        Claim,
        Due,
        HolderDue,
        Holding,
        Lease,
        LeasePhase,
        Reply,
        Telling, //
    },
    local::bit,
    requests::{
        Answer,
        Gathering,
        Pending,
        Subject, //
    },
    table::{
        Name,
        Registry,
        LEASES_MAX, //
    },
    EventKind,
    Hold,
    Remote,
    Segments, //
};
use crate::fabric::Adapter;

/// The errno that a refusal is for who has asked for a segment of `space`. Answers that no node gives to these requests are not
/// the peer's to choose.
fn errno(refused: Refused, space: Space) -> Error {
    match refused.status() {
        Status::NoEntry => ENOENT,
        Status::Access => EACCES,
        Status::NoMemory => ENOMEM,
        Status::Busy if space == Space::Kernels => EBUSY,
        Status::Ok
        | Status::Busy
        | Status::BadRequest
        | Status::Unsupported
        | Status::NoSpace
        | Status::NotPermitted
        | Status::Io
        | Status::Exists
        | Status::Ended => Errno::Proto.into(),
    }
}

/// Adds ranges to those that have come; whether all of them are there, and are ranges of `bytes` bytes.
fn gather(gathering: &mut Gathering, bytes: u64, extents: &Extents) -> Result<bool> {
    for extent in extents.iter() {
        if gathering.extents.len() == gathering.total {
            return Err(Errno::Proto.into());
        }
        gathering.extents.push(extent, GFP_KERNEL)?;
    }
    if gathering.extents.len() < gathering.total {
        return Ok(false);
    }
    let pages = bytes.div_ceil(PAGE);
    let sum = |sum: u64, extent: &Extent| sum.checked_add(extent.pages());
    if gathering.extents.iter().try_fold(0, sum) == Some(pages) {
        Ok(true)
    } else {
        Err(Errno::Proto.into())
    }
}

impl Segments {
    /// Takes in a message of the node behind `port`.
    pub(super) fn hear(&self, adapter: &Arc<Adapter>, port: Port, message: &Message) {
        let hold = |lease| Hold {
            adapter: adapter.id(),
            port,
            lease,
        };
        match message {
            Message::ConnectRequest {
                request,
                segment,
                uid,
                gid,
                access,
                space,
            } => {
                let who = (*uid, *gid);
                let named = (*space, *segment);
                let granted = self.grant(adapter, port, *request, named, who, *access);
                if let Some(refused) = granted.err().and_then(Refused::new) {
                    self.refuse(adapter, port, *request, named, refused);
                }
            }
            Message::ConnectReply(reply) => self.connect_reply(adapter, port, reply),
            Message::Extents {
                request,
                first,
                extents,
            } => self.more_extents(adapter, port, *request, *first, extents),
            Message::Disconnect { lease } => {
                self.lease_ended(hold(*lease), EventKind::Disconnected)
            }
            Message::QueryRequest {
                request,
                from,
                uid,
                gid,
            } => {
                let Some((node, _)) = self.registry.lock().peer(adapter.id(), port).up else {
                    return;
                };
                let caller = Caller::remote(node, *uid, *gid, self.trust());
                let found = self.find(*from, Some(adapter.id()), &caller);
                let reply = match (found, Refused::new(Status::NoEntry)) {
                    (Some(found), _) => Ok(found),
                    (None, Some(refused)) => Err(refused),
                    (None, None) => return,
                };
                self.answer(adapter, port, Reply::Found(*request, reply));
            }
            Message::QueryReply { request, found } => {
                self.query_reply(adapter, port, *request, *found);
            }
            Message::Revoke { lease } => self.revoked(adapter, hold(*lease)),
            Message::RevokeDone { lease } => self.revoke_done(hold(*lease)),
            Message::Notice { lease, kind } => {
                if let Some(remote) = self.holding(hold(*lease)) {
                    match kind {
                        NoticeKind::Unavailable => remote.notice(EventKind::Unavailable),
                        NoticeKind::Removed => remote.removed(),
                    }
                }
            }
            Message::Resume { lease } => self.resume(adapter, hold(*lease)),
            Message::ResumeReply { lease, status } => {
                self.resume_reply(adapter, hold(*lease), *status);
            }
            Message::ResumeEnd => self.resume_end(adapter, port),
            // Those of the fabric.
            Message::Hello(_)
            | Message::Goodbye
            | Message::SlotSet { .. }
            | Message::SlotClear { .. }
            | Message::SlotDone { .. } => {}
            // Those of lenders and borrowers: here is neither.
            Message::Offer(_)
            | Message::Withdraw { .. }
            | Message::BorrowRequest { .. }
            | Message::BorrowReply { .. }
            | Message::DeviceRequest { .. }
            | Message::DeviceReply { .. }
            | Message::Ended { .. }
            | Message::SharerGone { .. }
            | Message::Interrupt { .. }
            | Message::GivenUp { .. } => {}
            // Those of kernel clients.
            Message::ClientMessage { .. } | Message::ClientRefused { .. } => {}
        }
    }

    /// What to make of a peer's root.
    fn trust(&self) -> RootTrust {
        self.limits.root
    }

    /// Makes no connection for a peer.
    fn refuse(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        request: RequestId,
        (space, segment): (Space, SegmentId),
        refused: Refused,
    ) {
        let peer = self.registry.lock().peer(adapter.id(), port).last;
        if let Some(node) = peer {
            let error = errno(refused, space).to_errno();
            let direction = trace::Direction::In;
            trace::connect(direction, node.get(), segment.get(), 0, 0, error);
        }
        self.answer(adapter, port, Reply::Refused(request, refused));
    }

    /// Answers, now or when there is room.
    fn answer(&self, adapter: &Arc<Adapter>, port: Port, reply: Reply) {
        let mut registry = self.registry.lock();
        let peer = registry.peer_mut(adapter.id(), port);
        peer.backlog.answer(adapter, port, reply);
    }

    /// A lease that the peer claims is not good any more.
    pub(super) fn answer_stale(&self, adapter: &Arc<Adapter>, hold: Hold) {
        self.answer(adapter, hold.port, Reply::Stale(hold.lease));
    }

    /// The connection to a peer's segment, if we have it.
    fn holding(&self, hold: Hold) -> Option<Arc<Remote>> {
        let registry = self.registry.lock();
        registry.holdings.get(&hold)?.remote.clone()
    }

    /// Makes a connection for a peer.
    fn grant(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        request: RequestId,
        (space, segment): (Space, SegmentId),
        (uid, gid): (skiff_model::ids::Uid, skiff_model::ids::Gid),
        access: Access,
    ) -> Result<(), Status> {
        let no_memory = |_| Status::NoMemory;
        let in_register = RBTreeNodeReservation::new(GFP_KERNEL).map_err(no_memory)?;
        let in_segment = RBTreeNodeReservation::new(GFP_KERNEL).map_err(no_memory)?;
        let mut registry = self.registry.lock();
        let peer = registry.peer(adapter.id(), port);
        let (node, generation) = peer.up.ok_or(Status::BadRequest)?;
        let leases = peer.leases;
        let entry = match space {
            Space::Programs => {
                let name = Name::Program(segment);
                registry.locals.get(&name).and_then(Option::as_ref)
            }
            Space::Kernels => registry.published(segment, node),
        };
        let local = entry.ok_or(Status::NoEntry)?.clone();
        let mut state = local.state.lock();
        match space {
            Space::Programs => {
                if state.available & bit(adapter.id()) == 0 {
                    return Err(Status::NoEntry);
                }
                let caller = Caller::remote(node, uid, gid, self.trust());
                local.may(&caller, access).map_err(|_| Status::Access)?;
            }
            Space::Kernels => {
                state.alive().map_err(|_| Status::NoEntry)?;
                if state.prepared & bit(adapter.id()) == 0 {
                    return Err(Status::Busy);
                }
            }
        }
        if leases >= LEASES_MAX {
            return Err(Status::NoMemory);
        }
        let hold = registry.new_hold(adapter.id(), port);
        let lease = Lease {
            adapter: adapter.clone(),
            node,
            generation,
            space,
            access,
            phase: LeasePhase::Granted,
            claim: Claim::Made,
            held_back: None,
            telling: Some(Telling {
                request,
                told: None,
            }),
            resumed: Due::No,
            unavailable: Due::No,
            removed: Due::No,
            revoke: Due::No,
        };
        state.leases.insert(in_segment.into_node(hold, lease));
        registry
            .leases
            .insert(in_register.into_node(hold, local.clone()));
        registry.peer_mut(adapter.id(), port).leases += 1;
        // With the lock held: what may end the connection tells its event later.
        local
            .events
            .post(EventKind::Connected, node, Some(adapter.id()));
        drop(state);
        drop(registry);
        trace::connect(
            trace::Direction::In,
            node.get(),
            segment.get(),
            hold.lease.get(),
            local.what.bytes,
            0,
        );
        // What cannot be said now stays due.
        let _ = local.say(hold);
        Ok(())
    }

    /// A request to connect is answered.
    fn connect_reply(&self, adapter: &Arc<Adapter>, port: Port, reply: &ConnectReply) {
        let mut registry = self.registry.lock();
        match registry.requests.get(&reply.request) {
            Some(pending) if pending.is_of(adapter.id(), port) => {}
            _ => return,
        }
        let Some(pending) = registry.remove_request(reply.request) else {
            return;
        };
        let waiter = pending.waiter.clone();
        let answer = match reply.granted {
            Err(refused) => Err(errno(refused, pending.space())),
            Ok(grant) => {
                match Self::granted(&mut registry, adapter, port, reply.request, pending, &grant) {
                    Ok(None) => return,
                    Ok(Some(answer)) => Ok(answer),
                    Err(error) => Err(error),
                }
            }
        };
        drop(registry);
        waiter.answer(answer);
        self.places.wake_all();
    }

    /// A connection was granted: it stands from here on. The answer, if all of it is there.
    fn granted(
        registry: &mut Registry,
        adapter: &Arc<Adapter>,
        port: Port,
        request: RequestId,
        pending: Pending,
        grant: &Grant,
    ) -> Result<Option<Answer>> {
        let hold = Hold {
            adapter: adapter.id(),
            port,
            lease: grant.lease,
        };
        let (waiter, Subject::Connect { remote, place }) = (pending.waiter, pending.subject) else {
            return Err(Errno::Proto.into());
        };
        // No segment of the programs' is registers.
        let wrong = remote.space() == Space::Programs && grant.class != WindowClass::Memory;
        if registry.holdings.get(&hold).is_some() || wrong {
            return Err(Errno::Proto.into());
        }
        if !remote.granted(grant) {
            // It was given up meanwhile.
            let backlog = &mut registry.peer_mut(adapter.id(), port).backlog;
            backlog.answer(adapter, port, Reply::Disconnect(grant.lease));
            return Err(ETIMEDOUT);
        }
        let holding = Holding {
            remote: Some(remote.clone()),
            due: None,
        };
        registry.holdings.insert(place.into_node(hold, holding));
        let mut gathering = Gathering {
            remote,
            extents: KVVec::new(),
            total: usize::try_from(grant.total)?,
        };
        if gather(&mut gathering, grant.bytes, &grant.first)? {
            return Ok(Some(Answer::Connected(gathering.extents)));
        }
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let pending = Pending {
            adapter: adapter.id(),
            port,
            subject: Subject::Gather(gathering),
            waiter,
        };
        registry.requests.insert(place.into_node(request, pending));
        registry.peer_mut(adapter.id(), port).pending += 1;
        Ok(None)
    }

    /// More ranges of a segment whose connection stands.
    fn more_extents(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        request: RequestId,
        first: u32,
        extents: &Extents,
    ) {
        let mut registry = self.registry.lock();
        let Some(pending) = registry.requests.get_mut(&request) else {
            return;
        };
        if !pending.is_of(adapter.id(), port) {
            return;
        }
        let Subject::Gather(gathering) = &mut pending.subject else {
            return;
        };
        let in_order = u32::try_from(gathering.extents.len()) == Ok(first);
        let complete = match gathering.remote.info().map(|info| info.bytes) {
            Ok(bytes) if in_order => gather(gathering, bytes, extents),
            Ok(_) => Err(Errno::Proto.into()),
            Err(error) => Err(error),
        };
        let answer = match complete {
            Ok(false) => return,
            Ok(true) => Ok(Answer::Connected(core::mem::take(&mut gathering.extents))),
            Err(error) => Err(error),
        };
        let Some(pending) = registry.remove_request(request) else {
            return;
        };
        drop(registry);
        pending.waiter.answer(answer);
        self.places.wake_all();
    }

    /// A search is answered.
    fn query_reply(
        &self,
        adapter: &Arc<Adapter>,
        port: Port,
        request: RequestId,
        found: Result<Found, Refused>,
    ) {
        let mut registry = self.registry.lock();
        match registry.requests.get(&request) {
            Some(pending) if pending.is_of(adapter.id(), port) => {}
            _ => return,
        }
        let pending = registry.remove_request(request);
        drop(registry);
        if let Some(pending) = pending {
            pending.waiter.answer(match found {
                Ok(found) => Ok(Answer::Found(found)),
                Err(refused) => Err(errno(refused, Space::Programs)),
            });
            self.places.wake_all();
        }
    }

    /// The owner takes a connection back.
    fn revoked(&self, adapter: &Arc<Adapter>, hold: Hold) {
        let remote = self.holding(hold);
        if let Some(remote) = remote {
            remote.lose();
            trace::revoke(
                trace::Direction::Out,
                remote.node().get(),
                remote.segment().get(),
                hold.lease.get(),
            );
        }
        let mut registry = self.registry.lock();
        if let Some(holding) = registry.holdings.get_mut(&hold) {
            holding.due = Some(HolderDue::RevokeDone);
            // What cannot be said now stays due.
            let _ = registry.say_holding(adapter, hold);
        }
    }

    /// The owner says whether a connection is still good.
    fn resume_reply(&self, adapter: &Arc<Adapter>, hold: Hold, status: Status) {
        let Some(remote) = self.holding(hold) else {
            return;
        };
        if status == Status::Ok && remote.resumed() {
            return;
        }
        remote.lose();
        let mut registry = self.registry.lock();
        if status == Status::Ok {
            if let Some(holding) = registry.holdings.get_mut(&hold) {
                holding.due = Some(HolderDue::Disconnect);
                // What cannot be said now stays due.
                let _ = registry.say_holding(adapter, hold);
            }
        } else {
            let gone = registry.holdings.remove(&hold);
            drop(registry);
            drop(gone);
        }
    }
}
