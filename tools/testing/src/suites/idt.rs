// SPDX-License-Identifier: GPL-2.0
//! ntb_hw_idt: a driver that nobody here wrote believes in the switch. Everything is asked of Linux's own, unmodified
//! driver, and what it claims to have delivered is looked up from the host side, in the receiver's memory.

use anyhow::ensure;
use anyhow::Result;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Kernel;
use skiff_cluster::LutMode;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::ntb_tool;
use crate::ntb_tool::Tool;
use crate::ntb_tool::SOON;

/// Every ordered pair of nodes: message, doorbell, link event, window.
pub const PAIRS: Suite = Suite {
    name: "ntb_hw_idt",
    on: &[Setting::STOCK, Setting::STOCK.kernel(Kernel::Debug)],
    describe,
    prepare: load,
    cases: CASES,
};

/// The same on three nodes, and the loss of one of them.
pub const LOSS: Suite = Suite {
    name: "ntb_hw_idt",
    on: &[Setting::STOCK.nodes(3)],
    describe,
    prepare: load,
    cases: &[
        CASES[0],
        CASES[1],
        CASES[2],
        CASES[3],
        CASES[4],
        Case {
            name: "one of three is killed and comes back",
            run: loss,
        },
    ],
};

/// The second configuration of the windows: 24 slots and a direct one.
pub const DIRECT: Suite = Suite {
    name: "ntb_hw_idt",
    on: &[Setting::STOCK.lut(LutMode::Lut24Direct)],
    describe,
    prepare: load,
    cases: &[
        CASES[0],
        CASES[4],
        Case {
            name: "direct window",
            run: direct,
        },
    ],
};

const CASES: &[Case] = &[
    Case {
        name: "binds",
        run: binds,
    },
    Case {
        name: "messages",
        run: messages,
    },
    Case {
        name: "doorbells",
        run: doorbells,
    },
    Case {
        name: "link events",
        run: link_events,
    },
    Case {
        name: "windows",
        run: windows,
    },
    Case {
        name: "an empty slot reads all ones",
        run: empty_slot,
    },
];

/// Slots of 1 MiB, which dma_alloc_coherent can always give (the driver takes whole slots only).
fn describe(builder: Builder, setting: Setting) -> Builder {
    let aperture = match setting.lut {
        LutMode::Lut12 => "16M",
        LutMode::Lut24Direct => "32M",
    };
    guest::install(builder)
        .aperture(aperture)
        .cmdline("iomem=relaxed")
}

/// Loads the drivers everywhere.
fn load(context: &mut Context<'_>) -> Result<()> {
    context.cluster.nodes().iter().try_for_each(ntb_tool::load)
}

fn tool(cluster: &Cluster, node: usize) -> Result<Tool<'_>> {
    Tool::open(cluster.node(node), 0)
}

fn binds(context: &mut Context<'_>) -> Result<()> {
    for node in 0..context.cluster.nodes().len() {
        context.check(&format!("binds on node {node}"), |cluster| {
            let tool = tool(cluster, node)?;
            cluster
                .node(node)
                .wait_log("IDT NTB device is ready", SOON)?;
            let (seen, true_port) = (tool.driver_port()?, Tool::chip_port(tool.port()));
            ensure!(
                seen == true_port,
                "the driver reads port {seen}, the switch has the node at {true_port}"
            );
            Ok(())
        });
    }
    for (a, b) in context.pairs() {
        context.check(&format!("link {a} -> {b} comes up"), |cluster| {
            tool(cluster, a)?.wait_link(cluster.node(b).port(0), true)
        });
    }
    Ok(())
}

fn messages(context: &mut Context<'_>) -> Result<()> {
    for (a, b) in context.pairs() {
        context.check(&format!("message {a} -> {b}"), |cluster| {
            let (from, to) = (tool(cluster, a)?, tool(cluster, b)?);
            let before = to.interrupts()?;
            for register in 0..4 {
                let value = 0xc0de_0000 | u32::try_from((a << 8) | (b << 4) | register)?;
                from.send(to.port(), register, value)?;
                to.wait_inbox(register, true)?;
                let (got, source) = to.message(register)?;
                ensure!(
                    got == value,
                    "register {register} holds {got:#x}, {value:#x} was sent"
                );
                ensure!(
                    source == to.peer(from.port())?,
                    "the hardware names peer {source} as sender"
                );
            }
            for other in (0..cluster.nodes().len()).filter(|n| *n != b) {
                for register in 0..4 {
                    tool(cluster, other)?.wait_inbox(register, false)?;
                }
            }
            to.clear_messages()?;
            from.clear_messages()?;
            ensure!(
                to.interrupts()? > before,
                "no interrupt reached the receiver"
            );
            Ok(())
        });
    }
    Ok(())
}

