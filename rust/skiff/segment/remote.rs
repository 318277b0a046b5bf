// SPDX-License-Identifier: GPL-2.0

//! A connection to a segment of a peer, or of this node.
//!
//! Ownership: the file that stands for it owns the [`Remote`], and so does the register (or the segment, when it is of this
//! node) until it is given up.
//!
//! # Locking
//!
//! `state` is held while the view is mapped, suspended or resumed, so that a map never is of another state than the connection.
//! It is taken under `mmap_lock`. What the peer does is told by one thread, the adapter's worker. The observer is called
//! without it, between the phase's change, which keeps new users off, and the view's.

use kernel::{
    fs::File,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    vma::NewVma, //
};
use skiff_model::{
    addr::Extent,
    ids::{
        AdapterId,
        LeaseId,
        NodeId,
        Port,
        SegmentId, //
    },
    ntb::WindowClass,
    wire::{
        Access,
        Grant,
        Space, //
    },
};

use super::{
    connect::Aim,
    EventKind,
    EventQueue,
    Gone,
    Hold,
    Local, //
};
use crate::{
    bus::Memory,
    fabric::Adapter,
    mem::{
        Loss,
        MapMode,
        View, //
    },
};

/// State of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoteState {
    /// It can be used.
    Operational,
    /// The link is down; it may come back.
    NotOperational,
    /// It will not come back.
    Lost,
}

/// The same with what programs need not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The peer was asked and has not answered.
    Connecting,
    /// It can be used.
    Operational,
    /// The link was lost, and nobody was told yet.
    Cut,
    /// The link is down.
    NotOperational,
    /// It was revoked, or the peer is dead.
    Lost,
    /// It was given up.
    Closed,
}

/// What leads to the segment.
pub(super) enum Path {
    /// It is one of this node; the number is for its list of connections.
    Own(Arc<Local>, u64),
    /// It is one of a peer.
    Peer(Arc<Adapter>, Port),
}

/// What changes of a connection.
pub(super) struct State {
    pub(super) phase: Phase,
    /// The owner's name for it, once it has answered.
    pub(super) lease: Option<LeaseId>,
    /// Length of the segment.
    bytes: u64,
    /// The window that it is reached through.
    class: WindowClass,
    /// Who is to know when it cannot be used any more.
    pub(super) observer: Option<Arc<dyn Gone>>,
    /// The memory, once it is known where it is.
    pub(super) view: Option<Arc<View>>,
    /// Whether its user knows that the segment was removed.
    removal: Removal,
}

/// Whether the user of a connection knows that the segment was removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It was not, or the user does not know.
    Untold,
    /// The user knows.
    Told,
}

impl State {
    /// The memory. Errors: `ENOLINK` when it cannot be used now, `ECONNRESET` when it never can.
    pub(super) fn usable(&self) -> Result<&Arc<View>> {
        match self.phase {
            Phase::Operational => Ok(self.view.as_ref().ok_or(Errno::ConnReset)?),
            Phase::Connecting | Phase::Cut | Phase::NotOperational => Err(Errno::NoLink.into()),
            Phase::Lost | Phase::Closed => Err(Errno::ConnReset.into()),
        }
    }
}

/// A connection.
#[pin_data]
pub(crate) struct Remote {
    pub(super) path: Path,
    node: NodeId,
    space: Space,
    segment: SegmentId,
    pub(super) access: Access,
    #[pin]
    events: EventQueue,
    #[pin]
    pub(super) state: Mutex<State>,
}

/// A connection as its user sees it.
pub(crate) struct RemoteInfo {
    /// What it may do.
    pub(crate) access: Access,
    /// The owner's node.
    pub(crate) node: NodeId,
    /// The adapter that reaches it; `None` for the own node.
    pub(crate) adapter: Option<AdapterId>,
    /// The segment's id.
    pub(crate) segment: SegmentId,
    /// State of the connection.
    pub(crate) state: RemoteState,
    /// Length of the segment.
    pub(crate) bytes: u64,
    /// Live maps.
    pub(crate) maps: u32,
    /// Slots that they use.
    pub(crate) slots: u32,
}

impl Remote {
    /// A connection that a peer is about to be asked for.
    pub(super) fn asking(
        adapter: &Arc<Adapter>,
        port: Port,
        node: NodeId,
        aim: Aim,
    ) -> Result<Arc<Self>> {
        let path = Path::Peer(adapter.clone(), port);
        let state = State {
            phase: Phase::Connecting,
            lease: None,
            bytes: 0,
            class: WindowClass::Memory,
            observer: None,
            view: None,
            removal: Removal::Untold,
        };
        Self::new(path, node, aim, state)
    }

    /// A connection to a segment of this node.
    pub(super) fn own(
        local: &Arc<Local>,
        memory: &Arc<Memory>,
        number: u64,
        node: NodeId,
        aim: Aim,
    ) -> Result<Arc<Self>> {
        let path = Path::Own(local.clone(), number);
        let state = State {
            phase: Phase::Operational,
            lease: None,
            bytes: local.bytes(),
            class: local.class(),
            observer: None,
            view: Some(View::local(memory)?),
            removal: Removal::Untold,
        };
        Self::new(path, node, aim, state)
    }

