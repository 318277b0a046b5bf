// SPDX-License-Identifier: GPL-2.0
//! What happens to contexts, segments and connections, and waiting for it.

use std::os::fd::BorrowedFd;
use std::time::Duration;
use std::time::Instant;

use nix::errno::Errno;

use crate::context::failed;
use crate::error::Attempt;
use crate::error::Result;
use crate::sys::Ready;
use crate::sys::Sys;
use crate::uapi;
use crate::Adapter;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// Number of the node that it is about.
    pub node: u32,
    /// The adapter by which that node is connected; [`Adapter::Any`] for the own node.
    pub adapter: Adapter,
    /// Events that were dropped, for [`EventKind::Overflow`]; else 1.
    pub count: u32,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// Local segment: the node has connected.
    Connected,
    /// Local segment: the node has disconnected.
    Disconnected,
    /// Local segment: a connection of the node is gone without a disconnect.
    PeerLost,
    /// Connection: the link went down. Context: the node's last link went down.
    NotOperational,
    /// Connection: the link is back, and the memory with it. Context: the node is up.
    Operational,
    /// Connection: gone for good. No access through a map reaches the peer any more.
    Lost,
    /// Connection: the owner takes no new connections.
    Unavailable,
    /// Connection: the owner has removed the segment; maps stay good.
    Removed,
    /// Events were dropped because nobody read them.
    Overflow,
    /// Borrowed device: the borrow has ended, since its lender took the device back, or the
    /// link or the device is gone.
    Ended,
    /// Borrowed device: another borrower is gone without having returned it.
    SharerGone,
    /// One that this version does not know.
    Other(u32),
}

impl From<uapi::skiff_event> for Event {
    fn from(raw: uapi::skiff_event) -> Self {
        Self {
            kind: match raw.type_ {
                uapi::SKIFF_EVENT_CONNECTED => EventKind::Connected,
                uapi::SKIFF_EVENT_DISCONNECTED => EventKind::Disconnected,
                uapi::SKIFF_EVENT_PEER_LOST => EventKind::PeerLost,
                uapi::SKIFF_EVENT_NOT_OPERATIONAL => EventKind::NotOperational,
                uapi::SKIFF_EVENT_OPERATIONAL => EventKind::Operational,
                uapi::SKIFF_EVENT_LOST => EventKind::Lost,
                uapi::SKIFF_EVENT_UNAVAILABLE => EventKind::Unavailable,
                uapi::SKIFF_EVENT_REMOVED => EventKind::Removed,
                uapi::SKIFF_EVENT_OVERFLOW => EventKind::Overflow,
                uapi::SKIFF_EVENT_ENDED => EventKind::Ended,
                uapi::SKIFF_EVENT_SHARER_GONE => EventKind::SharerGone,
                other => EventKind::Other(other),
            },
            node: raw.node,
            adapter: raw.adapter.into(),
            count: raw.count,
        }
    }
}

/// The next event of an object, `None` when `timeout` passes first.
pub(crate) fn next(
    sys: &dyn Sys,
    fd: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> Result<Option<Event>> {
    let event = next_raw(sys, fd, timeout)?;
    Ok(event.map(Event::from))
}

/// Like [`next`], as the kernel tells it. Another reader of the same object may be faster
/// between poll and read; then it waits for the rest of the time.
pub(crate) fn next_raw(
    sys: &dyn Sys,
    fd: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> Result<Option<uapi::skiff_event>> {
    let failed = failed(Attempt::Wait);
    let begin = Instant::now();
    loop {
        let left = timeout.map(|limit| limit.saturating_sub(begin.elapsed()));
        match sys.poll(fd, left).map_err(&failed)? {
            Ready::TimedOut => return Ok(None),
            Ready::HungUp => return Err(failed(Errno::ECONNRESET)),
            Ready::Readable => {}
        }
        match sys.read_event(fd) {
            Err(Errno::EAGAIN) => {}
            other => return other.map(Some).map_err(&failed),
        }
    }
}
