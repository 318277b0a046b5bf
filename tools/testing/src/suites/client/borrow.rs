// SPDX-License-Identifier: GPL-2.0
//! A kernel module, skiff_borrow.ko, that borrows a device: it tries all that it can, and shows what becomes of a borrow that
//! ends under it.

use anyhow::ensure;
use anyhow::Result;
use ntb_switch::control::LinkState;
use skiff_cluster::Iommu;
use skiff_cluster::Node;

use super::fdid;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::wait_state;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::share;
use crate::share::Actor;
use crate::share::PAGE;
use crate::share::SOON;

/// See its name.
pub const AWAY: Case = Case {
    name: "registers, interrupts, memory and a window of another node's device",
    run: |context| whole(context, BORROWER),
};

/// See its name.
pub const HOME: Case = Case {
    name: "the same of the own node's device",
    run: |context| whole(context, LENDER),
};

/// See its name.
pub const TAKEN: Case = Case {
    name: "the lender takes a borrowed device: told once, loads give ones, all can be freed",
    run: taken,
};

/// See its name.
pub const CUT: Case = Case {
    name: "the link goes down under a borrowed device",
    run: cut,
};

/// See its name.
pub const TAKEN_AT_HOME: Case = Case {
    name: "the lender takes a device from a module of its own, which has left it by then",
    run: taken_at_home,
};

/// See its name.
pub const UNBOUND: Case = Case {
    name: "the borrower's adapter goes under a borrowed device, and comes back",
    run: unbound,
};

/// See its name.
pub const RESUMED: Case = Case {
    name: "a kernel's map of a segment gives ones while the link is down, and is good again then",
    run: resumed,
};

/// The last: the lender stays dead.
pub const KILLED: Case = Case {
    name: "the lender's node dies under a borrowed device",
    run: killed,
};

/// Loads the module, which borrows the device.
fn load(node: &Node, fdid: u32, options: &str) -> Result<()> {
    Ok(node.modprobe(&format!("skiff_borrow fdid={fdid} {options}"))?)
}

/// Makes all that there is to make and gives it up.
const BRIEF: &str = "brief=1";
/// The same, and keeps it.
const HOLD: &str = "brief=1 hold=1";
/// The same, until the borrow ends.
const LEAVE: &str = "brief=1 hold=1 leave=1";

fn unload(node: &Node) -> Result<()> {
    node.run("rmmod skiff_borrow")?.check()?;
    Ok(())
}

/// A value that it shows.
fn shown(node: &Node, name: &str) -> Result<String> {
    let path = format!("cat /sys/module/skiff_borrow/parameters/{name}");
    Ok(node.run(&path)?.check()?.stdout_text().trim().to_owned())
}

fn whole(context: &mut Context<'_>, node: usize) -> Result<()> {
    let fdid = fdid(context.cluster)?;
    let watcher = Actor::start(context.cluster.node(LENDER), "watcher")?;
    let node = context.cluster.node(node);
    // It tries everything, and returns the device itself.
    load(node, fdid, "")?;
    wait_state(&watcher, fdid, "Available")?;
    // All memory: not past an IOMMU, and not of the own node.
    let direct = context.setting.iommu == Iommu::Off && node.index() != LENDER;
    let found = shown(node, "direct")?;
    ensure!(
        found == if direct { "0" } else { "-95" },
        "a direct window gives {found}"
    );
    unload(node)?;
    // A module that uses skiff.ko keeps it.
    load(node, fdid, HOLD)?;
    wait_state(&watcher, fdid, "Exclusive")?;
    let linked = context.setting.iommu != Iommu::Off && node.index() != LENDER;
    let bounce = shown(node, "bounce")?;
    ensure!(
        bounce == if linked { "0" } else { "1" },
        "bounce is {bounce}"
    );
    ensure!(
        !node.run("rmmod skiff")?.status.success(),
        "skiff.ko has gone"
    );
    ensure!(shown(node, "ended")? == "0", "the borrow has ended");
    unload(node)?;
    wait_state(&watcher, fdid, "Available")
}

/// The borrow has ended under the module; everything can be freed all the same.
fn is_over(node: &Node) -> Result<()> {
    node.wait_for(
        "[ $(cat /sys/module/skiff_borrow/parameters/ended) != 0 ] && echo ended",
        SOON,
    )?;
    let (id, master, ended) = (
        shown(node, "id")?,
        shown(node, "master")?,
        shown(node, "ended")?,
    );
    ensure!(id == "ffffffff", "a load gives {id}");
    ensure!(master == "-104", "bus mastering gives {master}");
    ensure!(ended == "1", "the end was told {ended} times");
    unload(node)
}

