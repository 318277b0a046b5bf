// SPDX-License-Identifier: GPL-2.0
//! The steps that an actor can do, as they are written: `NAME` is what an object is called from there on.

use anyhow::Result;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use serde_json::Value;

use super::lend;
use super::nvme;
use super::objects::Objects;
use crate::number;

/// A request: a JSON array of words.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
pub struct Line {
    #[command(subcommand)]
    step: Step,
}

/// Memory to be shared.
#[derive(Debug, Args)]
pub struct Create {
    pub name: String,
    #[arg(value_parser = number)]
    pub bytes: u64,
    /// Id; without it the segment is private.
    #[arg(long)]
    pub id: Option<u32>,
    /// Who may connect, octal.
    #[arg(long, default_value = "600")]
    pub mode: String,
    /// Nodes that may connect.
    #[arg(long)]
    pub node: Vec<u32>,
    /// Scattered memory of this process instead of the kernel's; root is told the physical addresses of its pages.
    #[arg(long)]
    pub user: bool,
    /// Prepare it and make it available as well.
    #[arg(long)]
    pub share: bool,
}

/// A connection to be made.
#[derive(Debug, Args)]
pub struct Connect {
    pub name: String,
    /// Number of the owner's node; without it this node.
    #[arg(long)]
    pub node: Option<u32>,
    pub id: u32,
    #[arg(long)]
    pub adapter: Option<u32>,
    #[arg(long, default_value_t = 5000)]
    pub timeout: u32,
    #[arg(long)]
    pub read_only: bool,
}

/// A map to be made.
#[derive(Debug, Args)]
pub struct MapStep {
    pub name: String,
    pub object: String,
    #[arg(long, default_value_t = 0, value_parser = number)]
    pub offset: u64,
    /// Without it all that follows the offset.
    #[arg(long, value_parser = number)]
    pub length: Option<u64>,
    #[arg(long)]
    pub uncached: bool,
    #[arg(long)]
    pub all_ones: bool,
    #[arg(long)]
    pub read_only: bool,
}

/// A range of a map.
#[derive(Debug, Args)]
pub struct Range {
    pub map: String,
    #[arg(value_parser = number)]
    pub offset: u64,
    #[arg(value_parser = number)]
    pub length: u64,
}

/// What an actor does.
#[derive(Debug, Subcommand)]
pub enum Step {
    /// Tell of the node and its adapters.
    Status,
    /// Tell of a node as it is seen from here.
    Node { node: u32 },
    /// The clock of this node in nanoseconds (CLOCK_MONOTONIC).
    Now,
    /// Make a local segment.
    Create(Create),
    /// Prepare a local segment.
    Prepare {
        name: String,
        #[arg(long)]
        adapter: Option<u32>,
    },
    /// Let others connect.
    Available {
        name: String,
        #[arg(long)]
        adapter: Option<u32>,
    },
    /// Let no others connect.
    Unavailable { name: String },
    /// Remove a local segment.
    Remove {
        name: String,
        #[arg(long)]
        force: bool,
    },
    /// Take connections away.
    Revoke {
        name: String,
        #[arg(long)]
        node: Option<u32>,
    },
    /// Connect to a segment.
    Connect(Connect),
    /// Give a connection up.
    Disconnect { name: String },
    /// Find the first available segment from an id up.
    Query { node: u32, from: u32 },
    /// Map an object.
    Map(MapStep),
    /// Close a descriptor, unmap a map, forget memory.
    Drop { name: String },
    /// Tell of a local or remote segment.
    Info { name: String },
    /// Wait for an event of an object, or of a node if no object is named.
    Event {
        name: Option<String>,
        #[arg(long, default_value_t = 10_000)]
        timeout: u64,
    },
    /// Fill a range of a map with bytes of a seeded sequence.
    Fill {
        #[command(flatten)]
        range: Range,
        seed: u64,
    },
    /// Count the bytes of a range that are not of the sequence.
    Verify {
        #[command(flatten)]
        range: Range,
        seed: u64,
        /// Where in the sequence the range starts; without it its own offset.
        #[arg(long, value_parser = number)]
        from: Option<u64>,
    },
    /// Count the bytes of a range that are not zero.
    Zeros {
        #[command(flatten)]
        range: Range,
    },
    /// Copy a file into a map; tells microseconds.
    Load { map: String, file: String },
    /// SHA-256 of the first bytes of a map; tells microseconds of the copy out of it.
    Digest { map: String, length: u64 },
    /// Read the first bytes, turn every bit around and write them back; tells microseconds of both copies.
    Invert { map: String, length: u64 },
    /// Load a 32-bit word of every page and count what comes.
    Touch { map: String },
    /// Store a 32-bit word in every page and count what was refused.
    Scribble {
        map: String,
        #[arg(value_parser = number)]
        value: u64,
    },
    /// Begin to load and store through a map until it fails or `calm` comes.
    Traffic { name: String, map: String },
    /// End traffic; tells what it saw.
    Calm { name: String },
    /// Map, store, load, unmap so many times.
    MapRounds { object: String, count: u32 },
    /// Connect, map, store, load, unmap, disconnect so many times.
    ConnectRounds { node: u32, id: u32, count: u32 },
    /// Make, share and remove a segment so many times.
    CreateRounds { bytes: u64, id: u32, count: u32 },
    /// Make and share many segments, with ids from `first` up.
    CreateMany {
        name: String,
        bytes: u64,
        first: u32,
        count: u32,
    },
    /// Connect to as many of them and map all; stores its number in each.
    ConnectMany {
        name: String,
        node: u32,
        first: u32,
        count: u32,
    },
    /// Look for the numbers in many segments or maps.
    VerifyMany { name: String, first: u32 },
    #[command(flatten)]
    Lend(lend::Step),
    /// Drive a borrowed NVMe controller.
    #[command(subcommand)]
    Nvme(nvme::Step),
}

