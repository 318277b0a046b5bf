// SPDX-License-Identifier: GPL-2.0

//! Whether a borrowed device may still write what was mapped for it, when its borrow is over.
//!
//! Exported memory is kept until the lender has let go of it (`mem::Export`). Memory that belongs to others, and which its owners want back
//! when a request is over, cannot be kept: whoever has such a request asks here before it is ended.

use skiff_model::ids::Port;

use super::{
    Borrowed,
    Phase, //
};
use crate::{
    fabric::Adapter,
    lend::net::Way, //
};

/// What is known of the lender's end of a borrow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// Nothing.
    Unknown,
    /// The session in which it was borrowed was cut.
    Cut,
    /// The lender has said that the borrow has ended, before which it takes everything from the device.
    Said,
}

/// Whether nothing comes from the lender behind `port` by slots that it had before it was cut.
fn slots_are_empty(borrowed: &Borrowed, adapter: &Adapter, port: Port) -> bool {
    let fabric = &borrowed.lend.net().fabric;
    // The gate was closed before the adapter was forgotten.
    let open = fabric
        .adapter(adapter.id())
        .is_ok_and(|there| core::ptr::eq(&*there, adapter));

    // It empties them before it greets again.
    !open || adapter.node_behind(port).is_some() || adapter.silent(port)
}

impl Borrowed {
    /// The device writes nothing any more that was mapped for it by this borrow. False also as long as nobody knows; to be asked
    /// again then, for it may come true without a notice. Process context.
    pub(crate) fn harmless(&self) -> bool {
        let (phase, fence) = {
            let state = self.state.lock();

            (state.phase, state.fence)
        };

        match (phase, fence, &self.way) {
            (_, Fence::Said, _) => true,
            (Phase::Over, Fence::Cut, Way::Peer(adapter, port, _)) => {
                slots_are_empty(self, adapter, *port)
            }
            (Phase::Good, ..) | (Phase::Over, Fence::Unknown | Fence::Cut, _) => false,
        }
    }

    /// The lender has said that the borrow has ended.
    pub(super) fn said(&self) {
        self.state.lock().fence = Fence::Said;
    }

    /// The session with the lender was cut, and with it the borrow has ended; its user is told so.
    pub(in crate::lend) fn cut(&self) {
        {
            let mut state = self.state.lock();

            if state.fence == Fence::Unknown {
                state.fence = Fence::Cut;
            }
        }
        self.ended();
    }
}
