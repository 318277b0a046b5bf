// SPDX-License-Identifier: GPL-2.0
//! How connections end: the owner dies, removes, revokes; and who gets one at all.

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Iommu;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;
use crate::share::LocalInfo;
use crate::share::RemoteInfo;
use crate::share::PAGE;

/// See the module.
pub const LIFE: Suite = Suite {
    name: "share life",
    on: &[Setting::STOCK.nodes(3)],
    describe,
    prepare: |context| share::load_everywhere(context.cluster, ""),
    cases: &[
        OWNER_KILLED,
        REMOVED,
        REVOKED,
        Case {
            name: "revoked for one node only",
            run: revoked_for_one,
        },
        Case {
            name: "a killed user leaves nothing behind",
            run: user_killed,
        },
        Case {
            name: "mode, owner and list of nodes say who may connect",
            run: access,
        },
        Case {
            name: "a peer's superuser is squashed unless trust_root says otherwise",
            run: squash,
        },
    ],
};

/// The owner's process is killed.
pub const OWNER_KILLED: Case = Case {
    name: "the owner is killed, the segment lives on for its users",
    run: owner_killed,
};

/// The segment is removed under its users.
pub const REMOVED: Case = Case {
    name: "removed while connected",
    run: removed,
};

/// Connections are taken away.
pub const REVOKED: Case = Case {
    name: "revoked: no page leads to the owner any more",
    run: revoked,
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

/// Bytes of a segment, and its pages.
const SIZE: u64 = 20 * PAGE;

fn owner_killed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let watcher = Actor::start(cluster.node(0), "watcher")?;
    let before = Balance::of(&watcher)?;
    let number = watcher.status()?.node;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    owner.tell(&format!("create segment {SIZE} --id 21 --mode 666 --share"))?;
    owner.tell("map own segment")?;
    owner.fill("own", 0, SIZE, 1)?;
    user.tell(&format!("connect remote --node {number} 21"))?;
    user.tell("map map remote")?;
    owner.kill()?;
    user.event("remote", "Removed")?;
    // The map is good, and so is a new one; nobody else gets in.
    user.verify("map", 0, SIZE, 1)?;
    user.fill("map", 3, SIZE - 5, 2)?;
    user.tell("map again remote")?;
    user.verify("again", 3, SIZE - 5, 2)?;
    user.refused(&format!("connect late --node {number} 21"), "ENOENT")?;
    ensure!(
        Balance::of(&watcher)? != before,
        "the memory is gone although it is in use"
    );
    // The id is free, and what comes under it is something else.
    watcher.tell("create other 4096 --id 21 --mode 666 --share")?;
    user.tell(&format!("connect other --node {number} 21"))?;
    user.tell("map elsewhere other")?;
    user.fill("elsewhere", 0, 4096, 9)?;
    user.verify("again", 3, SIZE - 5, 2)?;
    for name in ["elsewhere", "other", "again", "map", "remote"] {
        user.tell(&format!("drop {name}"))?;
    }
    watcher.tell("drop other")?;
    before.wait_back(&watcher)
}

fn removed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let before = Balance::of(&owner)?;
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {SIZE} --id 22 --mode 666 --share"))?;
    owner.tell("map own segment")?;
    user.tell(&format!("connect remote --node {number} 22"))?;
    owner.event("segment", "Connected")?;
    user.tell("map map remote")?;
    owner.refused("remove segment", "EBUSY")?;
    owner.tell("unavailable segment")?;
    user.event("remote", "Unavailable")?;
    user.refused(&format!("connect late --node {number} 22"), "ENOENT")?;
    owner.tell("remove segment --force")?;
    user.event("remote", "Removed")?;
    owner.refused("info segment", "ECONNRESET")?;
    user.fill("map", 0, SIZE, 3)?;
    // The owner's own map stays, and shows it.
    owner.verify("own", 0, SIZE, 3)?;
    user.refused("disconnect remote", "EBUSY")?;
    user.tell("drop map")?;
    user.tell("disconnect remote")?;
    user.refused("map late remote", "ECONNRESET")?;
    user.tell("drop remote")?;
    owner.tell("drop own")?;
    owner.tell("drop segment")?;
    before.wait_back(&owner)
}

