// SPDX-License-Identifier: GPL-2.0
//! Measurements that run inside one node. Every figure is a list of samples; the host takes medians and ratios.

mod share;

use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use crate::idt::Bridge;
use crate::idt::Target;
use crate::idt::Window;
use crate::number;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copies of `size` bytes RAM to RAM, RAM to window and window to RAM, interleaved.
    Copy {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(value_parser = number)]
        size: u64,
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Single 32-bit loads and stores through a window.
    Access {
        window: Window,
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(long, default_value_t = 1000)]
        count: u32,
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Re-programmings of a slot, each towards another address than before.
    Reprogram {
        window: Window,
        index: u32,
        partition: u8,
        #[arg(value_parser = number)]
        first: u64,
        #[arg(value_parser = number)]
        second: u64,
        #[arg(long, default_value_t = 100)]
        count: u32,
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Doorbell round trips with a node that runs the same command as `--echo`; both poll their status register.
    Doorbell {
        /// Bit that wakes the other node.
        ring: u32,
        /// Bit that wakes this node.
        wait: u32,
        #[arg(long)]
        echo: bool,
        #[arg(long, default_value_t = 500)]
        count: u32,
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Maps of skiff.ko against the bare window.
    #[command(subcommand)]
    Share(share::Command),
}

/// Nanoseconds that one of `count` repetitions of `body` takes.
fn time(count: u32, mut body: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        body()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(count))
}

/// Seconds that a doorbell may stay away before the other node counts as gone.
const DOORBELL_LIMIT_SECONDS: u64 = 20;

fn wait_for(bridge: &Bridge, bit: u32) -> Result<()> {
    let start = Instant::now();
    while bridge.doorbells()? & (1 << bit) == 0 {
        ensure!(
            start.elapsed().as_secs() < DOORBELL_LIMIT_SECONDS,
            "doorbell {bit} did not come"
        );
    }
    bridge.clear_doorbells(1 << bit)
}

impl Command {
    /// Measures and prints one JSON object.
    pub fn run(self, bridge: impl FnOnce() -> Result<Bridge>) -> Result<()> {
        match self {
            Self::Share(command) => command.run(bridge),
            Self::Copy {
                window,
                offset,
                size,
                rounds,
            } => copy(&bridge()?, window, offset, size, rounds),
            Self::Access {
                window,
                offset,
                count,
                rounds,
            } => {
                let map = bridge()?.map(window)?;
                let at = usize::try_from(offset)?;
                let (mut loads, mut stores) = (Vec::new(), Vec::new());
                for _ in 0..rounds {
                    loads.push(time(count, || map.read::<u32>(at).map(drop))?);
                    stores.push(time(count, || map.write(at, 0_u32))?);
                }
                println!("{}", json!({ "load_ns": loads, "store_ns": stores }));
                Ok(())
            }
            Self::Reprogram {
                window,
                index,
                partition,
                first,
                second,
                count,
                rounds,
            } => {
                let (bridge, mut samples) = (bridge()?, Vec::new());
                for _ in 0..rounds {
                    let mut to = [first, second].into_iter().cycle();
                    samples.push(time(count, || {
                        let target = to.next().map(|address| Target { partition, address });
                        bridge.set_slot(window, index, target)
                    })?);
                }
                println!("{}", json!({ "slot_ns": samples }));
                Ok(())
            }
            Self::Doorbell {
                ring,
                wait,
                echo,
                count,
                rounds,
            } => {
                ensure!(ring < 32 && wait < 32, "a doorbell is a bit of 32");
                let (bridge, mut samples) = (bridge()?, Vec::new());
                for _ in 0..rounds {
                    samples.push(time(count, || {
                        if echo {
                            wait_for(&bridge, wait)?;
                        }
                        bridge.ring(1 << ring)?;
                        if !echo {
                            wait_for(&bridge, wait)?;
                        }
                        Ok(())
                    })?);
                }
                println!("{}", json!({ "round_trip_ns": samples }));
                Ok(())
            }
        }
    }
}

fn copy(bridge: &Bridge, window: Window, offset: u64, size: u64, rounds: u32) -> Result<()> {
    let map = bridge.map(window)?;
    let (offset, size) = (usize::try_from(offset)?, usize::try_from(size)?);
    ensure!(
        offset
            .checked_add(size)
            .is_some_and(|end| end <= map.size()),
        "range outside the window"
    );
    let mut from = vec![0x5a_u8; size];
    let mut to = vec![0_u8; size];
    // Enough copies a sample that the clock's grain does not show.
    let count = u32::try_from((32_usize << 20).div_ceil(size).min(20_000))?;
    let far = map.as_ptr().wrapping_add(offset);
    let near = to.as_mut_ptr();
    let source = from.as_mut_ptr();
    let transfer = |from: *const u8, to: *mut u8| {
        // SAFETY: Each pointer is the start of `size` bytes that are mapped and live through this function: two vectors
        // that only this closure touches while it runs, and a range of the window checked above. Any pair differs.
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::hint::black_box(from),
                std::hint::black_box(to),
                size,
            )
        };
        Ok(())
    };
    // Touch every page once: neither page faults nor first-use costs belong to a copy.
    transfer(source, near)?;
    transfer(source, far)?;
    transfer(far, near)?;
    let (mut local, mut store, mut load) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        local.push(time(count, || transfer(source, near))?);
        store.push(time(count, || transfer(source, far))?);
        load.push(time(count, || transfer(far, near))?);
    }
    println!(
        "{}",
        json!({ "size": size, "local_ns": local, "store_ns": store, "load_ns": load })
    );
    Ok(())
}
