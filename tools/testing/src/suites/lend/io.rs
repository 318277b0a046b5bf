// SPDX-License-Identifier: GPL-2.0
//! I/O on a borrowed NVMe controller, wherever its memory is; the host looks into the image afterwards.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Output;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::on_disk;
use crate::lend::store;
use crate::lend::sure;
use crate::lend::wait_state;
use crate::lend::BorrowInfo;
use crate::lend::Moved;
use crate::lend::Started;
use crate::lend::BORROWER;
use crate::lend::BUFFERED;
use crate::lend::DISK;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::lend::THIRD;
use crate::share::Actor;
use crate::share::PAGE;

/// Queues and data here, there and elsewhere.
pub const PLACES: Case = Case {
    name: "I/O with queues and data of borrower, lender and third node, in Rust and in C",
    run: places,
};

/// Several queue pairs.
pub const PARALLEL: Case = Case {
    name: "several queue pairs at once",
    run: parallel,
};

/// Eventfds.
pub const INTERRUPTS: Case = Case {
    name: "completions by interrupts",
    run: interrupts,
};

/// Device to device.
pub const PEERS: Case = Case {
    name: "one device writes into the other's memory and reads it",
    run: peers,
};

/// The program of tools/lib/capi/examples, which is linked statically.
pub const EXAMPLE: &str = "skiff-c-nvme";

/// Bytes of a transfer: whole and broken commands.
const BYTES: u64 = (192 << 10) + 3 * 512;

fn moved(actor: &Actor<'_>, way: &str, from: u64, bytes: u64, seed: u64) -> Result<Moved> {
    let moved: Moved = actor.ask(&format!("nvme move disk {way} {from} {bytes} {seed}"))?;
    ensure!(moved.wrong == 0 && moved.commands > 0, "{way}: {moved:?}");
    Ok(moved)
}

/// Identify, write, flush, read back, look into the image.
fn round(
    cluster: &Cluster,
    actor: &Actor<'_>,
    options: &str,
    from: u64,
    seed: u64,
) -> Result<Vec<u64>> {
    let fdid = lend::seen(cluster, actor, NVME)?.fdid;
    actor.tell(&format!("borrow device {fdid} --exclusive"))?;
    let started: Started = actor.ask(&format!("nvme start disk device {options}"))?;
    ensure!(
        started.serial == "skiff-one"
            && started.block == 512
            && started.blocks * 512 == DISK
            && started.version >= 0x1_0000,
        "{started:?}"
    );
    moved(actor, "write", from, BYTES, seed)?;
    actor.tell("nvme flush disk")?;
    on_disk(cluster, NVME, from, BYTES, seed)?;
    moved(actor, "read", from, BYTES, seed)?;
    // A comparison that cannot fail says nothing.
    let other: Moved = actor.ask(&format!("nvme move disk read {from} {BYTES} {}", seed + 1))?;
    ensure!(
        other.wrong > BYTES / 2,
        "other bytes are found right: {other:?}"
    );
    let info: BorrowInfo = actor.ask("device-info device")?;
    ensure!(info.maps > 0, "{info:?}");
    let interrupts: Vec<u64> = actor.ask("nvme stop disk")?;
    let info: BorrowInfo = actor.ask("device-info device")?;
    ensure!(info.maps == 0, "all was unmapped: {info:?}");
    actor.tell("return device")?;
    actor.tell("drop device")?;
    wait_state(actor, fdid, "Available")?;
    Ok(interrupts)
}

fn places(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let local = "--submissions local --completions local --data local";
    let mixed = "--submissions device --completions local --data local";
    let device = "--submissions device --completions device --data device";
    let hinted = "--submissions hinted --completions hinted --data hinted";
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let home = Actor::start(cluster.node(LENDER), "home")?;
    let table = [
        ("all of the borrower", &user, local),
        ("submissions at the lender", &user, mixed),
        ("all at the lender", &user, device),
        ("all where the hints want it", &user, hinted),
        ("the lender borrows from itself", &home, local),
        ("the lender with memory of the device", &home, device),
        ("the lender with hints", &home, hinted),
    ];
    for (index, (name, actor, options)) in (1..).zip(table) {
        round(cluster, actor, options, index << 20, index).context(name)?;
    }
    if cluster.nodes().len() > THIRD {
        third(cluster, &user)?;
    }
    Ok(())
}

/// With memory of a node that neither lends nor borrows. The borrower uses it across the fabric as the device does.
fn third(cluster: &Cluster, user: &Actor<'_>) -> Result<()> {
    let owner = Actor::start(cluster.node(THIRD), "owner")?;
    let number = owner.status()?.node;
    owner.tell("create segment 0x100000 --id 77 --mode 666 --share")?;
    user.tell(&format!("connect far --node {number} 77"))?;
    let options = "--submissions far --completions far --data far";
    round(cluster, user, options, 10 << 20, 10).context("all of a third node")?;
    let options = "--submissions device --completions local --data far";
    round(cluster, user, options, 11 << 20, 11).context("data of a third node")?;
    user.tell("drop far")?;
    in_c(cluster, user, &format!("{number}:77"))
}

