// SPDX-License-Identifier: GPL-2.0
//! What is left of a session, or of a former life of a node, when the next one begins.

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::share;
use crate::share::Actor;
use crate::share::Event;
use crate::share::LocalInfo;
use crate::share::NodeStatus;
use crate::share::RemoteInfo;
use crate::share::PAGE;

/// See the module.
pub const AGAIN: Suite = Suite {
    name: "share again",
    on: &[Setting::STOCK],
    describe,
    prepare: |context| share::load_everywhere(context.cluster, PARAMETERS),
    cases: &[
        Case {
            name: "what is left of a node's former life ends nothing of the new one",
            run: former_life,
        },
        Case {
            name: "an adapter that is pulled out gives back what it had of other nodes",
            run: pulled_out,
        },
        Case {
            name: "what a node missed while it stood still is told again",
            run: missed,
        },
    ],
};

/// A heartbeat that catches a hung node within half a second.
const PARAMETERS: &str = "heartbeat_ms=150";

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

/// A new life of a node names its leases as the former one did.
fn former_life(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (owns, uses) = (cluster.node(0), cluster.node(1));
    let user = Actor::start(uses, "user")?;
    let share = |owner: &Actor<'_>| {
        owner.tell(&format!("create segment {PAGE} --id 1 --mode 666 --share"))?;
        owner.status().map(|status| status.node)
    };
    let owner = Actor::start(owns, "owner")?;
    let number = share(&owner)?;
    user.tell(&format!("connect old --node {number} 1"))?;
    owner.kill()?;
    user.event("old", "Removed")?;
    share::unload(owns)?;
    user.event("old", "NotOperational")?;
    share::load(owns, PARAMETERS)?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    user.event("old", "Lost")?;
    let owner = Actor::start(owns, "owner")?;
    let number = share(&owner)?;
    user.tell(&format!("connect new --node {number} 1"))?;
    user.tell("map map new")?;
    user.tell("drop old")?;
    // Whatever the end of the old one has said was heard before this.
    user.tell(&format!("connect more --node {number} 1"))?;
    let info: LocalInfo = owner.ask("info segment")?;
    ensure!(info.connections == 2, "{info:?}");
    user.fill("map", 0, PAGE, 1)?;
    owner.tell("map own segment")?;
    owner.verify("own", 0, PAGE, 1)?;
    // The end of the new one is its own.
    user.tell("drop map")?;
    user.tell("drop new")?;
    owner.until("info segment", |info: &LocalInfo| info.connections == 1)?;
    Ok(())
}

/// The node goes on living, so that its generation is what it was; of its connections it knows nothing any more.
fn pulled_out(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {PAGE} --id 3 --mode 666 --share"))?;
    user.tell(&format!("connect remote --node {number} 3"))?;
    owner.event("segment", "Connected")?;
    cluster.node(1).unplug_ntb(0)?;
    user.until("info remote", |info: &RemoteInfo| info.state == "Lost")?;
    cluster.node(1).plug_ntb(0)?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    owner.event("segment", "Disconnected")?;
    owner.until("info segment", |info: &LocalInfo| info.connections == 0)?;
    owner.tell("remove segment")
}

/// Messages that are on their way when a session ends are lost with it.
fn missed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let (owns, uses) = (owner.status()?.node, user.status()?.node);
    for (name, id) in [("hidden", 1), ("removed", 2)] {
        owner.tell(&format!(
            "create {name} {PAGE} --id {id} --mode 666 --share"
        ))?;
        user.tell(&format!("connect {name} --node {owns} {id}"))?;
    }
    cluster.node(1).pause()?;
    owner.tell("unavailable hidden")?;
    owner.tell("remove removed --force")?;
    owner.until(&format!("node {uses}"), |node: &NodeStatus| {
        node.state != "Up"
    })?;
    cluster.node(1).resume()?;
    events_until(&user, "hidden", &["Operational"])?;
    user.event("hidden", "Unavailable")?;
    let seen = events_until(&user, "removed", &["Operational", "Removed"])?;
    let told = seen.iter().filter(|event| event.kind == "Removed").count();
    ensure!(told == 1, "it was removed once: {seen:?}");
    let info: RemoteInfo = user.ask("info removed")?;
    ensure!(info.state == "Operational", "{info:?}");
    Ok(())
}

/// Takes events of an object until each of these has come.
fn events_until(actor: &Actor<'_>, object: &str, kinds: &[&str]) -> Result<Vec<Event>> {
    let mut seen: Vec<Event> = Vec::new();
    while !kinds
        .iter()
        .all(|kind| seen.iter().any(|event| event.kind == *kind))
    {
        seen.push(actor.ask(&format!("event {object}"))?);
    }
    Ok(seen)
}