    fn new(path: Path, node: NodeId, aim: Aim, state: State) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                path,
                node,
                space: aim.space,
                segment: aim.segment,
                access: aim.access,
                events <- EventQueue::new(),
                state <- new_mutex!(state, "Remote::state"),
            }),
            GFP_KERNEL,
        )
    }

    /// The owner's node.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Where the segment was looked up.
    pub(crate) fn space(&self) -> Space {
        self.space
    }

    /// The segment's id.
    pub(crate) fn segment(&self) -> SegmentId {
        self.segment
    }

    /// The adapter that reaches it; `None` for the own node.
    pub(crate) fn adapter(&self) -> Option<AdapterId> {
        match &self.path {
            Path::Own(..) => None,
            Path::Peer(adapter, _) => Some(adapter.id()),
        }
    }

    /// What happens to it.
    pub(crate) fn events(&self) -> &EventQueue {
        &self.events
    }

    /// Tells its user something.
    pub(super) fn notice(&self, kind: EventKind) {
        self.events.post(kind, self.node, self.adapter());
    }

    /// The segment was removed: tells its user so, once. An owner says it again when the link was down.
    pub(super) fn removed(&self) {
        let mut state = self.state.lock();
        let before = core::mem::replace(&mut state.removal, Removal::Told);
        drop(state);
        if before == Removal::Untold {
            self.notice(EventKind::Removed);
        }
    }

    /// The peer has granted it. Whether somebody still wants it.
    pub(super) fn granted(&self, grant: &Grant) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Connecting {
            return false;
        }
        state.phase = Phase::Operational;
        state.lease = Some(grant.lease);
        state.bytes = grant.bytes;
        state.class = grant.class;
        true
    }

    /// Its place in the register; `None` for the own node, or when it was never granted.
    pub(super) fn hold(&self) -> Option<Hold> {
        let lease = self.state.lock().lease?;
        match &self.path {
            Path::Own(..) => None,
            Path::Peer(adapter, port) => Some(Hold {
                adapter: adapter.id(),
                port: *port,
                lease,
            }),
        }
    }

    /// It is known where the memory is.
    pub(super) fn found(&self, extents: KVVec<Extent>) -> Result {
        let Path::Peer(adapter, port) = &self.path else {
            return Err(EINVAL);
        };
        let (bytes, class) = {
            let state = self.state.lock();
            (state.bytes, state.class)
        };
        let view = View::remote(adapter, class, *port, extents, bytes)?;
        let mut state = self.state.lock();
        match state.phase {
            Phase::Connecting | Phase::Operational => {}
            Phase::Cut | Phase::NotOperational => view.suspend(),
            Phase::Lost | Phase::Closed => return Err(Errno::ConnReset.into()),
        }
        state.view = Some(view);
        Ok(())
    }

    /// Lets maps of `file` be maps of it.
    pub(crate) fn attach(&self, file: &File) -> Result {
        self.view()?.attach(file)
    }

    /// The memory. Errors: `ECONNRESET` when it is lost or given up.
    fn view(&self) -> Result<Arc<View>> {
        let state = self.state.lock();
        state
            .view
            .clone()
            .ok_or_else(|| Error::from(Errno::ConnReset))
    }

    /// Maps it from `offset` bytes on.
    ///
    /// Errors: `ENOLINK`, `ECONNRESET`, `EINVAL` for what loopback has no choice of, those of the view.
    pub(crate) fn mmap(&self, vma: &NewVma<'_>, offset: u64, mode: MapMode, loss: Loss) -> Result {
        let state = self.state.lock();
        let view = state.usable()?;
        view.mmap(vma, offset, self.access, mode, loss)
    }

    /// The link is lost: no access goes to the peer from here on.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Operational {
            state.phase = Phase::Cut;
            drop(state);
            self.part(Phase::Cut, View::suspend);
        }
    }

    /// The link is down: tells that.
    pub(super) fn down(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Cut {
            state.phase = Phase::NotOperational;
            drop(state);
            self.notice(EventKind::NotOperational);
        }
    }

    /// The owner says that it is good again. Whether it is: there may be no slots for its maps, and it is lost then.
    pub(super) fn resumed(&self) -> bool {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Cut | Phase::NotOperational) {
            return state.phase == Phase::Operational;
        }
        let back = match &state.view {
            Some(view) => view.resume().is_ok(),
            None => true,
        };
        if back {
            state.phase = Phase::Operational;
            drop(state);
            self.notice(EventKind::Operational);
        }
        back
    }

    /// It is gone for good: no access goes to the peer from here on, and its user is told so.
    pub(super) fn lose(&self) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Lost | Phase::Closed) {
            return;
        }
        state.phase = Phase::Lost;
        drop(state);
        self.part(Phase::Lost, View::lose);
        self.notice(EventKind::Lost);
        self.events.hang_up();
    }

    /// Gives it up. Errors: `ECONNRESET` when it was before, `EBUSY` while it is mapped.
    pub(super) fn close(&self) -> Result {
        let mut state = self.state.lock();
        if state.phase == Phase::Closed {
            return Err(Errno::ConnReset.into());
        }
        if state.view.as_ref().is_some_and(|view| view.maps() > 0) {
            return Err(EBUSY);
        }
        state.phase = Phase::Closed;
        let view = state.view.take();
        let observer = state.observer.take();
        drop(state);
        drop(view);
        drop(observer);
        self.events.close();
        Ok(())
    }

    /// Length of the segment.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    /// What is known of it. Errors: `ECONNRESET` once it was given up.
    pub(crate) fn info(&self) -> Result<RemoteInfo> {
        let state = self.state.lock();
        let view = state.view.as_ref();
        Ok(RemoteInfo {
            access: self.access,
            node: self.node,
            adapter: self.adapter(),
            segment: self.segment,
            state: match state.phase {
                Phase::Connecting | Phase::Operational => RemoteState::Operational,
                Phase::Cut | Phase::NotOperational => RemoteState::NotOperational,
                Phase::Lost => RemoteState::Lost,
                Phase::Closed => return Err(Errno::ConnReset.into()),
            },
            bytes: state.bytes,
            maps: view.map_or(0, |view| view.maps()),
            slots: view.map_or(0, |view| view.slots()),
        })
    }
}
