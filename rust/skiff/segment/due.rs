// SPDX-License-Identifier: GPL-2.0

//! What this node has to say to a peer, as state of what it is about.
//!
//! A message that the peer's queue has no room for stays due; [`Segments::say_due`] says it when there is room again. When
//! the link goes down everything that is due goes with it: what both sides have is told anew when it is back.
//!
//! # Locking
//!
//! The types are plain data, guarded by the register's lock or, for [`Lease`], by that of the segment.

use core::mem::take;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::{
    addr::Extent,
    ids::{
        AdapterId,
        Generation,
        LeaseId,
        NodeId,
        Port,
        RequestId, //
    },
    ntb::WindowClass,
    wire::{
        Access,
        ConnectReply,
        Extents,
        Found,
        Grant,
        Message,
        NoticeKind,
        Refused,
        Space,
        Status, //
    },
};

use super::{
    Hold,
    Remote,
    Segments, //
};
use crate::{
    fabric::Adapter,
    mem::HeldBack, //
};

/// Answers to one peer that may be due at a time, but for those that are about a lease. A peer that gets more of us does not
/// keep to the limit of requests.
const BACKLOG_MAX: usize = 4096;

/// What a holder has to say of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HolderDue {
    /// It still has it.
    Resume,
    /// It has let go of it.
    Disconnect,
    /// It has let go of it because it was told to.
    RevokeDone,
}

/// A connection to a peer's segment, in the register.
pub(super) struct Holding {
    /// The connection, until it was given up.
    pub(super) remote: Option<Arc<Remote>>,
    /// What the peer is to be told.
    pub(super) due: Option<HolderDue>,
}

/// What has become of a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LeasePhase {
    /// The peer may use it.
    Granted,
    /// It was taken back, and the peer has not confirmed that.
    Revoking(Revocation),
}

/// Which of a segment's revocations it was.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Revocation(u64);

impl Revocation {
    /// The one after this one.
    pub(super) fn next(self) -> Self {
        // No segment lives for 2^64 of them.
        Self(self.0.wrapping_add(1))
    }
}

/// Whether the holder has it, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It does.
    Made,
    /// The link came back, and the peer has not said yet that it still has it.
    Open,
}

/// The reply to a request to connect, as far as it was told.
#[derive(Clone, Copy)]
pub(super) struct Telling {
    /// The request.
    pub(super) request: RequestId,
    /// Ranges that were told; none before the reply.
    pub(super) told: Option<u32>,
}

/// A connection of a peer to a segment of this node.
pub(super) struct Lease {
    /// The adapter that leads to the holder.
    pub(super) adapter: Arc<Adapter>,
    /// The holder.
    pub(super) node: NodeId,
    /// The holder's life.
    pub(super) generation: Generation,
    /// Where the holder has found the segment.
    pub(super) space: Space,
    /// What it may do.
    pub(super) access: Access,
    /// What has become of it.
    pub(super) phase: LeasePhase,
    /// Memory that the holder might still write although it was taken back.
    pub(super) held_back: Option<HeldBack>,
    /// Whether the peer still has it.
    pub(super) claim: Claim,
    /// The reply to the request, until all of it was told.
    pub(super) telling: Option<Telling>,
    /// Whether the peer is to be told that the lease is good again.
    pub(super) resumed: Due,
    /// Whether the peer is to be told that the segment takes no new connections.
    pub(super) unavailable: Due,
    /// Whether the peer is to be told that the segment was removed.
    pub(super) removed: Due,
    /// Whether the peer is to be told to let go.
    pub(super) revoke: Due,
}

/// Whether something is to be said.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, or it was said.
    #[default]
    No,
    /// It is.
    Yes,
}

impl Due {
    /// Says `message` if that is due. Errors: those of [`Adapter::send`]; it stays due then.
    fn say(&mut self, adapter: &Adapter, port: Port, message: &Message) -> Result {
        if *self == Self::Yes {
            adapter.send(port, message)?;
            *self = Self::No;
        }
        Ok(())
    }
}

