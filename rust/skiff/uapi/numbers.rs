// SPDX-License-Identifier: GPL-2.0

//! What single numbers of the ABI mean.

use kernel::prelude::*;
use skiff_model::{
    ids::NodeId,
    wire::Share, //
};

use crate::segment::EventKind;

/// Limit of a wait for a peer when the caller names none, in milliseconds.
const TIMEOUT_DEFAULT_MS: u32 = 5_000;

/// The longest limit that a caller may name, in milliseconds.
const TIMEOUT_MAX_MS: u32 = 60_000;

/// The limit of a wait. Error: `EINVAL`.
pub(crate) fn timeout(ms: u32) -> Result<u32> {
    match ms {
        0 => Ok(TIMEOUT_DEFAULT_MS),
        1..=TIMEOUT_MAX_MS => Ok(ms),
        _ => Err(EINVAL),
    }
}

/// A node; `None` for the own one. Error: `ENXIO` for a number that no node can have.
pub(crate) fn node(number: u32) -> Result<Option<NodeId>> {
    match number {
        super::SKIFF_NODE_LOCAL => Ok(None),
        number => NodeId::new(number).map(Some).ok_or(ENXIO),
    }
}

/// How a device is to be borrowed. Error: `EINVAL`.
pub(crate) fn share(flags: u32) -> Result<Share> {
    match flags {
        0 => Ok(Share::Shared),
        super::skiff_borrow_flags_SKIFF_BORROW_EXCLUSIVE => Ok(Share::Exclusive),
        _ => Err(EINVAL),
    }
}

/// The number of a kind of event.
pub(crate) fn event_type(kind: EventKind) -> u32 {
    match kind {
        EventKind::Connected => super::skiff_event_type_SKIFF_EVENT_CONNECTED,
        EventKind::Disconnected => super::skiff_event_type_SKIFF_EVENT_DISCONNECTED,
        EventKind::PeerLost => super::skiff_event_type_SKIFF_EVENT_PEER_LOST,
        EventKind::NotOperational => super::skiff_event_type_SKIFF_EVENT_NOT_OPERATIONAL,
        EventKind::Operational => super::skiff_event_type_SKIFF_EVENT_OPERATIONAL,
        EventKind::Lost => super::skiff_event_type_SKIFF_EVENT_LOST,
        EventKind::Unavailable => super::skiff_event_type_SKIFF_EVENT_UNAVAILABLE,
        EventKind::Removed => super::skiff_event_type_SKIFF_EVENT_REMOVED,
        EventKind::Overflow => super::skiff_event_type_SKIFF_EVENT_OVERFLOW,
        EventKind::Ended => super::skiff_event_type_SKIFF_EVENT_ENDED,
        EventKind::SharerGone => super::skiff_event_type_SKIFF_EVENT_SHARER_GONE,
    }
}
