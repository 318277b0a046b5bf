// SPDX-License-Identifier: GPL-2.0
//! A vector that the controller stores at the borrower itself, interrupt by interrupt: what becomes of it when the function is
//! reset, and when others listen to it, too. skiff_aims.ko has a command done for each interrupt.

use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use super::direct::interrupts;
use super::direct::sum;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::lend::THIRD;
use crate::nvme;
use crate::share;
use crate::share::Actor;
use crate::share::SOON;

/// The kernel of the lender writes the table anew, and knows nothing of where it leads.
pub const RESET: Case = Case {
    name: "the function is reset under a vector that is stored directly: it still is, and none is lost",
    run: reset,
};

/// See its name.
pub const SHARERS: Case = Case {
    name:
        "sharers listen to a vector that is stored directly: all are told, and who stays still is",
    run: sharers,
};

/// Loads skiff.ko if that was not done. What comes directly would be a way around the borrower's IOMMU.
pub const FORWARDED: Case = Case {
    name: "a borrower whose IOMMU contains memory and not interrupts has none directly, and its disk works",
    run: forwarded,
};

/// Commands at a time, and what has a client do them.
const COUNT: u64 = 8;
const SOME: &str = "command 8";

/// The module in a node.
struct Client<'a>(&'a Node);

impl Client<'_> {
    fn unload(self) -> Result<()> {
        self.0.run("rmmod skiff_aims")?.check()?;
        Ok(())
    }

    fn tell(&self, command: &str) -> Result<()> {
        let line = format!("echo '{command}' > /sys/module/skiff_aims/parameters/command");
        let output = self.0.run(&line)?.check();
        output.with_context(|| format!("node {}: {command}", self.0.index()))?;
        Ok(())
    }

    /// Interrupts of vector 0. There must be no others.
    fn heard(&self) -> Result<u64> {
        let line = "cd /sys/module/skiff_aims/parameters && cat heard strange";
        let shown = self.0.run(line)?.check()?.stdout_text().into_owned();
        let (heard, strange) = shown.trim().split_once('\n').context("two lines")?;
        ensure!(strange == "0", "{strange} interrupts of other vectors");
        Ok(heard.parse()?)
    }
}

/// Interrupts until now, or of a while.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted {
    /// That the switch let the controller store, and that it did not.
    stored: u64,
    refused: u64,
    /// That the lender took for its devices.
    home: u64,
    /// That each node took without the lender.
    direct: Vec<u64>,
    /// That each client was called for.
    heard: Vec<u64>,
}

impl Counted {
    fn since(&self, before: &Self) -> Self {
        let each = |now: &[u64], before: &[u64]| -> Vec<u64> {
            let pairs = now.iter().zip(before);
            pairs.map(|(now, before)| now - before).collect()
        };
        Self {
            stored: self.stored - before.stored,
            refused: self.refused - before.refused,
            home: self.home - before.home,
            direct: each(&self.direct, &before.direct),
            heard: each(&self.heard, &before.heard),
        }
    }
}

/// The drive of the lender.
struct Drive<'a> {
    cluster: &'a Cluster,
    fdid: u32,
    /// What sysfs calls it there.
    address: String,
}

impl<'a> Drive<'a> {
    fn of(cluster: &'a Cluster) -> Result<Self> {
        let home = cluster.node(LENDER);
        let watcher = Actor::start(home, "watcher")?;
        Ok(Self {
            cluster,
            fdid: lend::seen(cluster, &watcher, NVME)?.fdid,
            address: NVME.address(home)?,
        })
    }

