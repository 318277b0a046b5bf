// SPDX-License-Identifier: GPL-2.0
//! Entries that no honest node writes: messages of every kind with fields of any value, and then with anything changed.
//!
//! [`judge`] says by the model's own decoder what a victim has to make of an entry, so that it can be held to that.

use skiff_model::addr::BusAddr;
use skiff_model::addr::Extent;
use skiff_model::addr::EXTENTS_MAX;
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
use skiff_model::ntb::SLOTS_MAX;
use skiff_model::wire::Access;
use skiff_model::wire::ClientBytes;
use skiff_model::wire::ConnectReply;
use skiff_model::wire::Entry;
use skiff_model::wire::Extents;
use skiff_model::wire::Found;
use skiff_model::wire::Grant;
use skiff_model::wire::Hello;
use skiff_model::wire::Incoming;
use skiff_model::wire::Message;
use skiff_model::wire::Nonce;
use skiff_model::wire::NoticeKind;
use skiff_model::wire::Phase;
use skiff_model::wire::Refused;
use skiff_model::wire::Space;
use skiff_model::wire::Status;
use skiff_model::wire::CLIENT_BYTES;
use skiff_model::wire::ENTRY_BYTES;
use skiff_model::wire::EXTENTS_A_MESSAGE;
use skiff_model::wire::HEADER_BYTES;
use skiff_model::wire::MODE_BITS;

use crate::random::Random;

mod lend;

pub use lend::out_of_range;

/// Kinds of messages about segments and slots, and of clients.
const KINDS: u64 = 17;

/// Channels of our own clients: of skiff_nvme, and of skiff_kapi.
const CHANNELS: [u32; 2] = [0x4e56_4d45, 0x4b41_5049];

/// Ids that the victim may know: those that it has told, and neighbours.
#[derive(Debug, Default)]
pub struct Known {
    /// Segments that can be connected to, and that cannot.
    pub segments: Vec<u32>,
    /// Leases that were granted to this node.
    pub leases: Vec<u32>,
    /// Requests that the victim has made.
    pub requests: Vec<u32>,
    /// Devices of its pool, by index.
    pub devices: Vec<u32>,
    /// Borrows that were granted to this node.
    pub borrows: Vec<u32>,
}

/// What becomes of the session of a victim that reads an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It goes on.
    Stays,
    /// It ends.
    Ends,
}

/// What an up victim makes of an entry that is its `seq`th, where its session is `session`.
pub fn judge(entry: &Entry, session: SessionId, seq: u32) -> Judgement {
    match Message::decode(entry) {
        Ok(Incoming {
            message: Message::Hello(_) | Message::Goodbye,
            ..
        }) => Judgement::Ends,
        Ok(incoming) if incoming.seq == seq && incoming.session == Some(session) => {
            Judgement::Stays
        }
        _ => Judgement::Ends,
    }
}

/// What a message is called in reports.
pub fn name(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "Hello",
        Message::Goodbye => "Goodbye",
        Message::ConnectRequest { .. } => "ConnectRequest",
        Message::ConnectReply(_) => "ConnectReply",
        Message::Extents { .. } => "Extents",
        Message::Disconnect { .. } => "Disconnect",
        Message::QueryRequest { .. } => "QueryRequest",
        Message::QueryReply { .. } => "QueryReply",
        Message::Revoke { .. } => "Revoke",
        Message::RevokeDone { .. } => "RevokeDone",
        Message::Notice { .. } => "Notice",
        Message::Resume { .. } => "Resume",
        Message::ResumeReply { .. } => "ResumeReply",
        Message::ResumeEnd => "ResumeEnd",
        Message::SlotSet { .. } => "SlotSet",
        Message::SlotClear { .. } => "SlotClear",
        Message::SlotDone { .. } => "SlotDone",
        Message::Offer(_) => "Offer",
        Message::Withdraw { .. } => "Withdraw",
        Message::BorrowRequest { .. } => "BorrowRequest",
        Message::BorrowReply { .. } => "BorrowReply",
        Message::DeviceRequest { .. } => "DeviceRequest",
        Message::DeviceReply { .. } => "DeviceReply",
        Message::Ended { .. } => "Ended",
        Message::SharerGone { .. } => "SharerGone",
        Message::GivenUp { .. } => "GivenUp",
        Message::Interrupt { .. } => "Interrupt",
        Message::ClientMessage { .. } => "ClientMessage",
        Message::ClientRefused { .. } => "ClientRefused",
    }
}

