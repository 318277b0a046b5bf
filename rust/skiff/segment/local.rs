// SPDX-License-Identifier: GPL-2.0

//! A segment of this node.
//!
//! Ownership: the file that stands for it owns the [`Local`], and so does the register while it can be found by its id, and
//! each lease of a peer and each connection of the own node. Its memory goes with the last of these.
//!
//! # Locking
//!
//! `state` guards the states per adapter and the connections. It is held while the memory is mapped for an adapter, so that
//! nothing is available that is not prepared.

use kernel::{
    fs::File,
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    new_wait_queue,
    vma::NewVma,
    wait::WaitQueue, //
};
use skiff_model::{
    addr::Extent,
    ids::{
        AdapterId,
        NodeId,
        SegmentId, //
    },
    ntb::WindowClass,
    wire::{
        Access,
        NoticeKind,
        Space, //
    },
};

use super::{
    due::{
        Lease,
        LeasePhase,
        Revocation, //
    },
    table::Name,
    Create,
    EventQueue,
    Hold,
    Remote, //
};
use crate::{
    bus::Memory,
    mem::{
        Export,
        Loss,
        MapMode,
        View, //
    },
};

/// Whether a segment can still be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It can.
    Alive,
    /// It was removed; who is connected stays so.
    Removed,
}

/// A segment's memory.
pub(super) struct Parts {
    pub(super) memory: Arc<Memory>,
    pub(super) export: Arc<Export>,
}

/// A connection of the own node.
pub(super) struct Loop {
    /// The connection.
    pub(super) remote: Arc<Remote>,
    /// For whom it is: the own node, or a peer whose right it follows from.
    pub(super) holder: NodeId,
}

/// What changes of a segment.
pub(super) struct LocalState {
    pub(super) life: Life,
    /// Its memory, until nobody may use it any more.
    pub(super) parts: Option<Parts>,
    /// Bit n: prepared for adapter n.
    pub(super) prepared: u32,
    /// Bit n: available through adapter n.
    pub(super) available: u32,
    /// Connections of peers.
    pub(super) leases: RBTree<Hold, Lease>,
    /// Connections of the own node, under a number that each has for itself.
    pub(super) loops: RBTree<u64, Loop>,
    pub(super) last_loop: u64,
    pub(super) last_revocation: Revocation,
}

/// A segment.
#[pin_data]
pub(crate) struct Local {
    /// `None` if it is private.
    pub(super) name: Option<Name>,
    pub(super) what: Create,
    /// The window that others reach it through.
    class: WindowClass,
    /// Its memory as the owner's maps show it.
    pub(super) view: Arc<View>,
    #[pin]
    pub(super) events: EventQueue,
    /// Woken when a peer has let go of a lease, or its link is down.
    #[pin]
    confirmations: WaitQueue,
    #[pin]
    pub(super) state: Mutex<LocalState>,
}

/// A segment as its owner sees it.
pub(crate) struct LocalInfo {
    /// How it was made.
    pub(crate) what: Create,
    /// Its id.
    pub(crate) id: Option<SegmentId>,
    /// Bit n: prepared for adapter n.
    pub(crate) prepared: u32,
    /// Bit n: available through adapter n.
    pub(crate) available: u32,
    /// Connections.
    pub(crate) connections: u32,
    /// Ranges of bus addresses on the first adapter that it is prepared for.
    pub(crate) extents: u32,
    /// Live maps of the owner.
    pub(crate) maps: u32,
}

/// The bit of an adapter in a set.
pub(super) fn bit(adapter: AdapterId) -> u32 {
    // PANIC: Adapters are less than ADAPTERS_MAX.
    1 << adapter.get()
}

impl LocalState {
    /// Connections that stand.
    pub(super) fn connections(&self) -> usize {
        let leases = self.leases.values();
        let live = leases.filter(|lease| lease.phase == LeasePhase::Granted);
        live.count().saturating_add(self.own_loops())
    }

    /// Connections of this node that follow from no other node's.
    fn own_loops(&self) -> usize {
        let own = |entry: &&Loop| entry.holder == entry.remote.node();

        self.loops.values().filter(own).count()
    }

    /// `ECONNRESET` once it was removed.
    pub(super) fn alive(&self) -> Result {
        self.usable().map(|_| ())
    }

    /// The memory of a segment that was not removed. Error: `ECONNRESET`.
    pub(super) fn usable(&self) -> Result<&Parts> {
        match (self.life, &self.parts) {
            (Life::Alive, Some(parts)) => Ok(parts),
            _ => Err(Errno::ConnReset.into()),
        }
    }

    /// Its ranges of bus addresses on an adapter; none when there is nothing to tell of them any more.
    fn extents(&self, adapter: AdapterId) -> Option<Arc<KVVec<Extent>>> {
        self.parts.as_ref()?.export.extents(adapter)
    }

    /// What a holder behind `adapter`, who has found the segment in `space`, is to know of it.
    pub(super) fn notice(&self, adapter: AdapterId, space: Space) -> Option<NoticeKind> {
        if self.life == Life::Removed {
            Some(NoticeKind::Removed)
        } else if space == Space::Programs && self.available & bit(adapter) == 0 {
            Some(NoticeKind::Unavailable)
        } else {
            None
        }
    }

