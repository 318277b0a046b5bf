// SPDX-License-Identifier: GPL-2.0

//! The register as debugfs shows it.
//!
//! # Locking
//!
//! One entry after the other, in the order of their keys: the register's lock is taken for each look and not held while
//! it is shown, so that a long register keeps nobody waiting.

use skiff_model::ids::{
    AdapterId,
    Generation,
    NodeId,
    Port,
    SegmentId, //
};

use super::{
    due::{
        Claim,
        LeasePhase, //
    },
    table::Name,
    Create,
    Hold,
    Local,
    Segments, //
};

/// A segment that others may find.
pub(crate) struct SegmentShown {
    /// Its id.
    pub(crate) id: SegmentId,
    /// How it was made.
    pub(crate) what: Create,
    /// Bit n: prepared for adapter n.
    pub(crate) prepared: u32,
    /// Bit n: available through adapter n.
    pub(crate) available: u32,
    /// Leases of peers.
    pub(crate) leases: usize,
    /// Connections of the own node.
    pub(crate) loops: usize,
    /// Live maps of its owner.
    pub(crate) maps: u32,
}

/// A connection of a peer to a segment of this node.
pub(crate) struct LeaseShown {
    /// Its name.
    pub(crate) hold: Hold,
    /// The segment; `None` if it has no id.
    pub(crate) segment: Option<SegmentId>,
    /// The holder.
    pub(crate) node: NodeId,
    /// The holder's life.
    pub(crate) generation: Generation,
    /// What has become of it.
    pub(crate) state: &'static str,
    /// Whether the holder has said that it has it.
    pub(crate) claim: &'static str,
    /// Whether memory is held back because the holder might still write it.
    pub(crate) held: &'static str,
}

impl Local {
    /// This segment, under its id.
    fn shown(&self, id: SegmentId) -> SegmentShown {
        let state = self.state.lock();
        SegmentShown {
            id,
            what: self.what,
            prepared: state.prepared,
            available: state.available,
            leases: state.leases.values().count(),
            loops: state.loops.values().count(),
            maps: self.maps(),
        }
    }

    /// A lease of this segment, if it is still there.
    fn shown_lease(&self, hold: Hold) -> Option<LeaseShown> {
        let state = self.state.lock();
        let lease = state.leases.get(&hold)?;
        Some(LeaseShown {
            hold,
            segment: self.id(),
            node: lease.node,
            generation: lease.generation,
            state: match lease.phase {
                LeasePhase::Granted => "granted",
                LeasePhase::Revoking(_) => "revoking",
            },
            claim: match lease.claim {
                Claim::Made => "made",
                Claim::Open => "open",
            },
            held: match &lease.held_back {
                Some(_) => "yes",
                None => "no",
            },
        })
    }
}

impl Segments {
    /// Calls `show` for each segment that can be found by its id, in order, until it fails.
    pub(crate) fn each_segment<E>(
        &self,
        mut show: impl FnMut(&SegmentShown) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = None;
        while let Some((name, local)) = self.next_local(after) {
            if let (Name::Program(id), Some(local)) = (name, local) {
                show(&local.shown(id))?;
            }
            after = Some(name);
        }
        Ok(())
    }

    /// Calls `show` for each lease, in order, until it fails.
    pub(crate) fn each_lease<E>(
        &self,
        mut show: impl FnMut(&LeaseShown) -> Result<(), E>,
    ) -> Result<(), E> {
        for adapter in AdapterId::all() {
            for port in Port::all() {
                let mut after = None;
                while let Some((hold, local)) = self.next_lease(adapter, port, after) {
                    if let Some(lease) = local.shown_lease(hold) {
                        show(&lease)?;
                    }
                    after = Some(hold.lease);
                }
            }
        }
        Ok(())
    }
}
