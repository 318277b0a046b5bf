// SPDX-License-Identifier: GPL-2.0
//! Nodes that die, links that flap, nodes that stand still.

use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use ntb_switch::control::LinkState;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;
use crate::share::Event;
use crate::share::NodeStatus;
use crate::share::RemoteInfo;
use crate::share::Traffic;
use crate::share::PAGE;
use crate::share::SOON;

/// One of three nodes dies, again and again.
pub const KILLED: Suite = Suite {
    name: "share killed",
    on: &[Setting::STOCK.nodes(3)],
    describe,
    // With the long heartbeat: what is noticed is noticed by link events.
    prepare: |context| share::load_everywhere(context.cluster, ""),
    cases: &[Case {
        name: "a node dies in the middle of traffic and comes back",
        run: killed,
    }],
};

/// Links that go and come, and nodes that stand still.
pub const OUTAGE: Suite = Suite {
    name: "share outage",
    on: &[Setting::STOCK],
    describe,
    prepare: |context| share::load_everywhere(context.cluster, ""),
    cases: &[
        Case {
            name: "link flaps",
            run: flaps,
        },
        Case {
            name: "a node stands still and goes on",
            run: paused,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

/// A heartbeat that catches a hung node within seconds instead of half a minute, and no node that is only slow.
const QUICK: &str = "heartbeat_ms=1000";

/// What a node may take to say that a link is down once the switch has told it, in nanoseconds of its own clock.
const NOTICE: u64 = 2_000_000_000;

/// Bytes of the segments.
pub const SIZE: u64 = 8 * PAGE;

/// An owner on one node and a user on another one, with a map and traffic through it.
pub fn pair(
    cluster: &Cluster,
    owner: usize,
    user: usize,
    id: u32,
) -> Result<(Actor<'_>, Actor<'_>)> {
    let near = Actor::start(cluster.node(owner), &format!("owner{id}"))?;
    let far = Actor::start(cluster.node(user), &format!("user{id}"))?;
    near.tell(&format!(
        "create segment {SIZE} --id {id} --mode 666 --share"
    ))?;
    far.tell(&format!(
        "connect remote --node {} {id}",
        near.status()?.node
    ))?;
    near.event("segment", "Connected")?;
    far.tell("map map remote")?;
    far.tell("traffic traffic map")?;
    Ok((near, far))
}

fn killed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let rounds = context.scale.pick(10, 1000);
    let watchers = [
        Actor::start(cluster.node(0), "watcher")?,
        Actor::start(cluster.node(1), "watcher")?,
    ];
    let mut before = Vec::new();
    let mut memory = Vec::new();
    for round in 0..rounds {
        one_death(cluster, &watchers).with_context(|| format!("round {round} of {rounds}"))?;
        // What is made on first use is no leak.
        if round == 0 {
            for watcher in &watchers {
                before.push(Balance::of(watcher)?);
                memory.push(share::free_kib(watcher.node())?);
            }
        }
    }
    for ((watcher, before), memory) in watchers.iter().zip(before).zip(memory) {
        before.wait_back(watcher)?;
        let after = share::free_kib(watcher.node())?;
        let allowed = 2048 + u64::from(rounds);
        ensure!(
            memory <= after + allowed,
            "{memory} KiB were free, {after} KiB are after {rounds} rounds"
        );
    }
    Ok(())
}

/// Node 2 dies while nodes 0 and 1 use it, it uses node 0, and nodes 0 and 1 use each other.
fn one_death(cluster: &Cluster, watchers: &[Actor<'_>; 2]) -> Result<()> {
    let dies = cluster.node(2);
    let balance = [Balance::of(&watchers[0])?, Balance::of(&watchers[1])?];
    let survivors = [pair(cluster, 0, 1, 1)?, pair(cluster, 1, 0, 2)?];
    let losers = [pair(cluster, 2, 0, 3)?, pair(cluster, 2, 1, 4)?];
    let (serves, _dead) = pair(cluster, 0, 2, 5)?;
    let number = losers[0].0.status()?.node;
    let generation = losers[0].0.status()?.generation;
    // It stops answering first, so that a connection can be under way when it dies.
    dies.pause()?;
    let waiter = losers[0]
        .1
        .begin(&format!("connect late --node {number} 3 --timeout 60000"))?;
    sleep(Duration::from_millis(200));
    ensure!(waiter.waits(), "a node that stands still has answered");
    let events = [
        losers[0].1.begin("event remote --timeout 30000")?,
        losers[1].1.begin("event remote --timeout 30000")?,
        serves.begin("event segment --timeout 30000")?,
    ];
    let asked = Instant::now();
    let begun: Vec<u64> = losers
        .iter()
        .map(|(_, user)| user.ask("now"))
        .collect::<Result<_>>()?;
    dies.kill()?;
    // Until the switch tells of it, nobody can know.
    let port = dies.port(0);
    while cluster
        .switch()
        .status()?
        .ports
        .iter()
        .any(|status| status.port == port && status.attached)
    {
        ensure!(asked.elapsed() < SOON, "the switch does not notice");
        sleep(Duration::from_millis(1));
    }
    let told = u64::try_from(asked.elapsed().as_nanos())?;
    let [first, second, third] = events;
    for (event, begun) in [first, second].into_iter().zip(begun) {
        let event: Event = event.ask()?;
        ensure!(event.kind == "NotOperational", "{event:?}");
        let late = (event.at - begun).saturating_sub(told);
        ensure!(
            late <= NOTICE,
            "it was noticed after {} ms",
            late / 1_000_000
        );
    }
    waiter.refused("ENOLINK")?;
    // The dead node's own connection is still a connection: the link may come back, for all that is known.
    for (_, user) in &losers {
        let seen: Traffic = user.ask("calm traffic")?;
        ensure!(seen.wrong == 0 && seen.refused == 1, "{seen:?}");
        user.all_refused("map", SIZE / PAGE)?;
        let info: RemoteInfo = user.ask("info remote")?;
        ensure!(info.state == "NotOperational", "{info:?}");
        let node: NodeStatus = user.ask(&format!("node {number}"))?;
        ensure!(node.state == "Down", "{node:?}");
        user.refused(&format!("connect late --node {number} 3"), "ENOLINK")?;
    }
    // The survivors never noticed.
    for (owner, user) in survivors {
        let seen: Traffic = user.ask("calm traffic")?;
        ensure!(
            seen.good > 0 && seen.wrong + seen.ones + seen.refused == 0,
            "between survivors: {seen:?}"
        );
        user.fill("map", 0, SIZE, 1)?;
        owner.tell("map own segment")?;
        owner.verify("own", 0, SIZE, 1)?;
    }
    dies.start()?;
    share::load(dies, "")?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    // The one that came back is another one.
    for (_, user) in &losers {
        user.event("remote", "Lost")?;
        user.refused("map new remote", "ECONNRESET")?;
        let node: NodeStatus = user.ask(&format!("node {number}"))?;
        ensure!(
            node.state == "Up" && node.generation != generation,
            "{node:?}"
        );
    }
    let lost: Event = third.ask()?;
    ensure!(
        lost.kind == "PeerLost" && lost.node == number,
        "the dead node's connection: {lost:?}"
    );
    let (owner, user) = pair(cluster, 2, 0, 6)?;
    let seen: Traffic = user.ask("calm traffic")?;
    ensure!(seen.wrong + seen.ones + seen.refused == 0, "{seen:?}");
    drop((owner, user, losers, serves));
    balance[0].wait_back(&watchers[0])?;
    balance[1].wait_back(&watchers[1])
}

fn flaps(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let rounds = context.scale.pick(1000, 20_000);
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {SIZE} --id 1 --mode 666 --share"))?;
    owner.tell("map own segment")?;
    user.tell(&format!("connect remote --node {number} 1"))?;
    user.tell("map strict remote")?;
    user.tell("map lax remote --all-ones")?;
    let before = (Balance::of(&owner)?, Balance::of(&user)?);
    let port = cluster.node(1).port(0);
    for round in 0..rounds {
        let one = || -> Result<()> {
            cluster.switch().set_link(port, LinkState::Down)?;
            user.event("remote", "NotOperational")?;
            user.all_refused("strict", SIZE / PAGE)?;
            if round % 20 == 0 {
                user.all_ones("lax", SIZE / PAGE)?;
            }
            cluster.switch().set_link(port, LinkState::Up)?;
            user.event("remote", "Operational")?;
            // The same maps lead to the same memory.
            let seed = u64::from(round);
            owner.fill("own", 0, SIZE, seed)?;
            user.verify("strict", 0, SIZE, seed)?;
            user.verify("lax", 0, SIZE, seed)
        };
        one().with_context(|| format!("flap {round} of {rounds}"))?;
    }
    before.0.wait_back(&owner)?;
    before.1.wait_back(&user)?;
    // Flaps that nobody waits for end in a link that works: when a peer has started anew twice within a second, it waits for
    // the rest of it.
    let storms = context.scale.pick(10, 5000);
    for storm in 0..storms {
        for _ in 0..20 {
            cluster.switch().set_link(port, LinkState::Down)?;
            cluster.switch().set_link(port, LinkState::Up)?;
        }
        user.until("info remote", |info: &RemoteInfo| {
            info.state == "Operational"
        })
        .with_context(|| format!("storm {storm} of {storms}"))?;
    }
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    user.until("info remote", |info: &RemoteInfo| {
        info.state == "Operational"
    })?;
    owner.fill("own", 0, SIZE, 3)?;
    user.verify("strict", 0, SIZE, 3)
}

fn paused(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    for node in cluster.nodes() {
        share::unload(node)?;
    }
    share::load_everywhere(cluster, QUICK)?;
    let owner = Actor::start(cluster.node(1), "owner")?;
    let user = Actor::start(cluster.node(0), "user")?;
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {SIZE} --id 1 --mode 666 --share"))?;
    user.tell(&format!("connect remote --node {number} 1"))?;
    user.tell("map map remote")?;
    user.fill("map", 0, SIZE, 1)?;
    cluster.node(1).pause()?;
    user.event("remote", "NotOperational")?;
    user.all_refused("map", SIZE / PAGE)?;
    // Its link is up, but it does not answer.
    user.refused(&format!("connect late --node {number} 1"), "EHOSTDOWN")?;
    cluster.node(1).resume()?;
    user.event("remote", "Operational")?;
    user.verify("map", 0, SIZE, 1)?;
    user.fill("map", 0, SIZE, 2)?;
    owner.tell("map own segment")?;
    owner.verify("own", 0, SIZE, 2)
}
