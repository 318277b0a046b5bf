// SPDX-License-Identifier: GPL-2.0
//! What owner and sharers of a controller say survives the wire, and nothing else is understood.

use proptest::prelude::*;
use skiff_nvme_model::data;
use skiff_nvme_model::doorbell::Stride;
use skiff_nvme_model::identify::Abilities;
use skiff_nvme_model::identify::Namespace;
use skiff_nvme_model::protocol::channel;
use skiff_nvme_model::protocol::Answer;
use skiff_nvme_model::protocol::Body;
use skiff_nvme_model::protocol::Event;
use skiff_nvme_model::protocol::Limits;
use skiff_nvme_model::protocol::Message;
use skiff_nvme_model::protocol::Pair;
use skiff_nvme_model::protocol::Refusal;
use skiff_nvme_model::protocol::Request;
use skiff_nvme_model::protocol::Token;
use skiff_nvme_model::protocol::MOST;
use skiff_nvme_model::Wrong;
use skiff_nvme_model::PAGE;

/// Bytes before what a kind of message has of its own.
const HEADER: usize = 16;

fn address() -> impl Strategy<Value = u64> {
    (1..1_u64 << 52).prop_map(|page| page << 12)
}

fn queue() -> impl Strategy<Value = u16> {
    1..u16::MAX
}

