// SPDX-License-Identifier: GPL-2.0
//! What I/O on a borrowed drive costs, by the switch's counters, which see every access while windows are trapped.

use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use ntb_switch::counters::Counters;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use crate::disk::Speed;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::nvme;
use crate::nvme::Way;

/// See the module.
pub const POLLED: Case = Case {
    name:
        "polled I/O: a doorbell a batch, and one for half a queue of completions; shadow doorbells: one until the controller has woken; no message, no slot, no read across the fabric",
    run: polled,
};

/// The same with interrupts, which the lender forwards.
pub const INTERRUPTS: Case = Case {
    name:
        "I/O by interrupts: a doorbell a batch, and one for half a queue of completions with shadow doorbells; no slot, no read across the fabric",
    run: interrupts,
};

/// What is done: a pattern, bytes of an operation, operations of a batch. Of two that come together io_uring makes no batch.
const LOADS: &[(&str, u64, u32)] = &[
    ("random-read", 4096, 1),
    ("random-write", 4096, 1),
    ("random-read", 4096, 8),
    // More pages than two, whose addresses are in a list.
    ("write", 16384, 4),
    ("read", 16384, 4),
];

/// Programs that read a block each, one by one, while the controller does nothing.
const PROGRAMS: u64 = 8;

/// Stores of a submission, which the switch sees one by one.
const STORES: u64 = 8;

/// Half of the entries of a queue.
const HALF: u64 = 32;

/// Doorbells of what opening a disk may read from it.
const OPENING: u64 = 8;

/// What ports of borrower and lender counted.
fn counters(cluster: &Cluster) -> Result<[Counters; 2]> {
    let of = |node: usize| cluster.switch().counters(cluster.node(node).port(0));
    Ok([of(BORROWER)?, of(LENDER)?])
}

/// Loads the driver with shadow doorbells, or without: the path of its disk.
fn load(node: &Node, shadows: bool) -> Result<String> {
    let path = nvme::load_with(node, &format!("shadow_doorbells={}", u8::from(shadows)))?;
    let told = nvme::told(node);
    let last = told.lines().rfind(|line| line.contains("are polled"));
    ensure!(
        last.is_some_and(|line| line.contains("shadow doorbells") == shadows),
        "not what was asked for is used: {told}"
    );
    Ok(path)
}

fn polled(context: &mut Context<'_>) -> Result<()> {
    polled_with(context.cluster, false)?;
    polled_with(context.cluster, true)
}

/// With and without shadow doorbells.
fn polled_with(cluster: &Cluster, shadows: bool) -> Result<()> {
    let node = cluster.node(BORROWER);
    let path = load(node, shadows)?;
    // Nothing is done for the data either.
    let way = nvme::way(node)?;
    ensure!(way == Way::Direct, "data are {way:?}");
    for load in LOADS {
        let (counted, begun, what) = count(cluster, &path, load, "--polled --batched")?;
        let heads = begun * u64::from(load.2) / HALF + 1;
        let doorbells = counted[0].device_writes;
        ensure!(
            doorbells <= begun + heads + OPENING && doorbells >= begun,
            "not one doorbell for each of {begun} batches, and {heads} for completions: {what}"
        );
        for counted in counted {
            // A heartbeat may come in between, and be answered.
            ensure!(
                counted.doorbells_sent <= 4,
                "messages between the nodes: {what}"
            );
        }
    }
    begin_asleep(cluster, &path, if shadows { 1 } else { PROGRAMS })?;
    nvme::unload(node)
}

/// Begins operations one by one while the lender's machine stands still, and with it the controller: so many doorbells are all
/// that it is told, and the operations end well when it goes on.
fn begin_asleep(cluster: &Cluster, path: &str, doorbells: u64) -> Result<()> {
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    let name = path.trim_start_matches("/dev/");
    let line = format!(
        "for n in $(seq {PROGRAMS}); do dd if={path} of=/dev/null bs=4096 count=1 skip=$n iflag=direct & pids=\"$pids $!\"; done; for pid in $pids; do wait $pid || exit 1; done"
    );
    let under_way =
        format!("read reads writes < /sys/block/{name}/inflight; test $reads = {PROGRAMS}");
    let [before, _] = counters(cluster)?;
    home.pause()?;
    let job = node.shell(&line).timeout(nvme::MOMENT).spawn()?;
    let begun = node.wait_for(&under_way, nvme::MOMENT);
    let told = stored(cluster, &before, STORES * PROGRAMS + doorbells);
    home.resume()?;
    begun?;
    job.wait()?.check()?;
    let told = told?;
    ensure!(
        told.device_writes == doorbells,
        "not {doorbells} doorbells for {PROGRAMS} submissions to a controller that does nothing: {told:?}"
    );
    Ok(())
}

/// Waits until the switch has seen so many stores of the borrower, which wait on their way to it: what it has seen.
fn stored(cluster: &Cluster, before: &Counters, stores: u64) -> Result<Counters> {
    let started = Instant::now();
    loop {
        let [after, _] = counters(cluster)?;
        let seen = after.since(before);
        if seen.posted_writes >= stores || started.elapsed() > nvme::MOMENT {
            return Ok(seen);
        }
        sleep(Duration::from_millis(20));
    }
}

fn interrupts(context: &mut Context<'_>) -> Result<()> {
    interrupts_with(context.cluster, false)?;
    interrupts_with(context.cluster, true)
}

/// With and without shadow doorbells.
fn interrupts_with(cluster: &Cluster, shadows: bool) -> Result<()> {
    let node = cluster.node(BORROWER);
    let path = load(node, shadows)?;
    for load in LOADS {
        let (counted, begun, what) = count(cluster, &path, load, "--batched")?;
        let [near, _] = counted;
        let operations = begun * u64::from(load.2);
        // An interrupt may find a part of what the program then finds done together.
        let heads = if shadows {
            operations / HALF + 1
        } else {
            operations
        };
        ensure!(
            near.device_writes <= begun + heads + OPENING && near.device_writes >= begun,
            "not one doorbell for each of {begun} batches, and {heads} at most for completions: {what}"
        );
    }
    nvme::unload(node)
}

/// Does I/O and counts: what the ports of borrower and lender did, batches begun, all of it in words. However completions
/// come, there are no slots, no messages of the bridge and no reads across the fabric.
fn count(
    cluster: &Cluster,
    path: &str,
    load: &(&str, u64, u32),
    options: &str,
) -> Result<([Counters; 2], u64, String)> {
    let before = counters(cluster)?;
    let options = format!("{options} --milliseconds 300 --least {}", 4 * load.2);
    let speed = Speed::measure(cluster.node(BORROWER), path, 16 << 20, *load, &options)?;
    let after = counters(cluster)?;
    let counted = [after[0].since(&before[0]), after[1].since(&before[1])];
    let [near, far] = counted;
    let what = format!("{load:?} {options}: {speed:?}, borrower {near:?}, lender {far:?}");
    let batches = speed.operations / u64::from(load.2);
    ensure!(batches >= 4, "too little to count: {what}");
    ensure!(
        near.non_posted_reads == 0 && near.device_reads == 0,
        "the borrower read across the fabric: {what}"
    );
    ensure!(
        counted
            .iter()
            .all(|port| port.slot_programmings == 0 && port.messages_sent == 0),
        "slots or messages: {what}"
    );
    Ok((counted, batches, what))
}
