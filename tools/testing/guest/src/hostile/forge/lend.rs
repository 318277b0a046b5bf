// SPDX-License-Identifier: GPL-2.0
//! Messages between lenders and borrowers of devices, with fields of any value, and with one that is out of range.

use skiff_model::addr::BusAddr;
use skiff_model::addr::PAGE;
use skiff_model::ids::BorrowId;
use skiff_model::ids::DeviceIndex;
use skiff_model::ids::Gid;
use skiff_model::ids::LeaseId;
use skiff_model::ids::MapId;
use skiff_model::ids::NodeId;
use skiff_model::ids::RequestId;
use skiff_model::ids::RequesterId;
use skiff_model::ids::SegmentId;
use skiff_model::ids::SessionId;
use skiff_model::ids::Uid;
use skiff_model::wire::Contained;
use skiff_model::wire::DeviceAnswer;
use skiff_model::wire::DeviceInfo;
use skiff_model::wire::DeviceMemory;
use skiff_model::wire::DeviceOp;
use skiff_model::wire::DeviceState;
use skiff_model::wire::Entry;
use skiff_model::wire::MapWhat;
use skiff_model::wire::Mastering;
use skiff_model::wire::Message;
use skiff_model::wire::Raw;
use skiff_model::wire::Refused;
use skiff_model::wire::Share;
use skiff_model::wire::Width;
use skiff_model::wire::BARS;
use skiff_model::wire::CLASS_BITS;
use skiff_model::wire::CONFIG_BYTES;
use skiff_model::wire::HEADER_BYTES;
use skiff_model::wire::MSIX_MAX;
use skiff_model::wire::VECTORS_MAX;

use super::id;
use super::status;
use super::Known;
use crate::random::Random;

/// Kinds of messages about devices.
pub const KINDS: u64 = 10;

fn user(random: &mut Random) -> (Uid, Gid) {
    let uid = id(random, &[0, 1000, 65534]);
    let gid = id(random, &[0, 1000, 65534]);
    (Uid::new(uid), Gid::new(gid))
}

fn index(random: &mut Random, known: &Known) -> DeviceIndex {
    // CAST: Bits are wanted here and below, not the number.
    DeviceIndex::new(id(random, &known.devices) as u16)
}

fn info(random: &mut Random, known: &Known) -> DeviceInfo {
    let word = |random: &mut Random| random.edgy() as u16;
    let mut bars = [0; BARS as usize];
    for bytes in &mut bars {
        *bytes = random.edgy();
    }
    DeviceInfo {
        index: index(random, known),
        state: random.pick(&[
            DeviceState::Unavailable,
            DeviceState::Available,
            DeviceState::Borrowed,
            DeviceState::Exclusive,
            DeviceState::Broken,
        ]),
        contained: random.pick(&[Contained::No, Contained::Yes]),
        domain: random.edgy() as u32,
        bdf: RequesterId::new(word(random)),
        class: random.next() as u32 & CLASS_BITS,
        revision: random.next() as u8,
        vendor: word(random),
        device: word(random),
        subvendor: word(random),
        subdevice: word(random),
        serial: random.edgy(),
        bars,
        vectors: random.below(u64::from(MSIX_MAX) + 1) as u32,
        borrowers: random.edgy() as u32,
    }
}

/// Whole pages: where a range starts, and how long it is.
fn range(random: &mut Random) -> (u64, u64) {
    loop {
        let (offset, bytes) = match random.below(3) {
            0 => (PAGE * random.below(16), PAGE * (1 + random.below(16))),
            1 => (0, random.edgy() & !(PAGE - 1)),
            _ => (random.edgy() & !(PAGE - 1), random.edgy() & !(PAGE - 1)),
        };
        if bytes > 0 && offset.checked_add(bytes).is_some() {
            return (offset, bytes);
        }
    }
}

fn vectors(random: &mut Random) -> u32 {
    1 + random.below(u64::from(VECTORS_MAX)) as u32
}

fn what(random: &mut Random, known: &Known) -> MapWhat {
    let segment = SegmentId::new(id(random, &known.segments));
    match random.below(4) {
        0 => MapWhat::Published(segment),
        1 => MapWhat::Ram(segment),
        2 => MapWhat::Lease(LeaseId::new(id(random, &known.leases))),
        _ => {
            let (uid, gid) = user(random);
            MapWhat::Other {
                node: NodeId::new(random.below(64) as u32).expect("it is below 64"),
                segment,
                uid,
                gid,
            }
        }
    }
}

