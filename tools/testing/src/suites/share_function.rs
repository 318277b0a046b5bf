// SPDX-License-Identifier: GPL-2.0
//! The function is pulled out, reset, or reports an error; the module is unloaded; the machine sleeps and reboots.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Node;
use skiff_cluster::PortError;

use super::share_outage::pair;
use super::share_outage::SIZE;
use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;
use crate::share::Status;
use crate::share::Traffic;
use crate::share::PAGE;
use crate::share::SOON;

/// See the module.
pub const FUNCTION: Suite = Suite {
    name: "share function",
    on: &[Setting::STOCK],
    describe,
    prepare: |context| share::load_everywhere(context.cluster, ""),
    cases: &[
        Case {
            name: "it is pulled out under load and comes back",
            run: unplugged,
        },
        Case {
            name: "rmmod is refused while in use, and clean afterwards",
            run: reloads,
        },
        Case {
            name: "suspend is refused while in use",
            run: suspend,
        },
        Case {
            name: "reset and error of the function under load",
            run: resets,
        },
        Case {
            name: "reboot and reset of a node in use",
            run: reboots,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

fn unplugged(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let goes = cluster.node(1);
    let watcher = Actor::start(cluster.node(0), "watcher")?;
    let before = Balance::of(&watcher)?;
    for round in 0..context.scale.pick(3, 200) {
        let one = || -> Result<()> {
            let (owner, user) = pair(cluster, 1, 0, 1)?;
            let (serves, own) = pair(cluster, 0, 1, 2)?;
            goes.unplug_ntb(0)?;
            user.event("remote", "NotOperational")?;
            for (actor, who) in [(&user, "the other node"), (&own, "the own node")] {
                let seen: Traffic = actor.ask("calm traffic")?;
                ensure!(
                    seen.wrong == 0 && seen.refused == 1,
                    "traffic of {who}: {seen:?}"
                );
                actor.all_refused("map", SIZE / PAGE)?;
            }
            let status: Status = own.status()?;
            ensure!(status.adapters.is_empty(), "{status:?}");
            // What it owns is still there, for itself.
            owner.tell("map own segment")?;
            owner.fill("own", 0, SIZE, 1)?;
            owner.verify("own", 0, SIZE, 1)?;
            drop((owner, user, serves, own));
            goes.plug_ntb(0)?;
            for node in cluster.nodes() {
                share::wait_up(cluster, node)?;
            }
            let (_, user) = pair(cluster, 1, 0, 3)?;
            let seen: Traffic = user.ask("calm traffic")?;
            ensure!(seen.wrong + seen.ones + seen.refused == 0, "{seen:?}");
            Ok(())
        };
        one().with_context(|| format!("round {round}"))?;
    }
    before.wait_back(&watcher)
}

fn reloads(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let node = cluster.node(1);
    {
        let (owner, user) = pair(cluster, 0, 1, 1)?;
        let output = node.run("rmmod skiff")?;
        ensure!(
            !output.status.success(),
            "the module went although it is in use"
        );
        let seen: Traffic = user.ask("calm traffic")?;
        ensure!(
            seen.wrong + seen.ones + seen.refused == 0,
            "the attempt disturbed traffic: {seen:?}"
        );
        user.kill()?;
        owner.kill()?;
    }
    for round in 0..context.scale.pick(20, 500) {
        let one = || -> Result<()> {
            share::unload(node)?;
            let gone = node.run("test ! -e /dev/skiff && test ! -e /sys/kernel/debug/skiff")?;
            ensure!(gone.status.success(), "the module left files behind");
            share::load(node, "")?;
            share::wait_up(cluster, node)?;
            share::wait_up(cluster, cluster.node(0))?;
            let (owner, user) = pair(cluster, 1, 0, 1)?;
            let seen: Traffic = user.ask("calm traffic")?;
            ensure!(seen.wrong + seen.ones + seen.refused == 0, "{seen:?}");
            user.kill()?;
            owner.kill()
        };
        one().with_context(|| format!("reload {round}"))?;
    }
    Ok(())
}

fn suspend(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let node = cluster.node(1);
    // Drivers suspend and resume as for a sleep, which nobody would wake this machine from.
    node.run("echo 1 > /sys/module/suspend/parameters/pm_test_delay && echo devices > /sys/power/pm_test")?
        .check()?;
    {
        let (_owner, user) = pair(cluster, 0, 1, 1)?;
        let output = node.sleep()?;
        ensure!(!output.status.success(), "the node has slept");
        node.wait_log("in use, so that the machine cannot sleep", SOON)?;
        let seen: Traffic = user.ask("calm traffic")?;
        ensure!(
            seen.wrong + seen.ones + seen.refused == 0,
            "the attempt disturbed traffic: {seen:?}"
        );
        user.fill("map", 0, SIZE, 1)?;
        user.verify("map", 0, SIZE, 1)?;
    }
    // Who is not in use sleeps, and is back afterwards.
    let watcher = Actor::start(cluster.node(0), "watcher")?;
    node.sleep()?.check()?;
    watcher.node_event("NotOperational")?;
    watcher.node_event("Operational")?;
    works(cluster, 0, 1)?;
    works(cluster, 1, 0)
}

/// A connection can be made and used.
fn works(cluster: &Cluster, owner: usize, user: usize) -> Result<()> {
    let (_owner, user) = pair(cluster, owner, user, 9)?;
    let seen: Traffic = user.ask("calm traffic")?;
    ensure!(
        seen.good > 0 && seen.wrong + seen.ones + seen.refused == 0,
        "{seen:?}"
    );
    Ok(())
}

fn resets(context: &mut Context<'_>) -> Result<()> {
    type How = fn(&Node) -> Result<()>;
    let ways: [(&str, How); 3] = [
        ("a reset by the superuser", |node| {
            let reset = format!(
                "echo 1 > /sys/bus/pci/devices/{}/reset",
                node.ntb_address(0)?
            );
            node.run(&reset)?.check()?;
            Ok(())
        }),
        ("a fatal error of the port above", |node| {
            Ok(node.report_error(0, PortError::Fatal)?)
        }),
        ("an error of the port above that is not fatal", |node| {
            Ok(node.report_error(0, PortError::NonFatal)?)
        }),
    ];
    for (name, how) in ways {
        context.check(name, |cluster| {
            let goes = cluster.node(1);
            let watchers = [
                Actor::start(cluster.node(0), "watcher")?,
                Actor::start(goes, "watcher")?,
            ];
            let before = [Balance::of(&watchers[0])?, Balance::of(&watchers[1])?];
            let pairs = [pair(cluster, 1, 0, 1)?, pair(cluster, 0, 1, 2)?];
            how(goes)?;
            for (_, user) in &pairs {
                user.event("remote", "NotOperational")?;
                user.event("remote", "Operational")?;
            }
            // The maps that were there lead to the same memory again.
            for (seed, (owner, user)) in (1..).zip(&pairs) {
                let seen: Traffic = user.ask("calm traffic")?;
                ensure!(seen.wrong == 0 && seen.refused == 1, "{seen:?}");
                user.fill("map", 0, SIZE, seed)?;
                owner.tell("map own segment")?;
                owner.verify("own", 0, SIZE, seed)?;
            }
            drop(pairs);
            before[0].wait_back(&watchers[0])?;
            before[1].wait_back(&watchers[1])
        });
    }
    Ok(())
}

fn reboots(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let goes = cluster.node(1);
    for how in ["reboot", "reset"] {
        context.check(how, |cluster| {
            let (owner, user) = pair(cluster, 1, 0, 1)?;
            let (serves, own) = pair(cluster, 0, 1, 2)?;
            match how {
                "reboot" => goes.reboot()?,
                _ => goes.reset()?,
            }
            user.event("remote", "NotOperational")?;
            user.all_refused("map", SIZE / PAGE)?;
            share::load(goes, "")?;
            for node in cluster.nodes() {
                share::wait_up(cluster, node)?;
            }
            user.event("remote", "Lost")?;
            serves.event("segment", "PeerLost")?;
            drop((owner, user, serves, own));
            let (_owner, user) = pair(cluster, 1, 0, 3)?;
            let seen: Traffic = user.ask("calm traffic")?;
            ensure!(
                seen.good > 0 && seen.wrong + seen.ones + seen.refused == 0,
                "{seen:?}"
            );
            Ok(())
        });
    }
    Ok(())
}
