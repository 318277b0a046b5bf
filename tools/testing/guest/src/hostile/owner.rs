// SPDX-License-Identifier: GPL-2.0
//! A hostile owner: it has every segment that anybody asks for, and says so in every wrong way.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use skiff_model::addr::BusAddr;
use skiff_model::addr::Extent;
use skiff_model::ids::LeaseId;
use skiff_model::ids::RequestId;
use skiff_model::ids::SegmentId;
use skiff_model::ids::Uid;
use skiff_model::ntb::WindowClass;
use skiff_model::wire::ConnectReply;
use skiff_model::wire::Extents;
use skiff_model::wire::Found;
use skiff_model::wire::Grant;
use skiff_model::wire::Message;
use skiff_model::wire::NoticeKind;
use skiff_model::wire::Refused;
use skiff_model::wire::Status;

use super::forge;
use super::inbox::MEMORY;
use super::inbox::SEGMENTS;
use super::inbox::SEGMENTS_BYTES;
use super::victim::Victim;
use super::victim::Victims;
use crate::random::Random;

const PAGE: u64 = 4096;

/// What the owner did.
#[derive(Debug, Default, Serialize)]
pub struct Lies {
    /// Requests that came.
    pub asked: u64,
    /// What was answered how often, by name.
    pub each: BTreeMap<String, u64>,
    /// Sessions that ended.
    pub ends: u32,
}

/// A lie about a segment.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Nothing is said.
    Silence,
    /// All is right, and leads to memory that there is.
    Truth,
    /// One range that is as long as the segment: as long as can be.
    Endless,
    /// The ranges are at the end of all addresses.
    AtTheEnd,
    /// The ranges are longer or shorter than the segment.
    Length,
    /// Each page in another slot.
    Scattered,
    /// More ranges are to come, and never do.
    Unfinished,
    /// More ranges come, in the wrong order, or too many.
    Disorder,
    /// The same lease as before.
    SameLease,
    /// The right answer twice.
    Twice,
    /// The answer to another question.
    WrongKind,
    /// Granted, and taken away at once.
    Fleeting,
    /// All is right, but for that it is to be reached as if it were registers.
    Registers,
    /// Refused for any reason.
    Refusal,
    /// The answer cannot be decoded: the session ends.
    Undecodable,
}

impl Lie {
    const ALL: [Self; 15] = [
        Self::Silence,
        Self::Truth,
        Self::Endless,
        Self::AtTheEnd,
        Self::Length,
        Self::Scattered,
        Self::Unfinished,
        Self::Disorder,
        Self::SameLease,
        Self::Twice,
        Self::WrongKind,
        Self::Fleeting,
        Self::Registers,
        Self::Refusal,
        Self::Undecodable,
    ];
}

/// A range that is known to be one.
fn range(bus: u64, pages: u64) -> Option<Extent> {
    Extent::new(BusAddr::new(bus), pages.checked_mul(PAGE)?).ok()
}

/// A place in memory that is the attacker's own.
fn somewhere(random: &mut Random) -> u64 {
    MEMORY + SEGMENTS as u64 + PAGE * random.below(SEGMENTS_BYTES as u64 / PAGE - 2)
}

fn granted(request: RequestId, lease: u32, bytes: u64, total: u32, first: &[Extent]) -> Message {
    Message::ConnectReply(ConnectReply {
        request,
        granted: Ok(Grant {
            lease: LeaseId::new(lease),
            class: WindowClass::Memory,
            bytes,
            total,
            first: Extents::of_reply(first.iter().copied()),
        }),
    })
}

fn refused(random: &mut Random) -> Option<Refused> {
    Refused::new(random.pick(&[
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
    ]))
}

