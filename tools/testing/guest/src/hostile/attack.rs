// SPDX-License-Identifier: GPL-2.0
//! The attacks by message: talk, junk, breaches of a session, boot words.
//!
//! Each says how much it did, and holds the victims to what the model makes of it: a session that must go on goes on, one that
//! must end ends, and its victim greets anew.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Serialize;
use skiff_model::ids::Generation;
use skiff_model::ids::SessionId;
use skiff_model::ring::Outbox;
use skiff_model::ring::Place;
use skiff_model::ring::Word;
use skiff_model::ring::ENTRIES;
use skiff_model::wire::Boot;
use skiff_model::wire::Entry;
use skiff_model::wire::Message;
use skiff_model::wire::Nonce;

use super::forge;
use super::forge::Judgement;
use super::forge::Known;
use super::port::Port;
use super::victim::Manners;
use super::victim::Victim;
use super::victim::Victims;
use crate::random::Random;

/// How long a victim may take to see that a session is over, or to be up again.
const LIMIT: Duration = Duration::from_secs(60);

/// While nothing can be done.
const PAUSE: Duration = Duration::from_micros(100);

/// What an attack did.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    /// Messages, or words.
    pub sent: u64,
    /// Times that a victim came up.
    pub ups: u32,
    /// Sessions that ended.
    pub ends: u32,
    /// Messages that the victims have said.
    pub heard: u64,
    /// Leases that were granted.
    pub leases: u64,
    /// What was done how often, by name.
    pub each: BTreeMap<String, u64>,
}

impl Done {
    fn count(&mut self, what: &str) {
        *self.each.entry(what.to_owned()).or_default() += 1;
    }

    fn sum(&mut self, victims: &Victims<'_>) {
        self.ups = victims.all.iter().map(|victim| victim.ups).sum();
        self.ends = victims.all.iter().map(|victim| victim.downs).sum();
    }
}

/// Learns from what a victim has said.
fn learn(victim: &mut Victim<'_>, known: &mut Known, done: &mut Done) {
    while let Some(message) = victim.heard.pop_front() {
        done.heard += 1;
        match message {
            Message::ConnectReply(reply) => {
                if let Ok(grant) = reply.granted {
                    done.leases += 1;
                    if known.leases.len() < 4096 {
                        known.leases.push(grant.lease.get());
                    }
                }
            }
            Message::BorrowReply {
                granted: Ok(borrow),
                ..
            } if known.borrows.len() < 4096 => known.borrows.push(borrow.get()),
            Message::Offer(info) if known.devices.len() < 256 => {
                known.devices.push(u32::from(info.index.get()));
            }
            Message::ConnectRequest { request, .. }
            | Message::QueryRequest { request, .. }
            | Message::BorrowRequest { request, .. }
            | Message::DeviceRequest { request, .. } => {
                if known.requests.len() < 256 {
                    known.requests.push(request.get());
                }
            }
            _ => {}
        }
    }
}

/// An entry that a victim takes: of any kind, with what it knows and what it does not, some changed where it may be.
fn entry(
    random: &mut Random,
    known: &Known,
    session: SessionId,
    seq: u32,
) -> (Entry, &'static str) {
    let message = forge::message(random, known);
    let (honest, _) = message.encode(Some(session), seq);
    if random.percent(60) {
        return (honest, forge::name(&message));
    }
    let mut changed = honest;
    for _ in 0..=random.below(2) {
        forge::mutate(random, &mut changed);
    }
    match forge::judge(&changed, session, seq) {
        Judgement::Stays => (changed, "changed"),
        Judgement::Ends => (honest, forge::name(&message)),
    }
}

/// Messages of every kind that can be decoded and mean nothing good, as fast as the victims take them. `segments` are ids that
/// exist there. Now and then nobody reads what the victims answer.
pub fn talk(
    victims: &mut Victims<'_>,
    random: &mut Random,
    count: u64,
    segments: &[u32],
) -> Result<Done> {
    let mut done = Done::default();
    let mut known = Known {
        segments: segments.to_vec(),
        ..Known::default()
    };
    victims.up()?;
    let mut deaf = false;
    while done.sent < count {
        if random.percent(1) {
            deaf = !deaf;
        }
        if deaf {
            victims.deaf()?;
        } else {
            victims.turn()?;
        }
        let mut idle = true;
        for victim in &mut victims.all {
            learn(victim, &mut known, &mut done);
            let Some(session) = victim.session() else {
                continue;
            };
            let room = victim.room();
            for _ in 0..room {
                let (entry, name) = entry(random, &known, session, victim.seq());
                if victim.forge(entry) {
                    done.sent += 1;
                    done.count(name);
                }
            }
            if room > 0 {
                idle = false;
                victim.ring()?;
            }
        }
        if idle {
            sleep(PAUSE);
        }
    }
    // All of it is read.
    victims.until(LIMIT, "the last messages are read", |all| {
        all.iter_mut()
            .all(|victim| !victim.is_up() || victim.unread() == 0)
    })?;
    for victim in &mut victims.all {
        learn(victim, &mut known, &mut done);
    }
    done.sum(victims);
    Ok(done)
}

