// SPDX-License-Identifier: GPL-2.0
//! Another node's device through the trapped window: its registers, and interrupts across the fabric.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
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
use crate::ntb_tool::Tool;

/// NVMe registers of the other node (NVM Express base specification, 3.1).
pub const REGISTERS: Suite = Suite {
    name: "devices",
    on: &[Setting::STOCK, Setting::STOCK.nodes(3)],
    describe,
    prepare: |context| prepare_registers(context.cluster),
    cases: &[
        Case {
            name: "NVMe registers of every other node",
            run: registers,
        },
        Case {
            name: "all nodes read each other's registers at once",
            run: at_once,
        },
        Case {
            name: "a paused node does not hold up the others",
            run: paused,
        },
    ],
};

/// Interrupt writes: only where the target allowed that very address and data.
pub const INTERRUPTS: Suite = Suite {
    name: "interrupts",
    on: &[
        Setting::STOCK,
        Setting::STOCK.iommu(Iommu::Intel { remap: true }),
    ],
    describe: |builder, _| {
        guest::install(builder)
            .aperture("16M")
            .device_aperture("64M")
            .cmdline("iomem=relaxed")
    },
    prepare: |context| ntb_tool::load_everywhere(context.cluster),
    cases: &[Case {
        name: "an interrupt write through a slot",
        run: interrupt_writes,
    }],
};

/// PCI class of an NVMe controller.
const NVME: &str = "0x010802";
/// Controller capabilities, low half.
const CAP: u64 = 0x00;
/// Admin queue attributes: read and write, without effect while the controller is off.
const AQA: u64 = 0x24;
/// Bytes of a slot of the device window: 64 MiB / 16.
const SLOT: u64 = 4 << 20;

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
        .aperture("16M")
        .device_aperture("64M")
        .cmdline("iomem=relaxed")
        .qemu_arg("-device")
        .qemu_arg("nvme,serial=skiff,id=nvme0")
        // A node that was stopped for seconds finds its clock behind.
        .expect_log("clocksource|TSC|timekeeping watchdog", Occurs::Allowed)
}

/// Where a node finds the registers of another node's NVMe controller in its device window.
fn place(to: usize, address: u64) -> u64 {
    SLOT * to as u64 + address % SLOT
}

fn nvme(cluster: &Cluster, node: usize) -> Result<u64> {
    let text = guest::run(cluster.node(node), &format!("bar {NVME} 0 --enable"))?;
    guest::number(text.split_whitespace().next().context("no address")?)
}

/// Links up; on every node, slot n of the device window is aimed at the NVMe controller of node n.
fn prepare_registers(cluster: &Cluster) -> Result<()> {
    let count = cluster.nodes().len();
    for node in cluster.nodes() {
        guest::run(node, &format!("link-enable {}", node.port(0)))?;
    }
    for to in 0..count {
        let base = nvme(cluster, to)? / SLOT * SLOT;
        for from in (0..count).filter(|n| *n != to) {
            let port = cluster.node(to).port(0);
            guest::run(
                cluster.node(from),
                &format!("slot device {to} {port} {base:#x}"),
            )?;
        }
    }
    Ok(())
}

fn registers(context: &mut Context<'_>) -> Result<()> {
    for (a, b) in context.pairs() {
        context.check(
            &format!("NVMe CAP and AQA of node {b} from node {a}"),
            |cluster| {
                let base = place(b, nvme(cluster, b)?);
                let at_home =
                    guest::value(cluster.node(b), &format!("bar-read {NVME} 0 {CAP:#x}"))?;
                let far = guest::value(
                    cluster.node(a),
                    &format!("window load device {:#x}", base + CAP),
                )?;
                ensure!(
                    far == at_home && far != 0 && far != 0xffff_ffff,
                    "CAP reads {far:#x}, at home {at_home:#x}"
                );
                let mark = 0x0007_0003 + ((a as u64) << 16);
                guest::run(
                    cluster.node(a),
                    &format!("window store device {:#x} {mark:#x}", base + AQA),
                )?;
                // A read pushes the write before it.
                let far = guest::value(
                    cluster.node(a),
                    &format!("window load device {:#x}", base + AQA),
                )?;
                let at_home =
                    guest::value(cluster.node(b), &format!("bar-read {NVME} 0 {AQA:#x}"))?;
                ensure!(
                    far == mark && at_home == mark,
                    "AQA: {mark:#x} written, {far:#x} read back, {at_home:#x} at home"
                );
                Ok(())
            },
        );
    }
    Ok(())
}

