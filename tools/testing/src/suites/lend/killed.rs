// SPDX-License-Identifier: GPL-2.0
//! A borrower's process dies while the device writes into its memory, which the next owner gets.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Iommu;
use skiff_cluster::Kernel;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::wait_state;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share::Actor;
use crate::share::Balance;
use crate::suites::lend_life::works_again;

/// See the module.
pub const PROCESS: Case = Case {
    name: "a borrower is killed in the middle of DMA: its pages belong to the next owner alone",
    run: process,
};

/// What is read over and over.
const EXTENT: u64 = 1 << 20;
/// What is in it.
const SEED: u64 = 60;
/// Bytes that the device writes into.
const TARGET: u64 = 1 << 20;
/// Bytes that the next owner takes: the pages that were freed are among them.
const NEXT: u64 = 48 << 20;
/// How long they are looked at. Commands that were under way take a part of it.
const WATCHED: Duration = Duration::from_millis(300);

fn process(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let watcher = Actor::start(cluster.node(BORROWER), "watcher")?;
    let before = (Balance::of(&lender)?, Balance::of(&watcher)?);
    let mut fdid = 0;
    // Without an IOMMU at the lender a device does not reach what is in many pieces.
    let sources = match context.setting.iommu {
        Iommu::Off => ["", ""],
        _ => ["--user", ""],
    };
    // Where an IOMMU has to keep the device from what it still has under way, and KASAN looks on, more often.
    let rounds = match (context.setting.kernel, context.setting.iommu) {
        (Kernel::Debug, Iommu::Intel { .. }) => context.scale.pick(3, 50),
        _ => 1,
    };
    for (round, source) in (0..rounds).zip(sources.into_iter().cycle()) {
        let user = Actor::start(cluster.node(BORROWER), "user")?;
        fdid = lend::seen(cluster, &user, NVME)?.fdid;
        user.tell(&format!("borrow device {fdid} --exclusive"))?;
        let freed: Vec<u64> = user.ask(&format!("create target {TARGET} --id 8 {source}"))?;
        user.tell("prepare target")?;
        user.tell(
            "nvme start disk device --queues 2 --entries 64 --depth 14 --chunk 0x8000 --data target",
        )?;
        user.tell(&format!("nvme move disk write 0 {EXTENT} {SEED}"))?;
        user.tell(&format!("nvme hammer load disk 0 {EXTENT} {SEED}"))?;
        user.kill()?;
        let next = Actor::start(cluster.node(BORROWER), "next")?;
        let seed = 100 + u64::from(round);
        let bytes = if source.is_empty() { TARGET } else { NEXT };
        let mut taken = BTreeSet::new();
        // Without an IOMMU the kernel's memory for segments is one piece, of which the first part that is free is taken.
        for part in 0..4 {
            let places: Vec<u64> =
                next.ask(&format!("create part{part} {} {source}", bytes / 4))?;
            taken.extend(places);
            next.tell(&format!("map map{part} part{part}"))?;
            next.fill(&format!("map{part}"), 0, bytes / 4, seed)?;
        }
        ensure!(
            source.is_empty() || freed.iter().any(|page| taken.contains(page)),
            "none of {} freed pages is among {}",
            freed.len(),
            taken.len()
        );
        sleep(WATCHED);
        for part in 0..4 {
            next.verify(&format!("map{part}"), 0, bytes / 4, seed)?;
        }
        next.kill()?;
        wait_state(&lender, fdid, "Available")?;
    }
    before.0.wait_back(&lender)?;
    before.1.wait_back(&watcher)?;
    works_again(cluster, BORROWER, fdid, 80)
}
