// SPDX-License-Identifier: GPL-2.0

//! The kernels' name space: segments that the kernel of one other node, or this one, may connect to.
//!
//! What is published has an id that nobody can guess, and is for one node. Who may connect to the segment otherwise does not
//! matter there. Connections outlive the publication.

use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc, //
};
use skiff_ext::random::random_u64;
use skiff_model::ids::{
    NodeId,
    SegmentId, //
};

use super::{
    table::Registry,
    Local,
    Segments, //
};

/// A segment in the kernels' space.
pub(super) struct Published {
    local: Arc<Local>,
    /// Who may connect.
    node: NodeId,
}

/// A segment is in the kernels' space as long as this lives.
pub(crate) struct Publication {
    segments: Arc<Segments>,
    id: SegmentId,
}

impl Registry {
    /// What `node` finds by an id in the kernels' space.
    pub(super) fn published(&self, id: SegmentId, node: NodeId) -> Option<&Arc<Local>> {
        let published = self.published.get(&id)?;
        (published.node == node).then_some(&published.local)
    }
}

impl Segments {
    /// Lets the kernel of `node` connect to a segment, through the adapters that it is prepared for.
    ///
    /// Errors: `ECONNRESET` when the segment was removed, `ENOMEM`.
    pub(crate) fn publish(
        self: &Arc<Self>,
        local: &Arc<Local>,
        node: NodeId,
    ) -> Result<Publication> {
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut registry = self.registry.lock();
        local.state.lock().alive()?;
        let id = loop {
            // CAST: Any half of it is as good.
            let id = SegmentId::new(random_u64() as u32);
            if registry.published.get(&id).is_none() {
                break id;
            }
        };
        let published = Published {
            local: local.clone(),
            node,
        };
        registry.published.insert(place.into_node(id, published));
        Ok(Publication {
            segments: self.clone(),
            id,
        })
    }
}

impl Publication {
    /// What the node finds it by.
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let gone = self.segments.registry.lock().published.remove(&self.id);
        drop(gone);
    }
}
