// SPDX-License-Identifier: GPL-2.0
//! How fast a block device is.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::Args;
use clap::ValueEnum;
use serde_json::json;

use super::ring::Ring;
use super::ring::Way;
use super::Region;
use crate::number;
use crate::random::Random;

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pattern {
    RandomRead,
    RandomWrite,
    Read,
    Write,
}

/// `disk measure`.
#[derive(Debug, Args)]
pub struct Measure {
    #[command(flatten)]
    region: Region,
    #[arg(long, value_enum)]
    pattern: Pattern,
    /// Bytes of an operation.
    #[arg(long, value_parser = number, default_value_t = 4096)]
    size: u64,
    /// Begin as many as go at a time together, and no other before all of them are done.
    #[arg(long)]
    batched: bool,
    /// How long.
    #[arg(long, default_value_t = 1000)]
    milliseconds: u64,
    /// Operations that there must be even if that takes longer.
    #[arg(long, default_value_t = 1)]
    least: usize,
}

/// Ticks that the processors of this node worked, and all that there were.
fn ticks() -> Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    ensure!(fields.len() == 8, "/proc/stat says {line:?}");
    let all = fields.iter().sum::<u64>();
    // Idle, and waiting for I/O.
    Ok((all - fields[3] - fields[4], all))
}

fn micros(nanos: u128) -> f64 {
    nanos as f64 / 1e3
}

impl Measure {
    /// Prints the number of operations, the groups in which they were found done, how long they took all in all and each by itself, and the busy part of this node's
    /// processors.
    pub fn run(&self) -> Result<()> {
        let region = &self.region;
        let pieces = region.pieces(self.size)?;
        let mut ring = Ring::open(
            &region.path,
            region.depth,
            usize::try_from(self.size)?,
            region.polled,
            region.limit(),
        )?;
        let (way, random) = match self.pattern {
            Pattern::RandomRead => (Way::Read, true),
            Pattern::RandomWrite => (Way::Write, true),
            Pattern::Read => (Way::Read, false),
            Pattern::Write => (Way::Write, false),
        };
        for slot in 0..ring.depth() {
            ring.buffer(slot).fill(0x5a);
        }
        let mut numbers = Random::new(self.size ^ pieces);
        let mut sequence = 0..;
        let mut next = || {
            let piece = if random {
                numbers.below(pieces)
            } else {
                sequence.next().unwrap_or(0) % pieces
            };
            region.from + piece * self.size
        };
        let limit = Duration::from_millis(self.milliseconds);
        let mut begun = vec![Instant::now(); ring.depth()];
        let mut taken: Vec<u128> = Vec::with_capacity(1 << 18);
        let mut groups = 0_u64;
        let before = ticks()?;
        let started = Instant::now();
        for (slot, begun) in begun.iter_mut().enumerate() {
            *begun = Instant::now();
            ring.start(slot, way, next())?;
        }
        loop {
            let done = ring.wait()?;
            let now = Instant::now();
            groups += u64::from(!done.is_empty());
            for found in &done {
                found.result?;
                taken.push(now.duration_since(begun[found.slot]).as_nanos());
            }
            if self.batched && ring.under_way() > 0 {
                continue;
            }
            if now.duration_since(started) >= limit && taken.len() >= self.least {
                break;
            }
            if self.batched {
                for (slot, begun) in begun.iter_mut().enumerate() {
                    *begun = Instant::now();
                    ring.start(slot, way, next())?;
                }
                continue;
            }
            for found in &done {
                begun[found.slot] = now;
                ring.start(found.slot, way, next())?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let after = ticks()?;
        drop(ring);
        taken.sort_unstable();
        let at = |part: f64| {
            // CAST: Below the number of samples.
            let index = (taken.len() as f64 * part) as usize;
            micros(taken[index.min(taken.len() - 1)])
        };
        let sum: u128 = taken.iter().sum();
        let busy = (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
        println!(
            "{}",
            json!({
                "operations": taken.len(),
                "groups": groups,
                "seconds": seconds,
                "mean_us": micros(sum) / taken.len() as f64,
                "median_us": at(0.5),
                "p99_us": at(0.99),
                "busy": busy,
            })
        );
        Ok(())
    }
}