fn op(random: &mut Random, known: &Known) -> DeviceOp {
    let kind = random.pick(&[DeviceMemory::Private, DeviceMemory::Shared]);
    let memory = SegmentId::new(random.below(4) as u32);
    let width = random.pick(&[Width::One, Width::Two, Width::Four]);
    let offset = random.below(u64::from(CONFIG_BYTES)) as u16;
    let offset = offset - offset % u16::from(width.bytes());
    match random.below(15) {
        0 => DeviceOp::Return,
        1 => DeviceOp::ReleaseExclusive,
        2 => DeviceOp::Reset,
        3 => DeviceOp::BusMaster(random.pick(&[Mastering::Off, Mastering::On])),
        4 => DeviceOp::Bar(random.below(u64::from(BARS)) as u8),
        5 => DeviceOp::Memory { kind, id: memory },
        6 => DeviceOp::CreateMemory {
            kind,
            id: memory,
            bytes: random.edgy().max(1),
        },
        7 => {
            let (offset, bytes) = range(random);
            DeviceOp::Map {
                what: what(random, known),
                offset,
                bytes,
            }
        }
        8 => DeviceOp::Unmap(MapId::new(id(random, &[]))),
        9 => DeviceOp::ConfigRead { offset, width },
        10 => DeviceOp::ConfigWrite {
            offset,
            width,
            value: random.edgy() as u32 & width.mask(),
        },
        11 => DeviceOp::Vectors(vectors(random)),
        12 => DeviceOp::RemoveMemory(memory),
        13 => DeviceOp::Aim {
            vector: vectors(random) - 1,
            map: MapId::new(id(random, &[1])),
            offset: random.edgy() & !3,
            data: random.edgy() as u32,
        },
        _ => DeviceOp::Listen {
            vectors: random.edgy(),
        },
    }
}

fn answer(random: &mut Random) -> DeviceAnswer {
    let any = random.edgy() as u32;
    match random.below(5) {
        0 => DeviceAnswer::Done,
        1 => DeviceAnswer::Segment {
            segment: SegmentId::new(any),
            bytes: random.edgy().max(1),
        },
        2 => DeviceAnswer::Mapped {
            map: MapId::new(any),
            address: BusAddr::new(random.edgy()),
        },
        3 => DeviceAnswer::Value(any),
        _ => DeviceAnswer::Vectors(vectors(random)),
    }
}

/// A message that can be decoded.
pub fn message(random: &mut Random, known: &Known) -> Message {
    let request = RequestId::new(id(random, &known.requests));
    let borrow = BorrowId::new(id(random, &known.borrows));
    let refused = Refused::new(status(random));
    match random.below(KINDS) {
        0 => Message::Offer(info(random, known)),
        1 => Message::Withdraw {
            index: index(random, known),
        },
        2 => {
            let (uid, gid) = user(random);
            Message::BorrowRequest {
                request,
                index: index(random, known),
                uid,
                gid,
                share: random.pick(&[Share::Shared, Share::Exclusive]),
                raw: random.pick(&[Raw::No, Raw::Yes]),
            }
        }
        3 => Message::BorrowReply {
            request,
            granted: refused.map_or(Ok(borrow), Err),
        },
        4 => Message::DeviceRequest {
            request,
            borrow,
            op: op(random, known),
        },
        5 => Message::DeviceReply {
            request,
            done: match refused {
                Some(refused) => Err(refused),
                None => Ok(answer(random)),
            },
        },
        6 => Message::Ended { borrow },
        7 => Message::SharerGone { borrow },
        8 => Message::GivenUp { borrow },
        _ => Message::Interrupt {
            borrow,
            vectors: random.edgy().max(1),
        },
    }
}

/// Which messages have a field, where it is in the payload, and a number that it cannot have. Numbers are 32 bits.
struct Wrong {
    /// A message that has the field.
    message: fn() -> Message,
    /// Its place.
    at: usize,
    /// The least number, or one of few, that it must not have.
    least: u32,
}

fn some_info() -> Message {
    Message::Offer(info(&mut Random::new(1), &Known::default()))
}

fn some_request() -> Message {
    Message::BorrowRequest {
        request: RequestId::new(1),
        index: DeviceIndex::new(0),
        uid: Uid::new(0),
        gid: Gid::new(0),
        share: Share::Shared,
        raw: Raw::Yes,
    }
}

fn asked(op: DeviceOp) -> Message {
    Message::DeviceRequest {
        request: RequestId::new(1),
        borrow: BorrowId::new(1),
        op,
    }
}

fn answered(answer: DeviceAnswer) -> Message {
    Message::DeviceReply {
        request: RequestId::new(1),
        done: Ok(answer),
    }
}

fn map(what: MapWhat) -> Message {
    asked(DeviceOp::Map {
        what,
        offset: 0,
        bytes: PAGE,
    })
}

fn some_write() -> Message {
    asked(DeviceOp::ConfigWrite {
        offset: 0x0c,
        width: Width::One,
        value: 0,
    })
}

fn some_memory() -> Message {
    asked(DeviceOp::CreateMemory {
        kind: DeviceMemory::Private,
        id: SegmentId::new(1),
        bytes: 1,
    })
}

fn some_map() -> Message {
    map(MapWhat::Published(SegmentId::new(1)))
}

fn some_lease() -> Message {
    map(MapWhat::Lease(LeaseId::new(1)))
}

fn some_ram() -> Message {
    map(MapWhat::Ram(SegmentId::new(1)))
}