/// The doorbell bits of a port: four each.
fn bits(port: u8) -> u32 {
    0xf << (4 * u32::from(port))
}

fn doorbells(context: &mut Context<'_>) -> Result<()> {
    for (a, b) in context.pairs() {
        context.check(&format!("doorbell {a} -> {b}"), |cluster| {
            let (from, to) = (tool(cluster, a)?, tool(cluster, b)?);
            for bit in 0..4 {
                let ring = 1 << (4 * u32::from(to.port()) + bit);
                let woken = to.doorbell_event(ring)?;
                from.ring(ring)?;
                woken.wait()?.check()?;
                for other in (0..cluster.nodes().len()).filter(|n| *n != b) {
                    let pending = tool(cluster, other)?.doorbells()?;
                    ensure!(pending == 0, "node {other} has {pending:#x} pending");
                }
                to.clear_doorbells(bits(to.port()))?;
                ensure!(to.doorbells()? == 0, "the owner cannot clear its doorbell");
            }
            Ok(())
        });
    }
    Ok(())
}

fn link_events(context: &mut Context<'_>) -> Result<()> {
    for (a, b) in context.pairs() {
        context.check(&format!("link events {a} -> {b}"), |cluster| {
            let (watcher, other) = (tool(cluster, a)?, tool(cluster, b)?);
            for up in [false, true] {
                let switch = cluster.switch();
                let woken = watcher.link_event(other.port(), up)?;
                if up {
                    switch.set_link(other.port(), ntb_switch::control::LinkState::Up)?;
                } else {
                    switch.set_link(other.port(), ntb_switch::control::LinkState::Down)?;
                }
                woken.wait()?.check()?;
                ensure!(
                    watcher.link(other.port())? == up,
                    "woken, but the link is not as announced"
                );
            }
            Ok(())
        });
    }
    // A link that its own node takes down is a matter of the driver, not of the switch: no event is owed, the state is.
    for (a, b) in context.pairs() {
        context.check(
            &format!("node {b} takes its link down and up, seen by {a}"),
            |cluster| {
                let (watcher, other) = (tool(cluster, a)?, tool(cluster, b)?);
                for up in [false, true] {
                    other.set_link(up)?;
                    watcher.wait_link(other.port(), up)?;
                }
                Ok(())
            },
        );
    }
    Ok(())
}

/// Bytes that no other seed gives: SHA-256 in counter mode.
fn pattern(seed: u64, len: u64) -> Vec<u8> {
    (0..len / 32)
        .flat_map(|block| {
            Sha256::new()
                .chain_update(seed.to_le_bytes())
                .chain_update(block.to_le_bytes())
                .finalize()
        })
        .collect()
}

/// Sends a pattern from `a` to `b` through outbound window `index` and looks for it in the receiver's memory.
fn deliver(cluster: &Cluster, a: usize, b: usize, index: usize, seed: u64) -> Result<()> {
    let (from, to) = (tool(cluster, a)?, tool(cluster, b)?);
    let slots = cluster.switch().counters(from.port())?.slot_programmings;
    let buffer = to.allocate(from.port(), 0, 1 << 20)?;
    from.aim(to.port(), index, buffer.address, buffer.size)?;
    let data = pattern(seed, buffer.size);
    cluster.node(a).write(&data, "/tmp/pattern")?;
    let window = from.window_file(to.port(), index)?;
    cluster
        .node(a)
        .run(&format!(
            "dd if=/tmp/pattern of={window} bs=64k conv=notrunc 2>/dev/null"
        ))?
        .check()?;
    let found = cluster
        .switch()
        .memory_digest(to.port(), buffer.address, buffer.size)?;
    let sent = format!("{:x}", Sha256::digest(&data));
    ensure!(
        found == sent,
        "the receiver's memory has digest {found}, {sent} was stored"
    );
    // And back: loads through the window give what the receiver has.
    let read = cluster
        .node(a)
        .run(&format!("dd if={window} bs=64k 2>/dev/null | sha256sum"))?
        .check()?;
    ensure!(
        read.stdout_text().starts_with(&sent),
        "loads through the window gave {}",
        read.stdout_text()
    );
    let now = cluster.switch().counters(from.port())?.slot_programmings;
    ensure!(now > slots, "the switch saw no slot being programmed");
    from.release(to.port(), index)?;
    to.free(from.port(), 0)
}

fn windows(context: &mut Context<'_>) -> Result<()> {
    for (round, (a, b)) in context.pairs().into_iter().enumerate() {
        context.check(&format!("window {a} -> {b}"), |cluster| {
            deliver(cluster, a, b, round, round as u64)
        });
    }
    Ok(())
}

