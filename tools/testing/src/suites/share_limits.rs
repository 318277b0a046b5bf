// SPDX-License-Identifier: GPL-2.0
//! Whose memory is shared: what users may take of it, and what a peer that says nothing may still write.

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
use crate::share::RemoteInfo;
use crate::share::Revoked;
use crate::share::Status;
use crate::share::PAGE;

/// See the module.
pub const LIMITS: Suite = Suite {
    name: "share limits",
    on: &[
        Setting::STOCK,
        Setting::STOCK.iommu(Iommu::Intel { remap: true }),
    ],
    describe,
    prepare,
    cases: &[
        Case {
            name: "a user's share of exported memory is EDQUOT when it is used up",
            run: quota,
        },
        Case {
            name: "a program's memory counts against what it may lock",
            run: locked,
        },
        Case {
            name: "memory that a silent peer might still write is held back",
            run: quarantine,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

/// With a share of [`SHARE`] a user, and a heartbeat that catches a hung node within three seconds, but not a slow one.
fn prepare(context: &mut Context<'_>) -> Result<()> {
    share::load_everywhere(context.cluster, "user_mib=4 heartbeat_ms=1000")
}

const MIB: u64 = 1 << 20;

/// What a user may export, in bytes.
const SHARE: u64 = 4 * MIB;

fn quota(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    let user = Actor::start_as(node, "user", 1000, 100)?;
    let same = Actor::start_as(node, "same", 1000, 200)?;
    let other = Actor::start_as(node, "other", 2000, 100)?;
    user.tell(&format!("create most {}", SHARE - MIB))?;
    user.refused(&format!("create more {}", MIB + 1), "EDQUOT")?;
    // It is the user's share, not the program's, and each user has one.
    same.refused(&format!("create more {}", MIB + 1), "EDQUOT")?;
    other.tell(&format!("create most {SHARE}"))?;
    same.tell(&format!("create rest {MIB}"))?;
    user.refused("create more 1", "EDQUOT")?;
    // A removed segment's memory is nobody's any more; so is a dead program's.
    user.tell("remove most")?;
    user.tell("drop most")?;
    user.tell(&format!("create most {}", SHARE - MIB))?;
    user.kill()?;
    same.tell(&format!("create most {}", SHARE - MIB))?;
    same.refused("create more 1", "EDQUOT")
}

fn locked(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    // The kernel's default of RLIMIT_MEMLOCK is 8 MiB (MLOCK_LIMIT).
    let user = Actor::start_as(node, "user", 1000, 100)?;
    user.tell(&format!("create most {} --user", 7 * MIB))?;
    user.refused(&format!("create more {} --user", 2 * MIB), "ENOMEM")?;
    user.tell("drop most")?;
    user.tell(&format!("create more {} --user", 2 * MIB))?;
    // Who may lock what it likes may share it.
    let root = Actor::start(node, "root")?;
    root.tell(&format!("create much {} --user", 16 * MIB))
}

/// Bytes of the segment whose user says nothing.
const SIZE: u64 = 20 * PAGE;

fn held_back(actor: &Actor<'_>) -> Result<u64> {
    Ok(actor.status()?.adapters[0].quarantined_bytes)
}

fn quarantine(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    // Behind an IOMMU the memory is out of the peer's reach at once, and free.
    let due = match context.setting.iommu {
        Iommu::Off => SIZE,
        _ => 0,
    };
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let before = (Balance::of(&owner)?, Balance::of(&user)?);
    let number = owner.status()?.node;
    owner.tell(&format!("create segment {SIZE} --id 81 --mode 666 --share"))?;
    user.tell(&format!("connect remote --node {number} 81"))?;
    user.tell("map map remote")?;
    user.fill("map", 0, SIZE, 1)?;
    owner.event("segment", "Connected")?;
    cluster.node(1).pause()?;
    let count: Revoked = owner.ask("revoke segment")?;
    ensure!(
        count.revoked == 1 && count.unconfirmed == 1,
        "nobody could confirm: {count:?}"
    );
    owner.tell("remove segment")?;
    owner.tell("drop segment")?;
    ensure!(
        held_back(&owner)? == due,
        "{} bytes are held back",
        held_back(&owner)?
    );
    // What is made now is other memory, whatever the peer's program does when it goes on.
    owner.tell(&format!("create other {SIZE} --id 81 --mode 666 --share"))?;
    owner.tell("map own other")?;
    owner.fill("own", 0, SIZE, 2)?;
    cluster.node(1).resume()?;
    user.until("info remote", |info: &RemoteInfo| info.state == "Lost")?;
    user.all_refused("map", SIZE / PAGE)?;
    owner.until("status", |status: &Status| {
        status.adapters[0].quarantined_bytes == 0
    })?;
    owner.verify("own", 0, SIZE, 2)?;
    owner.kill()?;
    let watcher = Actor::start(cluster.node(0), "watcher")?;
    user.kill()?;
    before.0.wait_back(&watcher)?;
    let watcher = Actor::start(cluster.node(1), "watcher")?;
    before.1.wait_back(&watcher)
}
