// SPDX-License-Identifier: GPL-2.0
//! A controller with several namespaces: a disk each.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::NodeBuilder;

use super::commands::Drive;
use crate::disk::Region;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::offer;
use crate::lend::on_image;
use crate::lend::wait_state;
use crate::lend::Device;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::nvme;
use crate::nvme::region;
use crate::share::Actor;

/// See the module.
pub const SPACES: Case = Case {
    name: "two namespaces, one of 4 KiB blocks: disks of their own beside that of another drive",
    run: spaces,
};

/// The controller.
const SPACES_DEVICE: Device = Device::new("spaces", 0x1b);

/// Numbers of the namespaces, their bytes, and bytes of a block. There is no number 2.
const NAMESPACES: [(u32, u64, u64); 2] = [(1, 24 << 20, 512), (3, 32 << 20, 4096)];

/// Where each has a sequence of its own, in bytes.
const FROM: u64 = 9 << 20;
/// Its length.
const BYTES: u64 = 1 << 20;
/// Of namespace 1; the other ones' follow.
const SEED: u64 = 95;

/// Gives a node the controller.
pub fn describe(node: NodeBuilder) -> NodeBuilder {
    let options: Vec<String> = NAMESPACES
        .iter()
        .map(|(_, _, block)| format!(",logical_block_size={block},physical_block_size={block}"))
        .collect();
    let namespaces: Vec<(u32, u64, &str)> = NAMESPACES
        .iter()
        .zip(&options)
        .map(|((number, bytes, _), options)| (*number, *bytes, options.as_str()))
        .collect();
    SPACES_DEVICE.nvme_with(node, &namespaces)
}

fn spaces(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    let lender = Actor::start(home, "lender")?;
    let only = nvme::load(node)?;
    let fdid = offer(context.setting, &lender, SPACES_DEVICE)?;
    let mut paths = nvme::wait_disks(node, 3)?;
    paths.retain(|path| *path != only);
    let drive = Drive::new(home)?;
    for (path, (number, bytes, block)) in paths.iter().zip(NAMESPACES) {
        ensure!(path.ends_with(&format!("n{number}")), "{paths:?}");
        let name = path.trim_start_matches("/dev/");
        let line = format!("cd /sys/block/{name} && cat size queue/logical_block_size");
        let shown = node.run(&line)?.check()?.stdout_text().into_owned();
        ensure!(
            shown == format!("{}\n{block}\n", bytes / 512),
            "{path}: {shown:?}"
        );
        // The same place of each, and the host looks into their images.
        let seed = SEED + u64::from(number);
        let line = format!("{path} durable {FROM} {BYTES} {seed}");
        drive.must_hear(node, &line, "_WRITE", block)?;
        let (gone, length) = (FROM + BYTES, 8 * block);
        drive.must_hear(
            node,
            &format!("{path} write {gone} {length}"),
            "_WRITE",
            block,
        )?;
        drive.must_hear(
            node,
            &format!("{path} discard {gone} {length}"),
            "deallocate",
            block,
        )?;
    }
    drop(drive);
    for (number, ..) in NAMESPACES {
        let disk = format!("{}{number}", SPACES_DEVICE.name());
        on_image(cluster, &disk, FROM, BYTES, SEED + u64::from(number)).context(disk)?;
    }
    // All three at once, at the same place.
    let region_of = |index: usize, path| region(path, 1, 1, 70 + index as u64);
    let all: Vec<&String> = [&only].into_iter().chain(&paths).collect();
    let parts: Vec<Region<'_>> = (0..)
        .zip(&all)
        .map(|(index, path)| region_of(index, path))
        .collect();
    let operations = u64::from(context.scale.pick(300, 300_000));
    let begun = parts.iter().map(|part| part.begin(node, operations));
    let begun = begun.collect::<Result<Vec<_>>>()?;
    let mut done = Vec::new();
    for pending in begun {
        done.push(pending.outcome()?.good()?.operations);
    }
    nvme::unload(node)?;
    node.modprobe(nvme::MODULE)?;
    nvme::wait_disks(node, 3)?;
    for (part, operations) in parts.iter().zip(done) {
        part.check(node, operations)?;
    }
    nvme::unload(node)?;
    wait_state(&lender, fdid, "Available")?;
    for step in ["lend-unavailable", "lend-remove"] {
        lender.tell(&format!("{step} {fdid}"))?;
    }
    let user = Actor::start(node, "user")?;
    user.until("devices", |found: &Vec<lend::Listed>| found.len() == 1)?;
    Ok(())
}
