// SPDX-License-Identifier: GPL-2.0
//! make demo: two nodes boot Debian's stock kernel, Linux's own ntb_hw_idt binds on both, and a real file crosses the
//! bridge through windows of its lookup table.

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Cluster;
use skiff_cluster::Kernel;

use crate::guest;
use crate::ntb_tool;
use crate::ntb_tool::Tool;

/// A slot is a sixteenth of the window. dma_alloc_coherent gives at most 4 MiB in one piece without an IOMMU.
const APERTURE: &str = "64M";
const SLOT: u64 = 4 << 20;
/// Fewer bytes would be no real file.
const LEAST: u64 = 10_000_000;

fn step(started: Instant, text: &str) {
    println!("[{:5.1} s] {text}", started.elapsed().as_secs_f64());
}

/// The file: the kernel image that the nodes themselves boot, which every machine that can run the demo has.
fn file() -> Result<PathBuf> {
    let cache =
        std::env::var_os("SKIFF_CACHE").context("SKIFF_CACHE is not set; run this as make demo")?;
    Ok(PathBuf::from(cache)
        .join("kernels")
        .join(Kernel::Stock.name())
        .join("vmlinux"))
}

/// Runs the demo.
pub fn run() -> Result<()> {
    let started = Instant::now();
    // The first 14 MB of it do: more only shows more of the same.
    let mut data = std::fs::read(file()?).context("no kernel image; run this as make demo")?;
    data.truncate(14_000_000);
    ensure!(
        data.len() as u64 >= LEAST,
        "the file has only {} bytes",
        data.len()
    );
    let digest = format!("{:x}", Sha256::digest(&data));

    step(started, "starting the switch and two nodes");
    let cluster = guest::install(Cluster::builder())
        .memory_mib(384)
        .aperture(APERTURE)
        .start()?;
    let booted = started.elapsed();
    let (sender, receiver) = (cluster.node(0), cluster.node(1));
    let release = sender
        .run("uname -r")?
        .check()?
        .stdout_text()
        .trim()
        .to_owned();
    step(started, &format!("both run Linux {release}"));

    for node in cluster.nodes() {
        ntb_tool::load(node)?;
    }
    let (from, to) = (Tool::open(sender, 0)?, Tool::open(receiver, 0)?);
    from.wait_link(to.port(), true)?;
    to.wait_link(from.port(), true)?;
    step(
        started,
        &format!(
            "ntb_hw_idt is bound on both: ports {} and {}, links up",
            from.driver_port()?,
            to.driver_port()?
        ),
    );

    sender.write(&data, "/tmp/file")?;
    step(
        started,
        &format!(
            "node 0 holds a file of {} bytes, SHA-256 {}…",
            data.len(),
            &digest[..16]
        ),
    );

    // As many inbound buffers as the file needs, each shown by a slot of the sender's lookup table.
    let slots = (data.len() as u64).div_ceil(SLOT) as usize;
    let mut windows = Vec::new();
    let mut buffers = Vec::new();
    for slot in 0..slots {
        let buffer = to
            .allocate(from.port(), slot, SLOT)
            .context("no inbound buffer of one slot")?;
        from.aim(to.port(), slot, buffer.address, buffer.size)?;
        windows.push(from.window_file(to.port(), slot)?);
        buffers.push(to.buffer_file(from.port(), slot)?);
    }
    step(
        started,
        &format!(
            "{slots} slots of {} MiB point at node 1's memory",
            SLOT >> 20
        ),
    );

    let before = cluster.switch().counters(from.port())?;
    let mut copy = Duration::ZERO;
    for (slot, window) in windows.iter().enumerate() {
        let line = format!(
            "dd if=/tmp/file of={window} bs=1M skip={} count=4 conv=notrunc 2>/dev/null",
            slot * 4
        );
        copy += sender.run(&line)?.check()?.elapsed;
    }
    from.ring(1 << (4 * u32::from(to.port())))?;
    let line = format!(
        "test $(( $(cat {}/db) )) -ne 0",
        buffers[0].rsplit_once("/peer").context("no folder")?.0
    );
    receiver.wait_for(&line, Duration::from_secs(10))?;
    step(
        started,
        "the file crossed the bridge, and a doorbell said so",
    );

    let line = format!(
        "cat {} | head -c {} | tee /tmp/received | sha256sum",
        buffers.join(" "),
        data.len()
    );
    let found = receiver
        .shell(&line)
        .timeout(Duration::from_secs(120))
        .run()?
        .check()?;
    let found = found
        .stdout_text()
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    ensure!(
        found == digest,
        "node 1 received a file with SHA-256 {found}, {digest} was sent"
    );
    step(started, "node 1 computes the same SHA-256");

    let after = cluster.switch().counters(from.port())?;
    let received = cluster.switch().counters(to.port())?;
    let rows = [
        (
            "boot of switch and both nodes",
            format!("{:.1} s", booted.as_secs_f64()),
        ),
        ("file", format!("{:.1} MB", data.len() as f64 / 1e6)),
        (
            "stores through the bridge (with dd)",
            format!(
                "{:.2} s, {:.0} MB/s",
                copy.as_secs_f64(),
                data.len() as f64 / 1e6 / copy.as_secs_f64()
            ),
        ),
        (
            "slots programmed by the driver",
            after.slot_programmings.to_string(),
        ),
        (
            "doorbells sent / received by node 1",
            format!("{} / {}", after.doorbells_sent, received.doorbells_received),
        ),
        (
            "interrupts raised at node 1",
            received.interrupts_raised.to_string(),
        ),
        (
            "register accesses of node 0",
            (after.register_reads + after.register_writes).to_string(),
        ),
        (
            "non-posted reads by node 0 that the switch saw",
            (after.non_posted_reads - before.non_posted_reads).to_string(),
        ),
        ("all", format!("{:.1} s", started.elapsed().as_secs_f64())),
    ];
    println!();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        println!("  {name:width$}  {value}");
    }
    println!();
    for slot in 0..slots {
        from.release(to.port(), slot)?;
        to.free(from.port(), slot)?;
    }
    cluster.stop()?;
    println!("The file arrived whole: SHA-256 {digest}");
    Ok(())
}
