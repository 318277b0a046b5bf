// SPDX-License-Identifier: GPL-2.0
//! The samples of kernel clients, skiff_sample_c.ko and skiff_sample_rust.ko: they write to each other, and borrow a device, as
//! nodes, devices and the modules themselves come and go.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use ntb_switch::control::LinkState;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use super::fdid;
use super::give;
use super::segments;
use super::segments::Watch;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::wait_state;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::log::Line;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;

const C: &str = "skiff_sample_c";
const RUST: &str = "skiff_sample_rust";

/// Within which everything is told.
const LIMIT: Duration = Duration::from_secs(60);

/// See its name.
pub const TWO_IN_C: Case = Case {
    name: "samples in C write to each other and use a device, whoever comes first",
    run: |context| greet(context, [C, C]),
};

/// See its name.
pub const RUST_AND_C: Case = Case {
    name: "a sample in Rust and one in C do so",
    run: |context| greet(context, [RUST, C]),
};

/// See its name.
pub const TAKEN: Case = Case {
    name: "the lender takes the device from a sample, and gives it back",
    run: taken,
};

/// See its name. A driver that was removed first would not hear of it.
pub const CUT: Case = Case {
    name: "a sample hears of every end before its driver is removed",
    run: cut,
};

/// See its name.
pub const KILLED: Case = Case {
    name: "the lender's node dies under a sample and a map of its segment, and comes back",
    run: killed,
};

/// A line that a sample is to write into the log of its node once more than it has by now.
fn line<'a>(node: &'a Node, module: &str, text: &str) -> Result<Line<'a>> {
    Line::new(node, &format!("{module}: {text}"))
}

/// What samples say when the one on node `later` finds that of the other node.
fn greetings<'a>(cluster: &'a Cluster, modules: [&str; 2], later: usize) -> Result<[Line<'a>; 2]> {
    let greeting = |on: usize, text: &dyn Fn(u8) -> String| {
        let about = cluster.node(1 - on).port(0);
        line(cluster.node(on), modules[on], &text(about))
    };
    Ok([
        greeting(later, &|node| format!("wrote to node {node}"))?,
        greeting(1 - later, &|node| format!("node {node} wrote its number"))?,
    ])
}

/// What the borrower's says when it has used the device.
fn copied<'a>(cluster: &'a Cluster, module: &str) -> Result<Line<'a>> {
    let id = fdid(cluster)?;
    line(
        cluster.node(BORROWER),
        module,
        &format!("device {id:#x} copied"),
    )
}

fn wait(lines: &[Line<'_>]) -> Result<()> {
    lines.iter().try_for_each(|line| line.wait(LIMIT))
}

fn load(node: &Node, module: &str) -> Result<()> {
    Ok(node.modprobe(module)?)
}

fn unload(node: &Node, module: &str) -> Result<()> {
    node.run(&format!("rmmod {module}"))?.check()?;
    Ok(())
}

fn greet(context: &mut Context<'_>, modules: [&str; 2]) -> Result<()> {
    let cluster = context.cluster;
    let nodes = [cluster.node(0), cluster.node(1)];
    let id = fdid(cluster)?;
    let watchers = [
        Actor::start(nodes[0], "watcher")?,
        Actor::start(nodes[1], "watcher")?,
    ];
    let before = [Balance::of(&watchers[0])?, Balance::of(&watchers[1])?];

    for first in [0, 1] {
        let later = 1 - first;
        let used = copied(cluster, modules[BORROWER])?;
        load(nodes[first], modules[first])?;
        let lines = greetings(cluster, modules, later)?;
        load(nodes[later], modules[later])?;
        wait(&lines)?;
        used.wait(LIMIT)?;
        if modules[BORROWER] == RUST {
            wait_state(&watchers[LENDER], id, "Exclusive")?;
        }
        for node in nodes {
            ensure!(
                !node.run("rmmod skiff")?.status.success(),
                "skiff.ko has gone"
            );
        }

        // One goes and comes back.
        unload(nodes[first], modules[first])?;
        let lines = greetings(cluster, modules, first)?;
        load(nodes[first], modules[first])?;
        wait(&lines)?;

        for index in [first, later] {
            unload(nodes[index], modules[index])?;
        }
        wait_state(&watchers[LENDER], id, "Available")?;
        for (before, watcher) in before.iter().zip(&watchers) {
            before.wait_back(watcher)?;
        }
    }
    Ok(())
}

fn taken(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (id, node) = (fdid(cluster)?, cluster.node(BORROWER));
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let watcher = Actor::start(node, "watcher")?;
    let before = Balance::of(&watcher)?;
    let used = copied(cluster, RUST)?;
    load(node, RUST)?;
    used.wait(LIMIT)?;

    let gone = line(node, RUST, "the device is gone")?;
    lender.refused(&format!("lend-unavailable {id}"), "EBUSY")?;
    lender.tell(&format!("lend-unavailable {id} --force"))?;
    gone.wait(LIMIT)?;

    // What is there again is used again.
    let used = copied(cluster, RUST)?;
    let waiver = lend::waiver(context.setting);
    lender.tell(&format!("lend-available {id} {waiver}"))?;
    used.wait(LIMIT)?;
    unload(node, RUST)?;
    wait_state(&lender, id, "Available")?;
    before.wait_back(&watcher)
}

fn cut(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, port) = (cluster.node(BORROWER), cluster.node(LENDER).port(0));
    let watcher = Actor::start(node, "watcher")?;
    let before = Balance::of(&watcher)?;
    let used = copied(cluster, RUST)?;
    load(node, RUST)?;
    used.wait(LIMIT)?;
    // Who is faster once in a while shows in a night only.
    for _ in 0..context.scale.pick(5, 500) {
        let gone = line(node, RUST, "the device is gone")?;
        cluster.switch().set_link(port, LinkState::Down)?;
        let told = gone.wait(LIMIT);
        let used = copied(cluster, RUST)?;
        cluster.switch().set_link(port, LinkState::Up)?;
        told?;
        // The driver is probed anew, and asks for the device that it has lost.
        used.wait(LIMIT)?;
    }
    unload(node, RUST)?;
    let id = fdid(cluster)?;
    wait_state(&watcher, id, "Available")?;
    before.wait_back(&watcher)
}

fn killed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, lender) = (cluster.node(BORROWER), cluster.node(LENDER));
    let watcher = Actor::start(node, "watcher")?;
    let before = Balance::of(&watcher)?;
    let used = copied(cluster, RUST)?;
    load(node, RUST)?;
    used.wait(LIMIT)?;
    let watch = Watch::begin(cluster)?;
    watch.connect("theirs")?;

    let gone = line(node, RUST, "the device is gone")?;
    watch.says(&segments::AWAY, || Ok(lender.kill()?))?;
    gone.wait(LIMIT)?;
    node.wait_for(
        "[ -z \"$(ls /sys/bus/auxiliary/devices)\" ] && echo none",
        LIMIT,
    )?;

    lender.start()?;
    // Only now is its former life over.
    watch.says(&segments::DEAD, || share::load(lender, ""))?;
    watch.end()?;
    for node in [node, lender] {
        share::wait_up(cluster, node)?;
    }
    let lines = greetings(cluster, [RUST, RUST], LENDER)?;
    let used = line(node, RUST, "device 0x[0-9a-f]* copied")?;
    give(context)?;
    load(lender, RUST)?;
    wait(&lines)?;
    used.wait(LIMIT)?;
    for node in [node, lender] {
        unload(node, RUST)?;
    }
    let id = fdid(cluster)?;
    wait_state(&watcher, id, "Available")?;
    before.wait_back(&watcher)
}
