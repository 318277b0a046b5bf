// SPDX-License-Identifier: GPL-2.0
//! One drive, three nodes at once. Without an IOMMU the lender copies, the first borrower lets the controller reach all its memory, and for
//! the second one there are not slots enough.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Node;

use crate::disk::Pending;
use crate::disk::Region;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::lend::THIRD;
use crate::nvme;
use crate::nvme::region;
use crate::nvme::Way;
use crate::share::Actor;
use crate::share::Balance;
use crate::share::PAGE;

/// All go on.
pub const DISJOINT: Case = Case {
    name: "three nodes, the lender among them, on regions of their own; each finds what the others wrote",
    run: disjoint,
};

/// One does not.
pub const KILLED: Case = Case {
    name: "one of three is killed: the others' I/O goes on and is right; it comes back",
    run: killed,
};

/// The controller is reset under all of them.
pub const RESET: Case = Case {
    name: "the drive does not answer: the controller is reset, all go on, and all of it is right",
    run: reset,
};

/// And one of them does not hear of it.
pub const UNHEARD: Case = Case {
    name: "the controller is reset, and one node is not told: it finds out, rings no doorbell of others, and all of it is right",
    run: unheard,
};

/// MiB of a region.
const BYTES: u64 = 3;
/// MiB from one to the next.
const APART: u64 = 16;

/// What the lender says when it has reset the controller.
const RESET_OVER: &str = "the controller was reset: Ok";
/// What everybody says then.
const GOES_ON: &str = "it goes on after a reset";

/// Loads skiff_nvme.ko everywhere, at the lender first: who comes later finds it there. Gives the paths of the disks.
fn load(cluster: &Cluster, parameters: &str) -> Result<Vec<String>> {
    load_each(cluster, |_| parameters)
}

/// The same with parameters for each node.
fn load_each<'a>(cluster: &Cluster, parameters: impl Fn(usize) -> &'a str) -> Result<Vec<String>> {
    let home = nvme::load_with(cluster.node(LENDER), parameters(LENDER))?;
    cluster
        .nodes()
        .iter()
        .map(|node| match node.index() {
            LENDER => Ok(home.clone()),
            index => nvme::load_with(node, parameters(index)),
        })
        .collect()
}

/// Unloads it everywhere, at the lender last.
fn unload(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        if node.index() != LENDER {
            nvme::unload(node)?;
        }
    }
    nvme::unload(cluster.node(LENDER))
}

/// The region of a node.
fn own_region(paths: &[String], index: usize) -> Region<'_> {
    let number = index as u64;
    region(&paths[index], number * APART, BYTES, 30 + number)
}

/// Begins I/O in all nodes, each on a region of its own.
fn begin(cluster: &Cluster, paths: &[String], seconds: u64) -> Result<Vec<Pending>> {
    cluster
        .nodes()
        .iter()
        .map(|node| own_region(paths, node.index()).work_for(node, seconds))
        .collect()
}

/// The ways of data are those that there are slots for.
fn check_ways(context: &Context<'_>) -> Result<()> {
    let others = match context.setting.iommu {
        Iommu::Off => [Way::Direct, Way::Copied],
        _ => [Way::Linked; 2],
    };
    for (index, expected) in [
        (LENDER, Way::Copied),
        (BORROWER, others[0]),
        (THIRD, others[1]),
    ] {
        let way = nvme::way(context.cluster.node(index))?;
        ensure!(way == expected, "data of node {index} are {way:?}");
    }
    Ok(())
}

/// Segments are connected and mapped all the same, in slots that are left for them.
fn map_others(owner: &Actor<'_>, user: &Actor<'_>, port: u8) -> Result<()> {
    owner.tell(&format!("create segment {PAGE} --id 71 --mode 666 --share"))?;
    user.tell(&format!("connect other --node {port} 71"))?;
    user.tell("map far other")?;
    user.tell("poke far 0 0x77")?;
    owner.tell("map own segment")?;
    owner.until("peek own 0", |word: &u32| *word == 0x77)?;
    for name in ["far", "other"] {
        user.tell(&format!("drop {name}"))?;
    }
    owner.tell("drop own")?;
    owner.tell("drop segment")
}

fn disjoint(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let watchers = cluster
        .nodes()
        .iter()
        .map(|node| Actor::start(node, "watcher"))
        .collect::<Result<Vec<_>>>()?;
    let before = watchers
        .iter()
        .map(Balance::of)
        .collect::<Result<Vec<_>>>()?;
    let paths = load(cluster, "")?;
    check_ways(context)?;
    let port = cluster.node(THIRD).port(0);
    map_others(&watchers[THIRD], &watchers[LENDER], port)?;
    let seconds = u64::from(context.scale.pick(3, 600));
    let mut done = Vec::new();
    for pending in begin(cluster, &paths, seconds)? {
        done.push(pending.outcome()?.good()?.operations);
    }
    for node in cluster.nodes() {
        let other = (node.index() + 1) % paths.len();
        let index = other as u64;
        region(&paths[node.index()], index * APART, BYTES, 30 + index).check(node, done[other])?;
    }
    unload(cluster)?;
    for (before, watcher) in before.iter().zip(&watchers) {
        before.wait_back(watcher)?;
    }
    Ok(())
}

