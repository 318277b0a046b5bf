// SPDX-License-Identifier: GPL-2.0

//! Interrupts of this node that peers raise by a write of their own.

use skiff_model::addr::BusAddr;

/// How many interrupts of an adapter there are for peers to raise.
pub(crate) const SIGNALS: usize = 31;

/// The write that raises an interrupt: 32 bits, in one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    /// Where to, as the bridge of this node sends it: a multiple of four.
    pub(crate) at: BusAddr,
    /// What is written there.
    pub(crate) data: u32,
}
