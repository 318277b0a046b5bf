// SPDX-License-Identifier: GPL-2.0
//! The pool: what is in it, who sees it, who may borrow, alone or with others.

use anyhow::ensure;
use anyhow::Result;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::bind;
use crate::lend::wait_state;
use crate::lend::waiver;
use crate::lend::BorrowInfo;
use crate::lend::Listed;
use crate::lend::BORROWER;
use crate::lend::BUFFERED;
use crate::lend::EDU;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share::Actor;

/// A device from the first to the last day of its life in the pool.
pub const LIFE: Case = Case {
    name: "a device is added, made available, withdrawn and removed",
    run: life,
};

/// Looking for devices.
pub const FILTER: Case = Case {
    name: "connected nodes see the pool, by any filter",
    run: filter,
};

/// Shared and exclusive.
pub const SHARES: Case = Case {
    name: "shared and exclusive borrows, of processes and nodes",
    run: shares,
};

/// Who may lend and borrow.
pub const RIGHTS: Case = Case {
    name: "lending is the superuser's, borrowing follows the mode",
    run: rights,
};

fn life(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let waive = waiver(context.setting);
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let function = EDU.address(cluster.node(LENDER))?;
    let fdid: u32 = lender.ask(&format!("lend-add {function} --mode 666"))?;
    let node = lender.status()?.node;
    ensure!(
        fdid >> 16 == 4 * (node + 1),
        "{fdid:#x} is of no device of node {node}"
    );
    lender.refused(&format!("lend-add {function}"), "EADDRINUSE")?;
    wait_state(&lender, fdid, "Unavailable")?;
    wait_state(&user, fdid, "Unavailable")?;
    user.refused(&format!("borrow device {fdid}"), "EBUSY")?;
    // Nobody has taken it from its driver yet.
    lender.refused(&format!("lend-available {fdid} {waive}"), "EBUSY")?;
    bind(cluster.node(LENDER), EDU)?;
    if !waive.is_empty() {
        let why: String = lender.ask(&format!("lend-refusal {fdid}"))?;
        ensure!(why == "NoIommu", "it is refused for {why}");
    }
    lender.tell(&format!("lend-available {fdid} {waive}"))?;
    lender.refused(&format!("lend-available {fdid} {waive}"), "EBUSY")?;
    wait_state(&user, fdid, "Available")?;
    let seen = lend::seen(cluster, &user, EDU)?;
    ensure!(
        seen.fdid == fdid
            && seen.node == node
            && (seen.vendor, seen.device) == (0x1234, 0x11e8)
            && seen.contained == waive.is_empty()
            && seen.bars[0] == 1 << 20
            && seen.vectors == 1
            && seen.borrowers == 0,
        "{seen:?}"
    );
    lender.refused(&format!("lend-remove {fdid}"), "EBUSY")?;
    user.tell(&format!("borrow device {fdid}"))?;
    wait_state(&user, fdid, "Borrowed")?;
    lender.refused(&format!("lend-unavailable {fdid}"), "EBUSY")?;
    user.tell("return device")?;
    user.refused("device-info device", "ECONNRESET")?;
    user.tell("drop device")?;
    wait_state(&user, fdid, "Available")?;
    lender.tell(&format!("lend-unavailable {fdid}"))?;
    lender.refused(&format!("lend-unavailable {fdid}"), "EBUSY")?;
    wait_state(&user, fdid, "Unavailable")?;
    user.refused(&format!("borrow device {fdid}"), "EBUSY")?;
    // And the same again.
    lender.tell(&format!("lend-available {fdid} {waive}"))?;
    wait_state(&user, fdid, "Available")?;
    lender.tell(&format!("lend-unavailable {fdid}"))?;
    lender.tell(&format!("lend-remove {fdid}"))?;
    lender.refused(&format!("lend-remove {fdid}"), "ENOENT")?;
    user.until("devices", |found: &Vec<Listed>| {
        found.iter().all(|device| device.fdid != fdid)
    })?;
    user.refused(&format!("borrow device {fdid}"), "ENOENT")
}

fn filter(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let number = lender.status()?.node;
    let home = cluster.node(LENDER);
    let (one, two) = (NVME.address(home)?, BUFFERED.address(home)?);
    // A filter, and how many devices it finds.
    let table = [
        (String::new(), 2),
        ("--class 0x010802 0xffffff".to_owned(), 2),
        ("--class 0x010000 0xff0000".to_owned(), 2),
        ("--class 0x020000 0xff0000".to_owned(), 0),
        ("--vendor 0x1b36".to_owned(), 2),
        ("--vendor 0x1b36 --device 0x0010".to_owned(), 2),
        ("--vendor 0x1b36 --device 0x0011".to_owned(), 0),
        (format!("--node {number}"), 2),
        (format!("--node {}", number + 7), 0),
        (format!("--function {one}"), 1),
        (format!("--function {two} --available"), 1),
    ];
    for node in cluster.nodes() {
        let user = Actor::start(node, "user")?;
        for (filter, count) in &table {
            let found: Vec<Listed> = user.ask(&format!("devices {filter}"))?;
            ensure!(
                found.len() == *count,
                "node {}: {count} devices are due for {filter:?}: {found:?}",
                node.index()
            );
        }
    }
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let number = user.status()?.node;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    let seen = lend::seen(cluster, &user, BUFFERED)?;
    ensure!(
        seen.bars[0] >= 0x2000 && seen.bars[2] == lend::CMB && seen.vectors > 1,
        "{seen:?}"
    );
    lender.refused(&format!("lend-connect {number}"), "EBUSY")?;
    lender.tell(&format!("lend-disconnect {number}"))?;
    user.until("devices", |found: &Vec<Listed>| found.is_empty())?;
    user.refused(&format!("borrow device {fdid}"), "ENOENT")?;
    lender.refused(&format!("lend-disconnect {number}"), "EBUSY")?;
    // The others have not noticed.
    for node in cluster.nodes() {
        if node.index() != BORROWER {
            let other = Actor::start(node, "other")?;
            let found: Vec<Listed> = other.ask("devices --available")?;
            ensure!(found.len() == 2, "node {}: {found:?}", node.index());
        }
    }
    lender.tell(&format!("lend-connect {number}"))?;
    user.until("devices --available", |found: &Vec<Listed>| {
        found.len() == 2
    })?;
    // Disconnecting takes what was borrowed.
    user.tell(&format!("borrow device {fdid}"))?;
    lender.tell(&format!("lend-disconnect {number}"))?;
    user.event("device", "Ended")?;
    user.refused("device-info device", "ECONNRESET")?;
    user.tell("drop device")?;
    lender.tell(&format!("lend-connect {number}"))?;
    wait_state(&user, fdid, "Available")
}

