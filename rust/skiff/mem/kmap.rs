// SPDX-License-Identifier: GPL-2.0

//! A view's memory as the kernel sees it, through an address.
//!
//! Nobody can take an address away from who has it. So when the memory is lost the slot behind it leads nowhere, and loads give
//! all ones; memory of this node stays until the map goes. Nobody else has that slot but maps of the same lot, which are all
//! lost when one is.

use super::view::View;
use crate::bus::Memory;
use core::ffi::c_void;
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
    vmap,
    wc::IoMap, //
};

/// What the map shows.
pub(super) enum Shown {
    /// A window, or registers of this node.
    Io(IoMap),
    /// Memory of this node, which stays as long.
    Memory(
        vmap::KernelMap,
        #[expect(dead_code, reason = "owned")] Arc<Memory>,
    ),
}

impl Shown {
    /// `pages` pages from page `first` on of memory of this node.
    ///
    /// Errors: EINVAL, ENOMEM; ENXIO for registers that are not in one piece.
    pub(super) fn local(memory: &Arc<Memory>, first: u64, pages: u64) -> Result<Self> {
        let (first, pages) = (usize::try_from(first)?, usize::try_from(pages)?);
        let mut runs: KVVec<Run> = KVVec::new();

        for run in memory.pieces(first, pages) {
            append(&mut runs, run)?;
        }
        match (memory.target(), runs.as_slice()) {
            (Target::Memory, runs) => Ok(Self::Memory(vmap::KernelMap::new(runs)?, memory.clone())),
            (Target::Registers, [run]) => Ok(Self::Io(IoMap::of_registers(*run)?)),
            (Target::Registers, _) => Err(ENXIO),
        }
    }
}

/// A place in the list of a view.
struct Entry {
    view: Arc<View>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.view.unmapped(self.id);
    }
}

/// A map of the kernel.
pub(crate) struct KernelMap {
    // The order matters: the slot may lead elsewhere once nobody has the address.
    shown: Shown,
    _entry: Entry,
}

impl KernelMap {
    /// A map that its view knows by `id`.
    pub(super) fn new(shown: Shown, view: Arc<View>, id: u64) -> Self {
        Self {
            shown,
            _entry: Entry { view, id },
        }
    }

    /// Where it is, for as long as this object is there.
    pub(crate) fn address(&self) -> *mut c_void {
        match &self.shown {
            Shown::Io(map) => map.address(),
            Shown::Memory(map, _) => map.address(),
        }
    }

    /// Its length, whole pages.
    pub(crate) fn bytes(&self) -> usize {
        match &self.shown {
            Shown::Io(map) => map.bytes(),
            Shown::Memory(map, _) => map.bytes(),
        }
    }
}
