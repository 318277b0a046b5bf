// SPDX-License-Identifier: GPL-2.0
//! NVMe drives: with Linux's own driver in the node that has them, and used from another node.
//!
//! Two drives of one kind, so that all ways stand beside each other: each figure is measured in all of them in turns, round
//! by round.

mod cpu;
mod table;
mod tcp;

use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Node;
use skiff_testing::disk::Speed;
use skiff_testing::frame::Setting;
use skiff_testing::guest;
use skiff_testing::lend;
use skiff_testing::lend::Device;
use skiff_testing::nvme;
use skiff_testing::share;
use skiff_testing::share::Actor;
use tempfile::TempDir;

use crate::measure::median;
use cpu::Used;

pub use table::page;

/// The drive that stays at home: Linux's own driver has it, and exports it.
const KEPT: Device = Device::new("kept", 0x18);

/// The drive that is lent.
const LENT: Device = Device::new("lent", 0x19);

/// Bytes of a drive, all of which are written before.
const BYTES: u64 = 64 << 20;

/// How long one sample takes.
const SAMPLE: &str = "--milliseconds 300";

/// The layout in which memory windows are fast and stores to registers do not wait.
const SETTING: Setting = Setting::STOCK.companion();

/// Who has the drives, and who uses them.
const HOME: usize = 0;
const USER: usize = 1;

/// How a drive is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At home, with Linux's own driver.
    Home,
    /// The same, polling for completions.
    HomePolled,
    /// From another node, borrowed, with skiff_nvme.ko.
    Borrowed,
    /// The same, polling for completions.
    BorrowedPolled,
    /// From another node, over NVMe/TCP.
    Tcp,
}

impl Way {
    /// All of them, in the order in which they take turns.
    pub const ALL: [Self; 5] = [
        Self::Home,
        Self::Borrowed,
        Self::HomePolled,
        Self::BorrowedPolled,
        Self::Tcp,
    ];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Home => "at home",
            Self::HomePolled => "at home, polled",
            Self::Borrowed => "borrowed",
            Self::BorrowedPolled => "borrowed, polled",
            Self::Tcp => "NVMe/TCP",
        }
    }

    fn node(self, cluster: &Cluster) -> &Node {
        match self {
            Self::Home | Self::HomePolled => cluster.node(HOME),
            Self::Borrowed | Self::BorrowedPolled | Self::Tcp => cluster.node(USER),
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::HomePolled | Self::BorrowedPolled => "--polled",
            Self::Home | Self::Borrowed | Self::Tcp => "",
        }
    }
}

/// What is done to a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Name in tables.
    pub name: &'static str,
    /// Name for skiff-guest.
    pattern: &'static str,
    /// Bytes of an operation.
    pub size: u64,
    /// Operations at a time.
    pub depth: u32,
}

const fn load(name: &'static str, pattern: &'static str, size: u64, depth: u32) -> Load {
    Load {
        name,
        pattern,
        size,
        depth,
    }
}

/// All loads.
const LOADS: &[Load] = &[
    load("random reads", "random-read", 4 << 10, 1),
    load("random reads", "random-read", 4 << 10, 8),
    load("random reads", "random-read", 4 << 10, 32),
    load("random writes", "random-write", 4 << 10, 1),
    load("random writes", "random-write", 4 << 10, 8),
    load("random writes", "random-write", 4 << 10, 32),
    load("reads in order", "read", 128 << 10, 8),
    load("writes in order", "write", 128 << 10, 8),
];

/// A load by one way.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Operations a second.
    pub rate: f64,
    /// Median time of an operation.
    pub micros: f64,
    /// Busy part of the working node's processors.
    pub busy: f64,
    /// Microseconds of the host's processors that an operation takes: see [`Used::parts`].
    pub used: [f64; 5],
}

/// A load by all ways, in the order of [`Way::ALL`].
#[derive(Clone, Debug)]
pub struct Row {
    /// The load.
    pub load: Load,
    /// By each way.
    pub figures: Vec<Figure>,
}

/// Samples of one figure.
#[derive(Default)]
struct Samples {
    speeds: Vec<Speed>,
    used: Used,
}

impl Samples {
    fn figure(&self) -> Figure {
        let middle = |pick: fn(&Speed) -> f64| median(self.speeds.iter().map(pick).collect());
        let operations: u64 = self.speeds.iter().map(|speed| speed.operations).sum();
        Figure {
            rate: middle(Speed::rate),
            micros: middle(|speed| speed.median_us),
            busy: middle(|speed| speed.busy),
            used: self
                .used
                .parts()
                .map(|seconds| seconds * 1e6 / operations.max(1) as f64),
        }
    }
}

/// Every load by every way.
pub fn rows(rounds: u32) -> Result<Vec<Row>> {
    let folder = TempDir::new().context("no folder for the cable")?;
    let builder = guest::install(Cluster::builder())
        .layout(SETTING.layout)
        .memory_mib(512)
        .node(HOME, |node| {
            LENT.nvme(KEPT.nvme(node, BYTES, ""), BYTES, "")
        });
    let cluster = tcp::cable(builder, (HOME, USER), folder.path()).start()?;
    let (home, user) = (cluster.node(HOME), cluster.node(USER));
    share::load_everywhere(&cluster, "")?;
    // Before Linux's own driver is there, which would take it.
    let lender = Actor::start(home, "lender")?;
    lend::offer(SETTING, &lender, LENT)?;
    lender.tell(&format!("lend-connect {}", user.port(0)))?;
    home.modprobe("nvme poll_queues=1")?;
    let disk = "/dev/nvme0n1";
    home.wait_for(&format!("test -b {disk}"), share::SOON)?;
    let remote = tcp::connect(home, user, disk)?;
    let borrowed = nvme::load(user)?;
    let path = |way: Way| match way {
        Way::Home | Way::HomePolled => disk,
        Way::Borrowed | Way::BorrowedPolled => borrowed.as_str(),
        Way::Tcp => remote.as_str(),
    };
    // Blocks that were never written are read in another way by the host.
    let whole = ("write", 128 << 10, 8);
    for (node, path) in [(home, disk), (user, &borrowed)] {
        Speed::measure(node, path, BYTES, whole, "--milliseconds 2000")?;
    }
    let mut samples: Vec<Vec<Samples>> = LOADS
        .iter()
        .map(|_| Way::ALL.iter().map(|_| Samples::default()).collect())
        .collect();
    for _ in 0..rounds {
        for (load, samples) in LOADS.iter().zip(&mut samples) {
            for (way, samples) in Way::ALL.iter().zip(samples) {
                let node = way.node(&cluster);
                let before = Used::now(&cluster, node, home)?;
                let options = format!("{SAMPLE} {}", way.options());
                let kind = (load.pattern, load.size, load.depth);
                let speed = Speed::measure(node, path(*way), BYTES, kind, &options)?;
                samples.used += Used::now(&cluster, node, home)? - before;
                samples.speeds.push(speed);
            }
        }
    }
    nvme::unload(user)?;
    drop(lender);
    cluster.stop()?;
    Ok(LOADS
        .iter()
        .zip(samples)
        .map(|(load, samples)| Row {
            load: *load,
            figures: samples.iter().map(Samples::figure).collect(),
        })
        .collect())
}
