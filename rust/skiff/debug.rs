// SPDX-License-Identifier: GPL-2.0

//! What skiff.ko shows of itself below `/sys/kernel/debug/skiff`.
//!
//! A file is lines of words `name=value`, numbers decimal or with 0x before them, so that a line is found by its words and
//! new ones may come at any time.
//!
//! Ownership: [`Debug`] owns the files, and these the [`Fabric`], the [`Segments`], the [`Lend`] and the [`Clients`] that they show. It is the last thing that
//! the module makes and the first that it lets go of. An open file keeps the module.
//!
//! # Locking
//!
//! None of its own. The rooms below are asked for one thing at a time, each under the lock that it documents, and nothing of
//! a program is touched meanwhile: what is printed goes to a buffer of the kernel. So two lines need not be of one moment.

mod fabric;
mod kapi;
mod lend;
mod segment;

use crate::{
    fabric::Fabric,
    kapi::Clients,
    lend::Lend,
    segment::Segments, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::debugfs::Directory;

/// What is shown.
struct Shown {
    fabric: Arc<Fabric>,
    segments: Arc<Segments>,
    lend: Arc<Lend>,
    clients: Arc<Clients>,
}

/// The files, if there was memory for them. Dropping it removes them.
pub(crate) struct Debug {
    _files: Option<Directory<Shown>>,
}

impl Debug {
    /// Files that show this node. To be made last in the module's `init`, see [`Directory::new`]; it does not fail for them.
    pub(crate) fn new(
        fabric: Arc<Fabric>,
        segments: Arc<Segments>,
        lend: Arc<Lend>,
        clients: Arc<Clients>,
    ) -> Self {
        Self {
            _files: Self::files(Shown {
                fabric,
                segments,
                lend,
                clients,
            })
            .ok(),
        }
    }

    fn files(shown: Shown) -> Result<Directory<Shown>> {
        Directory::new(
            c"skiff",
            &Arc::new(shown, GFP_KERNEL)?,
            &[
                (c"nodes", fabric::nodes),
                (c"links", fabric::links),
                (c"slots", fabric::slots),
                (c"rings", fabric::rings),
                (c"counters", fabric::counters),
                (c"quarantine", fabric::quarantine),
                (c"exports", segment::exports),
                (c"leases", segment::leases),
                (c"devices", lend::devices),
                (c"borrows", lend::borrows),
                (c"channels", kapi::channels),
            ],
        )
    }
}
