// SPDX-License-Identifier: GPL-2.0
//! Maps of skiff.ko, measured against the bare window: the same memory through the same slot, in turns.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Layout;
use skiff_cluster::Node;
use skiff_testing::guest;
use skiff_testing::share;
use skiff_testing::share::Actor;

use crate::measure::median;
use crate::measure::window;
use crate::measure::SIZES;

/// BAR of the memory window, of whichever function it is.
const BAR: u8 = 2;
/// Bytes of the segment that is copied to: the largest copy.
const BYTES: u64 = 16 << 20;
/// Its id.
const BULK: u32 = 900;
/// Id of each node's segment for the ping-pong.
const WORD: u32 = 901;
/// Ids of the segments that are merely there.
const CROWD: u32 = 10_000;
/// How many are there, besides the one that is connected to.
const CROWDS: &[u32] = &[10, 10_000];
/// Samples of each process of those that [`copies`] starts: maps come first in half of them.
const ROUNDS: u32 = 4;
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(600);

fn pair() -> Builder {
    guest::install(Cluster::builder())
        .memory_mib(512)
        .cmdline("iomem=relaxed")
}

fn json<T: serde::de::DeserializeOwned>(node: &Node, command: &str) -> Result<T> {
    let line = format!("{} {command}", guest::PATH);
    let output = node.shell(&line).timeout(LIMIT).run()?.check()?;
    let text = output.stdout_text();
    serde_json::from_str(text.trim()).with_context(|| format!("{command} printed {text:?}"))
}

/// Where in the window of `user` segment `id` of node `number` shows, which must be mapped there.
fn place(cluster: &Cluster, layout: Layout, user: &Node, number: u32, id: u32) -> Result<u64> {
    let pieces: Vec<String> = cluster
        .switch()
        .view(user.port(0), BAR)?
        .iter()
        .map(|piece| format!("{:#x}+{:#x}", piece.offset, piece.len))
        .collect();
    let command = format!(
        "bench share find --node {number} --id {id} --window {} {}",
        window(layout),
        pieces.join(" ")
    );
    let found: Vec<u64> = json(user, &command)?;
    ensure!(
        found.len() == 1,
        "of {pieces:?} the segment shows at {found:x?}"
    );
    Ok(found[0])
}

/// A segment of `owner`'s node that `user`'s has mapped, so that its slot stays. Gives the arguments that name it.
fn segment(
    cluster: &Cluster,
    layout: Layout,
    (owner, user): (&Actor<'_>, &Actor<'_>),
    id: u32,
    bytes: u64,
) -> Result<String> {
    let number = owner.status()?.node;
    owner.tell(&format!(
        "create s{id} {bytes} --id {id} --mode 666 --share"
    ))?;
    user.tell(&format!("connect r{id} --node {number} {id}"))?;
    user.tell(&format!("map far{id} r{id}"))?;
    // The slot is in the view from the first access on.
    user.tell(&format!("touch far{id}"))?;
    let offset = place(cluster, layout, user.node(), number, id)?;
    Ok(format!(
        "--node {number} --id {id} --window {} --offset {offset:#x}",
        window(layout)
    ))
}

/// The same by a map and by the bare window.
#[derive(Debug, Clone, Copy)]
pub struct Against {
    /// Median nanoseconds by a map.
    pub map: f64,
    /// By the bare window.
    pub bare: f64,
    /// Median of the samples' ratios: the bare window's time over the map's, measured right after each other.
    pub speed: f64,
}

impl Against {
    fn of(map: &[f64], bare: &[f64]) -> Self {
        let ratios = map.iter().zip(bare).map(|(map, bare)| bare / map);
        Self {
            map: median(map.to_vec()),
            bare: median(bare.to_vec()),
            speed: median(ratios.collect()),
        }
    }
}

/// Copies of one size.
#[derive(Debug, Clone, Copy)]
pub struct ShareCopy {
    /// Where the window is.
    pub layout: Layout,
    /// Bytes.
    pub size: u64,
    /// To the segment.
    pub store: Against,
    /// From it.
    pub load: Against,
}

#[derive(Default, Deserialize)]
struct CopySamples {
    map_store_ns: Vec<f64>,
    bare_store_ns: Vec<f64>,
    map_load_ns: Vec<f64>,
    bare_load_ns: Vec<f64>,
}

impl Extend<CopySamples> for CopySamples {
    fn extend<T: IntoIterator<Item = CopySamples>>(&mut self, more: T) {
        for more in more {
            self.map_store_ns.extend(more.map_store_ns);
            self.bare_store_ns.extend(more.bare_store_ns);
            self.map_load_ns.extend(more.map_load_ns);
            self.bare_load_ns.extend(more.bare_load_ns);
        }
    }
}

/// Eight bytes there and eight back.
#[derive(Debug, Clone, Copy)]
pub struct PingPong {
    /// Where the window is.
    pub layout: Layout,
    /// What it takes.
    pub turn: Against,
}

#[derive(Deserialize)]
struct PingPongSamples {
    map_ns: Vec<f64>,
    bare_ns: Vec<f64>,
}

/// Where the window is.
const LAYOUTS: [Layout; 2] = [Layout::Chip, Layout::Companion];

