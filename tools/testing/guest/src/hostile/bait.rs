// SPDX-License-Identifier: GPL-2.0
//! The victim's part against a hostile owner: a program that connects, maps, loads and stores whatever it is given.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use serde::Serialize;
use skiff::ConnectOptions;
use skiff::Context;
use skiff::Error;
use skiff::MapOptions;
use skiff::RemoteSegment;

use crate::random::Random;
use crate::share::probe;

const PAGE: u64 = 4096;

/// What a program may be told when its peer lies. No other errno is the peer's to choose.
const ERRORS: [&str; 11] = [
    "EACCES",
    "ECONNRESET",
    "EHOSTDOWN",
    "EINVAL",
    "ENOENT",
    "ENOLINK",
    "ENOMEM",
    "ENOSPC",
    "EPROTO",
    "ETIMEDOUT",
    "EOVERFLOW",
];

/// Between attempts while the peer greets.
const PAUSE: Duration = Duration::from_millis(20);

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What the program saw.
#[derive(Debug, Default, Serialize)]
pub struct Seen {
    /// Connections that were made.
    pub connected: u64,
    /// Maps that were made.
    pub mapped: u64,
    /// Pages that could be read and written.
    pub touched: u64,
    /// Pages that raised SIGBUS.
    pub refused: u64,
    /// Refusals by errno.
    pub errors: BTreeMap<String, u64>,
}

impl Seen {
    fn note(&mut self, error: &Error) -> Result<()> {
        let name = error.name();
        ensure!(
            ERRORS.contains(&name.as_str()),
            "{error}: {name} is not a peer's to choose"
        );
        *self.errors.entry(name).or_default() += 1;
        Ok(())
    }

    /// Maps pages of a segment and touches each.
    fn touch(&mut self, remote: &RemoteSegment, offset: u64, pages: u64) -> Result<()> {
        let options = MapOptions::new()
            .offset(offset)
            .len(usize::try_from(pages * PAGE)?);
        let map = match remote.map(&options) {
            Ok(map) => map,
            Err(error) => return self.note(&error),
        };
        self.mapped += 1;
        for at in (0..map.len()).step_by(PAGE as usize) {
            let place = map.as_ptr().wrapping_add(at).cast::<u32>();
            // SAFETY: The map is whole pages, may be read and written, and nobody else in this process uses it.
            let loaded = unsafe { probe::load(place) };
            // SAFETY: As above.
            let stored = unsafe { probe::store(place, 0xbad) };
            match (loaded, stored) {
                (Ok(_), Ok(())) => self.touched += 1,
                _ => self.refused += 1,
            }
        }
        Ok(())
    }
}

/// Uses segments of `node`, so many times.
pub fn run(node: u32, rounds: u64, random: &mut Random) -> Result<Seen> {
    probe::catch_bus_errors()?;
    let context = Context::open()?;
    let options = ConnectOptions::new().timeout(Duration::from_millis(250));
    let mut seen = Seen::default();
    let mut kept = Vec::new();
    let began = Instant::now();
    let mut round = 0;
    while round < rounds {
        if random.percent(10) {
            if let Err(error) = context.query(node, random.edgy() as u32, &options) {
                seen.note(&error)?;
            }
        }
        let remote = match context.connect(node, random.next() as u32, &options) {
            Ok(remote) => remote,
            Err(error) => {
                seen.note(&error)?;
                if matches!(error.name().as_str(), "EHOSTDOWN" | "ENOLINK") {
                    // Its session has ended, and it greets anew.
                    sleep(PAUSE);
                    ensure!(began.elapsed() < LIMIT, "round {round}: {error}");
                } else {
                    round += 1;
                }
                continue;
            }
        };
        round += 1;
        seen.connected += 1;
        let pages = remote.bytes().div_ceil(PAGE);
        let last = pages.saturating_sub(1).saturating_mul(PAGE);
        seen.touch(&remote, 0, pages.min(64))?;
        seen.touch(&remote, last, 1)?;
        seen.touch(&remote, 0, pages.min(1 << 20))?;
        while let Ok(Some(_)) = remote.next_event(Some(Duration::ZERO)) {}
        // Some are kept for a while: a lease that comes twice is then one that is held.
        if round % 3 == 0 {
            kept.push(remote);
            if kept.len() > 8 {
                kept.remove(0);
            }
        } else if let Err(error) = remote.disconnect() {
            seen.note(&error)?;
        }
    }
    Ok(seen)
}