    /// Takes the memory away if nobody may use it any more; to be dropped without the lock. Peers that have not confirmed
    /// that they have let go keep what they must. A peer that was not told all of the reply yet can let go only then.
    #[must_use]
    pub(super) fn settle(&mut self) -> Option<Parts> {
        let used = |lease: &Lease| lease.phase == LeasePhase::Granted || lease.telling.is_some();
        if self.life == Life::Alive || self.leases.values().any(used) {
            return None;
        }
        self.parts.take()
    }
}

impl Local {
    /// A segment of `memory`, whose register knows it as `name`.
    pub(super) fn new(
        name: Option<Name>,
        what: &Create,
        class: WindowClass,
        memory: Arc<Memory>,
    ) -> Result<Arc<Self>> {
        let export = Export::new(&memory)?;
        let view = View::local(&memory)?;
        Arc::pin_init(
            pin_init!(Self {
                name,
                what: *what,
                class,
                view,
                events <- EventQueue::new(),
                confirmations <- new_wait_queue!(),
                state <- new_mutex!(
                    LocalState {
                        life: Life::Alive,
                        parts: Some(Parts { memory, export }),
                        prepared: 0,
                        available: 0,
                        leases: RBTree::new(),
                        loops: RBTree::new(),
                        last_loop: 0,
                        last_revocation: Revocation::default(),
                    },
                    "Local::state"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Its id; `None` if no program can name it.
    pub(crate) fn id(&self) -> Option<SegmentId> {
        match self.name {
            Some(Name::Program(id)) => Some(id),
            Some(Name::Kernel(_)) | None => None,
        }
    }

    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.what.bytes
    }

    /// The window that others reach it through.
    pub(crate) fn class(&self) -> WindowClass {
        self.class
    }

    /// Whether it is prepared for an adapter.
    pub(crate) fn prepared(&self, adapter: AdapterId) -> bool {
        self.state.lock().prepared & bit(adapter) != 0
    }

    /// Whether this node is connected to it.
    pub(crate) fn connected_here(&self) -> bool {
        self.state.lock().own_loops() != 0
    }

    /// What happens to it.
    pub(crate) fn events(&self) -> &EventQueue {
        &self.events
    }

    /// What is woken when a peer has let go of a lease, or its link is down.
    pub(super) fn confirmations(&self) -> &WaitQueue {
        &self.confirmations
    }

    /// Lets maps of `file` be maps of it.
    pub(crate) fn attach(&self, file: &File) -> Result {
        self.view.attach(file)
    }

    /// Maps it from `offset` bytes on. Errors: `ECONNRESET` once it was removed, those of the view.
    pub(crate) fn mmap(&self, vma: &NewVma<'_>, offset: u64) -> Result {
        // Under the lock, so that a removal that asks for it sees the map.
        let state = self.state.lock();
        state.alive()?;
        self.view.mmap(
            vma,
            offset,
            Access::ReadWrite,
            MapMode::WriteBack,
            Loss::Sigbus,
        )
    }

    /// Live maps of it.
    pub(super) fn maps(&self) -> u32 {
        self.view.maps()
    }

    /// What is known of it. Errors: `ECONNRESET` once it was removed.
    pub(crate) fn info(&self) -> Result<LocalInfo> {
        let state = self.state.lock();
        state.alive()?;
        let extents = AdapterId::all()
            .find(|adapter| state.prepared & bit(*adapter) != 0)
            .and_then(|adapter| state.extents(adapter))
            .map_or(0, |extents| extents.len());
        Ok(LocalInfo {
            what: self.what,
            id: self.id(),
            prepared: state.prepared,
            available: state.available,
            connections: u32::try_from(state.connections())?,
            extents: u32::try_from(extents)?,
            maps: self.maps(),
        })
    }

    /// An adapter goes: nobody reaches the memory through it any more.
    pub(super) fn adapter_gone(&self, adapter: AdapterId) {
        let mut state = self.state.lock();
        state.prepared &= !bit(adapter);
        state.available &= !bit(adapter);
        let export = state.parts.as_ref().map(|parts| parts.export.clone());
        drop(state);
        if let Some(export) = export {
            export.adapter_gone(adapter);
        }
    }

    /// The file that stands for it is gone, and so are its maps.
    pub(crate) fn close(&self) {
        self.view.lose();
    }

    /// Says what is due of a lease of it. Errors: those of [`Adapter::send`](crate::fabric::Adapter::send).
    pub(super) fn say(&self, hold: Hold) -> Result {
        let mut state = self.state.lock();
        let extents = state.extents(hold.adapter);
        match state.leases.get_mut(&hold) {
            Some(lease) => lease.say(hold, self.what.bytes, self.class, extents.as_deref()),
            None => Ok(()),
        }
    }

    /// Calls `tell` for each lease and says what is due then.
    pub(super) fn tell(&self, mut tell: impl FnMut(&mut Lease)) {
        let mut state = self.state.lock();
        let LocalState { parts, leases, .. } = &mut *state;
        for (hold, lease) in leases.iter_mut() {
            tell(lease);
            let export = parts.as_ref().map(|parts| &parts.export);
            let extents = export.and_then(|export| export.extents(hold.adapter));
            // What cannot be said stays due.
            let _ = lease.say(*hold, self.what.bytes, self.class, extents.as_deref());
        }
    }
}
