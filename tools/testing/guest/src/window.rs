// SPDX-License-Identifier: GPL-2.0
//! Loads, stores and checks through a window of the bridge.

use std::time::Duration;

use anyhow::Result;
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

/// What to do through a window.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load a word.
    Load {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        /// Bytes: 1, 2, 4 or 8.
        #[arg(long, default_value_t = 4)]
        width: u8,
    },
    /// Store a word.
    Store {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(value_parser = number)]
        value: u64,
        /// Bytes: 1, 2, 4 or 8.
        #[arg(long, default_value_t = 4)]
        width: u8,
    },
    /// Fill a range with the words of a seeded sequence.
    Fill {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(value_parser = number)]
        length: u64,
        #[arg(value_parser = number)]
        seed: u64,
    },
    /// Count the 64-bit words of a range that are as `fill` leaves them, all ones, or neither (JSON).
    Verify {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(value_parser = number)]
        length: u64,
        #[arg(value_parser = number)]
        seed: u64,
    },
    /// Read a 32-bit word until it was right `count` times (JSON). Reads of all ones are done again.
    Hammer {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(value_parser = number)]
        expect: u64,
        count: u64,
    },
    /// Store the 32-bit words 0..count, one after the other, at one place.
    StoreMany {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        count: u32,
    },
}

/// The word that `fill` puts at byte `offset` of a range: splitmix64, so that neither a shift nor a swap goes unseen.
fn pattern(seed: u64, offset: u64) -> u64 {
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
fn push(map: &Mapping, offset: u64) -> Result<()> {
    map.read::<u32>(usize::try_from(offset)?)?;
    Ok(())
}

impl Command {
    /// Carries the command out.
    pub fn run(self, bridge: &Bridge) -> Result<()> {
        match self {
            Self::Load {
                window,
                offset,
                width,
            } => {
                let map = bridge.map(window)?;
                let at = usize::try_from(offset)?;
                let value = match width {
                    1 => u64::from(map.read::<u8>(at)?),
                    2 => u64::from(map.read::<u16>(at)?),
                    4 => u64::from(map.read::<u32>(at)?),
                    8 => map.read::<u64>(at)?,
                    _ => anyhow::bail!("width is 1, 2, 4 or 8"),
                };
                println!("{value:#x}");
            }
            Self::Store {
                window,
                offset,
                value,
                width,
            } => {
                let map = bridge.map(window)?;
                let at = usize::try_from(offset)?;
                match width {
                    1 => map.write(at, u8::try_from(value)?)?,
                    2 => map.write(at, u16::try_from(value)?)?,
                    4 => map.write(at, u32::try_from(value)?)?,
                    8 => map.write(at, value)?,
                    _ => anyhow::bail!("width is 1, 2, 4 or 8"),
                }
                push(&map, offset & !7)?;
            }
            Self::Fill {
                window,
                offset,
                length,
                seed,
            } => {
                let map = bridge.map(window)?;
                for at in (0..length).step_by(8) {
                    map.write(usize::try_from(offset + at)?, pattern(seed, at))?;
                }
                push(&map, offset)?;
            }
            Self::Verify {
                window,
                offset,
                length,
                seed,
            } => {
                let map = bridge.map(window)?;
                let mut seen = Verified::default();
                for at in (0..length).step_by(8) {
                    match map.read::<u64>(usize::try_from(offset + at)?)? {
                        value if value == pattern(seed, at) => seen.right += 1,
                        u64::MAX => seen.all_ones += 1,
                        _ => seen.wrong += 1,
                    }
                }
                println!("{}", serde_json::to_string(&seen)?);
            }
            Self::Hammer {
                window,
                offset,
                expect,
                count,
            } => {
                let map = bridge.map(window)?;
                let at = usize::try_from(offset)?;
                let expect = u32::try_from(expect)?;
                let mut seen = Hammered::default();
                let start = std::time::Instant::now();
                // More tries than wanted, and an end where nobody ever answers.
                for _ in 0..count.saturating_mul(TRIES) {
                    match map.read::<u32>(at)? {
                        value if value == expect => seen.right += 1,
                        u32::MAX => {
                            seen.all_ones += 1;
                            // Where two nodes read from each other, each serves the other one only between its own reads.
                            std::thread::sleep(PAUSE);
                        }
                        _ => seen.wrong += 1,
                    }
                    if seen.right == count {
                        break;
                    }
                }
                seen.micros = start.elapsed().as_micros();
                println!("{}", serde_json::to_string(&seen)?);
            }
            Self::StoreMany {
                window,
                offset,
                count,
            } => {
                let map = bridge.map(window)?;
                let at = usize::try_from(offset)?;
                for value in 0..count {
                    map.write(at, value)?;
                }
                push(&map, offset & !7)?;
            }
        }
        Ok(())
    }
}