fn empty_slot(context: &mut Context<'_>) -> Result<()> {
    for node in 0..context.cluster.nodes().len() {
        context.check(
            &format!("an empty slot reads all ones on node {node}"),
            |cluster| {
                let node = cluster.node(node);
                for offset in ["0x700000", "0x7ffffc", "0xb00000"] {
                    guest::run(node, &format!("window store memory {offset} 0x12345678"))?;
                    let seen = guest::value(node, &format!("window load memory {offset}"))?;
                    ensure!(seen == 0xffff_ffff, "{offset} reads {seen:#x}");
                }
                Ok(())
            },
        );
    }
    Ok(())
}

fn loss(context: &mut Context<'_>) -> Result<()> {
    const LOST: usize = 2;
    let survivors = [0, 1];
    let cluster = context.cluster;
    let lost_port = cluster.node(LOST).port(0);

    // Something to lose: each survivor has a slot that shows the victim's memory.
    let victim = tool(cluster, LOST)?;
    for node in survivors {
        let from = tool(cluster, node)?;
        let buffer = victim.allocate(from.port(), 0, 1 << 20)?;
        from.aim(lost_port, 0, buffer.address, buffer.size)?;
        guest::run(cluster.node(node), "window store memory 0 0x600d")?;
    }
    let mut woken = Vec::new();
    for node in survivors {
        woken.push(tool(cluster, node)?.link_event(lost_port, false)?);
    }
    cluster.node(LOST).kill()?;
    for (node, woken) in survivors.into_iter().zip(woken) {
        context.check(
            &format!("node {node} gets the event when node {LOST} is killed"),
            |_| {
                woken.wait()?.check()?;
                Ok(())
            },
        );
    }
    for (a, b) in [(0, 1), (1, 0)] {
        context.check(
            &format!("link {a} -> {b} stays up when node {LOST} is killed"),
            |cluster| {
                ensure!(
                    tool(cluster, a)?.link(cluster.node(b).port(0))?,
                    "it went down"
                );
                deliver(cluster, a, b, 1, 77)
            },
        );
    }
    for node in survivors {
        context.check(
            &format!("slots of node {node} towards the dead node read all ones"),
            |cluster| {
                let seen = guest::value(cluster.node(node), "window load memory 0")?;
                ensure!(seen == 0xffff_ffff, "the slot reads {seen:#x}");
                tool(cluster, node)?.release(lost_port, 0)
            },
        );
    }
    context.check(&format!("node {LOST} boots again and is back"), |cluster| {
        cluster.node(LOST).start()?;
        ntb_tool::load(cluster.node(LOST))?;
        for node in survivors {
            tool(cluster, node)?.wait_link(lost_port, true)?;
            tool(cluster, LOST)?.wait_link(cluster.node(node).port(0), true)?;
        }
        Ok(())
    });
    for (a, b) in [(0, LOST), (LOST, 0), (1, LOST), (LOST, 1)] {
        context.check(&format!("window {a} -> {b} after the return"), |cluster| {
            deliver(cluster, a, b, 2, 100 + (a * 3 + b) as u64)
        });
    }
    Ok(())
}

/// Index of the direct window: the 24 slots of the lookup table come first.
const DIRECT_INDEX: usize = 24;

fn direct(context: &mut Context<'_>) -> Result<()> {
    for (a, b) in context.pairs() {
        context.check(&format!("direct window {a} -> {b}"), |cluster| {
            let (from, to) = (tool(cluster, a)?, tool(cluster, b)?);
            let buffer = to.allocate(from.port(), 0, 4096)?;
            from.aim(to.port(), DIRECT_INDEX, buffer.address, 4096)?;
            guest::run(cluster.node(a), "window fill device 0 4096 0x5eed")?;
            let seen: guest::Seen =
                guest::json(cluster.node(a), "window verify device 0 4096 0x5eed")?;
            ensure!(
                seen.right == 512 && seen.wrong == 0,
                "through the window: {seen:?}"
            );
            let file = to.buffer_file(from.port(), 0)?;
            let near = cluster
                .node(b)
                .run(&format!("head -c 4096 {file} | sha256sum"))?
                .check()?;
            let far = cluster
                .switch()
                .memory_digest(to.port(), buffer.address, 4096)?;
            ensure!(
                near.stdout_text().starts_with(&far),
                "host and node disagree on the receiver's memory"
            );
            let before = cluster.switch().memory_read(to.port(), buffer.address, 8)?;
            ensure!(before != [0; 8], "nothing arrived");
            from.release(to.port(), DIRECT_INDEX)?;
            to.free(from.port(), 0)
        });
    }
    Ok(())
}
