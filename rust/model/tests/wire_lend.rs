// SPDX-License-Identifier: GPL-2.0
//! What the decoder makes of messages between lenders and borrowers that are not as they should be.

use proptest::prelude::*;
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
use skiff_model::wire::Status;
use skiff_model::wire::Width;
use skiff_model::wire::WireError;
use skiff_model::wire::ENTRY_BYTES;
use skiff_model::wire::HEADER_BYTES;

fn entry(message: &Message) -> Entry {
    message.encode(SessionId::new(5), 0).0
}

/// What becomes of a message with these bytes at this place of its payload.
fn with(message: &Message, at: usize, bytes: &[u8]) -> Result<(), WireError> {
    let mut entry = entry(message);
    assert!(Message::decode(&entry).is_ok());
    entry[HEADER_BYTES + at..][..bytes.len()].copy_from_slice(bytes);
    Message::decode(&entry).map(|_| ())
}

/// The least number that a field of 32 bits cannot have is not let through, nor are larger ones; the one below it is.
fn limit(message: &Message, at: usize, least: u32, name: &'static str) {
    for value in [least, least + 1, 1 << 31, u32::MAX] {
        let result = with(message, at, &value.to_le_bytes());
        assert_eq!(
            result,
            Err(WireError::Field(name)),
            "{message:?} {value:#x}"
        );
    }
    let result = with(message, at, &(least - 1).to_le_bytes());
    assert_eq!(result, Ok(()), "{message:?}");
}

/// A number of 64 bits that a field cannot have.
fn wrong(message: &Message, at: usize, value: u64, name: &'static str) {
    let result = with(message, at, &value.to_le_bytes());
    assert_eq!(
        result,
        Err(WireError::Field(name)),
        "{message:?} {value:#x}"
    );
}

fn asked(op: DeviceOp) -> Message {
    Message::DeviceRequest {
        request: RequestId::new(1),
        borrow: BorrowId::new(2),
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
        offset: PAGE,
        bytes: PAGE,
    })
}

fn aim() -> Message {
    asked(DeviceOp::Aim {
        vector: 63,
        map: MapId::new(1),
        offset: 0xf_f1f8,
        data: u32::MAX,
    })
}

fn offer() -> Message {
    Message::Offer(DeviceInfo {
        index: DeviceIndex::new(1),
        state: DeviceState::Available,
        contained: Contained::Yes,
        domain: 0,
        bdf: RequesterId::new(0x0010),
        class: 0x01_0802,
        revision: 1,
        vendor: 0x1b36,
        device: 0x0010,
        subvendor: 0x1af4,
        subdevice: 0x1100,
        serial: 7,
        bars: [0x4000, 0, 0, 0, 0, 0],
        vectors: 65,
        borrowers: 0,
    })
}

#[test]
fn fields_of_offers_and_borrows() {
    let offer = offer();
    limit(&offer, 0, 1 << 16, "index");
    limit(&offer, 4, 5, "state");
    limit(&offer, 8, 2, "contained");
    limit(&offer, 16, 1 << 16, "bdf");
    limit(&offer, 20, 1 << 24, "class");
    limit(&offer, 24, 1 << 8, "revision");
    limit(&offer, 28, 2049, "vectors");
    limit(&offer, 100, 1, "reserved");
    let withdraw = Message::Withdraw {
        index: DeviceIndex::new(1),
    };
    limit(&withdraw, 0, 1 << 16, "index");
    let request = Message::BorrowRequest {
        request: RequestId::new(1),
        index: DeviceIndex::new(1),
        uid: Uid::new(1000),
        gid: Gid::new(1000),
        share: Share::Exclusive,
        raw: Raw::No,
    };
    limit(&request, 4, 1 << 16, "index");
    limit(&request, 16, 2, "share");
    limit(&request, 20, 2, "raw");
    let granted = Message::BorrowReply {
        request: RequestId::new(1),
        granted: Ok(BorrowId::new(1)),
    };
    // With a refusal there is no borrow.
    wrong(&granted, 0, 1 << 32, "refusal");
    wrong(&granted, 0, 12 << 32, "status");
    let interrupt = Message::Interrupt {
        borrow: BorrowId::new(1),
        vectors: 1,
    };
    limit(&interrupt, 4, 1, "reserved");
    wrong(&interrupt, 8, 0, "vectors");
}