fn taken(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (fdid, node) = (fdid(context.cluster)?, cluster.node(BORROWER));
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    load(node, fdid, HOLD)?;
    lender.refused(&format!("lend-unavailable {fdid}"), "EBUSY")?;
    lender.tell(&format!("lend-unavailable {fdid} --force"))?;
    is_over(node)?;
    let waiver = lend::waiver(context.setting);
    lender.tell(&format!("lend-available {fdid} {waiver}"))?;
    wait_state(&Actor::start(node, "waits")?, fdid, "Available")?;
    load(node, fdid, BRIEF)?;
    unload(node)
}

fn cut(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (fdid, node) = (fdid(context.cluster)?, cluster.node(BORROWER));
    let port = cluster.node(LENDER).port(0);
    load(node, fdid, HOLD)?;
    cluster.switch().set_link(port, LinkState::Down)?;
    let over = is_over(node);
    cluster.switch().set_link(port, LinkState::Up)?;
    over?;
    wait_state(&Actor::start(node, "waits")?, fdid, "Available")?;
    load(node, fdid, BRIEF)?;
    unload(node)
}

fn taken_at_home(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (fdid, node) = (fdid(context.cluster)?, cluster.node(LENDER));
    let lender = Actor::start(node, "lender")?;
    load(node, fdid, LEAVE)?;
    lender.tell(&format!("lend-unavailable {fdid} --force"))?;
    // Nothing waits: it has unmapped the registers when the device is free.
    let (ended, id) = (shown(node, "ended")?, shown(node, "id")?);
    ensure!(ended == "1" && id == "0", "ended {ended}, id {id}");
    unload(node)?;
    let waiver = lend::waiver(context.setting);
    lender.tell(&format!("lend-available {fdid} {waiver}"))?;
    wait_state(
        &Actor::start(cluster.node(BORROWER), "waits")?,
        fdid,
        "Available",
    )
}

fn unbound(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (fdid, node) = (fdid(context.cluster)?, cluster.node(BORROWER));
    load(node, fdid, LEAVE)?;
    let driver = "/sys/bus/pci/drivers/skiff";
    let output = node.run(&format!("cd {driver} && ls -d 0000:*"))?.check()?;
    let function = output.stdout_text().trim().to_owned();
    node.run(&format!("echo {function} > {driver}/unbind"))?
        .check()?;
    // Linking goes on meanwhile, where pages are linked.
    ensure!(
        shown(node, "ended")? == "1",
        "the end of the borrow was not told"
    );
    unload(node)?;
    node.run(&format!("echo {function} > {driver}/bind"))?
        .check()?;
    share::wait_up(cluster, node)?;
    wait_state(&Actor::start(node, "waits")?, fdid, "Available")?;
    load(node, fdid, BRIEF)?;
    unload(node)
}

fn resumed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, port) = (cluster.node(BORROWER), cluster.node(LENDER).port(0));
    let owner = Actor::start(cluster.node(LENDER), "owner")?;
    owner.tell(&format!("create segment {PAGE} --id 62 --mode 666 --share"))?;
    owner.tell("map own segment")?;
    owner.tell("poke own 0 0x1234")?;
    node.modprobe(&format!("skiff_far node={port} id=62"))?;
    let word = || -> Result<String> {
        let output = node.run("cat /sys/module/skiff_far/parameters/word")?;
        Ok(output.check()?.stdout_text().trim().to_owned())
    };
    let store = |value: u32| -> Result<()> {
        let line = format!("echo {value} > /sys/module/skiff_far/parameters/word");
        node.run(&line)?.check()?;
        Ok(())
    };
    let found = word()?;
    ensure!(found == "1234", "a load gives {found}");
    for value in 1..=2_u32 {
        cluster.switch().set_link(port, LinkState::Down)?;
        node.wait_for(
            "[ $(cat /sys/module/skiff_far/parameters/word) = ffffffff ] && echo gone",
            SOON,
        )?;
        // It goes nowhere.
        store(0xdead)?;
        cluster.switch().set_link(port, LinkState::Up)?;
        share::wait_up(cluster, node)?;
        node.wait_for(
            "[ $(cat /sys/module/skiff_far/parameters/word) != ffffffff ] && echo back",
            SOON,
        )?;
        store(value)?;
        owner.until("peek own 0", |now: &u32| *now == value)?;
        let found = word()?;
        ensure!(found == format!("{value:x}"), "a load gives {found}");
    }
    node.run("rmmod skiff_far")?.check()?;
    wait_state(
        &Actor::start(node, "waits")?,
        fdid(context.cluster)?,
        "Available",
    )
}

fn killed(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (fdid, node) = (fdid(context.cluster)?, cluster.node(BORROWER));
    load(node, fdid, HOLD)?;
    cluster.node(LENDER).kill()?;
    is_over(node)
}