impl Lease {
    /// Says all that is due of this lease, of a segment with `bytes` bytes, this window and these ranges.
    ///
    /// Errors: those of [`Adapter::send`]; the rest stays due then.
    pub(super) fn say(
        &mut self,
        hold: Hold,
        bytes: u64,
        class: WindowClass,
        extents: Option<&KVVec<Extent>>,
    ) -> Result {
        let lease = hold.lease;
        let port = hold.port;
        match extents {
            Some(extents) => self.say_reply(hold, bytes, class, extents)?,
            None => self.telling = None,
        }
        let adapter = &self.adapter;
        let status = Status::Ok;
        self.resumed
            .say(adapter, port, &Message::ResumeReply { lease, status })?;
        let kind = NoticeKind::Unavailable;
        self.unavailable
            .say(adapter, port, &Message::Notice { lease, kind })?;
        let kind = NoticeKind::Removed;
        self.removed
            .say(adapter, port, &Message::Notice { lease, kind })?;
        self.revoke.say(adapter, port, &Message::Revoke { lease })
    }

    /// Says what is left of the reply.
    fn say_reply(
        &mut self,
        hold: Hold,
        bytes: u64,
        class: WindowClass,
        extents: &[Extent],
    ) -> Result {
        while let Some(telling) = &mut self.telling {
            let first = telling.told.unwrap_or(0);
            let left = extents.get(usize::try_from(first)?..).ok_or(EINVAL)?;
            if left.is_empty() {
                self.telling = None;
                break;
            }
            let (message, count) = match telling.told {
                None => {
                    let first = Extents::of_reply(left.iter().copied());
                    let count = first.len();
                    let granted = Ok(Grant {
                        lease: hold.lease,
                        class,
                        bytes,
                        total: u32::try_from(extents.len())?,
                        first,
                    });
                    let request = telling.request;
                    (
                        Message::ConnectReply(ConnectReply { request, granted }),
                        count,
                    )
                }
                Some(_) => {
                    let extents = Extents::of_message(left.iter().copied());
                    let count = extents.len();
                    let request = telling.request;
                    (
                        Message::Extents {
                            request,
                            first,
                            extents,
                        },
                        count,
                    )
                }
            };
            self.adapter.send(hold.port, &message)?;
            telling.told = first.checked_add(u32::try_from(count)?);
        }
        Ok(())
    }

    /// The peer says that it still has it. Whether it may go on using it.
    ///
    /// `notice` is what there is to be known of the segment: it may have been told by a message that was lost with the link.
    pub(super) fn claimed(&mut self, notice: Option<NoticeKind>) -> bool {
        self.claim = Claim::Made;
        if matches!(self.phase, LeasePhase::Revoking(_)) {
            return false;
        }
        self.resumed = Due::Yes;
        match notice {
            Some(NoticeKind::Unavailable) => self.unavailable = Due::Yes,
            Some(NoticeKind::Removed) => self.removed = Due::Yes,
            None => {}
        }
        true
    }

    /// The link went down: nothing is due any more.
    pub(super) fn cut(&mut self) {
        self.telling = None;
        self.resumed = Due::No;
        self.unavailable = Due::No;
        self.removed = Due::No;
        self.revoke = Due::No;
    }
}

/// An answer that is about nothing that we keep.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    /// A request to connect was refused.
    Refused(RequestId, Refused),
    /// What a search has found.
    Found(RequestId, Result<Found, Refused>),
    /// A lease is not good any more.
    Stale(LeaseId),
    /// A connection that came too late is not wanted.
    Disconnect(LeaseId),
}

