// SPDX-License-Identifier: GPL-2.0

//! Memory across the fabric: this node's as peers may reach it, and a peer's as programs of this node see it.
//!
//! Three nouns. An [`Export`] is a [`Memory`](crate::bus::Memory) with what makes it reachable through each adapter; a [`View`]
//! is memory of a peer, or of this node, as one file's maps show it; a [`Reach`] is part of one as a device of this node sees
//! it. Whoever names them and gives them a life cycle owns them:
//! segments, and what comes after them. No other room holds page lists, slots or maps.
//!
//! # Locking
//!
//! mmap lock, then the owner's lock, then that of the [`Export`] or [`View`], then those of the fabric and the bus. Nobody
//! waits for a peer with one of them held.

mod export;
mod kmap;
mod layout;
mod map;
mod reach;
mod remote;
mod view;

pub(crate) use self::{
    export::{
        Export,
        HeldBack, //
    },
    kmap::KernelMap,
    map::{
        Loss,
        MapMode, //
    },
    reach::{
        Need,
        Reach, //
    },
    view::View, //
};
