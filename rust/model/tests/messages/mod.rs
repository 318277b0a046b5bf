// SPDX-License-Identifier: GPL-2.0
//! Messages of any kind with any fields that they may have.

pub mod lend;

use proptest::prelude::*;
use skiff_model::addr::BusAddr;
use skiff_model::addr::Extent;
use skiff_model::addr::EXTENTS_MAX;
use skiff_model::addr::PAGE;
use skiff_model::ids::AdapterId;
use skiff_model::ids::ChannelId;
use skiff_model::ids::Generation;
use skiff_model::ids::Gid;
use skiff_model::ids::LeaseId;
use skiff_model::ids::NodeId;
use skiff_model::ids::RequestId;
use skiff_model::ids::SegmentId;
use skiff_model::ids::SessionId;
use skiff_model::ids::Uid;
use skiff_model::ntb::CacheMode;
use skiff_model::ntb::WindowClass;
use skiff_model::wire::Access;
use skiff_model::wire::ClientBytes;
use skiff_model::wire::ConnectReply;
use skiff_model::wire::Extents;
use skiff_model::wire::Found;
use skiff_model::wire::Grant;
use skiff_model::wire::Hello;
use skiff_model::wire::Message;
use skiff_model::wire::Nonce;
use skiff_model::wire::NoticeKind;
use skiff_model::wire::Phase;
use skiff_model::wire::Refused;
use skiff_model::wire::Space;
use skiff_model::wire::Status;
use skiff_model::wire::CLIENT_BYTES;
use skiff_model::wire::EXTENTS_A_MESSAGE;

/// Ranges that a reply carries: what is left of 240 bytes behind 32, in pieces of 16.
const EXTENTS_A_REPLY: usize = 13;

/// Any session.
pub fn session() -> impl Strategy<Value = SessionId> {
    any::<u32>().prop_filter_map("zero", SessionId::new)
}

fn extent() -> impl Strategy<Value = Extent> {
    (0..1_u64 << 40, 1..1_u64 << 30).prop_filter_map("range", |(frame, pages)| {
        Extent::new(BusAddr::from_frame(frame)?, pages.checked_mul(PAGE)?).ok()
    })
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Ok,
        Status::NoEntry,
        Status::Access,
        Status::NoMemory,
        Status::Busy,
        Status::BadRequest,
        Status::Unsupported,
        Status::NoSpace,
        Status::NotPermitted,
        Status::Io,
        Status::Exists,
        Status::Ended,
    ])
}

fn refused() -> impl Strategy<Value = Refused> {
    status().prop_filter_map("no refusal", Refused::new)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    any::<u32>().prop_map(LeaseId::new)
}

fn request() -> impl Strategy<Value = RequestId> {
    any::<u32>().prop_map(RequestId::new)
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<u32>().prop_map(ChannelId::new)
}

