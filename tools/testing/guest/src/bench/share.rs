// SPDX-License-Identifier: GPL-2.0
//! Maps of skiff.ko against the bare window: the same accesses to the same memory through the same slot.
//!
//! The host has made the segments, and says where in the window their memory shows. Who comes first changes from round to
//! round.

use std::fs::File;
use std::io::Read;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::Args;
use clap::Subcommand;
use serde_json::json;
use skiff::ConnectOptions;
use skiff::Context;
use skiff::Map;
use skiff::MapOptions;
use skiff::Node;

use super::time;
use crate::idt::Bridge;
use crate::idt::Window;
use crate::number;

/// Bytes of a page.
const PAGE: usize = 4096;
/// How long the other node may keep this one waiting.
const LIMIT: Duration = Duration::from_secs(20);

/// A segment of another node, and where the window shows it.
#[derive(Debug, Args)]
pub struct Place {
    /// Number of the owner's node.
    #[arg(long)]
    node: u32,
    /// Its id.
    #[arg(long)]
    id: u32,
    /// The window.
    #[arg(long)]
    window: Window,
    /// Offset in the window at which the segment shows.
    #[arg(long, value_parser = number)]
    offset: u64,
}

/// Pages of the window that show something.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    offset: u64,
    len: u64,
}

/// A piece is written as OFFSET+LENGTH.
fn piece(text: &str) -> Result<Piece> {
    let (offset, len) = text.split_once('+').context("OFFSET+LENGTH is due")?;
    Ok(Piece {
        offset: number(offset)?,
        len: number(len)?,
    })
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Where the window shows a segment: a number is stored through a map and looked for at the beginning of each page.
    Find {
        /// Number of the owner's node.
        #[arg(long)]
        node: u32,
        /// The segment.
        #[arg(long)]
        id: u32,
        /// The window.
        #[arg(long)]
        window: Window,
        /// Where to look.
        #[arg(value_parser = piece)]
        pieces: Vec<Piece>,
    },
    /// Copies of `size` bytes to and from the segment, by a map and by the bare window in turns.
    Copy {
        #[command(flatten)]
        place: Place,
        #[arg(value_parser = number)]
        size: u64,
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Eight bytes there and eight back, with a node that runs the same with `--echo`, by maps and bare windows in turns.
    PingPong {
        #[command(flatten)]
        place: Place,
        /// Id of the own segment that the other node stores to.
        #[arg(long)]
        own: u32,
        #[arg(long)]
        echo: bool,
        #[arg(long, default_value_t = 5000)]
        count: u32,
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Connect, map, unmap, disconnect.
    Connect {
        /// Number of the owner's node; without it the own one.
        #[arg(long)]
        node: Option<u32>,
        /// The segment.
        #[arg(long)]
        id: u32,
        #[arg(long, default_value_t = 20)]
        count: u32,
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
}

/// A connection, mapped whole; the map keeps the connection.
fn attach(context: &Context, node: Node, id: u32) -> Result<Map> {
    let remote = context.connect(node, id, &ConnectOptions::new())?;
    Ok(remote.map(&MapOptions::new())?)
}

impl Command {
    /// Measures and prints one JSON object.
    pub fn run(self, bridge: impl FnOnce() -> Result<Bridge>) -> Result<()> {
        match self {
            Self::Find {
                node,
                id,
                window,
                pieces,
            } => find(&bridge()?, Node::Number(node), id, window, &pieces),
            Self::Copy {
                place,
                size,
                rounds,
            } => copy(&bridge()?, &place, usize::try_from(size)?, rounds),
            Self::PingPong {
                place,
                own,
                echo,
                count,
                rounds,
            } => ping_pong(&bridge()?, &place, own, echo, count, rounds),
            Self::Connect {
                node,
                id,
                count,
                rounds,
            } => connect(node.map_or(Node::Local, Node::Number), id, count, rounds),
        }
    }
}

fn find(bridge: &Bridge, node: Node, id: u32, window: Window, pieces: &[Piece]) -> Result<()> {
    let map = attach(&Context::open()?, node, id)?;
    let mut random = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let tag = u64::from_le_bytes(random);
    map.store_u64(0, tag)?;
    // The load pushes the store.
    ensure!(map.load_u64(0)? == tag, "the segment does not keep a word");
    let mut found = Vec::new();
    for piece in pieces {
        let length = usize::try_from(piece.len)?;
        let bare = bridge.map_part(window, piece.offset, length)?;
        for page in (0..length).step_by(PAGE) {
            if bare.read::<u64>(page)? == tag {
                found.push(piece.offset + page as u64);
            }
        }
    }
    println!("{}", json!(found));
    Ok(())
}

fn copy(bridge: &Bridge, place: &Place, size: usize, rounds: u32) -> Result<()> {
    let map = attach(&Context::open()?, Node::Number(place.node), place.id)?;
    ensure!(size <= map.len(), "the segment is shorter than {size}");
    let bare = bridge.map_part(place.window, place.offset, size)?;
    let mut from = vec![0x5a_u8; size];
    let mut to = vec![0_u8; size];
    let count = u32::try_from((32_usize << 20).div_ceil(size).min(100_000))?;
    let (near, source) = (to.as_mut_ptr(), from.as_mut_ptr());
    let transfer = |from: *const u8, to: *mut u8| {
        // SAFETY: Each pointer is the start of `size` bytes that are mapped and live through this function: two vectors
        // that only this closure touches while it runs, and two views of memory that belongs to the other node.
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::hint::black_box(from),
                std::hint::black_box(to),
                size,
            )
        };
        Ok(())
    };
    // Both views show the same memory, and every page is there before the first sample.
    for (at, word) in from.iter_mut().enumerate() {
        *word = (at % 251) as u8;
    }
    transfer(source, map.as_ptr())?;
    transfer(bare.as_ptr(), near)?;
    ensure!(
        from == to,
        "the map and the bare window show different memory"
    );
    let (mut map_store, mut bare_store, mut map_load, mut bare_load) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        for by_map in [round % 2 == 0, round % 2 != 0] {
            let (far, store, load) = if by_map {
                (map.as_ptr(), &mut map_store, &mut map_load)
            } else {
                (bare.as_ptr(), &mut bare_store, &mut bare_load)
            };
            store.push(time(count, || transfer(source, far))?);
            load.push(time(count, || transfer(far, near))?);
        }
    }
    println!(
        "{}",
        json!({
            "map_store_ns": map_store, "bare_store_ns": bare_store,
            "map_load_ns": map_load, "bare_load_ns": bare_load,
        })
    );
    Ok(())
}

