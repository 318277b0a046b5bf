// SPDX-License-Identifier: GPL-2.0

//! How a borrow ends: the device is stopped at once, and the worker cleans up.
//!
//! # Locking
//!
//! The first step is done under `Lent::state` as a whole. The second one, on the device's worker, takes what is to go out of the
//! state and lets go of it with nothing held: it locks segments and the device.

use kernel::prelude::*;
use skiff_model::{
    ids::{
        BorrowId,
        NodeId, //
    },
    lend::Remains,
    wire::Message,
};

use super::{
    hardware::Hardware,
    lent::{
        Hold,
        Lent,
        State, //
    },
    net::{
        End,
        Way, //
    },
    parts::Part, //
};
use crate::fabric::Link;

/// Time between two attempts to reset a device whose lock somebody has, in milliseconds.
const RESET_AGAIN_MS: u32 = 20;

/// Attempts to reset it.
const RESETS_MAX: u32 = 500;

/// Time between two looks whether a kernel module has unmapped what it had of the device, in milliseconds.
const UNMAP_AGAIN_MS: u32 = 20;

/// Looks at that: 5 seconds.
const UNMAPS_MAX: u32 = 250;

/// Why a borrow has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The borrower has returned it.
    Returned,
    /// The borrower is dead, or its link is down.
    Died,
    /// The lender takes it back.
    Taken,
}

impl Lent {
    /// Ends a borrow because what is mapped for the device is gone: the first step.
    pub(super) fn end(&self, id: BorrowId) {
        self.end_those(Why::Taken, |borrow, _| borrow == id);
    }

    /// Ends the borrow that a node says it has given up: the first step.
    pub(super) fn given_up(&self, end: End, id: BorrowId) {
        self.end_those(Why::Died, |borrow, who| borrow == id && who == end);
    }

    /// Ends all borrows of a node: the first step.
    pub(super) fn peer_cut(&self, end: End) {
        self.end_those(Why::Died, |_, who| who == end);
    }

    /// Takes it from a node: the first step.
    pub(super) fn taken_from(&self, node: NodeId) {
        let ends = |end| match end {
            End::Own => false,
            End::Peer(adapter, port) => matches!(
                self.net().fabric.link(adapter, port),
                Link::Up { node: there, .. } if there == node
            ),
        };

        self.end_those(Why::Taken, |_, who| ends(who));
    }

    /// Ends all borrows: the first step.
    pub(super) fn end_all(&self, why: Why) {
        self.end_those(why, |_, _| true);
    }

    /// Ends the borrows that are meant: the first step.
    pub(super) fn end_those(&self, why: Why, meant: impl Fn(BorrowId, End) -> bool) {
        let mut state = self.state().lock();
        let Some(remains) = state.borrowers.end(meant) else {
            return;
        };

        // The device is stopped before anything is taken from it.
        if let (Remains::Nobody, Some(hardware)) = (remains, &state.hardware) {
            hardware.quiet();
        }
        let State {
            borrowers,
            borrows,
            hardware,
            ..
        } = &mut *state;

        for borrow in borrows.iter_mut() {
            if borrow.ended.is_none() && borrowers.who(borrow.id).is_none() {
                borrow.ended = Some(why);
                self.bell().forget(borrow.id);
                if let Some(hardware) = hardware {
                    borrow.recall(hardware, |_, _| true);
                }
                for (_, mapping) in borrow.mappings.iter() {
                    mapping.tear_down();
                }
            }
        }
        drop(state);
        self.worker.kick();
    }

    /// Resets it. Who has the device lock may be waiting for this thread: it is asked for again and again, and not any more
    /// when the function is about to be taken away. Error: EIO.
    pub(super) fn try_reset(&self, hardware: &Hardware) -> Result {
        for _ in 0..RESETS_MAX {
            match hardware.reset() {
                Err(error) if error == EAGAIN => {}
                result => return result,
            }
            let leaves = || (self.state().lock().hold == Hold::Loosening).then_some(());

            if self.idle.wait_for(Some(RESET_AGAIN_MS), leaves).is_ok() {
                break;
            }
        }
        Err(EIO)
    }

    /// Second step of a borrow's end, for one that is over; false if there is none.
    pub(super) fn finish_one(&self) -> bool {
        let mut state = self.state().lock();
        let mut borrows = state.borrows.iter_mut();
        let Some((borrow, why)) = borrows.find_map(|borrow| borrow.ended.map(|why| (borrow, why)))
        else {
            return false;
        };
        let (id, way) = (borrow.id, borrow.way.clone());
        let parts = core::mem::take(&mut borrow.parts);
        let mappings = core::mem::take(&mut borrow.mappings);

        drop(state);
        for (_, mapping) in mappings.iter() {
            mapping.tear_down();
            mapping.let_go();
        }
        drop(mappings);
        if let (Why::Taken, Way::Own) = (why, &way) {
            // Before the device is anybody else's: nobody can take the registers away from who has their address.
            self.net().send(&way, &Message::Ended { borrow: id });
            self.wait_unmapped(&parts);
        }
        for part in parts {
            part.revoke(self.net());
        }
        self.finish_device(id);
        match why {
            Why::Returned => {}
            // Told before.
            Why::Taken if way.node().is_none() => {}
            Why::Taken => self.net().send(&way, &Message::Ended { borrow: id }),
            Why::Died => self.tell_sharers(),
        }
        self.announce();
        self.idle.wake_all();
        true
    }

    /// Waits until kernel modules of this node, which know that the borrow has ended, have unmapped what they had of the device.
    fn wait_unmapped(&self, parts: &[Part]) {
        for _ in 0..UNMAPS_MAX {
            if !parts.iter().any(|part| part.mapped()) {
                return;
            }
            // Nothing is waited for but the time: who unmaps does not know of the device.
            let _ = self.idle.wait_for(Some(UNMAP_AGAIN_MS), || None::<()>);
        }
        pr_warn!("a kernel module keeps a map of a device that was taken from it\n");
    }

    /// Takes an ended borrow out; when it was the last one the device is reset before.
    fn finish_device(&self, id: BorrowId) {
        let mut state = self.state().lock();

        if state.borrows.len() == 1 {
            let shared = core::mem::take(&mut state.shared);
            let admission = state.admission.take();
            let hardware = state.hardware.clone();

            // Nobody gets the device meanwhile: this borrow is still in the way.
            drop(state);
            drop(shared);
            drop(admission);
            let reset = hardware.map_or(Ok(()), |hardware| {
                // What the borrow was doing when it ended may have turned something on again.
                hardware.quiet();
                self.try_reset(&hardware)
            });

            state = self.state().lock();
            if reset.is_err() && state.hold == Hold::Firm {
                state.borrowers.fail();
            }
        }
        let _ = state.borrowers.release(id);
        state.borrows.retain(|borrow| borrow.id != id);
    }

    /// Somebody has died who had it together with others.
    fn tell_sharers(&self) {
        let state = self.state().lock();

        for borrow in state.good() {
            let gone = Message::SharerGone { borrow: borrow.id };

            self.net().send(&borrow.way, &gone);
        }
    }
}