fn revoked(context: &mut Context<'_>) -> Result<()> {
    revoked_memory(context, "")?;
    revoked_memory(context, "--user")
}

/// The pages of a program's memory are known, so that the host looks into them. It does so by the addresses that devices
/// use: behind an IOMMU there are none for memory that is not shared. There, and of the kernel's memory, the owner tells.
fn revoked_memory(context: &Context<'_>, source: &str) -> Result<()> {
    let cluster = context.cluster;
    let seen_by_host = context.setting.iommu == Iommu::Off && source == "--user";
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let before = (Balance::of(&owner)?, Balance::of(&user)?);
    let number = owner.status()?.node;
    let pages = SIZE / PAGE;
    let places: Vec<u64> = owner.ask(&format!(
        "create segment {SIZE} --id 23 --mode 666 --share {source}"
    ))?;
    owner.tell("map own segment")?;
    user.tell(&format!("connect remote --node {number} 23"))?;
    owner.event("segment", "Connected")?;
    user.tell("map strict remote")?;
    user.tell("map lax remote --all-ones")?;
    // What is to be refused later must go well now, and must be seen where it is looked for later.
    let contents = || -> Result<Vec<String>> {
        if seen_by_host {
            return share::digests(cluster, owner.node(), &places);
        }
        let whole: share::Digested = owner.ask(&format!("digest own {SIZE}"))?;
        Ok(vec![whole.sha256])
    };
    let empty = contents()?;
    user.fill("strict", 0, SIZE, 4)?;
    user.verify("lax", 0, SIZE, 4)?;
    let filled = contents()?;
    ensure!(
        empty.iter().zip(&filled).all(|(old, new)| old != new),
        "the stores are not seen where they are looked for"
    );
    let waiter = user.begin("event remote --timeout 30000")?;
    let count: share::Revoked = owner.ask("revoke segment")?;
    ensure!(
        count.revoked == 1 && count.unconfirmed == 0,
        "one connection was to be revoked: {count:?}"
    );
    let event: share::Event = waiter.ask()?;
    ensure!(event.kind == "Lost", "{event:?}");
    user.all_refused("strict", pages)?;
    user.all_ones("lax", pages)?;
    ensure!(contents()? == filled, "the owner's memory changed");
    owner.event("segment", "PeerLost")?;
    let info: RemoteInfo = user.ask("info remote")?;
    ensure!(info.state == "Lost", "{info:?}");
    user.refused("map late remote", "ECONNRESET")?;
    let info: LocalInfo = owner.ask("info segment")?;
    ensure!(info.connections == 0, "{info:?}");
    // A new connection is as good as the first one was.
    user.tell(&format!("connect again --node {number} 23"))?;
    user.tell("map new again")?;
    user.verify("new", 0, SIZE, 4)?;
    user.all_refused("strict", pages)?;
    for name in ["strict", "lax", "remote", "new", "again"] {
        user.tell(&format!("drop {name}"))?;
    }
    owner.tell("drop own")?;
    owner.tell("drop segment")?;
    before.0.wait_back(&owner)?;
    before.1.wait_back(&user)
}

fn revoked_for_one(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let (out, stays) = (
        Actor::start(cluster.node(1), "user")?,
        Actor::start(cluster.node(2), "user")?,
    );
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {SIZE} --id 24 --mode 666 --share"))?;
    for user in [&out, &stays] {
        user.tell(&format!("connect remote --node {number} 24"))?;
        user.tell("map map remote")?;
    }
    stays.tell("traffic traffic map")?;
    let step = format!("revoke segment --node {}", out.status()?.node);
    let count: share::Revoked = owner.ask(&step)?;
    ensure!(count.revoked == 1 && count.unconfirmed == 0, "{count:?}");
    out.event("remote", "Lost")?;
    out.all_refused("map", SIZE / PAGE)?;
    let seen: share::Traffic = stays.ask("calm traffic")?;
    ensure!(
        seen.good > 0 && seen.wrong + seen.ones + seen.refused == 0,
        "the other node's traffic was disturbed: {seen:?}"
    );
    stays.fill("map", 0, SIZE, 8)?;
    owner.tell("map own segment")?;
    owner.verify("own", 0, SIZE, 8)
}

