// SPDX-License-Identifier: GPL-2.0
//! How borrows end: by the lender, by a death, by a cable; afterwards the device is offered again and works.

mod ends;
mod killed;

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Occurs;

use crate::frame::Setting;
use crate::frame::Suite;
use crate::lend;
use crate::lend::on_disk;
use crate::lend::wait_state;
use crate::lend::Moved;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share::Actor;
use crate::share::PAGE;

/// See the module.
pub const LIFE: Suite = Suite {
    name: "lend life",
    on: &[
        Setting::STOCK.nodes(3),
        Setting::STOCK.iommu(Iommu::Intel { remap: true }),
    ],
    describe,
    prepare: lend::prepare,
    cases: &[
        ends::TAKEN,
        ends::RETURNED,
        ends::LINK,
        killed::BORROWER_NODE,
        ends::UNPLUGGED,
        ends::UNLOADED,
        killed::LENDER_NODE,
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    // A device may still have tried something when its borrower was gone.
    lend::describe(builder).expect_log("DMAR: .*(DMA Read|DMA Write|DRHD)", Occurs::Allowed)
}

/// A borrower in the middle of it: BAR and memory mapped, the controller at work.
fn at_work<'a>(cluster: &'a Cluster, node: usize, name: &str) -> Result<(Actor<'a>, u32)> {
    let user = Actor::start(cluster.node(node), name)?;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    user.tell(&format!("borrow device {fdid} --exclusive"))?;
    user.tell("device-connect registers device bar 0")?;
    user.tell("map bar registers --uncached")?;
    user.tell("device-create device private 1 8192")?;
    user.tell("device-connect memory device private 1")?;
    user.tell("map there memory")?;
    user.fill("there", 0, 2 * PAGE, 1)?;
    user.verify("there", 0, 2 * PAGE, 1)?;
    user.tell("nvme start disk device --queues 2 --entries 64 --depth 32")?;
    // What is read has been written: zeros are no evidence.
    let written: Moved = user.ask(&format!("nvme move disk write 0 {EXTENT} {SEED}"))?;
    ensure!(written.commands > 0, "{written:?}");
    user.tell(&format!("nvme hammer load disk 0 {EXTENT} {SEED}"))?;
    Ok((user, fdid))
}

/// What is read over and over.
const EXTENT: u64 = 1 << 20;
/// What is in it.
const SEED: u64 = 60;

/// The borrow is over for `user`: it was told so, no page leads to the device, nothing can be asked of it.
fn is_over(user: &Actor<'_>) -> Result<()> {
    user.event("device", "Ended")?;
    user.all_refused("bar", 2)?;
    user.all_refused("there", 2)?;
    for step in [
        "device-info device",
        "bus-master device on",
        "config-read device 0 4",
        "device-connect late device bar 0",
        "vectors device 1",
        "return device",
    ] {
        user.refused(step, "ECONNRESET")?;
    }
    let seen: lend::Hammered = user.ask("nvme calm load")?;
    ensure!(seen.wrong == 0, "wrong bytes were read before: {seen:?}");
    ensure!(
        seen.failed.is_some(),
        "the controller still works: {seen:?}"
    );
    for name in ["disk", "there", "memory", "bar", "registers", "device"] {
        user.tell(&format!("drop {name}"))?;
    }
    Ok(())
}

/// The device is offered, and does what it should.
pub fn works_again(cluster: &Cluster, node: usize, fdid: u32, seed: u64) -> Result<()> {
    let user = Actor::start(cluster.node(node), "again")?;
    wait_state(&user, fdid, "Available")?;
    user.tell(&format!("borrow device {fdid} --exclusive"))?;
    user.tell("nvme start disk device --submissions device --interrupts")?;
    let (from, bytes) = (8 << 20, 96 << 10);
    for way in ["write", "read"] {
        let moved: Moved = user.ask(&format!("nvme move disk {way} {from} {bytes} {seed}"))?;
        ensure!(moved.wrong == 0 && moved.commands > 0, "{way}: {moved:?}");
    }
    user.tell("nvme flush disk")?;
    on_disk(cluster, NVME, from, bytes, seed)?;
    let interrupts: Vec<u64> = user.ask("nvme stop disk")?;
    ensure!(interrupts.iter().all(|count| *count > 0), "{interrupts:?}");
    user.tell("drop device")?;
    wait_state(&user, fdid, "Available")
}

/// The lender, looking on.
fn lender(cluster: &Cluster) -> Result<Actor<'_>> {
    Actor::start(cluster.node(LENDER), "lender")
}
