// SPDX-License-Identifier: GPL-2.0
//! Random calls on /dev/skiff that know what its arguments are made of, by several threads on the same objects.
//!
//! What is looked at: every error is one that the header documents for that command, every command succeeds now and
//! then (else the test tests nothing), and when all is closed the node holds what it held before. The rest is for the
//! debug kernel to find. Every node has a device to lend, QEMU's edu, whose interrupts are raised as well; its DMA is
//! not, for no IOMMU keeps it from any address. A seed gives each thread the same sequence again; their interleaving it does not.

mod lending;
mod tally;
mod values;
mod world;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use clap::Args;

use self::lending::Lending;
use self::tally::Tally;
use self::world::World;
use crate::abi::objects::Held;
use crate::abi::raw;
use crate::ktap::Report;
use crate::number;
use crate::random::Random;

/// How long the node may take to hold what it held before: the other node fuzzes too, and has to let go.
const SETTLE: Duration = Duration::from_secs(60);

/// How much longer than asked for it may go on until every command has succeeded once: nodes can be slow.
const EXTRA: Duration = Duration::from_secs(150);

/// What to do.
#[derive(Debug, Args)]
pub struct Options {
    /// The function of this node that may be lent: an edu.
    #[arg(long)]
    lend: String,
    /// Start of the sequence.
    #[arg(long, value_parser = number)]
    seed: u64,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Threads that share all objects.
    #[arg(long, default_value_t = 3)]
    threads: u64,
}

/// Runs the whole (KTAP).
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::start();
    println!("# seed {:#x}, {} threads", options.seed, options.threads);
    let context = raw::open()?;
    let lending = Lending::new(&context, &options.lend)?;
    // The other node may be at work already.
    let before = Held::now(&context)?.without_devices();
    let world = World::new(&context, lending.function())?;
    let tally = Tally::default();
    let failed = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|thread| {
                let (world, tally, failed) = (&world, &tally, &failed);
                let mut random = Random::new(options.seed.wrapping_add(thread));
                scope.spawn(move || {
                    let mut steps = 0_u64;
                    let goes_on = || {
                        let now = Instant::now();
                        now < end || (now < end + EXTRA && tally.all_succeeded().is_err())
                    };
                    while goes_on() && !failed.load(Ordering::Relaxed) {
                        steps += 1;
                        world
                            .step(&mut random, tally)
                            .with_context(|| format!("thread {thread}, step {steps}"))
                            .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
            })
            .collect()
    });
    for line in tally.lines() {
        println!("# {line}");
    }
    report.test("fuzz: every error is one that the header documents", || {
        results.into_iter().collect()
    });
    report.test("fuzz: every command succeeds now and then", || {
        tally.all_succeeded()
    });
    drop(world);
    report.test("fuzz: what was lent can be taken back", || lending.end());
    report.test(
        "fuzz: with all closed the node holds what it held before",
        || before.same_within(&context, SETTLE),
    );
    report.finish()
}