impl Line {
    /// Reads a request.
    pub fn read(line: &str) -> Result<Step> {
        let words: Vec<String> = serde_json::from_str(line)?;
        Ok(Self::try_parse_from(words)?.step)
    }
}

impl Step {
    /// Does it.
    pub fn run(self, objects: &Objects) -> Result<Value> {
        match self {
            Self::Status => objects.status(),
            Self::Node { node } => objects.node(node),
            Self::Now => objects.now(),
            Self::Create(create) => objects.create(create),
            Self::Prepare { name, adapter } => objects.prepare(&name, adapter),
            Self::Available { name, adapter } => objects.available(&name, adapter),
            Self::Unavailable { name } => objects.unavailable(&name),
            Self::Remove { name, force } => objects.remove(&name, force),
            Self::Revoke { name, node } => objects.revoke(&name, node),
            Self::Connect(connect) => objects.connect(connect),
            Self::Disconnect { name } => objects.disconnect(&name),
            Self::Query { node, from } => objects.query(node, from),
            Self::Map(map) => objects.map(map),
            Self::Drop { name } => objects.forget(&name),
            Self::Info { name } => objects.info(&name),
            Self::Event { name, timeout } => objects.event(name.as_deref(), timeout),
            Self::Fill { range, seed } => objects.fill(&range, seed),
            Self::Verify { range, seed, from } => objects.verify(&range, seed, from),
            Self::Zeros { range } => objects.zeros(&range),
            Self::Load { map, file } => objects.load(&map, &file),
            Self::Digest { map, length } => objects.digest(&map, length),
            Self::Invert { map, length } => objects.invert(&map, length),
            Self::Touch { map } => objects.touch(&map),
            Self::Scribble { map, value } => objects.scribble(&map, u32::try_from(value)?),
            Self::Traffic { name, map } => objects.traffic(&name, &map),
            Self::Calm { name } => objects.calm(&name),
            Self::MapRounds { object, count } => objects.map_rounds(&object, count),
            Self::ConnectRounds { node, id, count } => objects.connect_rounds(node, id, count),
            Self::CreateRounds { bytes, id, count } => objects.create_rounds(bytes, id, count),
            Self::CreateMany {
                name,
                bytes,
                first,
                count,
            } => objects.create_many(&name, bytes, first, count),
            Self::ConnectMany {
                name,
                node,
                first,
                count,
            } => objects.connect_many(&name, node, first, count),
            Self::VerifyMany { name, first } => objects.verify_many(&name, first),
            Self::Lend(step) => step.run(objects),
            Self::Nvme(step) => step.run(objects),
        }
    }
}
