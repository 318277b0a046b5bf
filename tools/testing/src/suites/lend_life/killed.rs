// SPDX-License-Identifier: GPL-2.0
//! Deaths of nodes: the borrower's, and the lender's.

use anyhow::ensure;
use anyhow::Result;

use super::at_work;
use super::is_over;
use super::lender;
use super::works_again;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::requesters;
use crate::lend::wait_state;
use crate::lend::Listed;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::lend::THIRD;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;

/// Its node.
pub const BORROWER_NODE: Case = Case {
    name: "the borrower's node dies",
    run: borrower_node,
};

/// The lender's node.
pub const LENDER_NODE: Case = Case {
    name: "the lender's node dies and comes back",
    run: lender_node,
};

fn borrower_node(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = lender(cluster)?;
    let before = Balance::of(&lender)?;
    let home = cluster.node(LENDER);
    let (user, fdid) = at_work(cluster, BORROWER, "user")?;
    cluster.node(BORROWER).kill()?;
    drop(user);
    wait_state(&lender, fdid, "Available")?;
    // Whoever is left can use it, before the dead one is back.
    let other = if cluster.nodes().len() > THIRD {
        THIRD
    } else {
        LENDER
    };
    works_again(cluster, other, fdid, 81)?;
    cluster.node(BORROWER).start()?;
    share::load(cluster.node(BORROWER), "")?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    // Now it is certain that the former one writes to the device and its memory no more.
    before.wait_back(&lender)?;
    works_again(cluster, BORROWER, fdid, 82)?;
    let bdf = NVME.bdf(home)?;
    let left = requesters(cluster, home.port(0))?;
    ensure!(!left.contains(&bdf), "{bdf:#x} is still among {left:x?}");
    Ok(())
}

fn lender_node(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let watcher = Actor::start(cluster.node(BORROWER), "watcher")?;
    let before = Balance::of(&watcher)?;
    let (user, fdid) = at_work(cluster, BORROWER, "user")?;
    cluster.node(LENDER).kill()?;
    is_over(&user)?;
    user.until("devices", |found: &Vec<Listed>| {
        found.iter().all(|device| device.fdid != fdid)
    })?;
    user.kill()?;
    cluster.node(LENDER).start()?;
    share::load(cluster.node(LENDER), "")?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    // Now it is certain that the former one writes no more.
    before.wait_back(&watcher)?;
    // What it lent is forgotten; it starts anew.
    lend::open(context)?;
    let fdid = lend::seen(cluster, &watcher, NVME)?.fdid;
    works_again(cluster, BORROWER, fdid, 83)
}
