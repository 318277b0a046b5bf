// SPDX-License-Identifier: GPL-2.0
//! Which parts of which windows may show the wrong thing, so that no more than those are looked at again.

use std::collections::btree_map::{BTreeMap, Iter};
use std::ops::Range;

use crate::model::Port;

/// Parts of memory windows, by the port that looks through them.
#[derive(Debug, Default)]
pub(super) struct Stale(BTreeMap<Port, Vec<Range<u64>>>);

impl Stale {
    /// The whole window of one port.
    pub(super) fn window(port: Port) -> Self {
        let mut stale = Self::default();
        stale.add_window(port);
        stale
    }

    /// The whole window of `port` as well.
    pub(super) fn add_window(&mut self, port: Port) {
        // More than any window has; whoever looks at it clips.
        self.0.insert(port, std::iter::once(0..u64::MAX).collect());
    }

    /// A part of the window of `port` as well.
    pub(super) fn add(&mut self, port: Port, part: Range<u64>) {
        self.0.entry(port).or_default().push(part);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> Iter<'_, Port, Vec<Range<u64>>> {
        self.0.iter()
    }
}
