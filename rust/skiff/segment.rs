// SPDX-License-Identifier: GPL-2.0

//! Segments: memory of this node that others may connect to, and connections to that of others.
//!
//! A [`Local`] owns one `Export`, a [`Remote`] one `View`; this room adds names, rights and a life cycle. [`Segments`] is the
//! register of both, and what the fabric tells its [`Events`](crate::fabric::Events). Ids that peers send are looked up here
//! together with the adapter and port that they came by, and never used otherwise.
//!
//! Ids are of two spaces: that of programs, and that of the kernels, in which a node's kernel publishes segments for another
//! one's. No program can name a segment of the latter.
//!
//! What is to be said to a peer is kept as state (what is due) of the lease or connection that it is about, and said when
//! the peer's queue has room: nothing is lost when it is full, and nothing needs memory then.
//!
//! # Locking
//!
//! Outermost first: [`Segments::registry`], a [`Local`]'s state, a [`Remote`]'s, what lies below this room, an
//! [`EventQueue`](events::EventQueue). None is held while waiting for a peer, nor while a [`Gone`] is called. `mmap_lock` is taken before a segment's state, so
//! nothing under that lock, nor under the registry's, may touch memory of programs.

mod connect;
mod create;
mod due;
mod events;
mod kernel;
mod links;
mod local;
mod messages;
mod observe;
mod owner;
mod publish;
mod query;
mod remote;
mod requests;
mod revoke;
mod show;
mod table;
mod waiter;

pub(crate) use self::{
    connect::{
        Connect,
        Target, //
    },
    create::{
        Create,
        Naming,
        Source, //
    },
    events::{
        Event,
        EventKind,
        EventQueue,
        Listener, //
    },
    local::Local,
    observe::{
        Gone,
        Owner, //
    },
    owner::Removal,
    publish::Publication,
    query::Query,
    remote::{
        Remote,
        RemoteState, //
    },
    table::{
        Limits,
        Segments, //
    },
    waiter::Waiter,
};

use skiff_model::ids::{
    AdapterId,
    LeaseId,
    Port, //
};

/// A connection between two nodes: the adapter and port that lead to the peer, and the owner's name for it.
///
/// For connections to this node's segments the id is ours, for connections to a peer's segments it is the peer's; the two
/// are kept in tables of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hold {
    /// The adapter.
    pub(crate) adapter: AdapterId,
    /// The port.
    pub(crate) port: Port,
    /// The lease.
    pub(crate) lease: LeaseId,
}