    /// A node's module borrows it.
    fn load(&self, node: usize, options: &str) -> Result<Client<'a>> {
        let node = self.cluster.node(node);
        node.modprobe(&format!("skiff_aims fdid={} {options}", self.fdid))?;
        Ok(Client(node))
    }

    /// Everything until now.
    fn counted(&self, clients: &[&Client<'_>]) -> Result<Counted> {
        let port = self.cluster.node(LENDER).port(0);
        let counters = self.cluster.switch().counters(port)?;
        let nodes = self.cluster.nodes().iter();
        let interrupts = nodes.map(interrupts).collect::<Result<Vec<_>>>()?;
        let direct = interrupts.iter().map(|shown| sum(shown, "skiff-direct"));
        Ok(Counted {
            stored: counters.interrupt_writes,
            refused: counters.interrupt_writes_refused,
            home: sum(&interrupts[LENDER], &self.address)?,
            direct: direct.collect::<Result<_>>()?,
            heard: clients
                .iter()
                .map(|client| client.heard())
                .collect::<Result<_>>()?,
        })
    }

    /// Has the first client do commands. What is counted meanwhile must be exactly this.
    fn expect(&self, clients: &[&Client<'_>], command: &str, expected: &Counted) -> Result<()> {
        let begun = self.counted(clients)?;
        clients[0].tell(command)?;
        let started = Instant::now();
        // Who does a command has heard of it by then; others, and the lender, may take a while.
        loop {
            let counted = self.counted(clients)?.since(&begun);
            if counted == *expected {
                return Ok(());
            }
            ensure!(
                started.elapsed() < SOON,
                "{command}: {counted:?}, and not {expected:?}"
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Has it do some, which come to it without the lender, and to none of the others.
    fn direct(&self, node: usize, clients: &[&Client<'_>]) -> Result<()> {
        let alone = |among: usize, at: usize| {
            let mut counts = vec![0; among];
            counts[at] = COUNT;
            counts
        };
        let expected = Counted {
            stored: COUNT,
            refused: 0,
            home: 0,
            direct: alone(self.cluster.nodes().len(), node),
            heard: alone(clients.len(), 0),
        };
        self.expect(clients, SOME, &expected)
    }

    /// Has it do some, of which the lender tells all of them.
    fn forwarded(&self, clients: &[&Client<'_>]) -> Result<()> {
        let expected = Counted {
            stored: 0,
            refused: 0,
            home: COUNT,
            direct: vec![0; self.cluster.nodes().len()],
            heard: vec![COUNT; clients.len()],
        };
        self.expect(clients, SOME, &expected)
    }
}

fn reset(context: &mut Context<'_>) -> Result<()> {
    let drive = Drive::of(context.cluster)?;
    let client = drive.load(BORROWER, "exclusive=1")?;
    client.tell("listen 1")?;
    client.tell("start")?;
    drive.direct(BORROWER, &[&client])?;
    client.tell("reset")?;
    client.tell("start")?;
    drive.direct(BORROWER, &[&client])?;
    // It can be recalled afterwards, when nobody wants it, and is had again.
    client.tell("listen 0")?;
    for _ in 0..2 {
        let unheard = Counted {
            stored: 0,
            refused: 0,
            home: 1,
            direct: vec![0; context.cluster.nodes().len()],
            heard: vec![0],
        };
        // One by one: nobody waits for them, and what comes twice before it is taken is one.
        drive.expect(&[&client], "silent 1", &unheard)?;
    }
    client.tell("listen 1")?;
    drive.direct(BORROWER, &[&client])?;
    client.unload()
}

fn sharers(context: &mut Context<'_>) -> Result<()> {
    let drive = Drive::of(context.cluster)?;
    let near = drive.load(BORROWER, "")?;
    near.tell("listen 1")?;
    near.tell("start")?;
    // A sharer that does not listen changes nothing.
    let other = drive.load(THIRD, "")?;
    drive.direct(BORROWER, &[&near, &other])?;
    other.tell("listen 1")?;
    drive.forwarded(&[&near, &other])?;
    // Nor can who listens anew have it for itself.
    near.tell("listen 1")?;
    drive.forwarded(&[&near, &other])?;
    other.unload()?;
    drive.forwarded(&[&near])?;
    near.tell("listen 1")?;
    drive.direct(BORROWER, &[&near])?;
    // So it is with the lender's own. Then the one goes that had it first, and with it the queue.
    let home = drive.load(LENDER, "")?;
    home.tell("listen 1")?;
    drive.forwarded(&[&near, &home])?;
    near.unload()?;
    home.tell("start")?;
    drive.forwarded(&[&home])?;
    home.unload()
}

fn forwarded(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let node = cluster.node(BORROWER);
    share::load_everywhere(cluster, "")?;
    nvme::open(cluster, context.setting)?;
    let drive = Drive::of(cluster)?;
    let client = drive.load(BORROWER, "exclusive=1")?;
    client.tell("listen 1")?;
    client.tell("start")?;
    drive.forwarded(&[&client])?;
    // Not since there are none: none was claimed.
    let shown = node.run("cat /sys/kernel/debug/skiff/links")?.check()?;
    let shown = shown.stdout_text();
    let line = shown.lines().next().context("no adapter in debugfs")?;
    ensure!(
        line.contains(" spares_claimed=0") && !line.contains(" spares=0 "),
        "spare interrupts: {line:?}"
    );
    client.unload()?;

    let path = nvme::load(node)?;
    let before = drive.counted(&[])?;
    nvme::region(&path, 1, 1, 60).work(node, 200)?;
    let counted = drive.counted(&[])?.since(&before);
    ensure!(
        counted.home > 0 && counted.stored == 0 && counted.refused == 0 && counted.direct == [0, 0],
        "not forwarded: {counted:?}"
    );
    nvme::unload(node)
}
