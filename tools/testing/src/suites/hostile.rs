// SPDX-License-Identifier: GPL-2.0
//! One of three nodes has no skiff.ko and attacks the others over the bridge; these share memory with each other all the while.
//!
//! The attacks are `skiff-guest hostile` (tools/testing/guest/src/hostile/); Documentation/security.rst says what they show.

mod aims;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Job;
use skiff_cluster::Kernel;
use skiff_cluster::Node;
use skiff_cluster::Occurs;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;
use crate::share::NodeStatus;
use crate::share::Status;
use crate::share::Traffic;
use crate::share::PAGE;
use crate::share::SOON;

/// See the module.
pub const HOSTILE: Suite = Suite {
    name: "hostile",
    on: &[
        Setting::STOCK
            .kernel(Kernel::Debug)
            .nodes(3)
            .iommu(Iommu::Intel { remap: true }),
        Setting::STOCK.nodes(3),
    ],
    describe,
    prepare,
    cases: &[
        Case {
            name: "messages of every kind",
            run: talk,
        },
        Case {
            name: "sessions that end in every way",
            run: breach,
        },
        Case {
            name: "anything while greeting, boot words, one life after the other",
            run: greet,
        },
        Case {
            name: "a node that says it is another one",
            run: claims,
        },
        Case {
            name: "an owner that lies",
            run: lies,
        },
        Case {
            name: "slots aimed at what is not exported",
            run: aims::memory,
        },
        Case {
            name: "slots aimed at interrupts",
            run: aims::interrupts,
        },
        Case {
            name: "registers of other ports",
            run: aims::registers,
        },
        Case {
            name: "slots aimed at another pair's rings",
            run: aims::rings,
        },
        Case {
            name: "the attacker boots skiff.ko and is a peer like any other",
            run: reforms,
        },
    ],
};

/// The attacker.
const ATTACKER: usize = 2;

/// What it prints behind its commands' names.
const VICTIMS: &str = "--victims 0,1";

fn describe(builder: Builder, setting: Setting) -> Builder {
    let builder = guest::install(builder)
        .switch_arg("--guarded")
        .cmdline("iomem=relaxed")
        // Three nodes of the debug kernel boot at a time.
        .boot_limit(Duration::from_secs(300))
        // Nothing of its own can protect the attacker from what it does to others' books.
        .node(ATTACKER, |node| {
            node.iommu(Iommu::Off).cmdline("memmap=4M$0x8000000")
        });
    if contained(setting) {
        // A trapped access to what is not mapped is reported by the node that it was aimed at.
        builder.expect_log("DMAR", Occurs::Allowed)
    } else {
        builder
    }
}

/// Whether the victims are held to what they export.
fn contained(setting: Setting) -> bool {
    setting.iommu == Iommu::Intel { remap: true }
}

fn prepare(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    for node in victims(cluster) {
        share::load(node, "")?;
    }
    for node in victims(cluster) {
        let actor = Actor::start(node, "waits")?;
        actor.until("status", |status: &Status| status.nodes == 0b11)?;
        ensure!(
            actor.status()?.contained == contained(context.setting),
            "the ABI says whether peers are contained, and it is not so"
        );
    }
    is_believed(cluster)
}

/// The nodes that are attacked.
fn victims(cluster: &Cluster) -> &[Node] {
    &cluster.nodes()[..ATTACKER]
}

/// Has the attacker do something; gives what it tells.
fn attack<T: DeserializeOwned>(cluster: &Cluster, options: &str, attack: &str) -> Result<T> {
    let command = format!("{} hostile {VICTIMS} {options} {attack}", guest::PATH);
    let output = cluster
        .node(ATTACKER)
        .shell(&command)
        .timeout(Duration::from_secs(24 * 3600))
        .run()?
        .check()?;
    let text = output.stdout_text();
    serde_json::from_str(text.trim()).with_context(|| format!("{attack} printed {text:?}"))
}

/// An attack that goes on until it is ended.
struct Attack<'a> {
    cluster: &'a Cluster,
    job: Job,
}