fn request() -> impl Strategy<Value = Request> {
    let pair = (address(), address(), 2..=1024_u16, any::<bool>());
    prop_oneof![
        Just(Request::Attach),
        Just(Request::Detach),
        pair.prop_map(|(s, c, entries, polled)| {
            Request::CreateQueue(Pair::new(s, c, entries, polled).unwrap())
        }),
        any::<u32>().prop_map(|after| Request::Namespace { after }),
        (queue(), any::<u16>()).prop_map(|(queue, command)| Request::Abort { queue, command }),
        Just(Request::Reset),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let most = (1..=data::MOST / PAGE).prop_map(|pages| pages * PAGE);
    (
        2..=1024_u16,
        1..=u16::MAX,
        most,
        0..16_u8,
        0..=Abilities::ALL,
    )
        .prop_map(|(entries, queues, most, stride, abilities)| Limits {
            entries,
            queues,
            most,
            stride: Stride::of(stride),
            abilities: Abilities(abilities),
        })
}

fn answer() -> impl Strategy<Value = Answer> {
    let refusals = [
        Refusal::NotOwned,
        Refusal::Stale,
        Refusal::NotYours,
        Refusal::Exhausted,
        Refusal::Failed,
    ];
    let namespace = (1..u32::MAX, 0..1_u64 << 51, 9..=12_u8);
    prop_oneof![
        limits().prop_map(Answer::Attached),
        (queue(), any::<u16>()).prop_map(|(queue, vector)| Answer::Queue { queue, vector }),
        namespace.prop_map(|(id, blocks, power)| {
            Answer::Namespace(Namespace::new(id, blocks, power).unwrap())
        }),
        Just(Answer::Done),
        (0..refusals.len()).prop_map(move |index| Answer::Refused(refusals[index])),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let token = || (1..=u32::MAX).prop_map(Token);
    let events = [
        Event::Stopped,
        Event::Restarted,
        Event::Gone,
        Event::Nothing,
    ];
    let body = prop_oneof![
        (token(), request()).prop_map(|(token, request)| Body::Request(token, request)),
        (token(), answer()).prop_map(|(token, answer)| Body::Answer(token, answer)),
        (0..events.len()).prop_map(move |index| Body::Event(events[index])),
    ];
    (any::<u32>(), 1..=u32::MAX, body).prop_map(|(fdid, generation, body)| Message {
        fdid,
        generation,
        body,
    })
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(message in message()) {
        let (bytes, length) = message.encode();
        prop_assert!(length <= MOST);
        prop_assert_eq!(Message::decode(&bytes[..length]), Ok(message));
    }

    #[test]
    fn no_other_length_is_understood(message in message(), cut in 1..8_usize) {
        let (bytes, length) = message.encode();
        prop_assert!(Message::decode(&bytes[..length.saturating_sub(cut)]).is_err());
        prop_assert_eq!(Message::decode(&bytes[..length + cut]), Err(Wrong("length")));
    }

    #[test]
    fn what_is_understood_is_what_would_be_sent(bytes in prop::collection::vec(any::<u8>(), 0..MOST), kind in 0..70_u8) {
        let mut bytes = bytes;
        if let Some(header) = bytes.get_mut(..4) {
            header.copy_from_slice(&[1, 0, kind, 0]);
        }
        if let Ok(message) = Message::decode(&bytes) {
            let (again, length) = message.encode();
            prop_assert_eq!(&again[..length], &bytes[..]);
        }
    }
}

fn attached() -> Message {
    Message {
        fdid: 5,
        generation: 1,
        body: Body::Answer(
            Token(1),
            Answer::Attached(Limits {
                entries: 64,
                queues: 4,
                most: data::MOST,
                stride: Stride::of(0),
                abilities: Abilities(Abilities::ALL),
            }),
        ),
    }
}

fn create() -> Message {
    let pair = Pair::new(0x1000, 0x2000, 64, true).unwrap();
    Message {
        fdid: 5,
        generation: 1,
        body: Body::Request(Token(1), Request::CreateQueue(pair)),
    }
}

fn stopped() -> Message {
    Message {
        fdid: 5,
        generation: 1,
        body: Body::Event(Event::Stopped),
    }
}

/// What becomes of a message with these bytes at this place.
fn with(message: Message, at: usize, bytes: &[u8]) -> Result<Message, Wrong> {
    let (mut encoded, length) = message.encode();
    assert_eq!(Message::decode(&encoded[..length]), Ok(message));
    encoded[at..][..bytes.len()].copy_from_slice(bytes);
    Message::decode(&encoded[..length])
}

#[test]
fn each_field_is_checked() {
    let cases: &[(Message, usize, &[u8], &str)] = &[
        (create(), 0, &[2, 0], "version"),
        (create(), 2, &[0, 0], "token"),
        (stopped(), 2, &[0, 0], "kind"),
        (stopped(), 2, &[68, 0], "kind"),
        (stopped(), 8, &[0; 4], "generation"),
        (stopped(), 12, &[1], "token"),
        (create(), 8, &[0; 4], "generation"),
        (create(), 12, &[0; 4], "token"),
        (create(), HEADER, &[1], "address of a queue"),
        (create(), HEADER, &[0; 8], "address of a queue"),
        (create(), HEADER + 8, &[1], "address of a queue"),
        (create(), HEADER + 16, &[1, 0], "entries of a queue"),
        (create(), HEADER + 16, &[1, 4], "entries of a queue"),
        (create(), HEADER + 18, &[2, 0], "flag"),
        (attached(), HEADER, &[1, 0], "entries of a queue"),
        (attached(), HEADER + 2, &[0, 0], "number of queues"),
        (attached(), HEADER + 4, &[1], "bytes of a command"),
        (attached(), HEADER + 4, &[0; 4], "bytes of a command"),
        (attached(), HEADER + 6, &[3], "bytes of a command"),
        (attached(), HEADER + 8, &[16], "stride of doorbells"),
        (attached(), HEADER + 12, &[0x1f], "abilities"),
    ];
    for (message, at, bytes, field) in cases {
        assert_eq!(with(*message, *at, bytes), Err(Wrong(field)), "{at}");
    }
}

#[test]
fn each_controller_has_its_channel() {
    let fdids = [0x0004_0000, 0x0004_0001, 0x0008_0000, 0x0100_ffff];
    for (index, fdid) in fdids.iter().enumerate() {
        for other in &fdids[..index] {
            assert_ne!(channel(*fdid), channel(*other));
        }
    }
}
