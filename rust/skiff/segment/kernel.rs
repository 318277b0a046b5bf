// SPDX-License-Identifier: GPL-2.0

//! Maps of the kernel's: of connections, and of segments of this node.

use kernel::prelude::*;
use skiff_model::{
    slots::Lot,
    wire::Access, //
};

use super::{
    Local,
    Remote, //
};
use crate::mem::{
    KernelMap,
    MapMode, //
};

impl Remote {
    /// Maps `pages` pages from page `first` on for the kernel, by a slot of `lot` if they are a peer's: see
    /// [`View::map_kernel`](crate::mem::View::map_kernel).
    ///
    /// Errors: `EACCES` when it may only be read, `ENOLINK`, `ECONNRESET`, those of the view.
    pub(crate) fn map_kernel(
        &self,
        first: u64,
        pages: u64,
        mode: MapMode,
        lot: Lot,
    ) -> Result<KernelMap> {
        // What the kernel maps can be written.
        if self.access == Access::ReadOnly {
            return Err(EACCES);
        }
        let state = self.state.lock();

        state.usable()?.map_kernel(first, pages, mode, lot)
    }

    /// Maps of the kernel.
    fn kernel_maps(&self) -> usize {
        let state = self.state.lock();

        state.view.as_ref().map_or(0, |view| view.kernel_maps())
    }
}

impl Local {
    /// Maps of the kernel of this node's connections to it.
    pub(crate) fn kernel_maps(&self) -> usize {
        let state = self.state.lock();
        let remotes = state.loops.values().map(|entry| &entry.remote);

        remotes.map(|remote| remote.kernel_maps()).sum()
    }

    /// Maps all of it for the kernel. Errors: `ECONNRESET` once it was removed, `ENOMEM`.
    pub(crate) fn map_kernel(&self) -> Result<KernelMap> {
        let state = self.state.lock();
        let pages = state.usable()?.memory.pages();

        // CAST: Both are 64 bits wide.
        self.view
            .map_kernel(0, pages as u64, MapMode::WriteBack, Lot::SHARED)
    }
}
