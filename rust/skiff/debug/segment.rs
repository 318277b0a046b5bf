// SPDX-License-Identifier: GPL-2.0

//! Files that show what of this node's memory others may reach, and who does.

use super::Shown;
use crate::segment::Source;
use kernel::fmt;

/// The segments that others may find, by their ids.
pub(super) fn exports(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    shown.segments.each_segment(|segment| {
        let rights = segment.what.rights;
        let memory = match segment.what.source {
            Source::Kernel => "kernel",
            Source::User(_) => "user",
            Source::Given => "given",
        };

        writeln!(
            f,
            "segment={} bytes={} memory={memory} uid={} gid={} mode=0{:o} nodes={:#x} \
             prepared={:#x} available={:#x} leases={} loops={} maps={}",
            segment.id,
            segment.what.bytes,
            rights.uid,
            rights.gid,
            rights.mode,
            rights.nodes.bits(),
            segment.prepared,
            segment.available,
            segment.leases,
            segment.loops,
            segment.maps,
        )
    })
}

/// The connections of peers to segments of this node, removed ones included.
pub(super) fn leases(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    shown.segments.each_lease(|lease| {
        write!(
            f,
            "adapter={} peer={} lease={} node={} generation={:#x} state={} claim={} held={}",
            lease.hold.adapter,
            lease.hold.port,
            lease.hold.lease,
            lease.node,
            lease.generation.get(),
            lease.state,
            lease.claim,
            lease.held,
        )?;
        if let Some(segment) = lease.segment {
            write!(f, " segment={segment}")?;
        }
        writeln!(f)
    })
}