/// Each node reads the next one's CAP, all at the same time. Nodes that wait for each other are a cycle, which the switch
/// breaks by letting one read end with all ones: those are counted on both sides, and the counts agree.
fn at_once(context: &mut Context<'_>) -> Result<()> {
    let reads = context.scale.pick(5000, 500_000);
    let cluster = context.cluster;
    let count = cluster.nodes().len();
    cluster.switch().reset_counters()?;
    let started = Instant::now();
    let mut jobs = Vec::new();
    for from in 0..count {
        let to = (from + 1) % count;
        let cap = guest::value(cluster.node(to), &format!("bar-read {NVME} 0 {CAP:#x}"))?;
        let at = place(to, nvme(cluster, to)?);
        let line = format!(
            "{} window hammer device {at:#x} {cap:#x} {reads}",
            guest::PATH
        );
        jobs.push(
            cluster
                .node(from)
                .shell(&line)
                .timeout(Duration::from_secs(60 + u64::from(reads) / 50))
                .spawn()?,
        );
    }
    let mut seen_ones = 0;
    for (node, job) in jobs.into_iter().enumerate() {
        let output = job.wait()?.check()?;
        let seen: guest::Seen = serde_json::from_str(&output.stdout_text())?;
        seen_ones += seen.all_ones;
        context.check(&format!("{reads} reads by node {node}, all right"), |_| {
            ensure!(
                seen.right == u64::from(reads) && seen.wrong == 0,
                "{seen:?}"
            );
            Ok(())
        });
    }
    let (mut broken, mut late, mut forwarded) = (0, 0, 0);
    for node in cluster.nodes() {
        let counters = cluster.switch().counters(node.port(0))?;
        broken += counters.read_cycles_broken;
        late += counters.completion_timeouts;
        forwarded += counters.device_reads;
    }
    context.remark(&format!(
        "{:.1} s, {forwarded} reads forwarded, {broken} cycles broken",
        started.elapsed().as_secs_f64()
    ));
    context.check(
        "reads without an answer: the nodes and the switch count the same, no dead-lock",
        |_| {
            ensure!(
                seen_ones == broken + late,
                "{seen_ones} reads of all ones, {broken} cycles, {late} time-outs"
            );
            // In a dead-lock every read would end by the time limit. A single one may: QEMU serves the other node between
            // the reads of its own CPU, and nothing says how soon.
            ensure!(
                late * 100 <= forwarded,
                "{late} of {forwarded} reads ran into the time limit"
            );
            Ok(())
        },
    );
    Ok(())
}

fn paused(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let at = place(1, nvme(cluster, 1)?);
    let cap = guest::value(cluster.node(1), &format!("bar-read {NVME} 0 {CAP:#x}"))?;
    cluster.switch().reset_counters()?;
    cluster.node(1).pause()?;
    let result = (|| {
        let started = Instant::now();
        for _ in 0..5 {
            let seen = guest::value(cluster.node(0), &format!("window load device {at:#x}"))?;
            ensure!(seen == 0xffff_ffff, "a paused node answered {seen:#x}");
        }
        // Far more stores than a socket holds: none may wait.
        guest::run(
            cluster.node(0),
            &format!("window store-many device {:#x} 3000", at + AQA),
        )?;
        ensure!(
            started.elapsed() < Duration::from_secs(10),
            "it took {:?}",
            started.elapsed()
        );
        let counters = cluster.switch().counters(cluster.node(0).port(0))?;
        ensure!(
            counters.completion_timeouts >= 1,
            "no read was counted as timed out: {counters:?}"
        );
        Ok(())
    })();
    cluster.node(1).resume()?;
    result?;
    // Whatever it answers first makes it a live node again.
    cluster.node(1).run("true")?.check()?;
    let mut seen = 0;
    for _ in 0..50 {
        seen = guest::value(cluster.node(0), &format!("window load device {at:#x}"))?;
        if seen == cap {
            break;
        }
    }
    ensure!(seen == cap, "after it went on: {seen:#x}");
    Ok(())
}

