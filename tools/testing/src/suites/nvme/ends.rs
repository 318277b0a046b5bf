// SPDX-License-Identifier: GPL-2.0
//! A drive that goes away under a mounted file system: errors, no hang, and a file system that recovers when it is back.

use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use ntb_switch::control::LinkState;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Job;

use crate::disk;
use crate::disk::MOUNTED;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::waiver;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::log::Line;
use crate::nvme;
use crate::share::Actor;

/// The lender takes it back.
pub const TAKEN: Case = Case {
    name: "made unavailable by force while it is mounted",
    run: taken,
};

/// Hot-unplug.
pub const UNPLUGGED: Case = Case {
    name: "pulled out at the lender while it is mounted, and put back",
    run: unplugged,
};

/// The lender dies.
pub const LENDER_NODE: Case = Case {
    name: "the lender's node dies in the middle of I/O, and comes back",
    run: lender_node,
};

/// The link goes.
pub const CUT: Case = Case {
    name: "the lender's link goes down in the middle of I/O: what the controller may still write to waits, nothing else does",
    run: cut,
};

/// Bytes of the file that must survive.
const BYTES: u64 = 2 << 20;
/// What is in it.
const SEED: u64 = 61;
/// How long programs may wait for their errors.
const LIMIT: Duration = Duration::from_secs(30);

/// A program that writes files to a disk without an end.
struct Work {
    job: Job,
    /// The disk, by its number in its node.
    disk: u64,
}

/// Begins, on a mounted file system with a file that is safe.
fn at_work(context: &Context<'_>) -> Result<Work> {
    let cluster = context.cluster;
    let node = cluster.node(BORROWER);
    if cluster.nodes().len() > 2 {
        nvme::load(cluster.node(LENDER))?;
    }
    let path = nvme::load(node)?;
    let disk = nvme::sequence(node, &path)?;
    disk::make_file_system(node, &path)?;
    disk::mount(node, &path)?;
    node.write(lend::sequence(BYTES, SEED), "/root/safe")?;
    node.run(&format!("cp /root/safe {MOUNTED}/safe && sync"))?
        .check()?;
    let line = format!(
        "n=0; while cp /root/safe {MOUNTED}/$((n % 4)) && sync -d {MOUNTED}/$((n % 4)); do n=$((n + 1)); echo $n; done"
    );
    let job = node
        .shell(&line)
        .timeout(Duration::from_secs(120))
        .spawn()?;
    job.wait_for_output("2\n", LIMIT)?;
    Ok(Work { job, disk })
}

/// The program sees errors, the file system can be unmounted, the disk is gone. There may be another one, if the drive is back.
fn is_over(cluster: &Cluster, work: Work) -> Result<()> {
    let node = cluster.node(BORROWER);
    let started = Instant::now();
    let output = work.job.wait()?;
    ensure!(started.elapsed() < LIMIT, "the program hung: {output:?}");
    ensure!(
        !output.stderr_text().is_empty(),
        "no error was seen: {output:?}"
    );
    node.shell(&format!("umount {MOUNTED}"))
        .timeout(LIMIT)
        .run()?
        .check()?;
    nvme::wait_end(node, work.disk)
}

/// The drive is back: the file that was safe still is, and the file system works.
fn is_back(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(BORROWER);
    let path = nvme::wait_disk(node)?;
    disk::mount(node, &path)?;
    let wanted = format!("{:x}", Sha256::digest(lend::sequence(BYTES, SEED)));
    let line = format!("sha256sum {MOUNTED}/safe && cp {MOUNTED}/safe {MOUNTED}/again");
    let found = node.run(&line)?.check()?.stdout_text().into_owned();
    ensure!(found.starts_with(&wanted), "{found}, not {wanted}");
    disk::unmount(node)?;
    nvme::unload(node)?;
    let image = cluster.node(LENDER).disk(NVME.name());
    disk::fsck(&image)?;
    ensure!(
        disk::digest(&image, "/again")? == wanted,
        "the copy differs"
    );
    if cluster.nodes().len() > 2 {
        nvme::unload(cluster.node(LENDER))?;
    }
    Ok(())
}

fn taken(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let work = at_work(context)?;
    let fdid = lend::seen(cluster, &lender, NVME)?.fdid;
    lender.refused(&format!("lend-unavailable {fdid}"), "EBUSY")?;
    lender.tell(&format!("lend-unavailable {fdid} --force"))?;
    is_over(cluster, work)?;
    let waiver = waiver(context.setting);
    lender.tell(&format!("lend-available {fdid} {waiver}"))?;
    is_back(cluster)
}

fn unplugged(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let home = cluster.node(LENDER);
    let lender = Actor::start(home, "lender")?;
    let work = at_work(context)?;
    let fdid = lend::seen(cluster, &lender, NVME)?.fdid;
    home.unplug(NVME.name())?;
    is_over(cluster, work)?;
    lender.tell(&format!("lend-remove {fdid} --force"))?;
    NVME.plug(home)?;
    lend::offer(context.setting, &lender, NVME)?;
    is_back(cluster)
}

fn lender_node(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let work = at_work(context)?;
    cluster.node(LENDER).kill()?;
    is_over(cluster, work)?;
    nvme::start_again(cluster, LENDER)?;
    if cluster.nodes().len() > 2 {
        cluster.node(LENDER).modprobe(nvme::MODULE)?;
    }
    let actor = Actor::start(cluster.node(LENDER), "opens")?;
    lend::offer(context.setting, &actor, NVME)?;
    actor.tell(&format!("lend-connect {}", cluster.node(BORROWER).port(0)))?;
    is_back(cluster)
}

fn cut(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    let work = at_work(context)?;
    let path = nvme::wait_disk(node)?;
    // There is always something under way.
    let line =
        format!("while dd if={path} of=/dev/null bs=1M iflag=direct status=none; do :; done");
    let reader = node
        .shell(&line)
        .timeout(Duration::from_secs(120))
        .spawn()?;
    sleep(Duration::from_millis(500));
    let lost = Line::new(node, "the controller is lost")?;
    let waits = Line::new(node, "requests wait until the lender.s end is known")?;
    // The controller stands still in the middle of it.
    home.pause()?;
    sleep(Duration::from_millis(300));
    let port = home.port(0);
    cluster.switch().set_link(port, LinkState::Down)?;
    let lost = lost.wait(LIMIT);
    let back = || -> Result<()> {
        home.resume()?;
        Ok(cluster.switch().set_link(port, LinkState::Up)?)
    };
    let output = match (lost, context.setting.iommu) {
        (Err(error), _) => return back().and(Err(error)),
        (Ok(()), Iommu::Off) => {
            let waits = waits.wait(LIMIT);
            back()?;
            waits?;
            reader.wait()?
        }
        (Ok(()), _) => {
            let output = reader.wait();
            back()?;
            output?
        }
    };
    ensure!(
        !output.stderr_text().is_empty(),
        "no error was seen: {output:?}"
    );
    is_over(cluster, work)?;
    is_back(cluster)
}