fn user_killed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let watcher = Actor::start(cluster.node(1), "watcher")?;
    let before = (Balance::of(&owner)?, Balance::of(&watcher)?);
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {SIZE} --id 25 --mode 666 --share"))?;
    for round in 0..context.scale.pick(5, 1000) {
        let user = Actor::start(cluster.node(1), "user")?;
        user.tell(&format!("connect remote --node {number} 25"))?;
        user.tell("map map remote")?;
        user.tell("create own 8192 --id 26 --share")?;
        user.tell("traffic traffic map")?;
        owner.event("segment", "Connected")?;
        user.kill()?;
        let event = owner.event("segment", "Disconnected")?;
        ensure!(
            event.node == watcher.status()?.node,
            "round {round}: {event:?}"
        );
        owner.until("info segment", |info: &LocalInfo| info.connections == 0)?;
        before.1.wait_back(&watcher)?;
    }
    owner.tell("remove segment")?;
    owner.tell("drop segment")?;
    before.0.wait_back(&owner)
}

fn access(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start_as(cluster.node(0), "owner", 1000, 100)?;
    let same = Actor::start_as(cluster.node(1), "same", 1000, 100)?;
    let group = Actor::start_as(cluster.node(1), "group", 2000, 100)?;
    let other = Actor::start_as(cluster.node(1), "other", 2000, 200)?;
    let local = Actor::start_as(cluster.node(0), "local", 2000, 200)?;
    let third = Actor::start_as(cluster.node(2), "same", 1000, 100)?;
    let number = owner.status()?.node;
    for (name, id, rest) in [
        ("private", 31, "--mode 600".to_owned()),
        ("group", 32, "--mode 640".to_owned()),
        ("all", 33, "--mode 644".to_owned()),
        (
            "listed",
            34,
            format!("--mode 666 --node {}", third.status()?.node),
        ),
    ] {
        owner.tell(&format!("create {name} 4096 --id {id} {rest} --share"))?;
    }
    // Who, segment, to write as well, and what comes of it.
    let table: &[(&Actor<'_>, u32, bool, bool)] = &[
        (&same, 31, true, true),
        (&group, 31, false, false),
        (&other, 31, false, false),
        (&third, 31, true, true),
        (&same, 32, true, true),
        (&group, 32, false, true),
        (&group, 32, true, false),
        (&other, 32, false, false),
        (&other, 33, false, true),
        (&other, 33, true, false),
        (&third, 34, true, true),
        (&same, 34, true, false),
        (&other, 34, false, false),
    ];
    for (who, id, write, allowed) in table {
        let mode = if *write { "" } else { "--read-only" };
        let step = format!("connect remote --node {number} {id} {mode}");
        if *allowed {
            who.tell(&step)?;
            who.tell("map map remote")?;
            if *write {
                who.fill("map", 0, PAGE, 1)?;
            } else {
                who.refused(&format!("fill map 0 {PAGE} 1"), "EACCES")?;
            }
            who.tell("drop map")?;
            who.tell("drop remote")?;
        } else {
            who.refused(&step, "EACCES")?;
        }
    }
    // The same rules on the own node; a list of nodes always has it.
    local.refused("connect remote 31", "EACCES")?;
    local.tell("connect read 33 --read-only")?;
    local.refused("connect remote 33", "EACCES")?;
    local.tell("connect listed 34")?;
    // Asking finds only what one may have.
    let found: share::Found = other.ask(&format!("query {number} 1"))?;
    ensure!(found.id == 33 && found.uid == 1000, "{found:?}");
    other.refused(&format!("query {number} 34"), "ENOENT")
}

fn squash(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let number = {
        let owner = Actor::start(cluster.node(0), "owner")?;
        let user = Actor::start(cluster.node(1), "user")?;
        let number = owner.status()?.node;
        owner.tell("create segment 4096 --id 41 --mode 600 --share")?;
        user.refused(&format!("connect remote --node {number} 41"), "EACCES")?;
        user.kill()?;
        owner.kill()?;
        number
    };
    share::unload(cluster.node(0))?;
    share::load(cluster.node(0), "trust_root=1")?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    owner.tell("create segment 4096 --id 41 --mode 600 --share")?;
    user.tell(&format!("connect remote --node {number} 41"))?;
    user.kill()?;
    owner.kill()
}
