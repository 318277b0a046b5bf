// SPDX-License-Identifier: GPL-2.0
//! PCI functions that nodes lend each other: names, the pool of this node, and what is borrowed.

pub(crate) mod borrowed;
mod lend;
pub(crate) mod name;
pub(crate) mod options;
pub(crate) mod state;