fn hello() -> impl Strategy<Value = Hello> {
    (
        (1..=u16::MAX, any::<u16>()),
        any::<u64>().prop_filter_map("zero", Generation::new),
        session(),
        prop::option::of(session()),
        (0..64_u32, 0..4_u8),
        any::<u8>(),
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(
            |((min, more), generation, session, echo, (node, adapter), nonce, up, start)| Hello {
                version_min: min,
                version_max: min.saturating_add(more),
                generation,
                session,
                echo,
                node: NodeId::new(node).unwrap(),
                adapter: AdapterId::new(adapter).unwrap(),
                nonce: Nonce::of(nonce),
                phase: if up { Phase::Up } else { Phase::Greeting },
                start,
            },
        )
}

fn grant() -> impl Strategy<Value = Grant> {
    (
        lease(),
        1..=u64::MAX,
        prop::collection::vec(extent(), 1..=EXTENTS_A_REPLY),
        0..EXTENTS_MAX,
        prop::sample::select(vec![WindowClass::Memory, WindowClass::Registers]),
    )
        .prop_map(|(lease, bytes, extents, more, class)| {
            let first = Extents::of_reply(extents);
            Grant {
                lease,
                class,
                bytes,
                total: (first.len() as u32 + more).min(EXTENTS_MAX),
                first,
            }
        })
}

fn found() -> impl Strategy<Value = Found> {
    (any::<u32>(), any::<u32>(), 0..=0o777_u32, 1..=u64::MAX).prop_map(
        |(segment, uid, mode, bytes)| Found {
            segment: SegmentId::new(segment),
            uid: Uid::new(uid),
            mode,
            bytes,
        },
    )
}

fn person() -> impl Strategy<Value = (Uid, Gid)> {
    (
        any::<u32>().prop_map(Uid::new),
        any::<u32>().prop_map(Gid::new),
    )
}

/// Any message.
pub fn message() -> impl Strategy<Value = Message> {
    let segment = || any::<u32>().prop_map(SegmentId::new);
    prop_oneof![
        hello().prop_map(Message::Hello),
        Just(Message::Goodbye),
        Just(Message::ResumeEnd),
        (
            request(),
            segment(),
            person(),
            any::<bool>(),
            prop::sample::select(vec![Space::Programs, Space::Kernels])
        )
            .prop_map(|(request, segment, (uid, gid), read_only, space)| {
                Message::ConnectRequest {
                    request,
                    segment,
                    uid,
                    gid,
                    access: if read_only {
                        Access::ReadOnly
                    } else {
                        Access::ReadWrite
                    },
                    space,
                }
            }),
        (request(), grant()).prop_map(|(request, grant)| Message::ConnectReply(ConnectReply {
            request,
            granted: Ok(grant),
        })),
        (request(), refused()).prop_map(|(request, refused)| Message::ConnectReply(ConnectReply {
            request,
            granted: Err(refused),
        })),
        (
            request(),
            0..EXTENTS_MAX - EXTENTS_A_MESSAGE as u32,
            prop::collection::vec(extent(), 1..=EXTENTS_A_MESSAGE),
        )
            .prop_map(|(request, first, extents)| Message::Extents {
                request,
                first,
                extents: Extents::of_message(extents),
            }),
        lease().prop_map(|lease| Message::Disconnect { lease }),
        (
            channel(),
            prop::collection::vec(any::<u8>(), 0..=CLIENT_BYTES)
        )
            .prop_map(|(channel, bytes)| Message::ClientMessage {
                channel,
                bytes: ClientBytes::new(&bytes).unwrap(),
            }),
        channel().prop_map(|channel| Message::ClientRefused { channel }),
        (request(), segment(), person()).prop_map(|(request, from, (uid, gid))| {
            Message::QueryRequest {
                request,
                from,
                uid,
                gid,
            }
        }),
        (request(), found()).prop_map(|(request, found)| Message::QueryReply {
            request,
            found: Ok(found),
        }),
        (request(), refused()).prop_map(|(request, refused)| Message::QueryReply {
            request,
            found: Err(refused),
        }),
        lease().prop_map(|lease| Message::Revoke { lease }),
        lease().prop_map(|lease| Message::RevokeDone { lease }),
        (lease(), any::<bool>()).prop_map(|(lease, removed)| Message::Notice {
            lease,
            kind: if removed {
                NoticeKind::Removed
            } else {
                NoticeKind::Unavailable
            },
        }),
        lease().prop_map(|lease| Message::Resume { lease }),
        (lease(), status()).prop_map(|(lease, status)| Message::ResumeReply { lease, status }),
        (0..64_u8, any::<u64>(), any::<bool>()).prop_map(|(slot, bus, uncached)| {
            Message::SlotSet {
                slot,
                bus: BusAddr::new(bus),
                mode: if uncached {
                    CacheMode::Uc
                } else {
                    CacheMode::Wc
                },
            }
        }),
        (0..64_u8).prop_map(|slot| Message::SlotClear { slot }),
        (0..64_u8, status()).prop_map(|(slot, status)| Message::SlotDone { slot, status }),
        lend::message(),
    ]
}