/// What to say to a request to connect.
fn answers(lie: Lie, random: &mut Random, request: RequestId, lease: u32) -> Vec<Message> {
    let truth = |random: &mut Random, lease| {
        let first: Vec<Extent> = range(somewhere(random), 2).into_iter().collect();
        granted(request, lease, 2 * PAGE - 3, 1, &first)
    };
    match lie {
        Lie::Silence | Lie::Undecodable => Vec::new(),
        Lie::Truth => vec![truth(random, lease)],
        Lie::Endless => {
            let pages = random.pick(&[1 << 51, (1 << 52) - 2, 1 << 40, 1 << 30]);
            let first: Vec<Extent> = range(PAGE, pages).into_iter().collect();
            let bytes = pages * PAGE - random.below(PAGE);
            vec![granted(request, lease, bytes, 1, &first)]
        }
        Lie::AtTheEnd => {
            let pages = 1 + random.below(64);
            let bus = (u64::MAX - PAGE * pages) & !0xfff;
            let first: Vec<Extent> = range(bus, pages).into_iter().collect();
            vec![granted(request, lease, pages * PAGE, 1, &first)]
        }
        Lie::Length => {
            let first: Vec<Extent> = (0..3).map(|_| forge::extent(random)).collect();
            vec![granted(request, lease, random.edgy().max(1), 3, &first)]
        }
        Lie::Scattered => {
            let first: Vec<Extent> = (0..64)
                .filter_map(|slot| range((slot << 26) + PAGE * random.below(1 << 14), 1))
                .collect();
            let Some((reply, rest)) = first.split_at_checked(12) else {
                return Vec::new();
            };
            let mut all = vec![granted(request, lease, 64 * PAGE, 64, reply)];
            let mut told = Extents::of_reply(reply.iter().copied()).len();
            // Whatever the reply had no room for comes first.
            for piece in first[told..reply.len()].chunks(1).chain(rest.chunks(8)) {
                all.push(Message::Extents {
                    request,
                    first: told as u32,
                    extents: Extents::of_message(piece.iter().copied()),
                });
                told += piece.len();
            }
            all
        }
        Lie::Unfinished => {
            let first: Vec<Extent> = range(somewhere(random), 1).into_iter().collect();
            let total = 2 + random.below(1 << 17) as u32;
            vec![granted(
                request,
                lease,
                u64::from(total) * PAGE,
                total,
                &first,
            )]
        }
        Lie::Disorder => {
            let first: Vec<Extent> = range(somewhere(random), 1).into_iter().collect();
            let mut all = vec![granted(request, lease, 8 * PAGE, 8, &first)];
            for _ in 0..random.below(20) {
                let pieces = 1 + random.below(8);
                all.push(Message::Extents {
                    request,
                    first: random.below(10) as u32,
                    extents: Extents::of_message((0..pieces).map(|_| forge::extent(random))),
                });
            }
            all
        }
        Lie::SameLease => vec![truth(random, 1)],
        Lie::Twice => {
            let one = truth(random, lease);
            vec![one, one, truth(random, lease.wrapping_add(1 << 20))]
        }
        Lie::WrongKind => {
            let found = Ok(Found {
                segment: SegmentId::new(1),
                uid: Uid::new(0),
                mode: 0o777,
                bytes: u64::MAX,
            });
            vec![Message::QueryReply { request, found }]
        }
        Lie::Fleeting => {
            let lease_id = LeaseId::new(lease);
            vec![
                truth(random, lease),
                Message::Notice {
                    lease: lease_id,
                    kind: NoticeKind::Removed,
                },
                Message::ResumeReply {
                    lease: lease_id,
                    status: random.pick(&[Status::Ok, Status::NoEntry, Status::Busy]),
                },
                Message::Revoke { lease: lease_id },
                Message::Revoke { lease: lease_id },
            ]
        }
        Lie::Registers => {
            let mut reply = truth(random, lease);
            if let Message::ConnectReply(ConnectReply {
                granted: Ok(grant), ..
            }) = &mut reply
            {
                grant.class = WindowClass::Registers;
            }
            vec![reply]
        }
        Lie::Refusal => refused(random)
            .map(|refused| {
                Message::ConnectReply(ConnectReply {
                    request,
                    granted: Err(refused),
                })
            })
            .into_iter()
            .collect(),
    }
}

