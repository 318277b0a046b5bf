// SPDX-License-Identifier: GPL-2.0
//! Memory is shared between all ordered pairs of nodes: sizes, kinds of memory, many at once, many times.

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Iommu;
use skiff_cluster::Kernel;

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

use super::share_life;

/// Three stock nodes: everything.
pub const PAIRS: Suite = Suite {
    name: "share",
    on: &[Setting::STOCK.nodes(3)],
    describe,
    prepare,
    cases: &[SIZES, SCATTERED, MANY, ROUNDS, LOOPBACK],
};

/// What may be different elsewhere, with the life of connections.
pub const ELSEWHERE: Suite = Suite {
    name: "share",
    on: &[
        Setting::STOCK.iommu(Iommu::Intel { remap: true }),
        Setting::STOCK.companion(),
        Setting::STOCK.kernel(Kernel::Other),
    ],
    describe,
    prepare,
    cases: &[
        SIZES,
        SCATTERED,
        MANY,
        ROUNDS,
        LOOPBACK,
        share_life::OWNER_KILLED,
        share_life::REMOVED,
        share_life::REVOKED,
    ],
};

/// The same on the kernel that looks for faults, and what it has found in the end.
pub const DEBUG: Suite = Suite {
    name: "share",
    on: &[Setting::STOCK.kernel(Kernel::Debug).leaks()],
    describe,
    prepare,
    cases: &[
        SIZES,
        SCATTERED,
        ROUNDS,
        LOOPBACK,
        share_life::OWNER_KILLED,
        share_life::REMOVED,
        share_life::REVOKED,
        Case {
            name: "nothing is unreferenced",
            run: leaks,
        },
    ],
};

const SIZES: Case = Case {
    name: "segments of every size between all ordered pairs",
    run: sizes,
};

const SCATTERED: Case = Case {
    name: "scattered memory of a program",
    run: scattered,
};

const MANY: Case = Case {
    name: "1,000 segments at once",
    run: many,
};

const ROUNDS: Case = Case {
    name: "rounds leave nothing behind",
    run: rounds,
};

const LOOPBACK: Case = Case {
    name: "a node connects to itself",
    run: loopback,
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder).memory_mib(512)
}

fn prepare(context: &mut Context<'_>) -> Result<()> {
    share::load_everywhere(context.cluster, "")
}

/// Sizes of segments, in bytes.
const ALL_SIZES: [u64; 4] = [1, 4096, (1 << 20) + 1, 64 << 20];

/// Of large ones the users change only so much, at their ends.
const CHANGED: u64 = (1 << 20) - 7;

fn sizes(context: &mut Context<'_>) -> Result<()> {
    let small = context.setting.kernel == Kernel::Debug;
    for (owner, user) in context.pairs() {
        for size in ALL_SIZES {
            // Hundreds of megabytes through KASAN show no more than through the stock kernel.
            if small && size > 2 << 20 {
                continue;
            }
            let name = format!("{size} bytes of node {owner} for node {user}");
            context.check(&name, |cluster| {
                let near = Actor::start(cluster.node(owner), "owner")?;
                let far = Actor::start(cluster.node(user), "user")?;
                let seed = size ^ ((owner as u64) << 8) ^ user as u64;
                one_size(&near, &far, size, seed)
            });
        }
    }
    Ok(())
}

/// The owner fills a segment, the user verifies it and changes it, the owner verifies that.
fn one_size(owner: &Actor<'_>, user: &Actor<'_>, size: u64, seed: u64) -> Result<()> {
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {size} --id 7 --mode 666 --share"))?;
    owner.tell("map own segment")?;
    let found: share::Verified = {
        // New memory is zero: a sequence of zeros does not exist, so look at the bytes themselves.
        owner.ask(&format!("zeros own 0 {size}"))?
    };
    ensure!(found.wrong == 0, "new memory is not zero: {found:?}");
    owner.fill("own", 0, size, seed)?;
    let bytes: u64 = user.ask(&format!("connect remote --node {number} 7"))?;
    ensure!(bytes == size, "the segment has {bytes} bytes");
    user.tell("map map remote")?;
    user.verify("map", 0, size, seed)?;
    // The change begins and ends between words, unless there is but one byte.
    let start = if size > CHANGED {
        size - CHANGED
    } else {
        size / 3
    };
    let length = (size - start).saturating_sub(1).max(1);
    user.fill("map", start, length, seed + 1)?;
    owner.verify("own", start, length, seed + 1)?;
    let end = start + length;
    owner.verify("own", end, size - end, seed)?;
    owner.verify("own", start.saturating_sub(4096), start.min(4096), seed)?;
    // And a map of the middle alone, which shows the same.
    if size > 3 * share::PAGE {
        let middle = (size / 2) & !(share::PAGE - 1);
        user.tell(&format!(
            "map part remote --offset {middle} --length {}",
            share::PAGE
        ))?;
        let step = format!(
            "verify part 0 {} {} --from {middle}",
            share::PAGE,
            pick(middle, start, seed)
        );
        let found: share::Verified = user.ask(&step)?;
        ensure!(found.wrong == 0, "{step}: {found:?}");
    }
    Ok(())
}

/// The seed of what a page holds after the change, which begins inside of no page that is looked at.
fn pick(page: u64, start: u64, seed: u64) -> u64 {
    if page >= start {
        seed + 1
    } else {
        seed
    }
}

