// SPDX-License-Identifier: GPL-2.0

//! What devices of this node have to do with a connection: they reach its memory by frames, and whoever lets them is told
//! before it is gone.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::ids::{
    LeaseId,
    Port, //
};

use super::{
    remote::{
        Path,
        Phase, //
    },
    Local,
    Remote, //
};
use crate::{
    fabric::Adapter,
    mem::{
        Need,
        Reach,
        View, //
    },
};

/// Where the segment of a connection is.
pub(crate) enum Owner {
    /// It is one of this node.
    Own(Arc<Local>),
    /// It is one of a peer.
    Peer {
        /// The adapter that leads to it.
        adapter: Arc<Adapter>,
        /// The port that it is behind.
        port: Port,
        /// The owner's name for the connection; `None` if it was never granted.
        lease: Option<LeaseId>,
    },
}

/// Who is to know, before anybody else, that the memory of a connection cannot be used any more: its link is lost, or it is
/// gone for good.
pub(crate) trait Gone: Send + Sync {
    /// It cannot. No access may come from the observer any more when this returns: the owner is told so next, or what the
    /// memory was reached by leads elsewhere. Whatever is done on another thread to that end is waited for, a peer never.
    ///
    /// Called once, with no lock of this room held; of a peer's segment on the adapter's worker.
    fn gone(&self);
}

impl Remote {
    /// Where the segment is.
    pub(crate) fn owner(&self) -> Owner {
        match &self.path {
            Path::Own(local, _) => Owner::Own(local.clone()),
            Path::Peer(adapter, port) => Owner::Peer {
                adapter: adapter.clone(),
                port: *port,
                lease: self.state.lock().lease,
            },
        }
    }

    /// Has `observer` told when it cannot be used any more.
    ///
    /// Errors: `EBUSY` when somebody else is, `ENOLINK`, `ECONNRESET` when it cannot already.
    pub(crate) fn observe(&self, observer: Arc<dyn Gone>) -> Result {
        let mut state = self.state.lock();
        state.usable()?;
        if state.observer.is_some() {
            return Err(EBUSY);
        }
        state.observer = Some(observer);
        Ok(())
    }

    /// `pages` pages from page `first` on, for a device of this node. For those who [observe](Self::observe) it: what they
    /// have reached must be let go of when they are told.
    ///
    /// Errors: `ENOLINK`, `ECONNRESET`, those of the view.
    pub(crate) fn reach(&self, first: u64, pages: u64, need: Need) -> Result<Reach> {
        let state = self.state.lock();
        state.usable()?.reach(first, pages, need)
    }

    /// The phase was set, so that nobody gets at the memory any more: tells the observer, and then has `part` take the memory
    /// from those who do, unless it was given up meanwhile.
    pub(super) fn part(&self, phase: Phase, part: impl FnOnce(&View)) {
        let observer = self.state.lock().observer.take();
        if let Some(observer) = observer {
            observer.gone();
        }
        let state = self.state.lock();
        if let (true, Some(view)) = (state.phase == phase, &state.view) {
            part(view);
        }
    }
}
