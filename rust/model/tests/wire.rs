// SPDX-License-Identifier: GPL-2.0
//! Every message survives the way through an entry, and no entry harms the decoder.

mod messages;

use messages::message;
use messages::session;
use proptest::prelude::*;
use skiff_model::addr::BusAddr;
use skiff_model::addr::Extent;
use skiff_model::addr::EXTENTS_MAX;
use skiff_model::addr::PAGE;
use skiff_model::ids::AdapterId;
use skiff_model::ids::ChannelId;
use skiff_model::ids::Generation;
use skiff_model::ids::LeaseId;
use skiff_model::ids::NodeId;
use skiff_model::ids::RequestId;
use skiff_model::ids::SessionId;
use skiff_model::ntb::CacheMode;
use skiff_model::ntb::WindowClass;
use skiff_model::wire::Boot;
use skiff_model::wire::BootAssembler;
use skiff_model::wire::ClientBytes;
use skiff_model::wire::ConnectReply;
use skiff_model::wire::Entry;
use skiff_model::wire::Extents;
use skiff_model::wire::Grant;
use skiff_model::wire::Hello;
use skiff_model::wire::Message;
use skiff_model::wire::Nonce;
use skiff_model::wire::Phase;
use skiff_model::wire::WireError;
use skiff_model::wire::CLIENT_BYTES;
use skiff_model::wire::ENTRY_BYTES;
use skiff_model::wire::EXTENTS_A_MESSAGE;
use skiff_model::wire::FRAME_LIMIT;
use skiff_model::wire::HEADER_BYTES;

/// Ranges that a reply carries: what is left of 240 bytes behind 32, in pieces of 16.
const EXTENTS_A_REPLY: usize = 13;

fn put(entry: &mut Entry, at: usize, bytes: &[u8]) {
    entry[at..at + bytes.len()].copy_from_slice(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn messages_survive_the_wire(message in message(), session in session(), seq: u32, rubbish: u8) {
        let (mut entry, bytes) = message.encode(Some(session), seq);
        // What lies behind the bytes that count is whatever was there before.
        entry[bytes..].fill(rubbish);
        let incoming = Message::decode(&entry).unwrap();
        prop_assert_eq!(incoming.message, message);
        prop_assert_eq!(incoming.seq, seq);
        let hello = matches!(message, Message::Hello(_));
        prop_assert_eq!(incoming.session, (!hello).then_some(session));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), ENTRY_BYTES)) {
        let entry: Entry = bytes.try_into().unwrap();
        // Random kinds are hardly ever known ones, so that this is for the header.
        if let Ok(incoming) = Message::decode(&entry) {
            prop_assert!(incoming.session.is_some() || matches!(incoming.message, Message::Hello(_)));
        }
    }

    #[test]
    fn any_payload_of_any_kind_is_a_message_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), ENTRY_BYTES),
        kind in prop_oneof![1..=2_u16, 16..=27_u16, 32..=34_u16, 40..=51_u16],
        length in prop_oneof![0..=48_u16, Just(64), Just(112), Just(196), Just(197), Just(240), 241..=u16::MAX],
        session: u32,
    ) {
        let mut entry: Entry = bytes.try_into().unwrap();
        put(&mut entry, 0, &session.to_le_bytes());
        put(&mut entry, 8, &kind.to_le_bytes());
        put(&mut entry, 10, &length.to_le_bytes());
        put(&mut entry, 12, &[0; 4]);
        if let Ok(incoming) = Message::decode(&entry) {
            // What is let through is in range: it can be said again, word for word.
            let (again, bytes) = incoming.message.encode(incoming.session, incoming.seq);
            prop_assert_eq!(&again[..bytes], &entry[..bytes]);
        }
    }

    #[test]
    fn one_changed_byte_never_harms(message in message(), session in session(), at in 0..ENTRY_BYTES, value: u8) {
        let (mut entry, _) = message.encode(Some(session), 7);
        entry[at] = value;
        if let Ok(incoming) = Message::decode(&entry) {
            let (again, bytes) = incoming.message.encode(incoming.session, incoming.seq);
            prop_assert_eq!(&again[..bytes], &entry[..bytes]);
        }
    }

    #[test]
    fn boots_survive_their_words(frame in 0..FRAME_LIMIT, nonce: u8, before: u32) {
        let boot = Boot::new(frame, Nonce::of(nonce)).unwrap();
        let mut assembler = BootAssembler::new();
        // Whatever came before does not matter.
        let _ = assembler.push(before);
        let [low, high] = boot.words();
        prop_assert_eq!(assembler.push(low), Ok(None));
        prop_assert_eq!(assembler.push(high), Ok(Some(boot)));
        prop_assert_eq!(assembler.push(high), Ok(None), "each low half counts once");
    }

    #[test]
    fn any_words_are_a_boot_or_none(words: Vec<u32>) {
        let mut assembler = BootAssembler::new();
        for word in words {
            if let Ok(Some(boot)) = assembler.push(word) {
                prop_assert_eq!(boot.words()[1], word);
            }
        }
    }
}

#[test]
fn a_client_says_no_more_than_fits() {
    assert_eq!(ClientBytes::new(&[1; CLIENT_BYTES + 1]), None);
    let bytes = ClientBytes::new(&[1; CLIENT_BYTES]).unwrap();
    assert_eq!(bytes.as_slice(), [1; CLIENT_BYTES]);
    let channel = ChannelId::new(7);
    let message = Message::ClientMessage { channel, bytes };
    let (mut entry, _) = message.encode(SessionId::new(5), 0);
    // One byte more, which the entry has room for.
    let length = u16::from_le_bytes([entry[10], entry[11]]) + 1;
    put(&mut entry, 10, &length.to_le_bytes());
    assert_eq!(Message::decode(&entry).err(), Some(WireError::Length));
}