fn scattered(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let paging = context.setting.iommu != Iommu::Off;
    let (near, far) = (
        Actor::start(cluster.node(0), "owner")?,
        Actor::start(cluster.node(1), "user")?,
    );
    let before = Balance::of(&near)?;
    let size = 8 << 20;
    near.tell(&format!(
        "create segment {size} --id 8 --mode 666 --user --share"
    ))?;
    let info: LocalInfo = near.ask("info segment")?;
    ensure!(
        paging || info.extents > 64,
        "the memory is not scattered: {info:?}"
    );
    near.tell("map own segment")?;
    near.fill("own", 0, size, 3)?;
    far.tell(&format!("connect remote --node {} 8", near.status()?.node))?;
    far.tell("map map remote")?;
    far.verify("map", 0, size, 3)?;
    far.fill("map", 1, size - 2, 4)?;
    near.verify("own", 1, size - 2, 4)?;
    near.verify("own", 0, 1, 3)?;
    near.verify("own", size - 1, 1, 3)?;
    far.kill()?;
    near.tell("drop own")?;
    near.tell("drop segment")?;
    before.wait_back(&near)
}

fn many(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (near, far) = (
        Actor::start(cluster.node(0), "owner")?,
        Actor::start(cluster.node(1), "user")?,
    );
    let (before, there) = (Balance::of(&near)?, Balance::of(&far)?);
    near.tell("create-many all 4096 5000 1000")?;
    far.tell(&format!(
        "connect-many all {} 5000 1000",
        near.status()?.node
    ))?;
    // All are mapped now: each shows its own number, and nobody else's.
    near.tell("verify-many all 5000")?;
    far.tell("verify-many all 5000")?;
    let seen: share::NodeStatus = far.ask(&format!("node {}", near.status()?.node))?;
    ensure!(seen.connections_out == 1000, "{seen:?}");
    far.tell("drop all")?;
    near.tell("drop all")?;
    before.wait_back(&near)?;
    there.wait_back(&far)
}

fn rounds(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let debug = context.setting.kernel == Kernel::Debug;
    let full = context.setting == Setting::STOCK.nodes(3);
    let count = match (debug, full) {
        (true, _) => 300,
        (_, true) => context.scale.pick(10_000, 1_000_000),
        _ => context.scale.pick(1_000, 10_000),
    };
    let (near, far) = (
        Actor::start(cluster.node(0), "owner")?,
        Actor::start(cluster.node(1), "user")?,
    );
    let number = near.status()?.node;
    near.tell("create segment 65536 --id 9 --mode 666 --share")?;
    far.tell(&format!("connect remote --node {number} 9"))?;
    // What is made on first use is no leak.
    far.tell("map-rounds remote 10")?;
    far.tell(&format!("connect-rounds {number} 9 10"))?;
    near.tell("create-rounds 65536 10 10")?;
    let before = (Balance::of(&near)?, Balance::of(&far)?);
    let memory = (share::free_kib(near.node())?, share::free_kib(far.node())?);
    far.tell(&format!("map-rounds remote {count}"))?;
    far.tell(&format!("connect-rounds {number} 9 {}", count / 10))?;
    near.tell(&format!("create-rounds 65536 10 {}", count / 10))?;
    before.0.wait_back(&near)?;
    before.1.wait_back(&far)?;
    let info: RemoteInfo = far.ask("info remote")?;
    ensure!(info.maps == 0 && info.slots == 0, "{info:?}");
    let after = (share::free_kib(near.node())?, share::free_kib(far.node())?);
    // A page a round would be megabytes; what the kernel's caches do by themselves is less.
    let allowed = 2048 + u64::from(count) / 10;
    for (before, after) in [(memory.0, after.0), (memory.1, after.1)] {
        ensure!(
            before <= after + allowed,
            "{before} KiB were free, {after} KiB are after {count} rounds"
        );
    }
    Ok(())
}

fn loopback(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (owner, user) = (
        Actor::start(cluster.node(0), "owner")?,
        Actor::start(cluster.node(0), "user")?,
    );
    let before = Balance::of(&user)?;
    let size = 100_000;
    owner.tell(&format!("create segment {size} --id 11 --share"))?;
    owner.tell("map own segment")?;
    owner.fill("own", 0, size, 5)?;
    user.tell("connect remote 11")?;
    let pinned = user.status()?;
    user.tell("map map remote")?;
    ensure!(
        user.status()?.adapters[0].slots_pinned == pinned.adapters[0].slots_pinned,
        "a map of the own node took a slot"
    );
    owner.event("segment", "Connected")?;
    user.verify("map", 0, size, 5)?;
    user.fill("map", 77, 5000, 6)?;
    owner.verify("own", 77, 5000, 6)?;
    user.refused("map uncached remote --uncached", "EINVAL")?;
    owner.refused("remove segment", "EBUSY")?;
    owner.tell("revoke segment")?;
    user.event("remote", "Lost")?;
    let pages = size.div_ceil(share::PAGE);
    user.all_refused("map", pages)?;
    // The owner's own map is no connection.
    owner.verify("own", 77, 5000, 6)?;
    user.kill()?;
    owner.tell("drop own")?;
    owner.tell("drop segment")?;
    before.wait_back(&owner)
}

fn leaks(context: &mut Context<'_>) -> Result<()> {
    // The second scan: what the first one finds may have been freed a moment ago and still be on a list.
    let line =
        "f=/sys/kernel/debug/kmemleak; echo scan > $f && sleep 1 && echo scan > $f && cat $f";
    let jobs: Vec<_> = context
        .cluster
        .nodes()
        .iter()
        .map(|node| node.shell(line).spawn())
        .collect();
    for job in jobs {
        let output = job?.wait()?.check()?;
        let text = output.stdout_text().into_owned();
        ensure!(text.trim().is_empty(), "{text}");
    }
    Ok(())
}
