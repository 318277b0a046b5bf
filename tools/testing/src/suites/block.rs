// SPDX-License-Identifier: GPL-2.0
//! rust/block by its disk in memory, skiff_block_test.ko, which does what goes wrong with real ones.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Kernel;
use skiff_cluster::Node;
use skiff_cluster::Occurs;

use crate::disk::Region;
use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;

const ALONE: Setting = Setting::STOCK.nodes(1).adapters(0);
const MODULE: &str = "skiff_block_test";
const DISK: &str = "/dev/skiffram0";
/// Bytes that are worked on.
const BYTES: u64 = 4 << 20;
const OPERATIONS: u64 = 1500;
/// The same where each operation that is lost takes its time.
const FEW_BYTES: u64 = 1 << 20;
const FEW_OPERATIONS: u64 = 400;

/// See the module.
pub const BLOCK: Suite = Suite {
    name: "block",
    on: &[ALONE.kernel(Kernel::Other), ALONE.kernel(Kernel::Debug)],
    describe,
    prepare: |_| Ok(()),
    cases: &[
        Case {
            name: "what a disk says of itself",
            run: limits,
        },
        Case {
            name: "data, with and without interrupts, of two disks on the same queues",
            run: data,
        },
        Case {
            name: "discarded ranges and flushes",
            run: others,
        },
        Case {
            name: "requests that there is no room for come again",
            run: |context| troubled(context, "refuse=7", "refused"),
        },
        Case {
            name: "requests that are lost time out and are done all the same",
            // The kernel looks once a second.
            run: |context| troubled(context, "lose=197 timeout_ms=500", "timeouts"),
        },
        Case {
            name: "requests that a reset takes away are done all the same",
            run: |context| troubled(context, "lose=97 reset_ms=200", "requeued"),
        },
        Case {
            name: "a device that dies fails what it has, and its disk goes",
            run: dies,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder).expect_log("(I/O error|Buffer I/O).*skiffram", Occurs::Allowed)
}

fn load(node: &Node, parameters: &str) -> Result<()> {
    Ok(node.modprobe(&format!("{MODULE} {parameters}"))?)
}

/// Unloads it and gives what it has counted.
fn unload(node: &Node) -> Result<Vec<(String, u64)>> {
    let line = format!("rmmod {MODULE} && dmesg | grep '{MODULE}: queued=' | tail -n 1");
    let output = node.run(&line)?.check()?;
    let text = output.stdout_text();
    text.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| Ok((name.to_owned(), guest::number(value)?)))
        .collect()
}

fn count(counts: &[(String, u64)], name: &str) -> Result<u64> {
    let found = counts.iter().find(|(counted, _)| counted == name);
    Ok(found.with_context(|| format!("{name} is not counted"))?.1)
}

/// The work of the tests.
fn region(path: &str, seed: u64, polled: bool) -> Region<'_> {
    Region {
        path,
        from: 0,
        bytes: BYTES,
        seed,
        depth: 16,
        polled,
    }
}

fn limits(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    load(node, "disks=2 size_mib=8")?;
    let expected = [
        ("size", 16384),
        ("queue/io_poll", 1),
        // As they were changed after the disk was there.
        ("queue/max_hw_sectors_kb", 64),
        ("queue/max_segments", 33),
        ("queue/virt_boundary_mask", 4095),
        ("queue/dma_alignment", 3),
        ("queue/physical_block_size", 4096),
        ("queue/fua", 1),
        ("queue/rotational", 0),
        ("queue/discard_max_hw_bytes", 512 << 10),
        ("queue/discard_granularity", 4096),
        ("queue/write_zeroes_max_bytes", 512 << 10),
    ];
    let files = expected.map(|(file, _)| file).join(" ");
    for disk in 0..2 {
        let line = format!("cd /sys/block/skiffram{disk} && cat {files}");
        let output = node.run(&line)?.check()?;
        let told = output.stdout_text().into_owned();
        let told = told
            .lines()
            .map(guest::number)
            .collect::<Result<Vec<_>>>()?;
        ensure!(told.len() == expected.len(), "disk {disk} tells {told:?}");
        for ((file, value), told) in expected.into_iter().zip(told) {
            ensure!(told == value, "{file} of disk {disk} is {told}");
        }
    }
    // Who has a disk open keeps the module.
    let held = node
        .run(&format!(
            "exec 3<{DISK}; rmmod {MODULE} 2>&1; exec 3<&-; true"
        ))?
        .check()?;
    let said = held.stdout_text();
    ensure!(said.contains("temporarily unavailable"), "{said}");
    let counts = unload(node)?;
    ensure!(count(&counts, "flying")? == 0, "{counts:?}");
    Ok(())
}

fn data(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    load(node, "disks=2")?;
    let disks = [region(DISK, 1, false), region("/dev/skiffram1", 2, true)];
    let mut operations = Vec::new();
    for disk in &disks {
        operations.push(disk.work(node, OPERATIONS)?.operations);
    }
    for (disk, operations) in disks.iter().zip(operations) {
        disk.check(node, operations)?;
    }
    let counts = unload(node)?;
    let polled = count(&counts, "polled")?;
    ensure!(polled >= OPERATIONS, "{counts:?}");
    ensure!(count(&counts, "flying")? == 0, "{counts:?}");
    Ok(())
}

fn others(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    load(node, "")?;
    let ones = format!("tr '\\0' '\\377' < /dev/zero | dd of={DISK} bs=64k count=16 iflag=fullblock conv=fsync 2>/dev/null");
    node.run(&ones)?.check()?;
    // What is around stays.
    node.run(&format!("blkdiscard -o 65536 -l 131072 {DISK}"))?
        .check()?;
    for (at, zero) in [(0, false), (1, true), (2, true), (3, false)] {
        let line =
            format!("dd if={DISK} bs=64k skip={at} count=1 2>/dev/null | tr -d '\\0' | wc -c");
        let left = guest::number(node.run(&line)?.check()?.stdout_text().trim())?;
        ensure!(left == if zero { 0 } else { 65536 }, "{left} bytes at {at}");
    }
    let counts = unload(node)?;
    ensure!(
        count(&counts, "flushes")? > 0 && count(&counts, "zeroed")? > 0,
        "{counts:?}"
    );
    Ok(())
}

/// Data are right in spite of `parameters`, which count as `name`.
fn troubled(context: &mut Context<'_>, parameters: &str, name: &str) -> Result<()> {
    let node = context.cluster.node(0);
    for polled in [false, true] {
        load(node, parameters)?;
        let region = |polled| Region {
            bytes: FEW_BYTES,
            ..region(DISK, 3, polled)
        };
        let done = region(polled).work(node, FEW_OPERATIONS)?.operations;
        region(false).check(node, done)?;
        let counts = unload(node)?;
        ensure!(
            count(&counts, name)? > 0 && count(&counts, "flying")? == 0,
            "{counts:?}"
        );
    }
    Ok(())
}

fn dies(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    // All that is lost until then is under way at the end.
    load(node, "lose=50 timeout_ms=60000 die_ms=4000")?;
    let work = region(DISK, 4, false).work_for(node, 30)?;
    let outcome = work.outcome()?;
    ensure!(
        outcome.errors > 0 && outcome.seconds < 20.0,
        "it should have died: {outcome:?}"
    );
    outcome.true_as_far_as_read()?;
    node.wait_for(
        &format!("! test -e {DISK} && echo gone"),
        Duration::from_secs(10),
    )?;
    let counts = unload(node)?;
    ensure!(
        count(&counts, "failed")? > 0 && count(&counts, "flying")? == 0,
        "{counts:?}"
    );
    Ok(())
}
