// SPDX-License-Identifier: GPL-2.0
//! Steps that drive a borrowed NVMe controller, its queues and data wherever a test wants them.
//!
//! # Locking
//! A controller and each of its lanes have a lock of their own, held for a whole transfer. Nobody takes two.

mod places;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::thread::JoinHandle;

use anyhow::anyhow;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use serde_json::json;
use serde_json::Value;
use skiff::Borrowed;
use skiff::DeviceMap;
use skiff::Hints;
use skiff::Mastering;
use skiff_nvme_model::command;
use skiff_nvme_model::command::Direction;
use skiff_nvme_model::completion;
use skiff_nvme_model::data::Pointers;
use skiff_nvme_model::identify;
use skiff_nvme_model::identify::Namespace;

use self::places::counters;
use self::places::map_remote;
use self::places::Kept;
use self::places::Place;
use self::places::Places;
use super::objects::Object;
use super::objects::Objects;
use crate::number;
use crate::nvme::serial;
use crate::nvme::Controller;
use crate::nvme::Extent;
use crate::nvme::Lane;
use crate::nvme::Line;
use crate::nvme::QueuePair;
use crate::nvme::Registers;
use crate::nvme::Wait;
use crate::nvme::PAGE;

/// Entries of an admin queue.
const ADMIN: usize = 16;

/// How a controller is to be driven.
#[derive(Debug, Args)]
pub struct How {
    name: String,
    device: String,
    /// I/O queue pairs.
    #[arg(long, default_value_t = 1)]
    queues: u16,
    /// Entries of an I/O queue.
    #[arg(long, default_value_t = 32)]
    entries: u16,
    /// Bytes of a command.
    #[arg(long, default_value = "0x4000", value_parser = number)]
    chunk: u64,
    /// Commands under way at a time.
    #[arg(long, default_value_t = 8)]
    depth: u16,
    /// Where submission queues are, and lists of pages.
    #[arg(long, default_value = "local")]
    submissions: Place,
    /// Where completion queues are.
    #[arg(long, default_value = "local")]
    completions: Place,
    /// Where data is.
    #[arg(long, default_value = "local")]
    data: Place,
    /// Wait for interrupts, a vector a queue.
    #[arg(long)]
    interrupts: bool,
}

/// To the disk, or from it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Way {
    /// To the disk.
    Write,
    /// From the disk.
    Read,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Write => Self::Write,
            Way::Read => Self::Read,
        }
    }
}

/// What an actor does with an NVMe controller.
#[derive(Debug, Subcommand)]
pub enum Step {
    /// Reset a borrowed controller and start it; tells what it is.
    Start(How),
    /// Write the bytes of a sequence, or read and compare them.
    Move {
        name: String,
        way: Way,
        /// Where on the disk.
        #[arg(value_parser = number)]
        from: u64,
        #[arg(value_parser = number)]
        bytes: u64,
        seed: u64,
        /// By which queue.
        #[arg(long, default_value_t = 1)]
        queue: usize,
    },
    /// Have on the disk what was written.
    Flush { name: String },
    /// Read or write at any address of the device; tells the status.
    Aim {
        name: String,
        way: Way,
        #[arg(value_parser = number)]
        from: u64,
        #[arg(value_parser = number)]
        bytes: u64,
        #[arg(value_parser = number)]
        address: u64,
    },
    /// Begin to read an extent over and over, by all queues, until it fails or `calm` comes. Each has done so once when
    /// this returns.
    Hammer {
        name: String,
        controller: String,
        #[arg(value_parser = number)]
        from: u64,
        #[arg(value_parser = number)]
        bytes: u64,
        seed: u64,
    },
    /// End that; tells what it saw.
    Calm { name: String },
    /// Stop a controller in order and give up its memory; tells the interrupts that came.
    Stop { name: String },
}

