// SPDX-License-Identifier: GPL-2.0
//! Ends that nobody dies of.

use anyhow::ensure;
use anyhow::Result;
use ntb_switch::control::LinkState;

use super::at_work;
use super::is_over;
use super::lender;
use super::works_again;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::bind;
use crate::lend::offer;
use crate::lend::wait_state;
use crate::lend::waiver;
use crate::lend::Hammered;
use crate::lend::Listed;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;

/// The lender takes it back.
pub const TAKEN: Case = Case {
    name: "made unavailable while it is borrowed: busy, or by force",
    run: taken,
};

/// The borrower gives it back.
pub const RETURNED: Case = Case {
    name: "returned: not while segments of it are connected",
    run: returned,
};

/// The cable.
pub const LINK: Case = Case {
    name: "the link goes down: the borrow is over on both sides",
    run: link,
};

/// Hot-unplug.
pub const UNPLUGGED: Case = Case {
    name: "the device is unplugged, and comes back",
    run: unplugged,
};

/// rmmod.
pub const UNLOADED: Case = Case {
    name: "the module goes: not under a borrower's feet, cleanly under a lender's",
    run: unloaded,
};

fn taken(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = lender(cluster)?;
    let before = Balance::of(&lender)?;
    let (user, fdid) = at_work(cluster, BORROWER, "user")?;
    lender.refused(&format!("lend-unavailable {fdid}"), "EBUSY")?;
    lender.refused(&format!("lend-remove {fdid}"), "EBUSY")?;
    lender.tell(&format!("lend-unavailable {fdid} --force"))?;
    is_over(&user)?;
    wait_state(&user, fdid, "Unavailable")?;
    user.refused(&format!("borrow device {fdid}"), "EBUSY")?;
    before.wait_back(&lender)?;
    lender.tell(&format!(
        "lend-available {fdid} {}",
        waiver(context.setting)
    ))?;
    works_again(cluster, BORROWER, fdid, 1)?;
    // Nor does the stub's unbinding ask.
    let (user, fdid) = at_work(cluster, BORROWER, "next")?;
    let function = NVME.address(lender.node())?;
    lender
        .node()
        .run(&format!(
            "echo {function} > /sys/bus/pci/drivers/skiff_lend/unbind"
        ))?
        .check()?;
    is_over(&user)?;
    wait_state(&user, fdid, "Unavailable")?;
    bind(lender.node(), NVME)?;
    lender.tell(&format!(
        "lend-available {fdid} {}",
        waiver(context.setting)
    ))?;
    works_again(cluster, BORROWER, fdid, 2)
}

fn returned(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (user, fdid) = at_work(cluster, BORROWER, "user")?;
    user.refused("return device", "EBUSY")?;
    let seen: Hammered = user.ask("nvme calm load")?;
    ensure!(
        seen.failed.is_none() && seen.wrong == 0 && seen.commands > 0,
        "it did not work in the meantime: {seen:?}"
    );
    user.tell("nvme stop disk")?;
    user.refused("return device", "EBUSY")?;
    for name in ["there", "memory", "bar"] {
        user.tell(&format!("drop {name}"))?;
    }
    user.refused("return device", "EBUSY")?;
    user.tell("drop registers")?;
    user.tell("return device")?;
    user.refused("return device", "ECONNRESET")?;
    works_again(cluster, BORROWER, fdid, 3)
}

fn link(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = lender(cluster)?;
    let before = Balance::of(&lender)?;
    for round in 0..context.scale.pick(2, 200) {
        let (user, fdid) = at_work(cluster, BORROWER, "user")?;
        // One side's cable, then the other's.
        let port = cluster
            .node(if round % 2 == 0 { BORROWER } else { LENDER })
            .port(0);
        cluster.switch().set_link(port, LinkState::Down)?;
        is_over(&user)?;
        wait_state(&lender, fdid, "Available")?;
        user.refused(&format!("borrow device {fdid} --timeout 1000"), "ENOLINK")
            .or_else(|_| user.refused(&format!("borrow device {fdid}"), "ENOENT"))?;
        cluster.switch().set_link(port, LinkState::Up)?;
        for node in cluster.nodes() {
            share::wait_up(cluster, node)?;
        }
        // The relation has outlived the link.
        works_again(cluster, BORROWER, fdid, u64::from(round) + 4)?;
    }
    before.wait_back(&lender)
}

fn unplugged(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = lender(cluster)?;
    let home = cluster.node(LENDER);
    let (user, fdid) = at_work(cluster, BORROWER, "user")?;
    home.unplug(NVME.name())?;
    is_over(&user)?;
    // QEMU asks first, so that the driver lets go of a device that still answers.
    wait_state(&user, fdid, "Unavailable")?;
    user.refused(&format!("borrow device {fdid}"), "EBUSY")?;
    lender.refused(
        &format!("lend-available {fdid} {}", waiver(context.setting)),
        "EBUSY",
    )?;
    lender.tell(&format!("lend-remove {fdid} --force"))?;
    user.until("devices", |found: &Vec<Listed>| {
        found.iter().all(|device| device.fdid != fdid)
    })?;
    NVME.plug(home)?;
    let fdid = offer(context.setting, &lender, NVME)?;
    works_again(cluster, BORROWER, fdid, 70)
}

fn unloaded(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (user, _) = at_work(cluster, BORROWER, "user")?;
    let refused = cluster.node(BORROWER).run("rmmod skiff")?;
    ensure!(
        !refused.status.success(),
        "the module of the borrower could be unloaded"
    );
    // Nobody of the lender has a file open.
    share::unload(cluster.node(LENDER))?;
    is_over(&user)?;
    user.until("devices", |found: &Vec<Listed>| found.is_empty())?;
    user.kill()?;
    // What was lent is an ordinary function again.
    let function = NVME.address(cluster.node(LENDER))?;
    let bound = cluster
        .node(LENDER)
        .run(&format!("test -e /sys/bus/pci/devices/{function}/driver"))?;
    ensure!(
        !bound.status.success(),
        "a driver is still bound to {function}"
    );
    share::load(cluster.node(LENDER), "")?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    lend::open(context)?;
    let watcher = Actor::start(cluster.node(BORROWER), "watcher")?;
    let fdid = lend::seen(cluster, &watcher, NVME)?.fdid;
    works_again(cluster, BORROWER, fdid, 71)
}
