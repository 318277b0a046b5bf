// SPDX-License-Identifier: GPL-2.0
//! skiff_nvme.ko in the nodes of a cluster: one drive of the lender, and disks that it is for others.

use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use crate::disk;
use crate::disk::Region;
use crate::frame::Setting;
use crate::guest;
use crate::lend;
use crate::lend::DISK;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share;
use crate::share::Actor;

/// The module.
pub const MODULE: &str = "skiff_nvme";

/// How long a disk may take to appear or to go.
pub const MOMENT: Duration = Duration::from_secs(30);

/// A lender with one drive, and file systems.
pub fn describe(builder: Builder) -> Builder {
    disk::install(guest::install(builder)).node(LENDER, |node| NVME.nvme(node, DISK, ""))
}

/// The lender offers its drive to all, and everybody sees it; gives its id.
pub fn open(cluster: &Cluster, setting: Setting) -> Result<u32> {
    let actor = Actor::start(cluster.node(LENDER), "prepares")?;
    let fdid = lend::offer(setting, &actor, NVME)?;
    lend::connect(cluster, &actor, 1)?;
    Ok(fdid)
}

/// The way that data take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Pages are linked into a window.
    Linked,
    /// The controller reaches all memory.
    Direct,
    /// They are copied.
    Copied,
}

/// The way that skiff_nvme.ko has chosen for the disk that it made last.
pub fn way(node: &Node) -> Result<Way> {
    let log = node.kernel_log();
    let mut lines = log.iter().rev();
    let said = lines.find(|line| line.contains("skiffnvme") && line.contains(" queues and "));
    let said = said.context("no disk was made")?;
    let says = |way: &str| said.contains(way);
    Ok(
        match (says("it reaches all memory"), says("data are copied")) {
            (true, _) => Way::Direct,
            (false, true) => Way::Copied,
            (false, false) => Way::Linked,
        },
    )
}

/// Loads skiff_nvme.ko and waits for its disk; gives the path.
pub fn load(node: &Node) -> Result<String> {
    load_with(node, "")
}

/// The same with parameters of the module.
pub fn load_with(node: &Node, parameters: &str) -> Result<String> {
    node.modprobe(&format!("{MODULE} {parameters}"))?;
    wait_disk(node)
}

/// What skiff_nvme.ko has told in the kernel's log.
pub fn told(node: &Node) -> String {
    let mut log = node.kernel_log();
    log.retain(|line| line.contains(MODULE));
    log.join("\n")
}

/// Waits until more lines of a node's kernel log contain `text` than there were `before`.
pub fn wait_told(node: &Node, text: &str, before: usize) -> Result<()> {
    let started = Instant::now();
    while count_told(node, text) <= before {
        if started.elapsed() > MOMENT {
            let (index, said) = (node.index(), told(node));
            bail!("node {index} does not tell {text:?} again:\n{said}");
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// How many lines of a node's kernel log contain `text`.
pub fn count_told(node: &Node, text: &str) -> usize {
    let log = node.kernel_log();
    log.iter().filter(|line| line.contains(text)).count()
}

/// Unloads it, which gives back what it borrowed.
pub fn unload(node: &Node) -> Result<()> {
    let line = format!("rmmod {MODULE}");
    node.shell(&line).timeout(MOMENT).run()?.check()?;
    Ok(())
}

/// Takes the drive from skiff_nvme.ko, which stays, and gives it back, by sysfs; gives the path of the new disk.
pub fn bind_again(node: &Node) -> Result<String> {
    let driver = format!("/sys/bus/auxiliary/drivers/{MODULE}.nvme");
    let device = node.run(&format!("cd {driver} && ls -d skiff.device.*"))?;
    let device = device.check()?.stdout_text().trim().to_owned();
    node.run(&format!("echo {device} > {driver}/unbind"))?
        .check()?;
    wait_gone(node)?;
    node.run(&format!("echo {device} > {driver}/bind"))?
        .check()?;
    wait_disk(node)
}

/// The disks of skiff_nvme.ko in a node.
pub fn disks(node: &Node) -> Result<Vec<String>> {
    listed(node, "-e $d")
}

/// Those that `test` says so of, without any process but the shell.
fn listed(node: &Node, test: &str) -> Result<Vec<String>> {
    let line = format!("cd /sys/block && for d in skiffnvme*; do [ {test} ] && echo $d; done");
    let listed = node.run(&line)?;
    Ok(listed
        .stdout_text()
        .lines()
        .map(|name| format!("/dev/{name}"))
        .collect())
}

fn wait(
    node: &Node,
    test: &str,
    what: &str,
    wanted: impl Fn(&[String]) -> bool,
) -> Result<Vec<String>> {
    let started = Instant::now();
    loop {
        let found = listed(node, test)?;
        if wanted(&found) {
            return Ok(found);
        }
        if started.elapsed() > MOMENT {
            let said = told(node);
            bail!("node {} has no {what} but {found:?}:\n{said}", node.index());
        }
        sleep(Duration::from_millis(100));
    }
}

/// Waits until a node has its disk; gives the path.
pub fn wait_disk(node: &Node) -> Result<String> {
    let found = wait_disks(node, 1)?;
    found.into_iter().next().context("there is one")
}

/// Waits until a node has so many disks; gives their paths in order.
pub fn wait_disks(node: &Node, count: usize) -> Result<Vec<String>> {
    // The node of devtmpfs is made a moment after the disk.
    wait(node, "-b /dev/$d", "disks", |found| found.len() == count)
}

/// What tells a disk from all others that its node has had since it booted: another one may soon have its name.
pub fn sequence(node: &Node, path: &str) -> Result<u64> {
    let name = path.trim_start_matches("/dev/");
    let shown = node.run(&format!("cat /sys/block/{name}/diskseq"))?;
    Ok(shown.check()?.stdout_text().trim().parse()?)
}

/// Waits until a disk is gone, whether there is another one or not.
pub fn wait_end(node: &Node, sequence: u64) -> Result<()> {
    let test = format!("\"$(cat $d/diskseq 2>/dev/null)\" = {sequence}");
    wait(node, &test, "end of its disk", |found| found.is_empty())?;
    Ok(())
}

/// Waits until a node has no disk.
pub fn wait_gone(node: &Node) -> Result<()> {
    wait(node, "-e $d", "end of its disk", |found| found.is_empty())?;
    Ok(())
}

/// A part of a drive, in MiB.
pub fn region(path: &str, from: u64, bytes: u64, seed: u64) -> Region<'_> {
    Region {
        path,
        from: from << 20,
        bytes: bytes << 20,
        seed,
        depth: 16,
        polled: false,
    }
}

/// Starts a node again after it died, up to where every node knows every other one.
pub fn start_again(cluster: &Cluster, index: usize) -> Result<()> {
    let node = cluster.node(index);
    node.start()?;
    share::load(node, "")?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    Ok(())
}

/// Linux's own driver takes the drive in the lender; gives the path of the disk.
pub fn at_home(node: &Node) -> Result<String> {
    node.modprobe("nvme")?;
    let function = NVME.address(node)?;
    guest::run(node, &format!("bind {function}"))?;
    let line = format!("ls /sys/bus/pci/devices/{function}/nvme/nvme*/ | grep '^nvme[0-9]*n1$'");
    let found = node.wait_for(&line, MOMENT)?;
    let path = format!("/dev/{}", found.stdout_text().trim());
    node.wait_for(&format!("test -b {path}"), MOMENT)?;
    Ok(path)
}