/// Copies of every size, in both layouts.
///
/// Where a process has its maps decides which of its pages QEMU's table of translations has no room for side by side, so
/// the samples are those of several processes.
pub fn copies(processes: u32) -> Result<Vec<ShareCopy>> {
    let mut copies = Vec::new();
    for layout in LAYOUTS {
        let cluster = pair().layout(layout).start()?;
        share::load_everywhere(&cluster, "")?;
        let user = Actor::start(cluster.node(0), "user")?;
        let owner = Actor::start(cluster.node(1), "owner")?;
        let bulk = segment(&cluster, layout, (&owner, &user), BULK, BYTES)?;
        for size in SIZES {
            let command = format!("bench share copy {size} {bulk} --rounds {ROUNDS}");
            let mut samples = CopySamples::default();
            for _ in 0..processes {
                samples.extend([json::<CopySamples>(cluster.node(0), &command)?]);
            }
            copies.push(ShareCopy {
                layout,
                size: *size,
                store: Against::of(&samples.map_store_ns, &samples.bare_store_ns),
                load: Against::of(&samples.map_load_ns, &samples.bare_load_ns),
            });
        }
        drop((user, owner));
        cluster.stop()?;
    }
    Ok(copies)
}

/// The ping-pong, in both layouts; of several processes, as [`copies`].
pub fn ping_pongs(processes: u32) -> Result<Vec<PingPong>> {
    let mut ping_pongs = Vec::new();
    for layout in LAYOUTS {
        let cluster = pair().layout(layout).start()?;
        share::load_everywhere(&cluster, "")?;
        let user = Actor::start(cluster.node(0), "user")?;
        let owner = Actor::start(cluster.node(1), "owner")?;
        let there = segment(&cluster, layout, (&owner, &user), WORD, share::PAGE)?;
        let back = segment(&cluster, layout, (&user, &owner), WORD, share::PAGE)?;
        let command = format!("--own {WORD} --rounds {ROUNDS}");
        let (mut map, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..processes {
            let echo = cluster
                .node(1)
                .shell(&format!(
                    "{} bench share ping-pong --echo {back} {command}",
                    guest::PATH
                ))
                .timeout(LIMIT)
                .spawn()?;
            let samples: PingPongSamples = json(
                cluster.node(0),
                &format!("bench share ping-pong {there} {command}"),
            )?;
            echo.wait()?.check()?;
            map.extend(samples.map_ns);
            bare.extend(samples.bare_ns);
        }
        ping_pongs.push(PingPong {
            layout,
            turn: Against::of(&map, &bare),
        });
        drop((user, owner));
        cluster.stop()?;
    }
    Ok(ping_pongs)
}

/// What connecting costs, in one set-up.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Whose segment.
    pub whose: Whose,
    /// Segments of the owner besides it.
    pub crowd: u32,
    /// Connect, map with the first load, unmap, disconnect.
    pub parts: [f64; 4],
}

/// Whose segment is connected to, and in what the cost is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Another node's, in nanoseconds.
    Peer,
    /// The own node's, in instructions, which QEMU counts: nobody is waited for.
    Own,
}

#[derive(Deserialize)]
struct ConnectRound {
    ns: [f64; 4],
    ticks: [f64; 4],
}

#[derive(Deserialize)]
struct ConnectSamples {
    rounds: Vec<ConnectRound>,
}

/// Connect, map, unmap and disconnect while the owner has few and many segments.
pub fn connects(rounds: u32) -> Result<Vec<Connect>> {
    let mut results = Vec::new();
    for whose in [Whose::Peer, Whose::Own] {
        let builder = match whose {
            Whose::Peer => pair(),
            // A tick of the node's clock is an instruction.
            Whose::Own => pair().nodes(1).qemu_arg("-icount").qemu_arg("shift=0"),
        };
        let cluster = builder.start()?;
        share::load_everywhere(&cluster, "")?;
        let user = cluster.node(0);
        let owner = match whose {
            Whose::Peer => Actor::start(cluster.node(1), "owner")?,
            Whose::Own => Actor::start(user, "owner")?,
        };
        owner.tell(&format!(
            "create target {} --id 7 --mode 666 --share",
            share::PAGE
        ))?;
        let target = match whose {
            Whose::Peer => format!("--node {} --id 7", owner.status()?.node),
            Whose::Own => "--id 7".to_owned(),
        };
        let mut there = 0;
        for crowd in CROWDS {
            owner.tell(&format!(
                "create-many crowd{crowd} {} {} {}",
                share::PAGE,
                CROWD + there,
                crowd - there
            ))?;
            there = *crowd;
            let command = format!("bench share connect {target} --rounds {rounds}");
            let samples: ConnectSamples = json(user, &command)?;
            let part = |index: usize| {
                let pick = |round: &ConnectRound| match whose {
                    Whose::Peer => round.ns[index],
                    Whose::Own => round.ticks[index],
                };
                median(samples.rounds.iter().map(pick).collect())
            };
            results.push(Connect {
                whose,
                crowd: *crowd,
                parts: [part(0), part(1), part(2), part(3)],
            });
        }
        drop(owner);
        cluster.stop()?;
    }
    Ok(results)
}