/// Offsets of the MSI capability of the function, read by its own node: address and data that its kernel chose.
fn msi(cluster: &Cluster, node: usize) -> Result<(u64, u32)> {
    let function = cluster.node(node).ntb_address(0)?;
    let output = cluster
        .node(node)
        .run(&format!(
            "hexdump -v -e '1/4 \"%08x\\n\"' /sys/bus/pci/devices/{function}/config"
        ))?
        .check()?;
    let words: Vec<u32> = output
        .stdout_text()
        .lines()
        .map(|word| u32::from_str_radix(word.trim(), 16))
        .collect::<Result<_, _>>()?;
    let byte = |at: usize| {
        words
            .get(at / 4)
            .map(|word| (word >> (8 * (at % 4))) as u8)
            .unwrap_or(0)
    };
    let mut at = usize::from(byte(0x34));
    while at != 0 && byte(at) != 0x05 {
        at = usize::from(byte(at + 1));
    }
    ensure!(at != 0, "no MSI capability");
    ensure!(
        words[at / 4] & 0x0080_0000 != 0,
        "MSI without 64-bit addresses"
    );
    ensure!(words[at / 4] & 0x0001_0000 != 0, "MSI is not enabled");
    Ok((
        u64::from(words[at / 4 + 1]) | (u64::from(words[at / 4 + 2]) << 32),
        words[at / 4 + 3] & 0xffff,
    ))
}

fn interrupt_writes(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (address, data) = msi(cluster, 1)?;
    let (sender, target) = (cluster.node(0), cluster.node(1));
    let tool = Tool::open(target, 0)?;
    guest::run(
        sender,
        &format!(
            "slot device 0 {} {:#x}",
            target.port(0),
            address / SLOT * SLOT
        ),
    )?;
    let store = |data: u32| {
        guest::run(
            sender,
            &format!("window store device {:#x} {data:#x}", address % SLOT),
        )
    };
    let refused = || -> Result<u64> {
        Ok(cluster
            .switch()
            .counters(sender.port(0))?
            .interrupt_writes_refused)
    };
    context.check("refused as long as the target has not allowed it", |_| {
        let (before, interrupts) = (refused()?, tool.interrupts()?);
        store(data)?;
        ensure!(
            refused()? == before + 1,
            "{} refused, not {}",
            refused()?,
            before + 1
        );
        ensure!(tool.interrupts()? == interrupts, "the interrupt arrived");
        Ok(())
    });
    context.check(
        "delivered where address and data are as allowed",
        |cluster| {
            guest::run(target, &format!("allow-interrupt 0 {address:#x} {data:#x}"))?;
            let before = tool.interrupts()?;
            for round in 1..=5 {
                store(data)?;
                target.wait_for(
                    &format!(
                        "test $(awk '/ntb_irq_idt/ {{ print $2 }}' /proc/interrupts) -ge {}",
                        before + round
                    ),
                    ntb_tool::SOON,
                )?;
            }
            ensure!(
                cluster.switch().counters(sender.port(0))?.interrupt_writes >= 5,
                "not counted"
            );
            Ok(())
        },
    );
    context.check("refused with other data", |_| {
        let (before, interrupts) = (refused()?, tool.interrupts()?);
        store(data ^ 1)?;
        ensure!(refused()? == before + 1, "it was not refused");
        ensure!(tool.interrupts()? == interrupts, "an interrupt arrived");
        Ok(())
    });
    context.check("refused when the permission is taken back", |_| {
        guest::run(target, "allow-interrupt 0")?;
        let before = refused()?;
        store(data)?;
        ensure!(refused()? == before + 1, "it was not refused");
        Ok(())
    });
    Ok(())
}
