// SPDX-License-Identifier: GPL-2.0
//! A hostile node: without skiff.ko it drives the bridge through sysfs, and speaks the wire protocol of rust/model.
//!
//! It greets its victims as an honest node does, so that they take it for a peer, and misbehaves then. A seed gives the same
//! attack again, as far as the victims' timing allows. Each attack prints one JSON object.

mod aim;
mod attack;
mod bait;
mod forge;
mod inbox;
mod owner;
mod port;
mod victim;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use anyhow::Result;
use clap::Args;
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use skiff_model::ids;
use skiff_model::ids::AdapterId;
use skiff_model::ids::Generation;
use skiff_model::ids::NodeId;
use skiff_model::session::Local;

use self::port::Port;
use self::victim::Victim;
use self::victim::Victims;
use crate::number;
use crate::random::Random;

/// How to attack.
#[derive(Debug, Args)]
pub struct Options {
    /// Start of the sequence.
    #[arg(long, default_value_t = 1, value_parser = number)]
    seed: u64,
    /// Ports of the victims.
    #[arg(long, value_delimiter = ',')]
    victims: Vec<u32>,
    /// The node that it says it is; the right one if none is given.
    #[arg(long)]
    claim: Option<u32>,
    /// The adapter that it says it is.
    #[arg(long, default_value_t = 0)]
    claim_adapter: u8,
    /// The generation that it says it has; a random one if none is given.
    #[arg(long, value_parser = number)]
    generation: Option<u64>,
    #[command(subcommand)]
    attack: Attack,
}

/// An attack.
#[derive(Debug, Subcommand)]
enum Attack {
    /// None: it is an honest peer that has nothing, until a file is there.
    Behave { stop: PathBuf },
    /// Messages of every kind that can be decoded.
    Talk {
        count: u64,
        /// Segments that the victims have.
        #[arg(long, value_delimiter = ',')]
        segments: Vec<u32>,
    },
    /// Anything, while the victims greet.
    Junk { count: u64 },
    /// End the session in every way, so many times.
    Breach { rounds: u64 },
    /// Boot words.
    Words { count: u64 },
    /// Another life each time, so many times.
    Lives { count: u64 },
    /// Own every segment, and lie about it, until a file is there.
    Own { stop: PathBuf },
    /// Store into the victims' rings with each other.
    Rings { count: u64 },
    /// Aim a slot at everything on the first victim's bus but the ranges that are named, and load and store there.
    Sweep {
        /// Bytes from one access to the next.
        #[arg(value_parser = number)]
        step: u64,
        /// Where it ends, but for random places.
        #[arg(value_parser = number)]
        end: u64,
        /// Ranges to leave alone: address, colon, bytes.
        #[arg(long, value_parser = range)]
        keep: Vec<aim::Range>,
    },
    /// Write registers of other ports and of the switch.
    Registers,
    /// The victim's part: use segments of a hostile owner.
    Bait { node: u32, rounds: u64 },
}

/// A range of addresses: its first one and its length.
fn range(text: &str) -> Result<aim::Range> {
    let (first, bytes) = text.split_once(':').context("a range is ADDRESS:BYTES")?;
    Ok((number(first)?, number(bytes)?))
}

fn print(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

impl Options {
    /// Attacks.
    pub fn run(&self, adapter: usize) -> Result<()> {
        let mut random = Random::new(self.seed);
        if let Attack::Bait { node, rounds } = self.attack {
            return print(&bait::run(node, rounds, &mut random)?);
        }
        let port = Port::open(adapter)?;
        let ports = self
            .victims
            .iter()
            .map(|number| ids::Port::try_from(*number))
            .collect::<Result<Vec<_>, _>>()?;
        if let Attack::Registers = self.attack {
            return print(&aim::registers(&port, &ports)?);
        }
        if let Attack::Sweep { step, end, keep } = &self.attack {
            let victim = *ports.first().context("there is no victim")?;
            let swept = aim::sweep(&port, victim, (*step, *end), keep, &mut random)?;
            return print(&swept);
        }
        let memory = inbox::memory()?;
        let local = self.local(&port, &mut random)?;
        // What a former attack has called its sessions must not come again, also with the same seed.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut sessions = Random::new(now.as_nanos() as u64);
        let all = ports.iter().zip(0..).map(|(number, slot)| {
            // CAST: Any bits do.
            let seed = sessions.next() as u32;
            Victim::new(&port, &memory, *number, slot, local, seed)
        });
        let mut victims = Victims::new(&port, all.collect());
        self.attack(&port, &mut victims, &mut random)
    }

    /// Who it says it is.
    fn local(&self, port: &Port, random: &mut Random) -> Result<Local> {
        let node = self.claim.unwrap_or(port.number().get().into());
        let generation = self.generation.unwrap_or(random.next() | 1);
        Ok(Local {
            generation: Generation::new(generation).context("no generation is 0")?,
            node: NodeId::new(node).context("there is no such node")?,
            adapter: AdapterId::new(self.claim_adapter).context("there is no such adapter")?,
        })
    }

    fn attack(&self, port: &Port, victims: &mut Victims<'_>, random: &mut Random) -> Result<()> {
        match &self.attack {
            Attack::Behave { stop } => behave(victims, stop),
            Attack::Talk { count, segments } => {
                print(&attack::talk(victims, random, *count, segments)?)
            }
            Attack::Junk { count } => print(&attack::junk(victims, random, *count)?),
            Attack::Breach { rounds } => print(&attack::breach(port, victims, random, *rounds)?),
            Attack::Words { count } => print(&attack::words(port, victims, random, *count)?),
            Attack::Lives { count } => print(&attack::lives(victims, random, *count)?),
            Attack::Own { stop } => print(&owner::serve(victims, random, stop)?),
            Attack::Rings { count } => print(&aim::rings(port, victims, random, *count)?),
            Attack::Registers | Attack::Sweep { .. } | Attack::Bait { .. } => Ok(()),
        }
    }
}

/// Keeps its sessions until `stop` exists.
fn behave(victims: &mut Victims<'_>, stop: &Path) -> Result<()> {
    while !stop.exists() {
        victims.turn()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    let seen: Vec<_> = victims
        .all
        .iter()
        .map(|victim| {
            json!({
                "port": victim.number.get(),
                "up": victim.is_up(),
                "ups": victim.ups,
                "downs": victim.downs,
                "generation": victim.generation.map(Generation::get),
            })
        })
        .collect();
    print(&seen)
}