/// Where that is said to the attacker.
const STOP: &str = "/run/hostile.stop";

impl<'a> Attack<'a> {
    /// Begins it.
    fn begin(cluster: &'a Cluster, options: &str, attack: &str) -> Result<Self> {
        let attacker = cluster.node(ATTACKER);
        attacker.run(&format!("rm -f {STOP}"))?.check()?;
        let job = attacker
            .shell(&format!(
                "{} hostile {VICTIMS} {options} {attack} {STOP}",
                guest::PATH
            ))
            .timeout(Duration::from_secs(24 * 3600))
            .spawn()?;
        Ok(Self { cluster, job })
    }

    /// Ends it; gives what it tells.
    fn end<T: DeserializeOwned>(self) -> Result<T> {
        let attacker = self.cluster.node(ATTACKER);
        attacker.run(&format!("touch {STOP}"))?.check()?;
        let output = self.job.wait()?.check()?;
        Ok(serde_json::from_str(output.stdout_text().trim())?)
    }
}

/// What `hostile talk`, `breach` and others tell.
#[derive(Debug, Deserialize)]
struct Done {
    sent: u64,
    ups: u32,
    ends: u32,
    heard: u64,
    leases: u64,
    each: BTreeMap<String, u64>,
}

/// The victims' own business: segments of each that the other one uses all the while.
struct Business<'a> {
    pairs: [(Actor<'a>, Actor<'a>); 2],
}

/// Bytes of their segments.
const SIZE: u64 = 16 * PAGE;

impl<'a> Business<'a> {
    /// Begins it. The segments have the ids 5 and 6, and everybody may connect.
    fn begin(cluster: &'a Cluster) -> Result<Self> {
        let pair = |owner: usize, user: usize, id| -> Result<_> {
            let near = Actor::start(cluster.node(owner), "owner")?;
            let far = Actor::start(cluster.node(user), "user")?;
            near.tell(&format!("create s {SIZE} --id {id} --mode 666 --share"))?;
            near.tell("map own s")?;
            far.tell(&format!("connect r --node {owner} {id}"))?;
            far.tell("map map r")?;
            near.fill("own", 0, SIZE, id)?;
            far.verify("map", 0, SIZE, id)?;
            far.tell("traffic traffic map")?;
            Ok((near, far))
        };
        Ok(Self {
            pairs: [pair(0, 1, 5)?, pair(1, 0, 6)?],
        })
    }

    /// Ends it: nothing of it went wrong.
    fn end(self) -> Result<()> {
        for (owner, user) in &self.pairs {
            let seen: Traffic = user.ask("calm traffic")?;
            ensure!(
                seen.good > 0 && seen.wrong + seen.ones + seen.refused == 0,
                "between the victims: {seen:?}"
            );
            user.fill("map", 0, SIZE, 77)?;
            owner.verify("own", 0, SIZE, 77)?;
        }
        Ok(())
    }
}

/// What a node has counted of its peer at a port.
fn counted(node: &Node, peer: usize, name: &str) -> Result<u64> {
    let line = format!("grep 'peer={peer} ' /sys/kernel/debug/skiff/counters");
    let output = node.run(&line)?.check()?;
    let text = output.stdout_text();
    let value = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix(&format!("{name}=")))
        .with_context(|| format!("no {name} in {text:?}"))?;
    guest::number(value)
}

/// Lines of one interval of the kernel's limit, twice: an interval begins with its first line.
const LINES_MOST: usize = 20;
/// Seconds of it.
const INTERVAL: f64 = 5.0;

/// The log tells of the attacker, but no more than it may.
fn log_is_limited(cluster: &Cluster) -> Result<()> {
    for node in victims(cluster) {
        let about = format!("adapter 0 port {ATTACKER}: ");
        let times: Vec<f64> = node
            .kernel_log()
            .iter()
            .filter(|line| line.contains(&about))
            .filter_map(|line| {
                line.split_once('[')?
                    .1
                    .split(']')
                    .next()?
                    .trim()
                    .parse()
                    .ok()
            })
            .collect();
        ensure!(!times.is_empty(), "nothing was said of the attacker");
        let most = times
            .iter()
            .map(|from| {
                let until = from + INTERVAL;
                times
                    .iter()
                    .filter(|at| (*from..until).contains(*at))
                    .count()
            })
            .max();
        ensure!(
            most <= Some(LINES_MOST),
            "{most:?} lines about the attacker in {INTERVAL} s"
        );
    }
    Ok(())
}