#[test]
fn fields_of_operations() {
    limit(
        &asked(DeviceOp::BusMaster(Mastering::On)),
        12,
        2,
        "mastering",
    );
    limit(&asked(DeviceOp::Bar(5)), 12, 6, "bar");
    let (kind, id) = (DeviceMemory::Shared, SegmentId::new(1));
    let create = asked(DeviceOp::CreateMemory { kind, id, bytes: 1 });
    for message in [asked(DeviceOp::Memory { kind, id }), create] {
        limit(&message, 12, 5, "memory");
        for none in [0, 1, 3_u32] {
            let result = with(&message, 12, &none.to_le_bytes());
            assert_eq!(result, Err(WireError::Field("memory")));
        }
    }
    wrong(&create, 20, 0, "bytes");
    let width = Width::Two;
    let read = asked(DeviceOp::ConfigRead { offset: 2, width });
    for offset in [1_u32, 4095, 4096, 1 << 16, (1 << 16) + 2] {
        let result = with(&read, 12, &offset.to_le_bytes());
        assert_eq!(result, Err(WireError::Field("offset")), "{offset:#x}");
    }
    for bytes in [0_u32, 3, 5, 8, 256 + 2] {
        let result = with(&read, 16, &bytes.to_le_bytes());
        assert_eq!(result, Err(WireError::Field("width")), "{bytes}");
    }
    // Where there is a word, there need not be a double word.
    assert_eq!(with(&read, 16, &[4]), Err(WireError::Field("offset")));
    let write = asked(DeviceOp::ConfigWrite {
        offset: 2,
        width,
        value: 0xffff,
    });
    limit(&write, 20, 1 << 16, "value");
    let byte = asked(DeviceOp::ConfigWrite {
        offset: 4095,
        width: Width::One,
        value: 0,
    });
    limit(&byte, 20, 1 << 8, "value");
    limit(&byte, 12, 4096, "offset");
    let vectors = asked(DeviceOp::Vectors(64));
    limit(&vectors, 12, 65, "vectors");
    let none = with(&vectors, 12, &[0]);
    assert_eq!(none, Err(WireError::Field("vectors")));
    let unmap = asked(DeviceOp::Unmap(MapId::new(u32::MAX)));
    let operation = with(&unmap, 8, &16_u32.to_le_bytes());
    assert_eq!(operation, Err(WireError::Field("op")));
    assert_eq!(with(&unmap, 8, &[0]), Err(WireError::Field("op")));
    let aim = aim();
    limit(&aim, 12, 64, "vector");
    for offset in [1, 2, 3, PAGE + 2, u64::MAX] {
        wrong(&aim, 20, offset, "offset");
    }
}

#[test]
fn fields_of_maps() {
    let published = map(MapWhat::Published(SegmentId::new(1)));
    let lease = map(MapWhat::Lease(LeaseId::new(1)));
    let other = map(MapWhat::Other {
        node: NodeId::new(63).unwrap(),
        segment: SegmentId::new(1),
        uid: Uid::new(1),
        gid: Gid::new(1),
    });
    let ram = map(MapWhat::Ram(SegmentId::new(1)));
    for message in [published, lease, ram] {
        for at in [20, 24, 28] {
            limit(&message, at, 1, "reserved");
        }
    }
    limit(&ram, 12, 5, "what");
    limit(&other, 20, 64, "node");
    for message in [published, lease, other] {
        for offset in [1, PAGE - 1, PAGE + 1, u64::MAX] {
            wrong(&message, 32, offset, "offset");
        }
        for bytes in [0, 1, PAGE - 1, PAGE + 1, u64::MAX] {
            wrong(&message, 40, bytes, "bytes");
        }
        // Together they lead behind the end.
        wrong(&message, 32, PAGE.wrapping_neg(), "bytes");
        wrong(&message, 40, PAGE.wrapping_neg(), "bytes");
        let most = (PAGE.wrapping_neg() - PAGE).to_le_bytes();
        assert_eq!(with(&message, 32, &most), Ok(()));
        assert_eq!(with(&message, 40, &most), Ok(()));
    }
}

#[test]
fn fields_of_answers() {
    let segment = answered(DeviceAnswer::Segment {
        segment: SegmentId::new(1),
        bytes: 1,
    });
    wrong(&segment, 16, 0, "bytes");
    let vectors = answered(DeviceAnswer::Vectors(64));
    limit(&vectors, 12, 65, "vectors");
    limit(&vectors, 8, 6, "answer");
    assert_eq!(with(&vectors, 12, &[0]), Err(WireError::Field("vectors")));
    assert_eq!(with(&vectors, 8, &[0]), Err(WireError::Field("answer")));
}

#[test]
fn lengths_are_those_of_the_operation() {
    let refusal = Message::DeviceReply {
        request: RequestId::new(1),
        done: Err(Refused::new(Status::Ended).unwrap()),
    };
    let all = [
        offer(),
        asked(DeviceOp::Return),
        asked(DeviceOp::Unmap(MapId::new(1))),
        asked(DeviceOp::Listen { vectors: 0 }),
        map(MapWhat::Lease(LeaseId::new(1))),
        aim(),
        answered(DeviceAnswer::Done),
        answered(DeviceAnswer::Value(1)),
        answered(DeviceAnswer::Mapped {
            map: MapId::new(1),
            address: BusAddr::new(0x1000),
        }),
        refusal,
    ];
    for message in all {
        let (entry, bytes) = message.encode(SessionId::new(5), 0);
        let length = bytes - HEADER_BYTES;
        for wrong in (0..=240).filter(|wrong| *wrong != length) {
            let mut entry = entry;
            entry[10..12].copy_from_slice(&(wrong as u16).to_le_bytes());
            assert_eq!(
                Message::decode(&entry),
                Err(WireError::Length),
                "{message:?} {wrong}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn likely_payloads_are_a_message_or_an_error(
        words in prop::collection::vec(prop_oneof![4 => 0..16_u32, 1 => any::<u32>(), 1 => (0..4_u32).prop_map(|page| page << 12)], ENTRY_BYTES / 4),
        kind in 40..=49_u16,
        length in (0..=112_u16).prop_map(|length| length & !3),
    ) {
        let mut entry: Entry = [0; ENTRY_BYTES];
        for (place, word) in entry.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        entry[0..4].copy_from_slice(&1_u32.to_le_bytes());
        entry[8..10].copy_from_slice(&kind.to_le_bytes());
        entry[10..12].copy_from_slice(&length.to_le_bytes());
        entry[12..16].fill(0);
        if let Ok(incoming) = Message::decode(&entry) {
            prop_assert_eq!(incoming.message.kind(), kind);
            let (again, bytes) = incoming.message.encode(incoming.session, incoming.seq);
            prop_assert_eq!(&again[..bytes], &entry[..bytes]);
        }
    }
}
