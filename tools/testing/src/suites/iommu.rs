// SPDX-License-Identifier: GPL-2.0
//! Inbound protection: with an IOMMU in the target a slot shows what is mapped for the bridge function, and nothing else.
//!
//! ntb_tool allocates and frees with the DMA API, so its inbound buffers are the mappings that come and go.

use anyhow::ensure;
use anyhow::Result;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Occurs;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::ntb_tool;
use crate::ntb_tool::Buffer;
use crate::ntb_tool::Tool;
use crate::ntb_tool::SOON;

/// Windows mapped: the view follows the target's mappings.
pub const MAPPED: Suite = Suite {
    name: "iommu",
    on: &[
        Setting::STOCK.iommu(Iommu::Intel { remap: true }),
        Setting::STOCK.iommu(Iommu::Virtio),
    ],
    describe,
    prepare: |context| ntb_tool::load_everywhere(context.cluster),
    cases: &[
        Case {
            name: "mapped addresses deliver, others read all ones and change nothing",
            run: edges,
        },
        Case {
            name: "a slot follows later map and unmap",
            run: follows,
        },
    ],
};

/// Windows trapped: the same, and the fault is in the target's log.
pub const TRAPPED: Suite = Suite {
    name: "iommu",
    on: &[Setting::STOCK
        .iommu(Iommu::Intel { remap: false })
        .trapped()],
    describe: |builder, setting| {
        let builder = describe(builder, setting);
        // Each access to what is not mapped is reported by the node that it was aimed at.
        builder.expect_log("DMAR", Occurs::Allowed)
    },
    prepare: |context| ntb_tool::load_everywhere(context.cluster),
    cases: &[
        // First: the kernel prints only so many faults in five seconds.
        Case {
            name: "the target logs the DMAR fault",
            run: fault_logged,
        },
        Case {
            name: "mapped addresses deliver, others read all ones and change nothing",
            run: edges,
        },
        Case {
            name: "a slot follows later map and unmap",
            run: follows,
        },
    ],
};

/// Bytes of a slot, and of a buffer.
const SLOT: u64 = 64 << 10;

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
        .aperture("1M")
        .cmdline("iomem=relaxed")
}

fn tools(cluster: &Cluster) -> Result<(Tool<'_>, Tool<'_>)> {
    Ok((
        Tool::open(cluster.node(0), 0)?,
        Tool::open(cluster.node(1), 0)?,
    ))
}

/// Aims slot 0 of node 0 without the driver, which would refuse an address of its own choice.
fn aim(cluster: &Cluster, address: u64) -> Result<()> {
    let port = cluster.node(1).port(0);
    guest::run(
        cluster.node(0),
        &format!("slot memory 0 {port} {address:#x}"),
    )?;
    Ok(())
}

fn verify(cluster: &Cluster, offset: u64, bytes: u64, seed: u64) -> Result<guest::Seen> {
    guest::json(
        cluster.node(0),
        &format!("window verify memory {offset:#x} {bytes} {seed}"),
    )
}

fn fill(cluster: &Cluster, offset: u64, bytes: u64, seed: u64) -> Result<()> {
    guest::run(
        cluster.node(0),
        &format!("window fill memory {offset:#x} {bytes} {seed}"),
    )?;
    Ok(())
}

fn digest(cluster: &Cluster, to: &Tool<'_>, buffer: Buffer) -> Result<String> {
    Ok(cluster
        .switch()
        .memory_digest(to.port(), buffer.address, buffer.size)?)
}

/// An address after `buffer` that the target has not mapped: nothing of the DMA table lies in the slot that begins there.
fn unmapped(cluster: &Cluster, to: &Tool<'_>) -> Result<u64> {
    let pieces = cluster.switch().space(to.port())?;
    let free = |at: u64| {
        pieces
            .iter()
            .all(|p| p.addr >= at + SLOT || p.addr + p.len <= at)
    };
    (1..4096)
        .map(|n| n * (1 << 20))
        .find(|at| free(*at))
        .ok_or_else(|| anyhow::anyhow!("all is mapped: {pieces:?}"))
}