/// Waits until a word is what the other node is to store.
fn wait_for(own: &Map, value: u64) -> Result<()> {
    let start = Instant::now();
    while own.load_u64(0)? != value {
        ensure!(start.elapsed() < LIMIT, "{value} did not come");
    }
    Ok(())
}

fn ping_pong(
    bridge: &Bridge,
    place: &Place,
    own: u32,
    echo: bool,
    count: u32,
    rounds: u32,
) -> Result<()> {
    let context = Context::open()?;
    let map = attach(&context, Node::Number(place.node), place.id)?;
    let own = attach(&context, Node::Local, own)?;
    let bare = bridge.map_part(place.window, place.offset, map.len())?;
    let mut value = 0_u64;
    let mut turn = |far: *mut u8| {
        value += 1;
        let throw = || {
            // SAFETY: The pointer is the start of a page-aligned view of the other node's segment, which is longer than
            // a word and mapped through this function.
            unsafe { far.cast::<u64>().write_volatile(value) };
            own.flush();
        };
        if echo {
            wait_for(&own, value)?;
            throw();
        } else {
            throw();
            wait_for(&own, value)?;
        }
        Ok(())
    };
    // Pages are there before the first sample, both nodes are, and QEMU has translated the code.
    for _ in 0..count {
        turn(map.as_ptr())?;
        turn(bare.as_ptr())?;
    }
    let (mut by_map, mut by_bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for through_map in [round % 2 == 0, round % 2 != 0] {
            let (far, samples) = if through_map {
                (map.as_ptr(), &mut by_map)
            } else {
                (bare.as_ptr(), &mut by_bare)
            };
            samples.push(time(count, || turn(far))?);
        }
    }
    println!("{}", json!({ "map_ns": by_map, "bare_ns": by_bare }));
    Ok(())
}

/// The CPU's time stamp. Where QEMU counts instructions it is their number.
fn ticks() -> u64 {
    // SAFETY: Every x86-64 CPU has the instruction; it reads a counter and changes nothing.
    unsafe { std::arch::x86_64::_rdtsc() }
}

fn connect(node: Node, id: u32, count: u32, rounds: u32) -> Result<()> {
    let context = Context::open()?;
    let once = || -> Result<[u64; 5]> {
        let (connecting, mapping) = (ConnectOptions::new(), MapOptions::new());
        let start = ticks();
        let remote = context.connect(node, id, &connecting)?;
        let connected = ticks();
        let map = remote.map(&mapping)?;
        map.load_u64(0)?;
        let mapped = ticks();
        drop(map);
        let unmapped = ticks();
        remote.disconnect()?;
        Ok([start, connected, mapped, unmapped, ticks()])
    };
    once().context("the first connection")?;
    let mut samples = Vec::new();
    for _ in 0..rounds {
        let (begin, first) = (Instant::now(), ticks());
        let mut sums = [0; 4];
        for _ in 0..count {
            let times = once()?;
            for (sum, pair) in sums.iter_mut().zip(times.windows(2)) {
                *sum += pair[1].wrapping_sub(pair[0]);
            }
        }
        let nanos = begin.elapsed().as_secs_f64() * 1e9;
        let scale = nanos / ticks().wrapping_sub(first) as f64;
        let mean = |index: usize| sums[index] as f64 / f64::from(count);
        let counts = [0, 1, 2, 3].map(mean);
        let nanos = [0, 1, 2, 3].map(|index| mean(index) * scale);
        samples.push(json!({ "ns": nanos, "ticks": counts }));
    }
    println!("{}", json!({ "rounds": samples }));
    Ok(())
}