/// The example of libskiff, which knows nothing of what the actors are made of.
fn in_c(cluster: &Cluster, user: &Actor<'_>, far: &str) -> Result<()> {
    let fdid = lend::seen(cluster, user, NVME)?.fdid;
    let run = |options: &str, from: u64, seed: u64| -> Result<Output> {
        let line = format!("{EXAMPLE} {options} {fdid} {from} {BYTES} {seed}");
        let output = user.node().run(&line)?;
        wait_state(user, fdid, "Available")?;
        let told = output.stdout_text();
        ensure!(
            told.contains("serial skiff-one ")
                && told.contains(&format!(": {} blocks of 512 bytes", DISK / 512)),
            "{line}: {output:?}"
        );
        Ok(output)
    };
    let table = [
        (12, String::new()),
        (13, "-s device".to_owned()),
        (14, "-s device -c device -d device".to_owned()),
        (15, format!("-s {far} -c {far} -d {far}")),
        (16, format!("-s device -d {far}")),
    ];
    for (seed, options) in table {
        let from = seed << 20;
        run(&options, from, seed)?.check()?;
        on_disk(cluster, NVME, from, BYTES, seed).context(options)?;
    }
    let other = run("-r", 12 << 20, 13)?;
    ensure!(
        other.status.code() == 1 && other.stderr_text().contains(" bytes are wrong"),
        "other bytes are found right: {other:?}"
    );
    run("-r", 12 << 20, 12)?.check()?;
    Ok(())
}

fn parallel(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    user.tell(&format!("borrow device {fdid}"))?;
    user.tell("nvme start disk device --queues 4 --submissions device --entries 16")?;
    let steps = (1..=4).map(|queue: u64| {
        let from = (20 + queue) << 20;
        user.begin(&format!(
            "nvme move disk write {from} {BYTES} {queue} --queue {queue}"
        ))
    });
    let steps: Vec<_> = steps.collect::<Result<_>>()?;
    for step in steps {
        let moved: Moved = step.ask()?;
        ensure!(moved.commands > 1, "{moved:?}");
    }
    user.tell("nvme flush disk")?;
    for queue in 1..=4 {
        on_disk(cluster, NVME, (20 + queue) << 20, BYTES, queue)?;
    }
    let interrupts: Vec<u64> = user.ask("nvme stop disk")?;
    ensure!(
        interrupts == [0; 5],
        "nobody asked for interrupts: {interrupts:?}"
    );
    user.tell("drop device")?;
    wait_state(&user, fdid, "Available")
}

fn interrupts(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    for (index, node) in [BORROWER, LENDER].into_iter().enumerate() {
        let user = Actor::start(cluster.node(node), "user")?;
        let from = (30 + index as u64) << 20;
        let count = round(cluster, &user, "--queues 2 --interrupts", from, 30)?;
        // The second queue was not used.
        ensure!(
            count.len() == 3 && count[0] > 0 && count[1] > 0 && count[2] == 0,
            "node {node}: interrupts of the queues: {count:?}"
        );
    }
    Ok(())
}

fn peers(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    for (name, device) in [("one", NVME), ("two", BUFFERED)] {
        let fdid = lend::seen(cluster, &user, device)?.fdid;
        user.tell(&format!("borrow {name} {fdid} --exclusive"))?;
    }
    user.tell("device-connect buffer two bar 2")?;
    user.tell("map window buffer --uncached")?;
    let address: u64 = user.ask("device-map peer one buffer")?;
    user.tell("nvme start disk one")?;
    let (from, seed) = (40 << 20, 41);
    moved(&user, "write", from, 4 * PAGE, seed)?;
    store(cluster, &user, "window", 8 * PAGE, 1)?;
    // Disk of one, memory of the other: not a byte of it comes by the borrower.
    for page in 0..4 {
        let (place, target) = (from + page * PAGE, address + 2 * page * PAGE);
        let status: u16 = user.ask(&format!("nvme aim disk read {place} {PAGE} {target:#x}"))?;
        ensure!(status == 0, "page {page}: status {status:#x}");
        let step = format!(
            "verify window {} {PAGE} {seed} --from {place}",
            2 * page * PAGE
        );
        sure(cluster, || user.ask(&step)).with_context(|| step.clone())?;
        // The page behind it is as it was.
        let step = format!("verify window {} {PAGE} 1", (2 * page + 1) * PAGE);
        sure(cluster, || user.ask(&step)).with_context(|| step.clone())?;
    }
    // And back, to another place of the disk: what the borrower has stored there.
    let (to, source) = (41 << 20, address + (5 << 12));
    let status: u16 = user.ask(&format!("nvme aim disk write {to} {PAGE} {source:#x}"))?;
    ensure!(status == 0, "status {status:#x}");
    user.tell("nvme flush disk")?;
    user.tell(&format!("nvme aim disk read {to} {PAGE} {address:#x}"))?;
    let step = format!("verify window 0 {PAGE} 1 --from {}", 5 * PAGE);
    sure(cluster, || user.ask(&step)).context("what went there and back")?;
    user.tell("nvme stop disk")?;
    user.tell("device-unmap one peer")?;
    for name in ["window", "buffer", "one", "two"] {
        user.tell(&format!("drop {name}"))?;
    }
    for device in [NVME, BUFFERED] {
        let fdid = lend::seen(cluster, &user, device)?.fdid;
        wait_state(&user, fdid, "Available")?;
    }
    Ok(())
}
