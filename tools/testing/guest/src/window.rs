// SPDX-License-Identifier: GPL-2.0
//! Loads, stores and checks through a window of the bridge.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use clap::Subcommand;
use serde::Serialize;

use crate::idt::Bridge;
use crate::idt::Window;
use crate::number;
use crate::pci::Mapping;

/// How long `hammer` leaves the other node alone when nobody answered.
const PAUSE: Duration = Duration::from_micros(50);

/// Reads that `hammer` makes at most for each right one.
const TRIES: u64 = 100;

/// Values that `hammer` saw.
#[derive(Debug, Default, Serialize)]
struct Hammered {
    /// Reads that gave the expected value.
    right: u64,
    /// Reads that gave all ones: nobody answered. Each was done again.
    all_ones: u64,
    /// Reads that gave anything else.
    wrong: u64,
    /// Duration of the whole in microseconds.
    micros: u128,
}

/// A place in a window.
#[derive(Clone, Copy, Debug, Args)]
pub struct Place {
    window: Window,
    #[arg(value_parser = number)]
    offset: u64,
}

/// A word in a window.
#[derive(Clone, Copy, Debug, Args)]
pub struct Spot {
    #[command(flatten)]
    place: Place,
    /// Bytes: 1, 2, 4 or 8.
    #[arg(long, default_value_t = 4)]
    width: u8,
}

/// A range of a window with the seed of what it holds.
#[derive(Clone, Copy, Debug, Args)]
pub struct Pattern {
    #[command(flatten)]
    place: Place,
    #[arg(value_parser = number)]
    length: u64,
    #[arg(value_parser = number)]
    seed: u64,
}

/// What to do through a window.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load a word.
    Load {
        #[command(flatten)]
        spot: Spot,
    },
    /// Store a word.
    Store {
        #[command(flatten)]
        spot: Spot,
        #[arg(value_parser = number)]
        value: u64,
    },
    /// Fill a range with the words of a seeded sequence.
    Fill {
        #[command(flatten)]
        pattern: Pattern,
    },
    /// Count the 64-bit words of a range that are as `fill` leaves them, all ones, or neither (JSON).
    Verify {
        #[command(flatten)]
        pattern: Pattern,
    },
    /// Read a 32-bit word until it was right `count` times (JSON). Reads of all ones are done again.
    Hammer {
        #[command(flatten)]
        place: Place,
        #[arg(value_parser = number)]
        expect: u64,
        count: u64,
    },
    /// Store the 32-bit words 0..count, one after the other, at one place.
    StoreMany {
        #[command(flatten)]
        place: Place,
        count: u32,
    },
}

/// The word that `fill` puts at byte `offset` of a range: splitmix64, so that neither a shift nor a swap goes unseen.
pub fn word(seed: u64, offset: u64) -> u64 {
    let mut z = seed.wrapping_add(offset.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Words of a range, sorted by what they hold.
#[derive(Debug, Default, Serialize)]
struct Verified {
    right: u64,
    all_ones: u64,
    wrong: u64,
}

/// Pushes posted stores to where they go: a read of the same target does not pass them (PCI Express, transaction ordering).
fn push(map: &Mapping, at: usize) -> Result<()> {
    map.read::<u32>(at & !3)?;
    Ok(())
}

impl Place {
    /// The window, and the offset as an index into it.
    fn open(self, bridge: &Bridge) -> Result<(Mapping, usize)> {
        Ok((bridge.map(self.window)?, usize::try_from(self.offset)?))
    }
}

impl Pattern {
    /// The window, and the index and content of each of its words.
    fn open(self, bridge: &Bridge) -> Result<(Mapping, impl Iterator<Item = (usize, u64)>)> {
        let (map, start) = self.place.open(bridge)?;
        let length = usize::try_from(self.length)?;
        let words = (0..length)
            .step_by(8)
            .map(move |at| (start + at, word(self.seed, at as u64)));
        Ok((map, words))
    }
}

fn load(map: &Mapping, at: usize, width: u8) -> Result<u64> {
    match width {
        1 => map.read::<u8>(at).map(u64::from),
        2 => map.read::<u16>(at).map(u64::from),
        4 => map.read::<u32>(at).map(u64::from),
        8 => map.read::<u64>(at),
        _ => anyhow::bail!("width is 1, 2, 4 or 8"),
    }
}

fn store(map: &Mapping, at: usize, width: u8, value: u64) -> Result<()> {
    match width {
        1 => map.write(at, u8::try_from(value)?),
        2 => map.write(at, u16::try_from(value)?),
        4 => map.write(at, u32::try_from(value)?),
        8 => map.write(at, value),
        _ => anyhow::bail!("width is 1, 2, 4 or 8"),
    }
}

fn verify(map: &Mapping, words: impl Iterator<Item = (usize, u64)>) -> Result<Verified> {
    let mut seen = Verified::default();
    for (at, expected) in words {
        match map.read::<u64>(at)? {
            value if value == expected => seen.right += 1,
            u64::MAX => seen.all_ones += 1,
            _ => seen.wrong += 1,
        }
    }
    Ok(seen)
}

fn hammer(map: &Mapping, at: usize, expect: u32, count: u64) -> Result<Hammered> {
    let mut seen = Hammered::default();
    let start = Instant::now();
    // More tries than wanted, and an end where nobody ever answers.
    for _ in 0..count.saturating_mul(TRIES) {
        match map.read::<u32>(at)? {
            value if value == expect => seen.right += 1,
            u32::MAX => {
                seen.all_ones += 1;
                // Where two nodes read from each other, each serves the other one only between its own reads.
                thread::sleep(PAUSE);
            }
            _ => seen.wrong += 1,
        }
        if seen.right == count {
            break;
        }
    }
    seen.micros = start.elapsed().as_micros();
    Ok(seen)
}

impl Command {
    /// Carries the command out.
    pub fn run(self, bridge: &Bridge) -> Result<()> {
        match self {
            Self::Load { spot } => {
                let (map, at) = spot.place.open(bridge)?;
                println!("{:#x}", load(&map, at, spot.width)?);
            }
            Self::Store { spot, value } => {
                let (map, at) = spot.place.open(bridge)?;
                store(&map, at, spot.width, value)?;
                push(&map, at)?;
            }
            Self::Fill { pattern } => {
                let (map, words) = pattern.open(bridge)?;
                for (at, word) in words {
                    map.write(at, word)?;
                }
                push(&map, usize::try_from(pattern.place.offset)?)?;
            }
            Self::Verify { pattern } => {
                let (map, words) = pattern.open(bridge)?;
                println!("{}", serde_json::to_string(&verify(&map, words)?)?);
            }
            Self::Hammer {
                place,
                expect,
                count,
            } => {
                let (map, at) = place.open(bridge)?;
                let seen = hammer(&map, at, u32::try_from(expect)?, count)?;
                println!("{}", serde_json::to_string(&seen)?);
            }
            Self::StoreMany { place, count } => {
                let (map, at) = place.open(bridge)?;
                for value in 0..count {
                    map.write(at, value)?;
                }
                push(&map, at)?;
            }
        }
        Ok(())
    }
}
