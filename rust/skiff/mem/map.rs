// SPDX-License-Identifier: GPL-2.0

//! One map of a view: the area of a program's memory that `mmap` made, and the pieces that it was split into.

use super::view::View;
use kernel::sync::Arc;
use skiff_ext::{
    page::Pages,
    vma::{
        Fault,
        Mapped,
        Outcome, //
    },
};

/// How a program wants to reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapMode {
    /// As ordinary memory; that of this node only.
    WriteBack,
    /// Stores are gathered; memory of this node is ordinary memory all the same.
    WriteCombining,
    /// Uncached; not for memory of this node.
    Uncached,
}

/// What an access to lost memory does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It raises SIGBUS.
    Sigbus,
    /// Loads give all ones, stores vanish.
    AllOnes,
}

/// A map of a view. The areas of the program own it, the last one that goes takes its slots along.
pub(super) struct Map {
    /// What it is a map of.
    pub(super) view: Arc<View>,
    /// Its name in the view.
    pub(super) id: u64,
    /// The page of the view that it starts with.
    pub(super) first: u64,
    /// How many pages it has.
    pub(super) pages: u64,
    /// What its first area calls its first page: the view's page, and what the program has said besides.
    pub(super) file_page: u64,
    /// How it is to be reached.
    pub(super) mode: MapMode,
    /// A page of ones, if that is what it shows when the memory is lost and there is no better one.
    pub(super) ones: Option<Pages>,
}

impl Map {
    /// The page of the view that an area calls `file_page`, if the map has it.
    pub(super) fn page(&self, file_page: u64) -> Option<u64> {
        let index = file_page.checked_sub(self.file_page)?;
        (index < self.pages).then(|| self.first.checked_add(index))?
    }

    /// The frame of the page of ones.
    pub(super) fn ones(&self) -> Option<u64> {
        Some(self.ones.as_ref()?.runs().first()?.frame)
    }
}

impl Mapped for Map {
    fn fault(&self, fault: &mut Fault<'_>) -> Outcome {
        self.view.fault(self, fault)
    }

    fn opened(&self) {
        self.view.opened(self.id);
    }

    fn closed(&self) {
        self.view.closed(self.id);
    }
}
