// SPDX-License-Identifier: GPL-2.0
//! Block devices of this node: verified random I/O, and how fast they are. Everything goes past the page cache.

mod block;
mod measure;
mod plan;
mod ring;
mod single;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use clap::Args;
use clap::Subcommand;

use crate::number;

/// What to do with a block device.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write every block of a region, then read and write at random and verify what is read.
    ///
    /// Ends at the first error, when all that was under way has come back. The order depends on nothing but the seed:
    /// `check` finds out what each block must hold from the number of operations.
    Work(work::Work),
    /// Read every block of a region after `work` and verify it.
    Check(work::Check),
    /// Operations per second and latencies.
    Measure(measure::Measure),
    /// One operation, of the kind that is named.
    Do(single::Single),
}

impl Command {
    /// Does it; prints JSON.
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Work(work) => work.run(),
            Self::Check(check) => check.run(),
            Self::Measure(measure) => measure.run(),
            Self::Do(single) => single.run(),
        }
    }
}

/// A region of a block device, and how it is reached.
#[derive(Debug, Args)]
struct Region {
    /// The device, or a file.
    path: PathBuf,
    /// Where the region begins.
    #[arg(long, value_parser = number, default_value_t = 0)]
    from: u64,
    /// How long it is.
    #[arg(long, value_parser = number)]
    bytes: u64,
    /// Operations under way at a time.
    #[arg(long, default_value_t = 8)]
    depth: u32,
    /// Poll for completions; the device must have queues for that.
    #[arg(long)]
    polled: bool,
    /// Seconds without any completion that count as a hang.
    #[arg(long, default_value_t = 60)]
    limit: u64,
}

impl Region {
    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }

    /// How many pieces of a size it has.
    fn pieces(&self, bytes: u64) -> Result<u64> {
        ensure!(
            self.from % bytes == 0 && self.bytes % bytes == 0 && self.bytes > 0,
            "a region begins and ends at multiples of {bytes} bytes"
        );
        Ok(self.bytes / bytes)
    }
}
