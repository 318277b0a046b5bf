// SPDX-License-Identifier: GPL-2.0
//! Those between lenders and borrowers of devices.

use proptest::prelude::*;
use skiff_model::addr::BusAddr;
use skiff_model::addr::PAGE;
use skiff_model::ids::BorrowId;
use skiff_model::ids::DeviceIndex;
use skiff_model::ids::LeaseId;
use skiff_model::ids::MapId;
use skiff_model::ids::NodeId;
use skiff_model::ids::RequesterId;
use skiff_model::ids::SegmentId;
use skiff_model::wire::Contained;
use skiff_model::wire::DeviceAnswer;
use skiff_model::wire::DeviceInfo;
use skiff_model::wire::DeviceMemory;
use skiff_model::wire::DeviceOp;
use skiff_model::wire::DeviceState;
use skiff_model::wire::MapWhat;
use skiff_model::wire::Mastering;
use skiff_model::wire::Message;
use skiff_model::wire::Raw;
use skiff_model::wire::Share;
use skiff_model::wire::Width;

use super::person;
use super::refused;
use super::request;

fn one_of<T: Clone + std::fmt::Debug + 'static>(all: &[T]) -> impl Strategy<Value = T> {
    prop::sample::select(all.to_vec())
}

fn index() -> impl Strategy<Value = DeviceIndex> {
    any::<u16>().prop_map(DeviceIndex::new)
}

fn borrow() -> impl Strategy<Value = BorrowId> {
    any::<u32>().prop_map(BorrowId::new)
}

fn segment() -> impl Strategy<Value = SegmentId> {
    any::<u32>().prop_map(SegmentId::new)
}

/// Any device.
pub fn info() -> impl Strategy<Value = DeviceInfo> {
    (
        (
            index(),
            one_of(&[
                DeviceState::Unavailable,
                DeviceState::Available,
                DeviceState::Borrowed,
                DeviceState::Exclusive,
                DeviceState::Broken,
            ]),
            one_of(&[Contained::No, Contained::Yes]),
        ),
        (any::<u32>(), any::<u16>().prop_map(RequesterId::new)),
        (0..1_u32 << 24, any::<u8>()),
        any::<[u16; 4]>(),
        (any::<u64>(), any::<[u64; 6]>()),
        (0..=2048_u32, any::<u32>()),
    )
        .prop_map(
            |(
                (index, state, contained),
                (domain, bdf),
                (class, revision),
                [vendor, device, subvendor, subdevice],
                (serial, bars),
                (vectors, borrowers),
            )| DeviceInfo {
                index,
                state,
                contained,
                domain,
                bdf,
                class,
                revision,
                vendor,
                device,
                subvendor,
                subdevice,
                serial,
                bars,
                vectors,
                borrowers,
            },
        )
}

/// Whole pages that do not overflow: where they start, and bytes.
fn range() -> impl Strategy<Value = (u64, u64)> {
    let pages = u64::MAX / PAGE;
    (0..pages)
        .prop_flat_map(move |first| (Just(first), 1..=pages - first))
        .prop_map(|(first, count)| (first * PAGE, count * PAGE))
}

fn config() -> impl Strategy<Value = (u16, Width)> {
    (0..4096_u16, one_of(&[Width::One, Width::Two, Width::Four]))
        .prop_map(|(offset, width)| (offset - offset % u16::from(width.bytes()), width))
}

fn what() -> impl Strategy<Value = MapWhat> {
    prop_oneof![
        segment().prop_map(MapWhat::Published),
        segment().prop_map(MapWhat::Ram),
        any::<u32>().prop_map(|lease| MapWhat::Lease(LeaseId::new(lease))),
        (0..64_u32, segment(), person()).prop_map(|(node, segment, (uid, gid))| MapWhat::Other {
            node: NodeId::new(node).unwrap(),
            segment,
            uid,
            gid,
        }),
    ]
}

fn op() -> impl Strategy<Value = DeviceOp> {
    let memory = || one_of(&[DeviceMemory::Private, DeviceMemory::Shared]);
    prop_oneof![
        one_of(&[
            DeviceOp::Return,
            DeviceOp::ReleaseExclusive,
            DeviceOp::Reset
        ]),
        one_of(&[Mastering::Off, Mastering::On]).prop_map(DeviceOp::BusMaster),
        (0..6_u8).prop_map(DeviceOp::Bar),
        (memory(), segment()).prop_map(|(kind, id)| DeviceOp::Memory { kind, id }),
        segment().prop_map(DeviceOp::RemoveMemory),
        (0..64_u32, any::<u32>(), 0..=u64::MAX >> 2, any::<u32>()).prop_map(
            |(vector, map, word, data)| DeviceOp::Aim {
                vector,
                map: MapId::new(map),
                offset: word << 2,
                data,
            }
        ),
        (memory(), segment(), 1..=u64::MAX).prop_map(|(kind, id, bytes)| DeviceOp::CreateMemory {
            kind,
            id,
            bytes
        }),
        (what(), range()).prop_map(|(what, (offset, bytes))| DeviceOp::Map {
            what,
            offset,
            bytes,
        }),
        any::<u32>().prop_map(|map| DeviceOp::Unmap(MapId::new(map))),
        config().prop_map(|(offset, width)| DeviceOp::ConfigRead { offset, width }),
        (config(), any::<u32>()).prop_map(|((offset, width), value)| DeviceOp::ConfigWrite {
            offset,
            width,
            value: value & width.mask(),
        }),
        (1..=64_u32).prop_map(DeviceOp::Vectors),
        any::<u64>().prop_map(|vectors| DeviceOp::Listen { vectors }),
    ]
}

fn answer() -> impl Strategy<Value = DeviceAnswer> {
    prop_oneof![
        Just(DeviceAnswer::Done),
        (segment(), 1..=u64::MAX)
            .prop_map(|(segment, bytes)| DeviceAnswer::Segment { segment, bytes }),
        (any::<u32>(), any::<u64>()).prop_map(|(map, address)| DeviceAnswer::Mapped {
            map: MapId::new(map),
            address: BusAddr::new(address),
        }),
        any::<u32>().prop_map(DeviceAnswer::Value),
        (1..=64_u32).prop_map(DeviceAnswer::Vectors),
    ]
}

/// Any message about devices.
pub fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        info().prop_map(Message::Offer),
        index().prop_map(|index| Message::Withdraw { index }),
        (
            request(),
            index(),
            person(),
            one_of(&[Share::Shared, Share::Exclusive]),
            one_of(&[Raw::No, Raw::Yes]),
        )
            .prop_map(|(request, index, (uid, gid), share, raw)| {
                Message::BorrowRequest {
                    request,
                    index,
                    uid,
                    gid,
                    share,
                    raw,
                }
            }),
        (request(), prop::result::maybe_ok(borrow(), refused()))
            .prop_map(|(request, granted)| Message::BorrowReply { request, granted }),
        (request(), borrow(), op()).prop_map(|(request, borrow, op)| Message::DeviceRequest {
            request,
            borrow,
            op,
        }),
        (request(), prop::result::maybe_ok(answer(), refused()))
            .prop_map(|(request, done)| Message::DeviceReply { request, done }),
        borrow().prop_map(|borrow| Message::Ended { borrow }),
        borrow().prop_map(|borrow| Message::SharerGone { borrow }),
        borrow().prop_map(|borrow| Message::GivenUp { borrow }),
        (borrow(), 1..=u64::MAX)
            .prop_map(|(borrow, vectors)| Message::Interrupt { borrow, vectors }),
    ]
}