/// Any 32 bits, often those of something that exists.
fn id(random: &mut Random, known: &[u32]) -> u32 {
    // CAST: Bits are wanted here and below, not the number.
    match random.below(4) {
        0 | 1 if !known.is_empty() => random.pick(known),
        2 => random.below(64) as u32,
        _ => random.edgy() as u32,
    }
}

fn status(random: &mut Random) -> Status {
    random.pick(&[
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

/// A range that the wire format allows: anywhere, of any length.
pub fn extent(random: &mut Random) -> Extent {
    loop {
        let bus = BusAddr::new(random.edgy() & !0xfff);
        let bytes = match random.below(3) {
            0 => 4096,
            1 => 4096 * random.below(1 << 20),
            _ => random.edgy() & !0xfff,
        };
        if let Ok(extent) = Extent::new(bus, bytes) {
            return extent;
        }
    }
}

fn extents(random: &mut Random) -> Vec<Extent> {
    (0..=random.below(EXTENTS_A_MESSAGE as u64))
        .map(|_| extent(random))
        .collect()
}

fn reply(random: &mut Random, known: &Known) -> ConnectReply {
    let request = RequestId::new(id(random, &known.requests));
    if let Some(refused) = Refused::new(status(random)) {
        return ConnectReply {
            request,
            granted: Err(refused),
        };
    }
    let first = Extents::of_reply(extents(random));
    // CAST: There are few.
    let least = first.len() as u32;
    ConnectReply {
        request,
        granted: Ok(Grant {
            lease: LeaseId::new(id(random, &known.leases)),
            class: random.pick(&[WindowClass::Memory, WindowClass::Registers]),
            bytes: random.edgy().max(1),
            total: least + random.below(u64::from(EXTENTS_MAX - least)) as u32,
            first,
        }),
    }
}

/// Any channel, often one that somebody may have open.
fn channel(random: &mut Random) -> ChannelId {
    ChannelId::new(id(random, &CHANNELS))
}

fn client_bytes(random: &mut Random) -> ClientBytes {
    let mut bytes = [0; CLIENT_BYTES];
    let length = random.index(CLIENT_BYTES + 1);
    for byte in &mut bytes[..length] {
        *byte = random.next() as u8;
    }
    ClientBytes::new(&bytes[..length]).expect("there are not too many")
}

/// A message that can be decoded, of any kind but hello and goodbye.
pub fn message(random: &mut Random, known: &Known) -> Message {
    let lease = LeaseId::new(id(random, &known.leases));
    let request = RequestId::new(id(random, &known.requests));
    let slot = random.below(u64::from(SLOTS_MAX)) as u8;
    let uid = Uid::new(id(random, &[0, 1000, 65534]));
    let gid = Gid::new(id(random, &[0, 1000, 65534]));
    match random.below(KINDS + lend::KINDS) {
        0 => Message::ConnectRequest {
            request,
            segment: SegmentId::new(id(random, &known.segments)),
            uid,
            gid,
            access: random.pick(&[Access::ReadWrite, Access::ReadOnly]),
            space: random.pick(&[Space::Programs, Space::Kernels]),
        },
        1 => Message::ConnectReply(reply(random, known)),
        2 => {
            let extents = Extents::of_message(extents(random));
            // CAST: There are few.
            let most = EXTENTS_MAX - extents.len() as u32;
            Message::Extents {
                request,
                first: random.below(u64::from(most)) as u32,
                extents,
            }
        }
        3 => Message::Disconnect { lease },
        4 => Message::QueryRequest {
            request,
            from: SegmentId::new(id(random, &known.segments)),
            uid,
            gid,
        },
        5 => Message::QueryReply {
            request,
            found: match Refused::new(status(random)) {
                Some(refused) => Err(refused),
                None => Ok(Found {
                    segment: SegmentId::new(random.edgy() as u32),
                    uid,
                    mode: random.next() as u32 & MODE_BITS,
                    bytes: random.edgy().max(1),
                }),
            },
        },
        6 => Message::Revoke { lease },
        7 => Message::RevokeDone { lease },
        8 => Message::Notice {
            lease,
            kind: random.pick(&[NoticeKind::Unavailable, NoticeKind::Removed]),
        },
        9 => Message::Resume { lease },
        10 => Message::ResumeReply {
            lease,
            status: status(random),
        },
        11 => Message::ResumeEnd,
        12 => Message::SlotSet {
            slot,
            bus: BusAddr::new(random.edgy()),
            mode: random.pick(&[CacheMode::Wc, CacheMode::Uc]),
        },
        13 => Message::SlotClear { slot },
        14 => Message::SlotDone {
            slot,
            status: status(random),
        },
        15 => Message::ClientMessage {
            channel: channel(random),
            bytes: client_bytes(random),
        },
        16 => Message::ClientRefused {
            channel: channel(random),
        },
        _ => lend::message(random, known),
    }
}

/// A hello about anybody, from attempt `nonce`, that answers `echo` now and then.
pub fn hello(random: &mut Random, nonce: Nonce, echo: Option<SessionId>) -> Message {
    let generation = Generation::new(random.next() | 1).expect("it is odd");
    let version_min = random.below(3) as u16;
    Message::Hello(Hello {
        version_min,
        version_max: version_min + random.below(3) as u16,
        generation,
        session: SessionId::new(random.next() as u32 | 1).expect("it is odd"),
        echo: if random.percent(50) { echo } else { None },
        node: NodeId::new(random.below(64) as u32).expect("it is below 64"),
        adapter: AdapterId::new(random.below(4) as u8).expect("it is below 4"),
        nonce: if random.percent(80) {
            nonce
        } else {
            Nonce::of(random.next() as u8)
        },
        phase: random.pick(&[Phase::Greeting, Phase::Up]),
        start: random.edgy() as u32,
    })
}

/// Nothing but random bytes.
pub fn noise(random: &mut Random) -> Entry {
    let mut entry = [0; ENTRY_BYTES];
    for bytes in entry.chunks_exact_mut(8) {
        bytes.copy_from_slice(&random.next().to_le_bytes());
    }
    entry
}

/// Changes something: a bit, a field, a byte of the header.
pub fn mutate(random: &mut Random, entry: &mut Entry) {
    // Most of what a message has is at its beginning.
    let reach = if random.percent(80) { 80 } else { ENTRY_BYTES };
    match random.below(5) {
        0 => entry[random.index(reach)] ^= 1 << random.below(8),
        1 => {
            let at = random.index(reach / 4) * 4;
            entry[at..at + 4].copy_from_slice(&(random.edgy() as u32).to_le_bytes());
        }
        2 => {
            let at = random.index(reach / 8) * 8;
            entry[at..at + 8].copy_from_slice(&random.edgy().to_le_bytes());
        }
        // Kind and length are the second half of the header.
        3 => entry[8 + random.index(4)] = random.next() as u8,
        _ => entry[random.index(HEADER_BYTES)] = random.next() as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_one_that_a_victim_takes() {
        let mut random = Random::new(1);
        let known = Known::default();
        let session = SessionId::new(7).unwrap();
        let mut kinds = std::collections::BTreeSet::new();
        for seq in 0..10_000 {
            let message = message(&mut random, &known);
            kinds.insert(message.kind());
            let (entry, _) = message.encode(Some(session), seq);
            assert_eq!(judge(&entry, session, seq), Judgement::Stays, "{message:?}");
        }
        assert_eq!(kinds.len() as u64, KINDS + lend::KINDS);
    }

    #[test]
    fn changes_are_of_both_kinds() {
        let mut random = Random::new(2);
        let known = Known::default();
        let session = SessionId::new(7).unwrap();
        let mut ends = 0;
        for seq in 0..1000 {
            let (mut entry, _) = message(&mut random, &known).encode(Some(session), seq);
            mutate(&mut random, &mut entry);
            ends += u32::from(judge(&entry, session, seq) == Judgement::Ends);
        }
        assert!((100..900).contains(&ends), "{ends}");
    }
}
