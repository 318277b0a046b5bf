// SPDX-License-Identifier: GPL-2.0

//! Questions to peers that wait for their answer.
//!
//! The asking task and the register share a [`Waiter`](super::Waiter). The register's [`Pending`] also holds what the answer needs to take
//! effect, so that it does so on the adapter's worker, before anything else that the peer has said: the asking task may be
//! slow to wake, or may have given up.

use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc, //
};
use skiff_model::{
    addr::Extent,
    ids::{
        AdapterId,
        Port, //
    },
    wire::{
        Found,
        Space, //
    },
};

use super::{
    due::Holding,
    Hold,
    Remote,
    Waiter, //
};

/// Questions to one peer that may be without an answer at a time.
pub(super) const PENDING_MAX: u32 = 64;

/// What a peer has answered.
pub(super) enum Answer {
    /// The connection stands; these are the ranges of the segment.
    Connected(KVVec<Extent>),
    /// A segment was found.
    Found(Found),
}

/// Ranges that come in several messages.
pub(super) struct Gathering {
    /// The connection.
    pub(super) remote: Arc<Remote>,
    /// What has come.
    pub(super) extents: KVVec<Extent>,
    /// How many there will be.
    pub(super) total: usize,
}

/// What a question is about.
pub(super) enum Subject {
    /// A connection; the place for it in the register.
    Connect {
        /// The connection that will stand.
        remote: Arc<Remote>,
        /// Memory of its place in the register.
        place: RBTreeNodeReservation<Hold, Holding>,
    },
    /// A connection that stands, more ranges of which are to come.
    Gather(Gathering),
    /// A search.
    Query,
}

/// A question in the register.
pub(super) struct Pending {
    /// The adapter by which it was sent.
    pub(super) adapter: AdapterId,
    /// The port to which.
    pub(super) port: Port,
    /// What it is about.
    pub(super) subject: Subject,
    /// Who waits.
    pub(super) waiter: Arc<Waiter<Answer>>,
}

impl Pending {
    /// Where what it is about is looked up.
    pub(super) fn space(&self) -> Space {
        match &self.subject {
            Subject::Connect { remote, .. } => remote.space(),
            Subject::Gather(gathering) => gathering.remote.space(),
            Subject::Query => Space::Programs,
        }
    }

    /// Whether it was sent there.
    pub(super) fn is_of(&self, adapter: AdapterId, port: Port) -> bool {
        self.adapter == adapter && self.port == port
    }
}