fn shares(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let one = Actor::start(cluster.node(BORROWER), "one")?;
    let other = Actor::start(cluster.node(BORROWER), "other")?;
    let home = Actor::start(cluster.node(LENDER), "home")?;
    let fdid = lend::seen(cluster, &one, NVME)?.fdid;
    let shared = format!("borrow device {fdid}");
    let alone = format!("borrow device {fdid} --exclusive");
    // Who comes first, and who second: processes of one node, a borrower and the lender itself.
    let pairs = [(&one, &other), (&one, &home), (&home, &one)];
    for (first, second) in pairs {
        first.tell(&shared)?;
        wait_state(second, fdid, "Borrowed")?;
        second.refused(&alone, "EBUSY")?;
        second.tell(&shared)?;
        first.refused("release-exclusive device", "EBUSY")?;
        first.refused("device-reset device", "EBUSY")?;
        let seen = lend::seen(cluster, &home, NVME)?;
        ensure!(
            seen.borrowers == 2 && seen.state == "Borrowed",
            "two have it: {seen:?}"
        );
        first.tell("drop device")?;
        second.tell("device-info device")?;
        second.tell("drop device")?;
        wait_state(first, fdid, "Available")?;
        first.tell(&alone)?;
        wait_state(second, fdid, "Exclusive")?;
        second.refused(&shared, "EBUSY")?;
        second.refused(&alone, "EBUSY")?;
        let info: BorrowInfo = first.ask("device-info device")?;
        ensure!(info.exclusive && info.device.fdid == fdid, "{info:?}");
        first.tell("device-reset device")?;
        first.tell("release-exclusive device")?;
        let info: BorrowInfo = first.ask("device-info device")?;
        ensure!(!info.exclusive, "{info:?}");
        second.tell(&shared)?;
        for who in [first, second] {
            who.tell("return device")?;
            who.tell("drop device")?;
        }
        wait_state(first, fdid, "Available")?;
    }
    // Who goes without a word is missed by the others.
    let seen = lend::seen(cluster, &home, NVME)?;
    ensure!(seen.borrowers == 0, "{seen:?}");
    home.tell(&shared)?;
    one.tell(&shared)?;
    one.kill()?;
    home.event("device", "SharerGone")?;
    home.tell("device-info device")?;
    home.tell("drop device")?;
    wait_state(&other, fdid, "Available")
}

fn rights(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let waive = waiver(context.setting);
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let nobody = Actor::start_as(cluster.node(LENDER), "nobody", 1000, 100)?;
    let far = Actor::start_as(cluster.node(BORROWER), "far", 1000, 100)?;
    let root = Actor::start(cluster.node(BORROWER), "root")?;
    let function = EDU.address(cluster.node(LENDER))?;
    let fdid = lend::seen(cluster, &root, NVME)?.fdid;
    for step in [
        format!("lend-add {function}"),
        format!("lend-unavailable {fdid}"),
        format!("lend-remove {fdid}"),
        format!("lend-connect {}", root.status()?.node),
    ] {
        nobody.refused(&step, "EPERM")?;
    }
    bind(cluster.node(LENDER), EDU)?;
    let own: u32 = lender.ask(&format!("lend-add {function} --mode 600"))?;
    lender.tell(&format!("lend-available {own} {waive}"))?;
    wait_state(&root, own, "Available")?;
    // A peer's superuser is nobody here.
    root.refused(&format!("borrow device {own}"), "EACCES")?;
    lender.tell(&format!("borrow device {own}"))?;
    lender.tell("drop device")?;
    wait_state(&root, own, "Available")?;
    let free = format!("borrow device {fdid}");
    if waive.is_empty() {
        nobody.refused(&format!("borrow device {own}"), "EACCES")?;
        far.tell(&free)?;
        far.tell("drop device")?;
    } else {
        // All memory of the lender comes with the device.
        far.refused(&free, "EPERM")?;
        nobody.refused(&free, "EPERM")?;
    }
    lender.tell(&format!("lend-unavailable {own}"))?;
    lender.tell(&format!("lend-remove {own}"))?;
    // The list of nodes has the own one always.
    let listed = format!(
        "lend-add {function} --mode 666 --node {}",
        root.status()?.node + 1
    );
    let own: u32 = lender.ask(&listed)?;
    lender.tell(&format!("lend-available {own} {waive}"))?;
    wait_state(&root, own, "Available")?;
    if context.cluster.nodes().len() == 2 {
        root.refused(&format!("borrow device {own}"), "EACCES")?;
    }
    lender.tell(&format!("borrow device {own}"))?;
    lender.tell("drop device")?;
    wait_state(&lender, own, "Available")?;
    lender.tell(&format!("lend-unavailable {own}"))?;
    lender.tell(&format!("lend-remove {own}"))
}