/// What to say to a search.
fn found(random: &mut Random, request: RequestId, from: SegmentId) -> Message {
    let any = random.next() as u32;
    let found = Found {
        // Also below what was asked for.
        segment: SegmentId::new(random.pick(&[from.get(), 0, u32::MAX, any])),
        uid: Uid::new(random.edgy() as u32),
        mode: random.next() as u32 & 0o777,
        bytes: random.edgy().max(1),
    };
    Message::QueryReply {
        request,
        found: refused(random)
            .filter(|_| random.percent(20))
            .map_or(Ok(found), Err),
    }
}

/// Says all of it, waiting for room no longer than the victim may take to read.
fn say(victims: &mut Victims<'_>, index: usize, messages: &[Message]) -> Result<()> {
    for message in messages {
        let limit = Instant::now() + Duration::from_secs(5);
        while !victims.all[index].say(message) {
            if Instant::now() > limit || !victims.all[index].is_up() {
                return Ok(());
            }
            victims.all[index].room();
            sleep(Duration::from_micros(200));
        }
    }
    victims.all[index].ring()
}

/// Answers whoever asks, until `stop` exists.
pub fn serve(victims: &mut Victims<'_>, random: &mut Random, stop: &Path) -> Result<Lies> {
    let mut lies = Lies::default();
    let mut lease = 1;
    while !stop.exists() {
        victims.turn()?;
        for index in 0..victims.all.len() {
            while let Some(message) = victims.all[index].heard.pop_front() {
                let all = match message {
                    Message::ConnectRequest { request, .. } => {
                        lease += 1;
                        // In turn: each of them is to be met.
                        let lie = Lie::ALL[lies.asked as usize % Lie::ALL.len()];
                        lies.asked += 1;
                        *lies.each.entry(format!("{lie:?}")).or_default() += 1;
                        if matches!(lie, Lie::Undecodable) {
                            undecodable(&mut victims.all[index], random, request)?;
                        }
                        answers(lie, random, request, lease)
                    }
                    Message::QueryRequest { request, from, .. } => {
                        lies.asked += 1;
                        vec![found(random, request, from)]
                    }
                    Message::Resume { lease } => vec![Message::ResumeReply {
                        lease,
                        status: random.pick(&[Status::Ok, Status::NoEntry, Status::Unsupported]),
                    }],
                    _ => continue,
                };
                say(victims, index, &all)?;
            }
        }
        sleep(Duration::from_micros(500));
    }
    lies.ends = victims.all.iter().map(|victim| victim.downs).sum();
    Ok(lies)
}

/// A grant whose ranges overflow, are misaligned or empty, or more than there may be.
fn undecodable(victim: &mut Victim<'_>, random: &mut Random, request: RequestId) -> Result<()> {
    // Offsets in a ConnectReply: header 16, then request, status, lease, 0, bytes, total, 0, ranges.
    const TOTAL: usize = 40;
    const BUS: usize = 48;
    const BYTES: usize = 56;
    let Some(session) = victim.session() else {
        return Ok(());
    };
    let seq = victim.seq();
    let first: Vec<Extent> = range(somewhere(random), 1).into_iter().collect();
    let (mut entry, _) = granted(request, 9, PAGE, 1, &first).encode(Some(session), seq);
    let (at, value) = random.pick(&[
        (BUS, u64::MAX),
        (BUS, u64::MAX - 4095),
        (BUS, 1),
        (BYTES, 0),
        (BYTES, u64::MAX),
        (BYTES, 4095),
        (TOTAL, 0),
        (TOTAL, 0xffff_ffff),
    ]);
    entry[at..at + 8].copy_from_slice(&value.to_le_bytes());
    victim.forge(entry);
    victim.ring()
}
