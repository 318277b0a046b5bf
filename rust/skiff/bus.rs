// SPDX-License-Identifier: GPL-2.0

//! This node's memory as devices and peers see it.
//!
//! A [`Memory`] is pages that hold nothing else. A [`Bus`] is what peers reach through one adapter; a [`Mapping`] makes a
//! [`Memory`] part of it, and says at which bus addresses. Behind a paging IOMMU these are carved from *bus windows*:
//! slot-sized, slot-aligned ranges, so that one slot of a peer reaches all that is in one. Without an IOMMU bus addresses are
//! physical ones, and kernel memory comes from the node's [`Pool`], which plays the part of the bus window. An [`Open`] range
//! has bus addresses that lead where the moment wants them to.
//!
//! Ownership: a [`Mapping`] holds its [`Memory`] and its [`Bus`]; the last reference to a [`Memory`] frees it. When a
//! [`Mapping`] behind a paging IOMMU is dropped no peer reaches the memory any more; without one that is for the caller to
//! know before it drops the memory.
//!
//! # Locking
//!
//! The mutexes of [`Bus`] and [`Pool`] are innermost; nothing is called with one of them held but the DMA and page
//! allocators, and what [`Bus::while_open`] is given. So are the spinlocks of an [`Open`] range.

mod bitmap;
mod charge;
mod map;
mod memory;
mod open;
mod pool;
mod window;

pub(crate) use self::{
    map::{
        Bus,
        Mapping,
        Watch, //
    },
    memory::Memory,
    open::Open,
    pool::Pool, //
};