impl Reply {
    /// As it goes over the wire.
    fn message(self) -> Message {
        match self {
            Self::Refused(request, refused) => Message::ConnectReply(ConnectReply {
                request,
                granted: Err(refused),
            }),
            Self::Found(request, found) => Message::QueryReply { request, found },
            Self::Stale(lease) => Message::ResumeReply {
                lease,
                status: Status::NoEntry,
            },
            Self::Disconnect(lease) => Message::Disconnect { lease },
        }
    }
}

/// Whether the peer knows which connections we still have.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Inventory {
    /// It does.
    #[default]
    Told,
    /// The link came back: all are due, and then that these were all.
    Due,
}

/// What is due to one peer.
#[derive(Default)]
pub(super) struct Backlog {
    /// Answers, oldest first.
    replies: KVVec<Reply>,
    /// Whether it is to be told that these were all our connections.
    pub(super) inventory: Inventory,
}

impl Backlog {
    /// Says an answer, or keeps it when the peer's queue is full.
    pub(super) fn answer(&mut self, adapter: &Adapter, port: Port, reply: Reply) {
        if self.replies.is_empty() {
            match adapter.send(port, &reply.message()) {
                Err(error) if error == EBUSY => {}
                // There is nobody left to tell, or it was told.
                Ok(()) | Err(_) => return,
            }
        }
        if self.replies.len() < BACKLOG_MAX {
            // Without memory the peer waits for its limit.
            let _ = self.replies.push(reply, GFP_KERNEL);
        }
    }

    /// Says the answers that are due.
    fn say(&mut self, adapter: &Adapter, port: Port) -> Result {
        let mut said = 0;
        let mut result = Ok(());
        for reply in self.replies.iter() {
            result = adapter.send(port, &reply.message());
            if result.is_err() {
                break;
            }
            said += 1;
        }
        let mut index = 0;
        self.replies.retain(|_| {
            index += 1;
            index > said
        });
        result
    }

    /// The link went down: nothing is due any more.
    pub(super) fn cut(&mut self) {
        drop(take(self));
    }
}

impl Segments {
    /// Says what is due to a peer, until its queue is full.
    pub(super) fn say_due(&self, adapter: &Arc<Adapter>, port: Port) {
        // An error leaves the rest due: until there is room, or until the link that is down is forgotten.
        let _ = self.try_say_due(adapter, port);
    }

    /// Says what is due to a peer. Errors: those of [`Adapter::send`].
    fn try_say_due(&self, adapter: &Arc<Adapter>, port: Port) -> Result {
        self.registry
            .lock()
            .peer_mut(adapter.id(), port)
            .backlog
            .say(adapter, port)?;
        self.say_holdings(adapter, port)?;
        let mut after = None;
        while let Some((hold, local)) = self.next_lease(adapter.id(), port, after) {
            local.say(hold)?;
            after = Some(hold.lease);
        }
        Ok(())
    }

    /// Says what is due of connections to the peer's segments.
    fn say_holdings(&self, adapter: &Arc<Adapter>, port: Port) -> Result {
        let mut registry = self.registry.lock();
        let mut after = None;
        while let Some(hold) = registry.next_holding(adapter.id(), port, after) {
            registry.say_holding(adapter, hold)?;
            after = Some(hold.lease);
        }
        let backlog = &mut registry.peer_mut(adapter.id(), port).backlog;
        if backlog.inventory == Inventory::Due {
            adapter.send(port, &Message::ResumeEnd)?;
            backlog.inventory = Inventory::Told;
        }
        Ok(())
    }

    /// The first lease of a peer behind `after`, and its segment.
    pub(super) fn next_lease(
        &self,
        adapter: AdapterId,
        port: Port,
        after: Option<LeaseId>,
    ) -> Option<(Hold, Arc<super::Local>)> {
        let registry = self.registry.lock();
        let from = super::table::behind(adapter, port, after)?;
        let cursor = registry.leases.cursor_lower_bound(&from)?;
        let (hold, local) = cursor.current();
        (hold.adapter == adapter && hold.port == port).then(|| (*hold, local.clone()))
    }
}