/// A controller that is driven, with all that it uses.
#[derive(Debug)]
pub struct Nvme {
    // In the order in which they have to go.
    lanes: Vec<Arc<Mutex<Lane>>>,
    controller: Mutex<Controller>,
    registers: Arc<Registers>,
    namespace: Namespace,
    maps: Vec<DeviceMap>,
    _kept: Vec<Kept>,
    device: Arc<Borrowed>,
}

/// Threads that read over and over.
#[derive(Debug)]
pub struct Hammer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What one of them saw.
#[derive(Debug, Default)]
struct Seen {
    commands: u64,
    wrong: u64,
    failed: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(objects: &Objects, how: &How) -> Result<(Nvme, identify::Controller)> {
    let device = objects.borrowed(&how.device)?;
    let bar = device.connect_bar(0)?;
    let registers = Arc::new(map_remote(&bar)?);
    let mut places = Places::new(objects, &device, Kept::Remote(Arc::new(bar)));
    let mut waits: Vec<Wait> = if how.interrupts {
        let counters = counters(&device, u32::from(how.queues) + 1)?;
        counters.into_iter().map(Wait::Interrupt).collect()
    } else {
        (0..=how.queues).map(|_| Wait::Poll).collect()
    };
    waits.reverse();
    let mut wait = || waits.pop().context("no vector is left");
    let commands = Hints::new().host_writes().device_reads();
    let answers = Hints::new().device_writes().host_reads();
    let both = commands.host_reads().device_writes();
    let mut pair = |places: &mut Places<'_>, id: u16, entries: usize| -> Result<QueuePair> {
        let bytes = [entries * command::ENTRY, entries * completion::ENTRY];
        let submission = places.take(&how.submissions, bytes[0], commands)?;
        let completion = places.take(&how.completions, bytes[1], answers)?;
        QueuePair::new(
            id,
            submission.part(0, bytes[0])?,
            completion.part(0, bytes[1])?,
            wait()?,
        )
    };
    device.bus_master(Mastering::On)?;
    let admin = pair(&mut places, 0, ADMIN)?;
    let line = if how.interrupts {
        Line::Unused
    } else {
        Line::Masked
    };
    let mut controller = Controller::start(registers, admin, line)?;
    let page = places.take(&how.data, PAGE, both)?;
    let identity = controller.identify(&page)?;
    let namespace = controller.identify_namespace(1, &page)?;
    controller.set_queues(how.queues)?;
    let chunk = usize::try_from(how.chunk)?;
    let depth = usize::from(how.depth);
    let mut lanes = Vec::new();
    for id in 1..=how.queues {
        let queue = pair(&mut places, id, how.entries.into())?;
        controller.create(&queue, how.interrupts.then_some(id))?;
        let lists = places.take(&how.submissions, depth * PAGE, commands)?;
        let data = places.take(&how.data, depth * chunk, both)?;
        let lane = Lane::new(queue, data, lists, chunk)?;
        lanes.push(Arc::new(Mutex::new(lane)));
    }
    let registers = Arc::clone(controller.registers());
    let (maps, kept) = places.into_parts();
    let nvme = Nvme {
        lanes,
        controller: Mutex::new(controller),
        registers,
        namespace,
        maps,
        _kept: kept,
        device,
    };
    Ok((nvme, identity))
}

impl Nvme {
    fn lane(&self, queue: usize) -> Result<&Arc<Mutex<Lane>>> {
        let lane = queue.checked_sub(1).and_then(|index| self.lanes.get(index));
        lane.with_context(|| format!("there is no queue {queue}"))
    }

    /// Ends it in order; gives the interrupts that were waited for, of the admin queue first.
    fn stop(&self) -> Result<Vec<u64>> {
        let mut controller = lock(&self.controller);
        let mut interrupts = Vec::new();
        for lane in &self.lanes {
            let lane = lock(lane);
            controller.delete(lane.queue())?;
            interrupts.push(lane.queue().interrupts());
        }
        interrupts.insert(0, controller.interrupts());
        controller.stop()?;
        self.device.bus_master(Mastering::Off)?;
        for map in &self.maps {
            self.device.unmap(*map)?;
        }
        Ok(interrupts)
    }
}

