// SPDX-License-Identifier: GPL-2.0

//! How an owner takes connections back.

use kernel::{
    prelude::*,
    rbtree::RBTree, //
};
use skiff_ext::trace;
use skiff_model::ids::NodeId;

use super::{
    due::{
        Due,
        LeasePhase,
        Revocation, //
    },
    local::{
        LocalState,
        Loop, //
    },
    EventKind,
    Hold,
    Local,
    Segments, //
};

/// What a revocation has come to.
pub(crate) struct Revoked {
    /// Connections that were taken away.
    pub(crate) revoked: u32,
    /// Those of them that no peer has confirmed.
    pub(crate) unconfirmed: u32,
}

impl Segments {
    /// Takes the connections of a node away, or those of all nodes. What this node has connected to on behalf of another one is
    /// both nodes'.
    ///
    /// Waits for the peers' confirmation for `timeout_ms` milliseconds at most; the memory is not reused before. Errors:
    /// `EINTR`, and what was begun goes on; `ECONNRESET` when the segment was removed.
    pub(crate) fn revoke(
        &self,
        local: &Local,
        only: Option<NodeId>,
        own: Option<NodeId>,
        timeout_ms: u32,
    ) -> Result<Revoked> {
        let mut revoked = 0u32;
        let mut state = local.state.lock();
        let export = state.usable()?.export.clone();
        // From here on nothing fails but the wait.
        let revocation = state.last_revocation.next();
        state.last_revocation = revocation;
        for (hold, lease) in state.leases.iter_mut() {
            let meant = only.is_none_or(|node| node == lease.node);
            if !meant || lease.phase != LeasePhase::Granted {
                continue;
            }
            lease.phase = LeasePhase::Revoking(revocation);
            lease.revoke = Due::Yes;
            lease.held_back = export.hold_back(hold.adapter);
            revoked = revoked.saturating_add(1);
            local
                .events
                .post(EventKind::PeerLost, lease.node, Some(hold.adapter));
            trace::revoke(
                trace::Direction::In,
                lease.node.get(),
                local.id().map_or(0, |id| id.get()),
                hold.lease.get(),
            );
        }
        // All at once, or a program that connects again and again would never let this end.
        let loops =
            state.take_loops(|holder| only.is_none_or(|node| own == Some(node) || node == holder));
        drop(state);
        for Loop { remote, .. } in loops.values() {
            remote.lose();
            revoked = revoked.saturating_add(1);
            local.events.post(EventKind::PeerLost, remote.node(), None);
        }
        // What cannot be said now stays due.
        local.tell(|_| {});
        let done = || (self.awaited(local, revocation) == 0).then_some(());
        match local.confirmations().wait_for(Some(timeout_ms), done) {
            Ok(()) => {}
            Err(error) if error == ETIMEDOUT => {}
            Err(error) => return Err(error),
        }
        Ok(Revoked {
            revoked,
            unconfirmed: u32::try_from(local.unconfirmed(revocation))?,
        })
    }

    /// Connections taken away by this revocation that no peer has confirmed, but will: its link is up.
    fn awaited(&self, local: &Local, revocation: Revocation) -> usize {
        let registry = self.registry.lock();
        let state = local.state.lock();
        let awaited = state.leases.iter().filter(|(hold, lease)| {
            let up = registry.peer(hold.adapter, hold.port).up.is_some();
            up && lease.phase == LeasePhase::Revoking(revocation)
        });
        awaited.count()
    }

    /// A holder has let go of what was taken back.
    pub(super) fn revoke_done(&self, hold: Hold) {
        let local = self.registry.lock().leases.get(&hold).cloned();
        let revoking = local.is_some_and(|local| {
            let state = local.state.lock();
            let lease = state.leases.get(&hold);
            lease.is_some_and(|lease| lease.phase != LeasePhase::Granted)
        });
        if revoking {
            self.lease_ended(hold, EventKind::PeerLost);
        }
    }
}

impl LocalState {
    /// Takes out the connections of the own node whose holder is meant.
    fn take_loops(&mut self, meant: impl Fn(NodeId) -> bool) -> RBTree<u64, Loop> {
        let mut taken = RBTree::new();
        let mut from = 0;
        while let Some(cursor) = self.loops.cursor_lower_bound(&from) {
            let (&number, entry) = cursor.current();
            if meant(entry.holder) {
                if let Some(node) = self.loops.remove_node(&number) {
                    taken.insert(node);
                }
            }
            // PANIC: Numbers count connections.
            from = number + 1;
        }
        taken
    }
}

impl Local {
    /// Connections taken away by this revocation that no peer has confirmed.
    fn unconfirmed(&self, revocation: Revocation) -> usize {
        let state = self.state.lock();
        let leases = state.leases.values();
        leases
            .filter(|lease| lease.phase == LeasePhase::Revoking(revocation))
            .count()
    }
}