fn edges(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (from, to) = tools(cluster)?;
    let buffer = to.allocate(from.port(), 0, SLOT)?;
    let bystander = to.allocate(from.port(), 1, SLOT)?;
    context.check("mapped addresses deliver", |cluster| {
        aim(cluster, buffer.address)?;
        fill(cluster, 0, SLOT, 5)?;
        let seen = verify(cluster, 0, SLOT, 5)?;
        ensure!(seen.right == SLOT / 8, "{seen:?}");
        let file = to.buffer_file(from.port(), 0)?;
        let near = cluster
            .node(1)
            .run(&format!("sha256sum < {file}"))?
            .check()?;
        ensure!(
            near.stdout_text()
                .starts_with(&digest(cluster, &to, buffer)?),
            "host and node disagree"
        );
        let empty = format!("{:x}", Sha256::digest(vec![0; SLOT as usize]));
        ensure!(!near.stdout_text().starts_with(&empty), "nothing arrived");
        Ok(())
    });
    context.check(
        "unmapped addresses read all ones and change nothing",
        |cluster| {
            let kept = (
                digest(cluster, &to, buffer)?,
                digest(cluster, &to, bystander)?,
            );
            aim(cluster, unmapped(cluster, &to)?)?;
            fill(cluster, 0, SLOT, 6)?;
            let seen = verify(cluster, 0, SLOT, 6)?;
            ensure!(seen.all_ones == SLOT / 8, "{seen:?}");
            ensure!(
                kept == (
                    digest(cluster, &to, buffer)?,
                    digest(cluster, &to, bystander)?
                ),
                "the target's memory changed"
            );
            Ok(())
        },
    );
    context.check("a slot half over a mapping shows that half", |cluster| {
        // The page before the buffer may belong to the bystander: ask the DMA table what is mapped there.
        let pieces = cluster.switch().space(to.port())?;
        let start = buffer.address - SLOT / 2;
        let mapped = |at: u64| {
            pieces
                .iter()
                .any(|p| (p.addr..p.addr + p.len).contains(&at))
        };
        aim(cluster, start)?;
        let seen = verify(cluster, SLOT / 2, SLOT / 2, 5)?;
        ensure!(seen.right == SLOT / 16, "over the mapping: {seen:?}");
        for offset in (0..SLOT / 2).step_by(4096) {
            let seen = guest::value(cluster.node(0), &format!("window load memory {offset:#x}"))?;
            ensure!(
                (seen == 0xffff_ffff) != mapped(start + offset),
                "{offset:#x} reads {seen:#x}"
            );
        }
        Ok(())
    });
    to.free(from.port(), 0)?;
    to.free(from.port(), 1)
}

fn follows(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (from, to) = tools(cluster)?;
    let port = to.port();
    for round in 0..context.scale.pick(5, 500) {
        let seed = u64::from(round) + 1;
        let buffer = to.allocate(from.port(), 0, SLOT)?;
        aim(cluster, buffer.address)?;
        fill(cluster, 0, SLOT, seed)?;
        let seen = verify(cluster, 0, SLOT, seed)?;
        ensure!(seen.right == SLOT / 8, "round {round}, mapped: {seen:?}");
        to.free(from.port(), 0)?;
        let seen = verify(cluster, 0, SLOT, seed)?;
        ensure!(
            seen.all_ones == SLOT / 8,
            "round {round}, unmapped: {seen:?}"
        );
        let shown = cluster.switch().view(from.port(), 2)?;
        ensure!(
            shown.iter().all(|piece| piece.offset >= SLOT),
            "round {round}: the view still has {shown:?}"
        );
        // Mapped again, the slot that was never touched shows what is there now: zeroes at the same address.
        let again = to.allocate(from.port(), 0, SLOT)?;
        if again.address == buffer.address {
            let word = guest::value(cluster.node(0), "window load memory 0 --width 8")?;
            ensure!(
                word == 0,
                "round {round}: mapped again, the slot reads {word:#x}"
            );
        } else {
            aim(cluster, again.address)?;
        }
        fill(cluster, 0, SLOT, seed ^ 0xff)?;
        let digest = cluster.switch().memory_digest(port, again.address, SLOT)?;
        let file = to.buffer_file(from.port(), 0)?;
        let near = cluster
            .node(1)
            .run(&format!("sha256sum < {file}"))?
            .check()?;
        ensure!(
            near.stdout_text().starts_with(&digest),
            "round {round}: host and node disagree"
        );
        to.free(from.port(), 0)?;
    }
    Ok(())
}

fn fault_logged(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (_, to) = tools(cluster)?;
    let address = unmapped(cluster, &to)?;
    aim(cluster, address)?;
    let seen = guest::value(cluster.node(0), "window load memory 0")?;
    ensure!(seen == 0xffff_ffff, "the load gave {seen:#x}");
    let function = cluster.node(1).ntb_address(0)?;
    let short = function.trim_start_matches("0000:");
    cluster.node(1).wait_log(
        &format!("DMAR: \\[DMA Read.*Request device \\[0000:{short}\\] fault addr {address:#x}"),
        SOON,
    )?;
    Ok(())
}
