// SPDX-License-Identifier: GPL-2.0
//! Who gets a drive: skiff_nvme.ko of one node, of another, programs.

use anyhow::ensure;
use anyhow::Result;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::wait_state;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::lend::THIRD;
use crate::nvme;
use crate::nvme::region;
use crate::nvme::MODULE;
use crate::share::Actor;

/// The driver alone with a drive.
pub const PROGRAMS: Case = Case {
    name: "the driver without one at the lender: nobody else gets the drive, in both orders",
    run: programs,
};

/// The driver at the lender.
pub const SHARERS: Case = Case {
    name: "the driver at the lender: programs may share the drive, none has it for itself",
    run: sharers,
};

fn programs(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let node = cluster.node(BORROWER);
    let user = Actor::start(node, "user")?;
    let home = Actor::start(cluster.node(LENDER), "home")?;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    let path = nvme::load(node)?;
    wait_state(&home, fdid, "Exclusive")?;
    for actor in [&user, &home] {
        for how in ["", "--exclusive"] {
            actor.refused(&format!("borrow device {fdid} {how}"), "EBUSY")?;
        }
    }
    home.refused(&format!("lend-unavailable {fdid}"), "EBUSY")?;
    region(&path, 1, 1, 50).work(node, 200)?;
    nvme::unload(node)?;
    wait_state(&home, fdid, "Available")?;
    // The other order: a program has it, and the driver gets its disk when that has let go.
    for how in ["", "--exclusive"] {
        home.tell(&format!("borrow device {fdid} {how}"))?;
        node.modprobe(MODULE)?;
        let found = nvme::disks(node)?;
        ensure!(
            found.is_empty(),
            "there is {found:?} although a program has the drive"
        );
        home.tell("drop device")?;
        let path = nvme::wait_disk(node)?;
        region(&path, 1, 1, 51).work(node, 200)?;
        nvme::unload(node)?;
        wait_state(&home, fdid, "Available")?;
    }
    Ok(())
}

fn sharers(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let home = cluster.node(LENDER);
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    let path = nvme::load(home)?;
    wait_state(&user, fdid, "Borrowed")?;
    user.refused(&format!("borrow device {fdid} --exclusive"), "EBUSY")?;
    user.tell(&format!("borrow device {fdid}"))?;
    region(&path, 1, 1, 52).work(home, 200)?;
    let other = nvme::load(cluster.node(THIRD))?;
    region(&other, 4, 1, 53).work(cluster.node(THIRD), 200)?;
    user.tell("return device")?;
    // A sharer that goes takes nothing from the others.
    region(&path, 1, 1, 54).work(home, 200)?;
    region(&other, 4, 1, 55).work(cluster.node(THIRD), 200)?;
    nvme::unload(cluster.node(THIRD))?;
    nvme::unload(home)?;
    wait_state(&user, fdid, "Available")
}