/// The victims take the attacker for a peer.
fn is_believed(cluster: &Cluster) -> Result<()> {
    let behaves = Attack::begin(cluster, "", "behave")?;
    all_up(cluster)?;
    behaves.end::<serde_json::Value>().map(drop)
}

/// Waits until the victims know each other and the attacker.
fn all_up(cluster: &Cluster) -> Result<()> {
    for node in victims(cluster) {
        let actor = Actor::start(node, "waits")?;
        actor.until("status", |status: &Status| status.nodes == 0b111)?;
    }
    Ok(())
}

fn talk(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let count = u64::from(context.scale.pick(100_000, 10_000_000));
    let business = Business::begin(cluster)?;
    let done: Done = attack(cluster, "--seed 1", &format!("talk {count} --segments 5,6"))?;
    ensure!(done.sent >= count && done.ends == 0, "{done:?}");
    ensure!(done.heard > 0 && done.leases > 0, "{done:?}");
    ensure!(done.each.len() >= 15, "not every kind: {done:?}");
    let taken: u64 = victims(cluster)
        .iter()
        .map(|node| counted(node, ATTACKER, "messages_rx"))
        .sum::<Result<_>>()?;
    ensure!(taken >= count, "{taken} of {count} were taken");
    business.end()?;
    log_is_limited(cluster)
}

fn breach(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let rounds = context.scale.pick(1, 200);
    let business = Business::begin(cluster)?;
    let before: Vec<u64> = victims(cluster)
        .iter()
        .map(|node| counted(node, ATTACKER, "decode_errors"))
        .collect::<Result<_>>()?;
    let done: Done = attack(cluster, "--seed 2", &format!("breach {rounds}"))?;
    ensure!(u64::from(done.ends) >= done.sent, "{done:?}");
    for (node, before) in victims(cluster).iter().zip(before) {
        // Of thirteen ways these are nonsense; the others are an end in order.
        let nonsense = 9 * u64::from(rounds);
        let after = counted(node, ATTACKER, "decode_errors")?;
        ensure!(after >= before + nonsense, "{before}, then {after}");
    }
    business.end()?;
    log_is_limited(cluster)
}

fn greet(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let scale = context.scale;
    let business = Business::begin(cluster)?;
    for (seed, line) in [
        (3, format!("junk {}", scale.pick(20_000, 2_000_000))),
        (4, format!("words {}", scale.pick(2000, 200_000))),
        (5, format!("lives {}", scale.pick(4, 400))),
    ] {
        let done: Done = attack(cluster, &format!("--seed {seed}"), &line)?;
        // It is up with both at the end of each.
        ensure!(done.sent > 0 && done.ups >= 2, "{line}: {done:?}");
    }
    business.end()?;
    log_is_limited(cluster)
}

fn claims(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let actors = [
        Actor::start(cluster.node(0), "looks")?,
        Actor::start(cluster.node(1), "looks")?,
    ];
    let generations = [
        actors[0].status()?.generation,
        actors[1].status()?.generation,
    ];
    let business = Business::begin(cluster)?;
    for (what, options) in [
        ("another node", "--claim 1 --claim-adapter 1".to_owned()),
        ("a node that its port is not", "--claim 9".to_owned()),
        (
            "another node's life",
            format!("--generation {}", generations[1]),
        ),
    ] {
        let refused = counted(cluster.node(0), ATTACKER, "session_resets")?;
        let claims = Attack::begin(cluster, &options, "behave")?;
        let started = Instant::now();
        while counted(cluster.node(0), ATTACKER, "session_resets")? == refused {
            ensure!(started.elapsed() < SOON, "{what}: nobody was refused");
            sleep(Duration::from_millis(100));
        }
        claims.end::<serde_json::Value>()?;
        for (actor, generation) in actors.iter().zip(generations.iter().rev()) {
            let other = 1 - actor.status()?.node;
            let node: NodeStatus = actor.ask(&format!("node {other}"))?;
            ensure!(
                node.state == "Up" && node.generation == *generation,
                "{what}: {node:?}"
            );
            ensure!(
                actor.status()?.nodes & !0b111 == 0,
                "{what}: a node that does not exist is up"
            );
        }
    }
    // Also who was taken for an adapter of the victim's own node is a peer when it behaves.
    is_believed(cluster)?;
    business.end()
}