fn some_other() -> Message {
    map(MapWhat::Other {
        node: NodeId::new(63).expect("it is below 64"),
        segment: SegmentId::new(1),
        uid: Uid::new(0),
        gid: Gid::new(0),
    })
}

fn some_aim() -> Message {
    asked(DeviceOp::Aim {
        vector: 0,
        map: MapId::new(1),
        offset: 0,
        data: 0,
    })
}

/// Every field that has a range.
const WRONG: &[Wrong] = &[
    wrong(some_info, 0, 1 << 16),
    wrong(some_info, 4, 5),
    wrong(some_info, 8, 2),
    wrong(some_info, 16, 1 << 16),
    wrong(some_info, 20, 1 << 24),
    wrong(some_info, 24, 1 << 8),
    wrong(some_info, 28, MSIX_MAX + 1),
    wrong(some_info, 100, 1),
    wrong(
        || Message::Withdraw {
            index: DeviceIndex::new(0),
        },
        0,
        1 << 16,
    ),
    wrong(some_request, 4, 1 << 16),
    wrong(some_request, 16, 2),
    wrong(some_request, 20, 2),
    wrong(
        || Message::BorrowReply {
            request: RequestId::new(1),
            granted: Ok(BorrowId::new(1)),
        },
        4,
        // Refused, with a borrow; what is behind are no statuses.
        1,
    ),
    wrong(|| asked(DeviceOp::Return), 8, 16),
    wrong(|| asked(DeviceOp::BusMaster(Mastering::On)), 12, 2),
    wrong(|| asked(DeviceOp::Bar(0)), 12, 6),
    wrong(some_memory, 12, 5),
    wrong(some_map, 12, 5),
    // A node or user that goes with no third node.
    wrong(some_map, 20, 1),
    wrong(some_map, 24, 1),
    wrong(some_lease, 28, 1),
    wrong(some_ram, 20, 1),
    wrong(some_other, 20, 64),
    wrong(some_write, 12, 1 << 12),
    wrong(some_write, 16, 5),
    wrong(some_write, 20, 1 << 8),
    wrong(|| asked(DeviceOp::Vectors(1)), 12, VECTORS_MAX + 1),
    wrong(some_aim, 12, VECTORS_MAX),
    wrong(|| answered(DeviceAnswer::Done), 8, 6),
    wrong(|| answered(DeviceAnswer::Vectors(1)), 8, 6),
    wrong(|| answered(DeviceAnswer::Vectors(1)), 12, VECTORS_MAX + 1),
    wrong(
        || Message::Interrupt {
            borrow: BorrowId::new(1),
            vectors: 1,
        },
        4,
        1,
    ),
];

const fn wrong(message: fn() -> Message, at: usize, least: u32) -> Wrong {
    Wrong { message, at, least }
}

/// What is wrong with numbers of 64 bits: a message, the place, the number.
fn wrong_long(random: &mut Random) -> (Message, usize, u64) {
    let interrupt = Message::Interrupt {
        borrow: BorrowId::new(1),
        vectors: 1,
    };
    let segment = answered(DeviceAnswer::Segment {
        segment: SegmentId::new(1),
        bytes: 1,
    });
    random.pick(&[
        (interrupt, 8, 0),
        (segment, 16, 0),
        (some_memory(), 20, 0),
        // Offset and length of a range.
        (some_map(), 32, 1),
        (some_map(), 32, PAGE - 1),
        (some_map(), 32, PAGE.wrapping_neg()),
        (some_map(), 32, u64::MAX),
        (some_map(), 40, 0),
        (some_map(), 40, 1),
        (some_map(), 40, PAGE + 1),
        (some_map(), 40, u64::MAX),
        (some_aim(), 20, 2),
    ])
}

/// An entry with one field out of range.
pub fn out_of_range(random: &mut Random, session: SessionId, seq: u32) -> Entry {
    let put = |message: Message, at: usize, bytes: &[u8]| {
        let (mut entry, _) = message.encode(Some(session), seq);
        entry[HEADER_BYTES + at..][..bytes.len()].copy_from_slice(bytes);
        entry
    };
    if random.percent(25) {
        let (message, at, value) = wrong_long(random);
        return put(message, at, &value.to_le_bytes());
    }
    let wrong = &WRONG[random.index(WRONG.len())];
    let value = wrong.least.max(random.edgy() as u32);
    put((wrong.message)(), wrong.at, &value.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::judge;
    use super::super::Judgement;
    use super::*;

    #[test]
    fn what_is_out_of_range_ends_the_session() {
        let mut random = Random::new(3);
        let session = SessionId::new(7).unwrap();
        for seq in 0..10_000 {
            let entry = out_of_range(&mut random, session, seq);
            let judgement = judge(&entry, session, seq);
            assert_eq!(judgement, Judgement::Ends, "{:?}", &entry[..80]);
        }
        for wrong in WRONG {
            let (entry, _) = (wrong.message)().encode(Some(session), 0);
            assert_eq!(judge(&entry, session, 0), Judgement::Stays);
        }
    }
}