fn killed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let mut paths = load(cluster, "")?;
    check_ways(context)?;
    for _ in 0..context.scale.pick(1, 30) {
        let mut pending = begin(cluster, &paths, 6)?;
        sleep(Duration::from_secs(1));
        ensure!(
            !pending[BORROWER].is_over(),
            "it was over before its node was"
        );
        cluster.node(BORROWER).kill()?;
        drop(pending.remove(BORROWER));
        ensure!(
            pending.iter().all(|pending| !pending.is_over()),
            "it ended too early to be disturbed"
        );
        let mut done = Vec::new();
        for pending in pending {
            done.push(pending.outcome()?.good()?.operations);
        }
        for (index, operations) in (LENDER as u64..).zip(done) {
            let node = cluster.node(index as usize);
            region(&paths[index as usize], index * APART, BYTES, 30 + index)
                .check(node, operations)?;
        }
        nvme::start_again(cluster, BORROWER)?;
        paths[BORROWER] = nvme::load(cluster.node(BORROWER))?;
        // The slots that it had are there again.
        check_ways(context)?;
        region(&paths[BORROWER], BORROWER as u64 * APART, BYTES, 40)
            .work(cluster.node(BORROWER), 500)?;
    }
    unload(cluster)
}

fn reset(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let home = cluster.node(LENDER);
    let operations = u64::from(context.scale.pick(2000, 200_000));
    let paths = load(cluster, "io_timeout_ms=1000")?;
    let pending = begin_many(cluster, &paths, operations)?;
    let before = told_by_all(cluster, GOES_ON);
    let resets = nvme::count_told(home, RESET_OVER);
    home.throttle(NVME.name(), 1)?;
    let reset = nvme::wait_told(home, RESET_OVER, resets);
    home.throttle(NVME.name(), 0)?;
    reset?;
    for (node, before) in cluster.nodes().iter().zip(before) {
        nvme::wait_told(node, GOES_ON, before)?;
    }
    finish(cluster, &paths, pending)?;
    unload(cluster)
}

/// Begins so many operations in all nodes: by their number, for nobody knows how long it takes.
fn begin_many(cluster: &Cluster, paths: &[String], operations: u64) -> Result<Vec<Pending>> {
    cluster
        .nodes()
        .iter()
        .map(|node| own_region(paths, node.index()).begin(node, operations))
        .collect()
}

/// How often each node has told something.
fn told_by_all(cluster: &Cluster, text: &str) -> Vec<usize> {
    let nodes = cluster.nodes().iter();
    nodes.map(|node| nvme::count_told(node, text)).collect()
}

/// Waits for the end of what was begun, and looks at what it has left.
fn finish(cluster: &Cluster, paths: &[String], pending: Vec<Pending>) -> Result<()> {
    for (node, pending) in cluster.nodes().iter().zip(pending) {
        let done = pending.outcome()?.good()?.operations;
        own_region(paths, node.index()).check(node, done)?;
    }
    Ok(())
}

/// The node stands still while the lender has more messages for it than may wait: those of the reset are lost.
fn unheard(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (home, deaf) = (cluster.node(LENDER), cluster.node(BORROWER));
    let operations = u64::from(context.scale.pick(2000, 200_000));
    for node in [home, deaf] {
        node.modprobe("skiff_kapi")?;
    }
    let paths = load_each(cluster, |index| match index {
        // Nothing is late there for some time after the reset.
        BORROWER => "io_timeout_ms=5000",
        _ => "io_timeout_ms=1000",
    })?;
    let pending = begin_many(cluster, &paths, operations)?;
    let before = told_by_all(cluster, GOES_ON);
    let resets = nvme::count_told(home, RESET_OVER);
    home.throttle(NVME.name(), 1)?;
    deaf.pause()?;
    let reset = flood(home, deaf.port(0)).and_then(|()| {
        nvme::wait_told(home, RESET_OVER, resets)?;
        home.throttle(NVME.name(), 0)?;
        // The others have queues again, and might have got the numbers of those that it had.
        for index in [LENDER, THIRD] {
            nvme::wait_told(cluster.node(index), GOES_ON, before[index])?;
        }
        Ok(())
    });
    home.throttle(NVME.name(), 0)?;
    deaf.resume()?;
    reset?;
    // Meanwhile it rings the doorbells of the queues that it had.
    let from = BORROWER as u64 * APART + APART / 2;
    let more = region(&paths[BORROWER], from, BYTES, 50);
    let done = more.work(deaf, operations)?.operations;
    nvme::wait_told(deaf, GOES_ON, before[BORROWER])?;
    more.check(deaf, done)?;
    finish(cluster, &paths, pending)?;
    unload(cluster)?;
    for node in [home, deaf] {
        node.run("rmmod skiff_kapi")?.check()?;
    }
    Ok(())
}

/// Sends messages to a node that takes none until there is no room for one more.
fn flood(node: &Node, port: u8) -> Result<()> {
    let line = format!("echo 'flood {port} 100000' > /sys/module/skiff_kapi/parameters/command");
    let said = node.run(&line)?;
    let said = said.stderr_text();
    ensure!(
        said.contains("Device or resource busy"),
        "it is not full: {said}"
    );
    Ok(())
}