fn hammer(nvme: &Nvme, extent: Extent) -> Hammer {
    let stop = Arc::new(AtomicBool::new(false));
    let (under_way, goes_on) = mpsc::channel::<()>();
    let threads = nvme.lanes.iter().map(|lane| {
        let (lane, stop) = (Arc::clone(lane), Arc::clone(&stop));
        let (registers, namespace) = (Arc::clone(&nvme.registers), nvme.namespace);
        let mut under_way = Some(under_way.clone());
        thread::spawn(move || {
            let mut lane = lock(&lane);
            let mut seen = Seen::default();
            // One round at least: who stops at once wants to know whether reads go well.
            loop {
                match lane.transfer(&registers, namespace, Direction::Read, extent) {
                    Ok(moved) => {
                        seen.commands += moved.commands;
                        seen.wrong += moved.wrong;
                    }
                    Err(cause) => {
                        seen.failed = Some(format!("{cause:#}"));
                        return seen;
                    }
                }
                under_way.take();
                if stop.load(Ordering::Relaxed) {
                    return seen;
                }
            }
        })
    });
    let threads = threads.collect();
    drop(under_way);
    // Nothing is ever sent: this ends when all threads have dropped their ends.
    let _ = goes_on.recv();
    Hammer { stop, threads }
}

impl Hammer {
    fn calm(self) -> Result<Value> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for thread in self.threads {
            let seen = thread.join().map_err(|_| anyhow!("the thread panicked"))?;
            all.commands += seen.commands;
            all.wrong += seen.wrong;
            all.failed = all.failed.or(seen.failed);
        }
        Ok(json!({ "commands": all.commands, "wrong": all.wrong, "failed": all.failed }))
    }
}

impl Step {
    /// Does it.
    pub fn run(self, objects: &Objects) -> Result<Value> {
        match self {
            Self::Start(how) => {
                let (nvme, identity) = start(objects, &how)?;
                let told = json!({
                    "serial": serial(&identity),
                    "blocks": nvme.namespace.blocks(),
                    "block": nvme.namespace.block(),
                    "version": nvme.registers.version()?,
                });
                objects.put(&how.name, Object::Nvme(Arc::new(nvme)))?;
                Ok(told)
            }
            Self::Move {
                name,
                way,
                from,
                bytes,
                seed,
                queue,
            } => {
                let nvme = objects.nvme(&name)?;
                let extent = Extent { from, bytes, seed };
                let mut lane = lock(nvme.lane(queue)?);
                let moved = lane.transfer(&nvme.registers, nvme.namespace, way.into(), extent)?;
                Ok(json!(moved))
            }
            Self::Flush { name } => {
                let nvme = objects.nvme(&name)?;
                lock(nvme.lane(1)?).flush(&nvme.registers, nvme.namespace)?;
                Ok(Value::Null)
            }
            Self::Aim {
                name,
                way,
                from,
                bytes,
                address,
            } => {
                let nvme = objects.nvme(&name)?;
                let data = Pointers::one(address);
                ensure!(bytes <= PAGE as u64, "a page at most");
                let mut lane = lock(nvme.lane(1)?);
                let (way, registers) = (way.into(), &nvme.registers);
                let status = lane.aim(registers, nvme.namespace, way, from, data, bytes)?;
                // Without what it says of trying again.
                Ok(json!(status.0 & 0x7ff))
            }
            Self::Hammer {
                name,
                controller,
                from,
                bytes,
                seed,
            } => {
                let nvme = objects.nvme(&controller)?;
                let hammer = hammer(&nvme, Extent { from, bytes, seed });
                objects.put(&name, Object::Hammer(hammer))
            }
            Self::Calm { name } => match objects.take(&name)? {
                Object::Hammer(hammer) => hammer.calm(),
                _ => Err(anyhow!("{name} does not hammer")),
            },
            Self::Stop { name } => {
                let interrupts = objects.nvme(&name)?.stop()?;
                objects.forget(&name)?;
                Ok(json!(interrupts))
            }
        }
    }
}