/// Anything at all while the victims greet: noise, messages of no session, hellos about everybody, indices of any value.
pub fn junk(victims: &mut Victims<'_>, random: &mut Random, count: u64) -> Result<Done> {
    let mut done = Done::default();
    let known = Known::default();
    for victim in &mut victims.all {
        victim.manners = Manners::Mute;
        victim.restart();
    }
    let mut index = random.next() as u32;
    while done.sent < count {
        victims.until(LIMIT, "boot words", |all| {
            all.iter().any(|victim| victim.far().is_some())
        })?;
        for victim in &mut victims.all {
            let Some(far) = victim.far() else { continue };
            for _ in 0..random.below(u64::from(ENTRIES)) {
                let echo = random.percent(5).then(|| victim.told()).flatten();
                let entry = match random.below(3) {
                    0 => forge::noise(random),
                    1 => {
                        let message = forge::hello(random, victim.nonce, echo);
                        message.encode(None, index).0
                    }
                    _ => {
                        let session = SessionId::new(random.next() as u32);
                        let mut entry = forge::message(random, &known).encode(session, index).0;
                        forge::mutate(random, &mut entry);
                        entry
                    }
                };
                far.put(Place::of(index), &entry);
                index = index.wrapping_add(1);
                done.sent += 1;
            }
            let shown = if random.percent(90) {
                index
            } else {
                random.edgy() as u32
            };
            far.store(Word::WriteIndex, shown);
            far.store(Word::ReadIndex, random.edgy() as u32);
            far.store(Word::Beat, random.next() as u32);
            victim.ring()?;
        }
        victims.turn()?;
        sleep(PAUSE);
    }
    for victim in &mut victims.all {
        victim.manners = Manners::Polite;
        victim.restart();
    }
    victims.up().context("after the junk")?;
    done.sum(victims);
    Ok(done)
}

/// Ways to end a session.
#[derive(Clone, Copy, Debug)]
enum Breach {
    Noise,
    Changed,
    OutOfRange,
    Sequence,
    Session,
    Replay,
    WriteIndexAhead,
    WriteIndexBehind,
    ReadIndex,
    HelloOfAnother,
    Boot,
    BootNowhere,
    Goodbye,
}

impl Breach {
    const ALL: [Self; 13] = [
        Self::Noise,
        Self::Changed,
        Self::OutOfRange,
        Self::Sequence,
        Self::Session,
        Self::Replay,
        Self::WriteIndexAhead,
        Self::WriteIndexBehind,
        Self::ReadIndex,
        Self::HelloOfAnother,
        Self::Boot,
        Self::BootNowhere,
        Self::Goodbye,
    ];

