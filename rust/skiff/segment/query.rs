// SPDX-License-Identifier: GPL-2.0

//! Finding segments by looking for the lowest id.

use kernel::prelude::*;
use skiff_ext::errno::Errno;
use skiff_model::{
    access::Caller,
    ids::{
        AdapterId,
        SegmentId, //
    },
    wire::{
        Access,
        Found,
        Message, //
    },
};

use super::{
    connect::{
        Place,
        Target, //
    },
    local::bit,
    requests::{
        Answer,
        Subject, //
    },
    table::Name,
    Segments, //
};
use crate::fabric::Fabric;

/// A search.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    /// Whom to ask.
    pub(crate) target: Target,
    /// The lowest id to look at.
    pub(crate) from: SegmentId,
}

impl Segments {
    /// Finds the available segment with the lowest id that the caller may connect to.
    ///
    /// Errors: `ENOENT` when there is none, and those of [`Segments::connect`].
    pub(crate) fn query(&self, fabric: &Fabric, what: &Query) -> Result<Found> {
        let Target { uid, gid, .. } = what.target;
        match what.target.find(fabric)? {
            Place::Own(_) => {
                let caller = Caller::local(uid, gid);
                self.find(what.from, what.target.adapter, &caller)
                    .ok_or(ENOENT)
            }
            Place::Peer(adapter, port, node) => {
                let from = what.from;
                let ask = |request| Message::QueryRequest {
                    request,
                    from,
                    uid,
                    gid,
                };
                let timeout = what.target.timeout_ms;
                match self.ask(&adapter, port, node, timeout, Subject::Query, ask)? {
                    Answer::Found(found) if found.segment >= from => Ok(found),
                    Answer::Found(_) | Answer::Connected(_) => Err(Errno::Proto.into()),
                }
            }
        }
    }

    /// The segment of this node with the lowest id from `from` up that is available and that `caller` may connect to.
    pub(super) fn find(
        &self,
        from: SegmentId,
        adapter: Option<AdapterId>,
        caller: &Caller,
    ) -> Option<Found> {
        let registry = self.registry.lock();
        let mut from = Name::Program(from);
        loop {
            let cursor = registry.locals.cursor_lower_bound(&from)?;
            let (Name::Program(id), local) = cursor.current() else {
                return None;
            };
            if let Some(local) = local {
                let available = local.state.lock().available & adapter.map_or(u32::MAX, bit);
                if available != 0 && local.may(caller, Access::ReadOnly).is_ok() {
                    return Some(Found {
                        segment: *id,
                        uid: local.what.rights.uid,
                        mode: local.what.rights.mode,
                        bytes: local.what.bytes,
                    });
                }
            }
            from = Name::Program(*id).next()?;
        }
    }
}
