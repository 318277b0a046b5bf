// SPDX-License-Identifier: GPL-2.0
//! Verified random I/O.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use clap::Args;
use nix::errno::Errno;
use serde::Serialize;

use super::block::Stamp;
use super::block::Tally;
use super::block::BLOCK;
use super::plan::Operation;
use super::plan::Plan;
use super::ring::Ring;
use super::ring::Way;
use super::Region;
use crate::number;
use crate::random::Random;

/// `disk work`.
#[derive(Debug, Args)]
pub struct Work {
    #[command(flatten)]
    region: Region,
    /// Marks the blocks, and makes the order.
    #[arg(long, value_parser = number)]
    seed: u64,
    /// Operations after every block was written.
    #[arg(long, value_parser = number, default_value_t = 0)]
    operations: u64,
    /// Go on so long, in place of a number of operations.
    #[arg(long)]
    seconds: Option<u64>,
    /// Look busy for up to so many microseconds, at random, before each look for completions: what the device does meanwhile
    /// ends sooner or later than the next operation begins.
    #[arg(long, default_value_t = 0)]
    pause: u64,
}

/// `disk check`.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    region: Region,
    /// The one that `work` had.
    #[arg(long, value_parser = number)]
    seed: u64,
    /// What `work` told.
    #[arg(long, value_parser = number)]
    operations: u64,
}

/// What became of it.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Operations that were begun, those that failed among them.
    operations: u64,
    reads: u64,
    writes: u64,
    /// Operations that failed.
    errors: u64,
    /// How the first of them failed.
    errno: Option<String>,
    /// Blocks that were read.
    blocks: Tally,
    seconds: f64,
}

impl Outcome {
    fn failed(&mut self, errno: Errno) {
        self.errors += 1;
        self.errno.get_or_insert_with(|| format!("{errno:?}"));
    }

    fn print(mut self, started: Instant) -> Result<()> {
        self.seconds = started.elapsed().as_secs_f64();
        println!("{}", serde_json::to_string(&self)?);
        Ok(())
    }
}

/// Operations under way.
struct Desk {
    ring: Ring,
    seed: u64,
    /// Number of the region's first block on the device.
    first: u64,
    slots: Vec<Option<Operation>>,
    /// Which blocks of the region are under way.
    taken: Vec<bool>,
    outcome: Outcome,
    /// Microseconds of a pause, at most.
    pause: u64,
    pauses: Random,
}

impl Desk {
    fn new(region: &Region, seed: u64, pause: u64) -> Result<Self> {
        let blocks = usize::try_from(region.pieces(BLOCK as u64)?)?;
        let ring = Ring::open(
            &region.path,
            region.depth,
            BLOCK,
            region.polled,
            region.limit(),
        )?;
        Ok(Self {
            slots: vec![None; ring.depth()],
            ring,
            seed,
            first: region.from / BLOCK as u64,
            taken: vec![false; blocks],
            outcome: Outcome::default(),
            pause,
            pauses: Random::new(seed),
        })
    }

    fn stamp(&self, operation: Operation) -> Stamp {
        Stamp {
            seed: self.seed,
            block: self.first + operation.block as u64,
            generation: operation.generation,
        }
    }

    /// Begins an operation as soon as there is a slot and nobody else has the block; not after an error.
    fn start(&mut self, operation: Operation) -> Result<()> {
        let slot = loop {
            if self.outcome.errors > 0 {
                return Ok(());
            }
            let free = self.slots.iter().position(Option::is_none);
            match free.filter(|_| !self.taken[operation.block]) {
                Some(slot) => break slot,
                None => self.wait()?,
            }
        };
        let stamp = self.stamp(operation);
        let buffer = self.ring.buffer(slot);
        let way = if operation.write {
            stamp.fill(buffer);
            Way::Write
        } else {
            // What is not read must not look as if it had been.
            buffer.fill(0xa5);
            Way::Read
        };
        self.ring.start(slot, way, stamp.block * BLOCK as u64)?;
        self.slots[slot] = Some(operation);
        self.taken[operation.block] = true;
        self.outcome.operations += 1;
        Ok(())
    }

    /// Waits until something is over, and looks at it.
    fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_micros(self.pauses.below(self.pause));
        while self.pause > 0 && Instant::now() < end {
            std::hint::spin_loop();
        }
        for done in self.ring.wait()? {
            let Some(operation) = self.slots[done.slot].take() else {
                anyhow::bail!("slot {} was not under way", done.slot);
            };
            self.taken[operation.block] = false;
            match done.result {
                Err(errno) => self.outcome.failed(errno),
                Ok(()) if operation.write => self.outcome.writes += 1,
                Ok(()) => {
                    let stamp = self.stamp(operation);
                    let found = stamp.judge(self.ring.buffer(done.slot));
                    self.outcome.reads += 1;
                    self.outcome.blocks.add(stamp.block, found);
                }
            }
        }
        Ok(())
    }

    /// Waits for the rest.
    fn finish(mut self) -> Result<Outcome> {
        while self.ring.under_way() > 0 {
            self.wait()?;
        }
        if self.outcome.errors == 0 && self.outcome.writes > 0 {
            self.ring.flush()?;
        }
        Ok(self.outcome)
    }
}

impl Work {
    /// See [`super::Command::Work`].
    pub fn run(&self) -> Result<()> {
        let started = Instant::now();
        let mut desk = Desk::new(&self.region, self.seed, self.pause)?;
        let blocks = desk.taken.len();
        let mut plan = Plan::new(self.seed, blocks);
        let least = blocks as u64;
        let most = match self.seconds {
            Some(_) => u64::MAX,
            None => least + self.operations,
        };
        let end = self.seconds.map(Duration::from_secs);
        for done in 0..most {
            if desk.outcome.errors > 0 {
                break;
            }
            if done >= least && end.is_some_and(|end| started.elapsed() >= end) {
                break;
            }
            desk.start(plan.next())?;
        }
        desk.finish()?.print(started)
    }
}

impl Check {
    /// See [`super::Command::Check`].
    pub fn run(&self) -> Result<()> {
        let started = Instant::now();
        let mut desk = Desk::new(&self.region, self.seed, 0)?;
        let blocks = desk.taken.len();
        ensure!(
            self.operations >= blocks as u64,
            "{} operations do not even write {blocks} blocks",
            self.operations
        );
        let generations = Plan::after(self.seed, blocks, self.operations);
        for (block, generation) in generations.into_iter().enumerate() {
            desk.start(Operation {
                block,
                generation,
                write: false,
            })?;
        }
        desk.finish()?.print(started)
    }
}
