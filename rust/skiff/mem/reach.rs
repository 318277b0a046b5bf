// SPDX-License-Identifier: GPL-2.0

//! Memory of a peer, or of this node, as a device of this node sees it: by its frames.
//!
//! A [`Reach`] owns what keeps the frames where they are: slots of the window, or the memory. Its owner lets go of it when the
//! device does not reach the frames any more, and at the latest when the memory is taken away.

use super::{
    layout::Piece,
    remote::Slots, //
};
use crate::bus::Memory;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    iova::Target,
    page::{
        append,
        Run, //
    },
};
use skiff_model::slots::Lot;

/// How much the slots behind which a device finds a peer's memory are needed.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// Any slot will do.
    Firm,
    /// A quarter of all slots is left for others, and those that are taken are of this lot.
    Spare(Lot),
}

/// What keeps the frames.
enum Held {
    /// Slots that lead to a peer's memory.
    Slots(Slots),
    /// Memory of this node.
    Memory(Arc<Memory>),
}

/// The frames of some pages. Dropping it lets slots that nobody else holds lead nowhere at once.
pub(crate) struct Reach {
    /// The frames, in the order of the content.
    runs: KVVec<Run>,
    /// What keeps them.
    held: Held,
}

/// The frames behind which `slots` show `pieces`.
fn frames(slots: &Slots, pieces: impl Iterator<Item = Piece>) -> Result<KVVec<Run>> {
    let mut runs = KVVec::new();

    for piece in pieces {
        let frame = slots.frame_of(&piece).ok_or(EINVAL)?;
        let pages = usize::try_from(piece.pages)?;

        append(&mut runs, Run { frame, pages })?;
    }
    Ok(runs)
}

impl Reach {
    /// The frames of the window behind which a device finds `pieces` of a peer's memory, for which there are `slots`.
    pub(super) fn slots(mut slots: Slots, pieces: impl Iterator<Item = Piece>) -> Result<Self> {
        match frames(&slots, pieces) {
            Ok(runs) => Ok(Self {
                runs,
                held: Held::Slots(slots),
            }),
            Err(error) => {
                slots.retire();
                Err(error)
            }
        }
    }

    /// `pages` pages of `memory` from page `first` on.
    ///
    /// Errors: EINVAL when there are not so many, ENOMEM.
    pub(super) fn memory(memory: &Arc<Memory>, first: u64, pages: u64) -> Result<Self> {
        let (first, pages) = (usize::try_from(first)?, usize::try_from(pages)?);
        let mut runs = KVVec::new();

        if pages == 0 || first.checked_add(pages).ok_or(EINVAL)? > memory.pages() {
            return Err(EINVAL);
        }

        for run in memory.pieces(first, pages) {
            append(&mut runs, run)?;
        }
        Ok(Self {
            runs,
            held: Held::Memory(memory.clone()),
        })
    }

    /// What the frames are.
    pub(crate) fn target(&self) -> Target {
        match &self.held {
            // Those of a bridge's window.
            Held::Slots(_) => Target::Registers,
            Held::Memory(memory) => memory.target(),
        }
    }

    /// The frames, in the order of the content; runs that follow on each other are one.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        if let Held::Slots(slots) = &mut self.held {
            slots.retire();
        }
    }
}