/// What `hostile own` tells.
#[derive(Debug, Deserialize)]
struct Lies {
    asked: u64,
    each: BTreeMap<String, u64>,
}

/// What `hostile bait` tells.
#[derive(Debug, Deserialize)]
struct Bait {
    connected: u64,
    mapped: u64,
    touched: u64,
    errors: BTreeMap<String, u64>,
}

fn lies(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let rounds = context.scale.pick(60, 20_000);
    let business = Business::begin(cluster)?;
    let mut held = Vec::new();
    for node in victims(cluster) {
        let actor = Actor::start(node, "looks")?;
        held.push((Balance::of(&actor)?, actor));
    }
    let owner = Attack::begin(cluster, "--seed 6", "own")?;
    all_up(cluster)?;
    let baits = victims(cluster)
        .iter()
        .map(|node| {
            let seed = 100 + node.index();
            let line = format!(
                "{} hostile --seed {seed} bait {ATTACKER} {rounds}",
                guest::PATH
            );
            Ok(node
                .shell(&line)
                .timeout(Duration::from_secs(24 * 3600))
                .spawn()?)
        })
        .collect::<Result<Vec<_>>>()?;
    for bait in baits {
        let output = bait.wait()?.check()?;
        let bait: Bait = serde_json::from_str(output.stdout_text().trim())?;
        ensure!(
            bait.connected > 0 && bait.mapped > 0 && bait.touched > 0,
            "{bait:?}"
        );
        ensure!(
            bait.errors.contains_key("EPROTO") && bait.errors.contains_key("ETIMEDOUT"),
            "{bait:?}"
        );
    }
    let lies: Lies = owner.end()?;
    ensure!(lies.asked >= u64::from(rounds), "{lies:?}");
    ensure!(lies.each.len() == 15, "not every lie was told: {lies:?}");
    for (before, actor) in held {
        before.wait_back(&actor)?;
    }
    business.end()?;
    log_is_limited(cluster)
}

fn reforms(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let reformed = cluster.node(ATTACKER);
    reformed.reboot()?;
    share::load(reformed, "")?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    for victim in victims(cluster) {
        let number = victim.index();
        let actor = Actor::start(victim, "looks")?;
        let before = Balance::of(&actor)?;
        for (owner, user, id) in [(victim, reformed, 11), (reformed, victim, 12)] {
            let near = Actor::start(owner, "owner")?;
            let far = Actor::start(user, "user")?;
            near.tell(&format!("create s {SIZE} --id {id} --mode 666 --share"))?;
            near.tell("map own s")?;
            far.tell(&format!("connect r --node {} {id}", owner.index()))?;
            far.tell("map map r")?;
            far.fill("map", 0, SIZE, id)?;
            near.verify("own", 0, SIZE, id)?;
        }
        before.wait_back(&actor)?;
        // Leases of the attacker's lives are over, and nothing is held back for them.
        let node: NodeStatus = actor.ask(&format!("node {ATTACKER}"))?;
        ensure!(
            node.connections_in == 0 && node.connections_out == 0,
            "node {number}: {node:?}"
        );
        let status = actor.status()?;
        ensure!(
            status
                .adapters
                .iter()
                .all(|adapter| adapter.quarantined_bytes == 0),
            "node {number}: {status:?}"
        );
    }
    Business::begin(cluster)?.end()
}
