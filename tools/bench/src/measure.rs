// SPDX-License-Identifier: GPL-2.0
//! The measurements: which clusters, which commands in them, and the medians of what they print.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use serde::Deserialize;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Layout;
use skiff_cluster::WindowMode;
use skiff_testing::guest;

/// A place in every node's RAM that its kernel leaves alone.
const AREA: u64 = 0x800_0000;
/// The kernel's argument for it: 64 MiB, one slot of the largest window.
const RESERVE: &str = "iomem=relaxed memmap=64M$0x8000000";
/// Copy sizes in bytes.
pub const SIZES: &[u64] = &[64, 512, 4 << 10, 64 << 10, 1 << 20, 16 << 20];

/// The middle one, or the mean of the two in the middle.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match samples.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => samples[middle],
        _ => (samples[middle - 1] + samples[middle]) / 2.0,
    }
}

fn pair() -> Builder {
    guest::install(Cluster::builder())
        .memory_mib(512)
        .cmdline(RESERVE)
}

/// The window's name for skiff-guest.
pub fn window(layout: Layout) -> &'static str {
    match layout {
        Layout::Chip => "memory",
        Layout::Companion => "companion",
    }
}

/// Brings both links up and aims slot 0 of node 0 at node 1's area.
fn connect(cluster: &Cluster, window: &str) -> Result<()> {
    for node in cluster.nodes() {
        guest::run(node, &format!("link-enable {}", node.port(0)))?;
    }
    guest::run(
        cluster.node(0),
        &format!("slot {window} 0 {} {AREA:#x}", cluster.node(1).port(0)),
    )?;
    Ok(())
}

/// Median nanoseconds of one copy.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Where the window is.
    pub layout: Layout,
    /// Bytes.
    pub size: u64,
    /// RAM to RAM in the same node.
    pub local: f64,
    /// RAM to window.
    pub store: f64,
    /// Window to RAM.
    pub load: f64,
}

#[derive(Deserialize)]
struct CopySamples {
    local_ns: Vec<f64>,
    store_ns: Vec<f64>,
    load_ns: Vec<f64>,
}

/// memcpy through an mmapped window against local RAM in the same node.
pub fn copies(rounds: u32) -> Result<Vec<Copy>> {
    let mut results = Vec::new();
    for layout in [Layout::Chip, Layout::Companion] {
        let cluster = pair().layout(layout).start()?;
        let window = window(layout);
        connect(&cluster, window)?;
        for size in SIZES {
            let command = format!("bench copy {window} 0 {size} --rounds {rounds}");
            let samples: CopySamples = guest::json(cluster.node(0), &command)?;
            results.push(Copy {
                layout,
                size: *size,
                local: median(samples.local_ns),
                store: median(samples.store_ns),
                load: median(samples.load_ns),
            });
        }
        cluster.stop()?;
    }
    Ok(results)
}

/// Median nanoseconds of single operations in one set-up.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where the window is.
    pub layout: Layout,
    /// How it is served.
    pub windows: WindowMode,
    /// A 32-bit load through the memory window.
    pub load: f64,
    /// A 32-bit store through the memory window.
    pub store: f64,
    /// A 32-bit load through the device window, which is always trapped.
    pub device_load: f64,
    /// A 32-bit store through the device window.
    pub device_store: f64,
    /// Re-programming a slot: four register writes and the new view.
    pub slot: f64,
    /// A doorbell there and one back, both sides polling.
    pub doorbell: f64,
}

#[derive(Deserialize)]
struct AccessSamples {
    load_ns: Vec<f64>,
    store_ns: Vec<f64>,
}

#[derive(Deserialize)]
struct SlotSamples {
    slot_ns: Vec<f64>,
}

#[derive(Deserialize)]
struct DoorbellSamples {
    round_trip_ns: Vec<f64>,
}

/// The set-ups there are: the companion's window is memory of QEMU and cannot be trapped.
const SETUPS: &[(Layout, WindowMode)] = &[
    (Layout::Chip, WindowMode::Mapped),
    (Layout::Chip, WindowMode::Trapped),
    (Layout::Companion, WindowMode::Mapped),
];

/// Loads, stores, slots and doorbells in every set-up.
pub fn accesses(rounds: u32) -> Result<Vec<Access>> {
    SETUPS
        .iter()
        .map(|(layout, windows)| access(*layout, *windows, rounds))
        .collect()
}

fn access(layout: Layout, windows: WindowMode, rounds: u32) -> Result<Access> {
    let cluster = pair().layout(layout).windows(windows).start()?;
    let name = window(layout);
    connect(&cluster, name)?;
    let node = cluster.node(0);
    let far = cluster.node(1).port(0);
    guest::run(node, &format!("slot device 0 {far} {AREA:#x}"))?;
    let memory: AccessSamples =
        guest::json(node, &format!("bench access {name} 0 --rounds {rounds}"))?;
    let device: AccessSamples =
        guest::json(node, &format!("bench access device 0 --rounds {rounds}"))?;
    let second = AREA + (1 << 20);
    let command = format!("bench reprogram {name} 1 {far} {AREA:#x} {second:#x} --rounds {rounds}");
    let slots: SlotSamples = guest::json(node, &command)?;
    // Doorbell bit 4n belongs to the node at port n.
    let (near, far) = (4 * u32::from(node.port(0)), 4 * u32::from(far));
    let echo = cluster
        .node(1)
        .shell(&format!(
            "{} bench doorbell {near} {far} --echo --rounds {rounds}",
            guest::PATH
        ))
        .timeout(Duration::from_secs(300))
        .spawn()?;
    let doorbells: DoorbellSamples = guest::json(
        node,
        &format!("bench doorbell {far} {near} --rounds {rounds}"),
    )?;
    echo.wait()?.check()?;
    cluster.stop()?;
    Ok(Access {
        layout,
        windows,
        load: median(memory.load_ns),
        store: median(memory.store_ns),
        device_load: median(device.load_ns),
        device_store: median(device.store_ns),
        slot: median(slots.slot_ns),
        doorbell: median(doorbells.round_trip_ns),
    })
}

/// How long a cluster takes until all its agents answer.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// Nodes, all started at once.
    pub nodes: usize,
    /// Seconds until the last one answers.
    pub seconds: f64,
}

/// Boot times of 2, 3 and 8 nodes; the median of three starts each.
pub fn boots() -> Result<Vec<Boot>> {
    let mut results = Vec::new();
    for nodes in [2, 3, 8] {
        let mut samples = Vec::new();
        for _ in 0..3 {
            let started = Instant::now();
            let cluster = Cluster::builder().nodes(nodes).memory_mib(192).start()?;
            samples.push(started.elapsed().as_secs_f64());
            cluster.stop()?;
        }
        results.push(Boot {
            nodes,
            seconds: median(samples),
        });
    }
    Ok(results)
}
