// SPDX-License-Identifier: GPL-2.0
//! Memory of the lender's that a borrower has lost, and what its device makes of that.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::store;
use crate::lend::sure;
use crate::lend::wait_state;
use crate::lend::BORROWER;
use crate::lend::BUFFERED;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share::Actor;
use crate::share::Revoked;
use crate::share::PAGE;

/// By the owner of a segment.
pub const REVOKED: Case = Case {
    name: "what a segment's owner takes from a borrower is out of its device's reach",
    run: revoked,
};

/// With another device.
pub const RETURNED: Case = Case {
    name: "a device that was returned is out of the reach of the one that used it",
    run: returned,
};

/// Where on the disk the bytes are that the device is to write.
const FROM: u64 = 52 << 20;
/// Their sequence.
const SEED: u64 = 61;

/// Borrows the device and puts a page of known bytes on its disk.
fn start(cluster: &Cluster) -> Result<(Actor<'_>, u32)> {
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    user.tell(&format!("borrow one {fdid} --exclusive"))?;
    user.tell("nvme start disk one")?;
    user.tell(&format!("nvme move disk write {FROM} {PAGE} {SEED}"))?;
    user.tell("nvme flush disk")?;
    Ok((user, fdid))
}

/// Has the device read that page into an address.
fn aim(user: &Actor<'_>, address: u64) -> Result<u16> {
    user.ask(&format!("nvme aim disk read {FROM} {PAGE} {address:#x}"))
}

/// The first page of a map holds those bytes, which the device must have written.
fn written(cluster: &Cluster, actor: &Actor<'_>, map: &str) -> Result<()> {
    let step = format!("verify {map} 0 {PAGE} {SEED} --from {FROM}");
    sure(cluster, || actor.ask(&step)).with_context(|| step.clone())
}

/// The device cannot use an address any more: nothing translates it, or the borrow has ended with it.
fn out_of_reach(context: &Context<'_>, user: &Actor<'_>, address: u64) -> Result<()> {
    if context.setting.iommu == Iommu::Off {
        user.event("one", "Ended")?;
        user.refused("device-info one", "ECONNRESET")
    } else {
        // How such a command ends is the controller's business.
        aim(user, address).map(drop)
    }
}

fn revoked(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(LENDER), "owner")?;
    owner.tell(&format!("create segment {PAGE} --id 61 --mode 666 --share"))?;
    owner.tell("map own segment")?;
    owner.fill("own", 0, PAGE, 1)?;
    let (user, fdid) = start(cluster)?;
    let node = cluster.node(LENDER).port(0);
    user.tell(&format!("connect reads --node {node} 61 --read-only"))?;
    user.refused("device-map nothing one reads", "EACCES")?;
    user.tell(&format!("connect far --node {node} 61"))?;
    let address = user.ask("device-map part one far")?;
    let status = aim(&user, address)?;
    ensure!(status == 0, "status {status:#x}");
    written(cluster, &owner, "own")?;

    let borrower = cluster.node(BORROWER).port(0);
    let gone: Revoked = owner.ask(&format!("revoke segment --node {borrower}"))?;
    ensure!(gone.revoked == 3 && gone.unconfirmed == 0, "{gone:?}");
    owner.fill("own", 0, PAGE, 2)?;
    out_of_reach(context, &user, address)?;
    owner.verify("own", 0, PAGE, 2)?;
    owner.kill()?;
    user.kill()?;
    let watcher = Actor::start(cluster.node(LENDER), "watcher")?;
    wait_state(&watcher, fdid, "Available")
}

fn returned(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (user, fdid) = start(cluster)?;
    let other = Actor::start(cluster.node(BORROWER), "other")?;
    let buffer = lend::seen(cluster, &user, BUFFERED)?.fdid;
    user.tell(&format!("borrow two {buffer} --exclusive"))?;
    user.tell("device-connect buffer two bar 2")?;
    user.tell("map window buffer --uncached")?;
    let address = user.ask(&format!("device-map part one buffer --bytes {PAGE}"))?;
    let status = aim(&user, address)?;
    ensure!(status == 0, "status {status:#x}");
    written(cluster, &user, "window")?;

    for name in ["window", "buffer"] {
        user.tell(&format!("drop {name}"))?;
    }
    user.tell("return two")?;
    wait_state(&other, buffer, "Available")?;
    // The next one to have it.
    other.tell(&format!("borrow two {buffer} --exclusive"))?;
    other.tell("device-connect buffer two bar 2")?;
    other.tell("map window buffer --uncached")?;
    store(cluster, &other, "window", PAGE, 3)?;
    out_of_reach(context, &user, address)?;
    let step = format!("verify window 0 {PAGE} 3");
    sure(cluster, || other.ask(&step)).with_context(|| step.clone())?;
    other.kill()?;
    user.kill()?;
    let watcher = Actor::start(cluster.node(LENDER), "watcher")?;
    for fdid in [fdid, buffer] {
        wait_state(&watcher, fdid, "Available")?;
    }
    Ok(())
}