#[test]
fn halves_of_two_attempts_are_no_boot() {
    let one = Boot::new(0x123_4567_89ab, Nonce::of(3)).unwrap();
    let two = Boot::new(0x123_4567_89ab, Nonce::of(4)).unwrap();
    let mut assembler = BootAssembler::new();
    assert_eq!(assembler.push(one.words()[0]), Ok(None));
    assert_eq!(assembler.push(two.words()[1]), Ok(None));
}

#[test]
fn frames_that_do_not_fit_are_no_boot() {
    assert!(Boot::new(FRAME_LIMIT - 1, Nonce::of(0)).is_some());
    assert!(Boot::new(FRAME_LIMIT, Nonce::of(0)).is_none());
}

/// A valid entry with one field changed.
fn changed(message: Message, at: usize, value: u32) -> Result<(), WireError> {
    let (mut entry, _) = message.encode(SessionId::new(5), 0);
    assert!(Message::decode(&entry).is_ok());
    put(&mut entry, at, &value.to_le_bytes());
    Message::decode(&entry).map(|_| ())
}

#[test]
fn fields_out_of_range_are_named() {
    let payload = |at: usize| HEADER_BYTES + at;
    let hello = Message::Hello(Hello {
        version_min: 1,
        version_max: 1,
        generation: Generation::new(1).unwrap(),
        session: SessionId::new(1).unwrap(),
        echo: None,
        node: NodeId::new(1).unwrap(),
        adapter: AdapterId::new(1).unwrap(),
        nonce: Nonce::of(1),
        phase: Phase::Up,
        start: 0,
    });
    let field = |name| Err(WireError::Field(name));
    assert_eq!(changed(hello, 0, 9), field("session"));
    assert_eq!(changed(hello, 12, 1), field("reserved"));
    assert_eq!(changed(hello, payload(0), 0), field("magic"));
    assert_eq!(changed(hello, payload(4), 0), field("version"));
    assert_eq!(changed(hello, payload(4), 0x0001_0002), field("version"));
    assert_eq!(changed(hello, payload(8), 0), field("generation"));
    assert_eq!(changed(hello, payload(16), 0), field("session"));
    assert_eq!(changed(hello, payload(24), 64), field("node"));
    assert_eq!(changed(hello, payload(28), 4), field("adapter"));
    assert_eq!(changed(hello, payload(32), 16), field("nonce"));
    assert_eq!(changed(hello, payload(36), 2), field("phase"));
    let goodbye = Message::Goodbye;
    assert_eq!(changed(goodbye, 0, 0), field("session"));
    assert_eq!(changed(goodbye, 8, 3), Err(WireError::Kind(3)));
    assert_eq!(changed(goodbye, 8, 2 | (4 << 16)), Err(WireError::Length));
    assert_eq!(changed(goodbye, 8, 2 | (241 << 16)), Err(WireError::Length));
    let extents = Message::Extents {
        request: RequestId::new(1),
        first: 0,
        extents: Extents::of_message([Extent::new(BusAddr::new(PAGE), PAGE).unwrap()]),
    };
    assert_eq!(changed(extents, payload(4), EXTENTS_MAX), field("first"));
    assert_eq!(changed(extents, payload(4), u32::MAX), field("first"));
    assert_eq!(changed(extents, payload(8), 2), field("count"));
    assert_eq!(changed(extents, payload(16), 1), field("extent"));
    assert_eq!(changed(extents, payload(24), 0), field("extent"));
    let reply = Message::ConnectReply(ConnectReply {
        request: RequestId::new(1),
        granted: Ok(Grant {
            lease: LeaseId::new(1),
            class: WindowClass::Memory,
            bytes: 1,
            total: 1,
            first: Extents::of_reply([Extent::new(BusAddr::new(PAGE), PAGE).unwrap()]),
        }),
    });
    assert_eq!(changed(reply, payload(4), 12), field("status"));
    assert_eq!(changed(reply, payload(4), 1), field("refusal"));
    assert_eq!(changed(reply, payload(12), 2), field("class"));
    assert_eq!(changed(reply, payload(16), 0), field("bytes"));
    assert_eq!(changed(reply, payload(24), 0), field("extents"));
    assert_eq!(
        changed(reply, payload(24), EXTENTS_MAX + 1),
        field("extents")
    );
    let slot = Message::SlotSet {
        slot: 63,
        bus: BusAddr::new(0),
        mode: CacheMode::Uc,
    };
    assert_eq!(changed(slot, payload(0), 64), field("slot"));
    assert_eq!(changed(slot, payload(4), 2), field("mode"));
}

#[test]
fn a_message_takes_what_fits_and_says_how_much() {
    let extents = (1..100).map(|n| Extent::new(BusAddr::new(n * PAGE), PAGE).unwrap());
    assert_eq!(Extents::of_reply(extents.clone()).len(), EXTENTS_A_REPLY);
    let taken = Extents::of_message(extents.clone());
    assert_eq!(taken.len(), EXTENTS_A_MESSAGE);
    assert!(taken.iter().eq(extents.take(EXTENTS_A_MESSAGE)));
}
