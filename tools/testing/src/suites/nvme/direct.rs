// SPDX-License-Identifier: GPL-2.0
//! Interrupts that the controller raises at the borrower itself, by counts: where there are spare ones, which is on the companion
//! layout.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use crate::disk::Speed;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::nvme;
use crate::share;

/// See the module. Nothing else shows that the lender's CPU is left alone, nor that the next user is not mistaken for the last.
pub const DIRECT: Case = Case {
    name: "interrupts: stored by the controller, without the lender and without a message; its own ones at home; forwarded if wanted",
    run: direct,
};

/// The kernel of the lender knows nothing of it, and writes its own entry: nothing else shows that this does no harm.
pub const TAKEN_BACK: Case = Case {
    name: "the lender's CPU goes offline that the vectors were of: its kernel takes them back, and they are forwarded",
    run: taken_back,
};

/// One by one, so that each is told of.
const LOAD: (&str, u64, u32) = ("random-read", 4096, 1);

/// Messages that nobody asked for: beats, and their answers.
const BEATS: u64 = 4;

/// What was done and counted meanwhile.
#[derive(Clone, Copy, Debug)]
struct Counted {
    operations: u64,
    /// Interrupts of the borrower that the controller has stored, and those that it was not let.
    stored: u64,
    refused: u64,
    /// Doorbells between the nodes.
    doorbells: u64,
    /// Interrupts of the controller that its lender has taken.
    home: u64,
    /// Those that the borrower has taken without it.
    here: u64,
}

/// The interrupts of a node.
pub(super) fn interrupts(node: &Node) -> Result<String> {
    let shown = node.run("cat /proc/interrupts")?;
    Ok(shown.check()?.stdout_text().into_owned())
}

/// Those of all lines with this word.
pub(super) fn sum(interrupts: &str, word: &str) -> Result<u64> {
    let mut sum = 0;
    for line in interrupts.lines().filter(|line| line.contains(word)) {
        let (_, counts) = line.split_once(':').context("a line without a number")?;
        sum += counts
            .split_whitespace()
            .map_while(|count| count.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(sum)
}

/// Interrupts of all lines with this word.
fn taken(node: &Node, word: &str) -> Result<u64> {
    sum(&interrupts(node)?, word)
}

impl Counted {
    /// Everything until now.
    fn now(cluster: &Cluster) -> Result<Self> {
        let [near, far] = [BORROWER, LENDER].map(|node| {
            let port = cluster.node(node).port(0);
            cluster.switch().counters(port)
        });
        let (near, far) = (near?, far?);
        let home = cluster.node(LENDER);
        Ok(Self {
            operations: 0,
            stored: far.interrupt_writes,
            refused: far.interrupt_writes_refused,
            doorbells: near.doorbells_sent + far.doorbells_sent,
            home: taken(home, &NVME.address(home)?)?,
            here: taken(cluster.node(BORROWER), "skiff-direct")?,
        })
    }

    /// I/O of a node.
    fn during(cluster: &Cluster, node: usize, path: &str) -> Result<Self> {
        let before = Self::now(cluster)?;
        let options = "--milliseconds 300 --least 16";
        let speed = Speed::measure(cluster.node(node), path, 16 << 20, LOAD, options)?;
        let after = Self::now(cluster)?;
        Ok(Self {
            operations: speed.operations,
            stored: after.stored - before.stored,
            refused: after.refused - before.refused,
            doorbells: after.doorbells - before.doorbells,
            home: after.home - before.home,
            here: after.here - before.here,
        })
    }
}

/// The borrower has its interrupts without the lender.
fn straight(cluster: &Cluster) -> Result<()> {
    let path = nvme::load(cluster.node(BORROWER))?;
    let counted = Counted::during(cluster, BORROWER, &path)?;
    ensure!(
        counted.stored >= counted.operations
            && counted.here >= counted.operations
            && counted.home == 0
            && counted.refused == 0
            && counted.doorbells <= BEATS,
        "not straight: {counted:?}"
    );
    nvme::unload(cluster.node(BORROWER))
}

fn direct(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    straight(cluster)?;
    let path = nvme::load(home)?;
    let counted = Counted::during(cluster, LENDER, &path)?;
    ensure!(
        counted.home >= counted.operations && counted.stored == 0 && counted.refused == 0,
        "the lender's own: {counted:?}"
    );
    nvme::unload(home)?;
    again(cluster, "direct_interrupts=0")?;
    let path = nvme::load(node)?;
    let counted = Counted::during(cluster, BORROWER, &path)?;
    ensure!(
        counted.home >= counted.operations
            && counted.doorbells >= counted.operations
            && counted.stored == 0,
        "not forwarded: {counted:?}"
    );
    nvme::unload(node)?;
    again(cluster, "")?;
    straight(cluster)
}

fn taken_back(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    let path = nvme::load(node)?;
    // Of two CPUs the kernel gives each some.
    let online = "/sys/devices/system/cpu/cpu1/online";
    home.run(&format!("echo 0 > {online}"))?.check()?;
    let counted = Counted::during(cluster, BORROWER, &path);
    home.run(&format!("echo 1 > {online}"))?.check()?;
    let counted = counted?;
    ensure!(
        counted.stored + counted.home >= counted.operations && counted.home > 0,
        "not taken back: {counted:?}"
    );
    nvme::unload(node)?;
    straight(cluster)
}

/// The borrower's module, loaded anew.
fn again(cluster: &Cluster, parameters: &str) -> Result<()> {
    let node = cluster.node(BORROWER);
    share::unload(node)?;
    share::load(node, parameters)?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    Ok(())
}
