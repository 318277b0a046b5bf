// SPDX-License-Identifier: GPL-2.0

//! What programs say, checked once and made into the types of the rooms below.

use kernel::prelude::*;
use skiff_ext::cred::{
    effective_gid,
    effective_uid, //
};
use skiff_model::{
    access::{
        NodeMask,
        Rights, //
    },
    addr::PAGE,
    ids::{
        AdapterId,
        Gid,
        SegmentId,
        Uid, //
    },
    wire::{
        Access,
        Space,
        MODE_BITS, //
    },
};

use super::uapi::{
    self,
    numbers::{
        node,
        timeout, //
    },
};
use crate::{
    mem::{
        Loss,
        MapMode, //
    },
    segment::{
        Connect,
        Create,
        Naming,
        Query,
        Removal,
        Source,
        Target, //
    },
};

/// Error `EINVAL` unless all of these, reserved fields and the flags that are not known, are 0.
pub(super) fn zero(fields: &[u32]) -> Result {
    if fields.iter().all(|&field| field == 0) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// An adapter; `None` for any. Error: `ENODEV` for a number that no adapter can have.
pub(super) fn adapter(number: u32) -> Result<Option<AdapterId>> {
    match number {
        uapi::SKIFF_ADAPTER_ANY => Ok(None),
        number => AdapterId::try_from(number).map(Some).map_err(|_| ENODEV),
    }
}

/// The number of an adapter; that of any for none.
pub(super) fn adapter_number(adapter: Option<AdapterId>) -> u32 {
    adapter.map_or(uapi::SKIFF_ADAPTER_ANY, |adapter| adapter.get().into())
}

/// The current task as others may know it.
pub(super) fn who() -> (Uid, Gid) {
    (Uid::new(effective_uid()), Gid::new(effective_gid()))
}

/// Where a command goes.
fn target(number: u32, adapter_number: u32, timeout_ms: u32) -> Result<Target> {
    let (uid, gid) = who();
    Ok(Target {
        timeout_ms: timeout(timeout_ms)?,
        node: node(number)?,
        adapter: adapter(adapter_number)?,
        uid,
        gid,
    })
}

/// A segment to be made. Error: `EINVAL`.
pub(super) fn create(argument: &uapi::skiff_segment_create) -> Result<Create> {
    let user = uapi::skiff_segment_flags_SKIFF_SEGMENT_USER;
    let private = uapi::skiff_segment_flags_SKIFF_SEGMENT_PRIVATE;
    let any = uapi::skiff_segment_flags_SKIFF_SEGMENT_ANY_ID;
    let flags = argument.flags;
    zero(&[
        flags & !(user | private | any),
        argument.mode & !MODE_BITS,
        argument.__reserved,
    ])?;
    let naming = match (flags & private != 0, flags & any != 0, argument.id) {
        (false, false, id) => Naming::Id(SegmentId::new(id)),
        (false, true, _) => Naming::Any,
        (true, false, 0) => Naming::Private,
        (true, ..) => return Err(EINVAL),
    };
    let source = match (flags & user != 0, argument.user_addr) {
        (false, 0) => Source::Kernel,
        (true, address) if address % PAGE == 0 && argument.bytes % PAGE == 0 => {
            Source::User(usize::try_from(address)?)
        }
        _ => return Err(EINVAL),
    };
    if argument.bytes == 0 {
        return Err(EINVAL);
    }
    let (uid, gid) = who();
    Ok(Create {
        naming,
        bytes: argument.bytes,
        source,
        rights: Rights {
            uid,
            gid,
            mode: argument.mode,
            nodes: NodeMask::from_bits(argument.nodes),
        },
    })
}

/// The flags that a segment was made with.
pub(super) fn create_flags(what: &Create) -> u32 {
    let naming = match what.naming {
        Naming::Id(_) => 0,
        Naming::Any => uapi::skiff_segment_flags_SKIFF_SEGMENT_ANY_ID,
        Naming::Private => uapi::skiff_segment_flags_SKIFF_SEGMENT_PRIVATE,
    };
    let source = match what.source {
        Source::Kernel | Source::Given => 0,
        Source::User(_) => uapi::skiff_segment_flags_SKIFF_SEGMENT_USER,
    };
    naming | source
}

/// A connection to be made. Errors: `EINVAL`, `ENODEV`, `ENXIO`.
pub(super) fn connect(argument: &uapi::skiff_segment_connect) -> Result<Connect> {
    let read_only = uapi::skiff_connect_flags_SKIFF_CONNECT_READ_ONLY;
    zero(&[argument.flags & !read_only, argument.__reserved])?;
    Ok(Connect {
        space: Space::Programs,
        access: if argument.flags & read_only != 0 {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
        segment: SegmentId::new(argument.id),
        target: target(argument.node, argument.adapter, argument.timeout_ms)?,
    })
}

/// The flags that a connection was made with.
pub(super) fn connect_flags(access: Access) -> u32 {
    match access {
        Access::ReadOnly => uapi::skiff_connect_flags_SKIFF_CONNECT_READ_ONLY,
        Access::ReadWrite => 0,
    }
}

/// A search. Errors: `EINVAL`, `ENODEV`, `ENXIO`.
pub(super) fn query(argument: &uapi::skiff_segment_query) -> Result<Query> {
    zero(&[argument.flags])?;
    Ok(Query {
        from: SegmentId::new(argument.id),
        target: target(argument.node, argument.adapter, argument.timeout_ms)?,
    })
}

/// How to remove a segment. Error: `EINVAL`.
pub(super) fn removal(argument: &uapi::skiff_segment_remove) -> Result<Removal> {
    match argument.flags {
        0 => Ok(Removal::Unused),
        uapi::skiff_remove_flags_SKIFF_REMOVE_FORCE => Ok(Removal::Forced),
        _ => Err(EINVAL),
    }
}

/// What the offset of a map says: the place in the segment in bytes, the mode and what a loss does.
pub(super) fn map(offset: u64) -> (u64, MapMode, Loss) {
    let mode = if offset & uapi::SKIFF_MAP_UNCACHED != 0 {
        MapMode::Uncached
    } else {
        MapMode::WriteCombining
    };
    let loss = if offset & uapi::SKIFF_MAP_ALL_ONES != 0 {
        Loss::AllOnes
    } else {
        Loss::Sigbus
    };
    let place = offset & !(uapi::SKIFF_MAP_UNCACHED | uapi::SKIFF_MAP_ALL_ONES);
    (place, mode, loss)
}