    /// Does it to an up victim that has read everything.
    fn commit(self, port: &Port, victim: &mut Victim<'_>, random: &mut Random) -> Result<()> {
        let session = victim.session().context("it is not up")?;
        let far = victim.far().context("it is not up")?;
        let seq = victim.seq();
        let known = Known::default();
        let honest = |random: &mut Random, seq| {
            let message = forge::message(random, &known);
            message.encode(Some(session), seq).0
        };
        let entry = match self {
            Self::Noise => forge::noise(random),
            Self::Changed => loop {
                let mut entry = honest(random, seq);
                forge::mutate(random, &mut entry);
                if forge::judge(&entry, session, seq) == Judgement::Ends {
                    break entry;
                }
            },
            Self::OutOfRange => forge::out_of_range(random, session, seq),
            Self::Sequence => {
                let wrong = seq.wrapping_add(1 + random.below(u64::from(u32::MAX)) as u32);
                honest(random, wrong)
            }
            Self::Session => {
                let other = SessionId::new(session.get() ^ (1 << random.below(32)));
                forge::message(random, &known).encode(other, seq).0
            }
            Self::Replay => {
                let former = seq.wrapping_sub(1 + random.below(64) as u32);
                honest(random, former)
            }
            Self::HelloOfAnother => {
                let start = forge::hello(random, victim.nonce, Some(victim.own_session()));
                start.encode(None, seq).0
            }
            Self::Goodbye => Message::Goodbye.encode(Some(session), seq).0,
            Self::WriteIndexAhead => {
                let ahead = ENTRIES + 1 + random.below(1 << 31) as u32;
                far.store(Word::WriteIndex, seq.wrapping_add(ahead));
                return victim.ring();
            }
            Self::WriteIndexBehind => {
                far.store(
                    Word::WriteIndex,
                    seq.wrapping_sub(1 + random.below(1 << 31) as u32),
                );
                return victim.ring();
            }
            Self::ReadIndex => {
                // An honest index must not follow before this one was seen.
                victim.reports = false;
                far.store(Word::ReadIndex, random.next() as u32);
                return victim.ring();
            }
            Self::Boot | Self::BootNowhere => {
                let frame = match (self, victim.frame()) {
                    (Self::Boot, frame) => frame,
                    // Far above all memory of this node.
                    _ => (1 << 30) + random.below(1 << 47),
                };
                let nonce = Nonce::of(victim.nonce.get().wrapping_add(5));
                let boot = Boot::new(frame, nonce).context("the frame has too many bits")?;
                for word in boot.words() {
                    while !port.send_word(victim.number, word)? {
                        sleep(PAUSE);
                    }
                }
                return Ok(());
            }
        };
        ensure!(victim.forge(entry), "there is no room");
        victim.ring()
    }
}

/// Ends sessions, in every way, `rounds` times each.
pub fn breach(
    port: &Port,
    victims: &mut Victims<'_>,
    random: &mut Random,
    rounds: u64,
) -> Result<Done> {
    let mut done = Done::default();
    for round in 0..rounds {
        for first in 0..Breach::ALL.len() {
            victims.up()?;
            victims.until(LIMIT, "all is read", |all| {
                all.iter_mut().all(|victim| victim.unread() == 0)
            })?;
            let before: Vec<u32> = victims.all.iter().map(|victim| victim.downs).collect();
            let mut names = Vec::new();
            for (index, victim) in victims.all.iter_mut().enumerate() {
                let breach = Breach::ALL[(first + index) % Breach::ALL.len()];
                breach.commit(port, victim, random)?;
                done.sent += 1;
                let name = format!("{breach:?}");
                done.count(&name);
                names.push(name);
            }
            let what = format!("round {round}: {names:?} end the sessions");
            victims.until(LIMIT, &what, |all| {
                all.iter()
                    .zip(&before)
                    .all(|(victim, before)| victim.downs != *before)
            })?;
        }
    }
    victims.up()?;
    done.sum(victims);
    Ok(done)
}

/// Words that tell of inboxes everywhere, and words that tell of nothing.
pub fn words(
    port: &Port,
    victims: &mut Victims<'_>,
    random: &mut Random,
    count: u64,
) -> Result<Done> {
    let mut done = Done::default();
    victims.up()?;
    while done.sent < count {
        for victim in &victims.all {
            let words = if random.percent(70) {
                let frame = (1 << 30) + random.below(1 << 47);
                let nonce = Nonce::of(random.next() as u8);
                Boot::new(frame, nonce).map(Boot::words)
            } else {
                // A low half of the own memory never meets its high half.
                Some([
                    random.next() as u32 | (1 << 29),
                    random.next() as u32 | (1 << 31),
                ])
            };
            for word in words.into_iter().flatten() {
                done.sent += u64::from(port.send_word(victim.number, word)?);
            }
        }
        if random.percent(10) {
            sleep(PAUSE);
        }
        // Their words come in the meantime.
        while port.take_word()?.is_some() {}
    }
    for victim in &mut victims.all {
        victim.restart();
    }
    victims.up().context("after the words")?;
    done.sum(victims);
    Ok(done)
}

/// Says goodbye as soon as it is up, and is somebody else each time.
pub fn lives(victims: &mut Victims<'_>, random: &mut Random, count: u64) -> Result<Done> {
    let mut done = Done::default();
    while done.sent < count {
        victims.up()?;
        for victim in &mut victims.all {
            let generation = Generation::new(random.next() | 1).context("it is odd")?;
            victim.say(&Message::Goodbye);
            victim.ring()?;
            victim.reborn(generation, random.next() as u32);
            done.sent += 1;
        }
    }
    victims.up()?;
    done.sum(victims);
    Ok(done)
}
