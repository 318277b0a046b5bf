// SPDX-License-Identifier: GPL-2.0
//! The fabric without a kernel driver: windows in both layouts, mapped and trapped, and every fault the switch can inject.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use ntb_switch::control::LinkState;
use ntb_switch::control::MessageFaultKind;
use ntb_switch::control::WindowState;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Layout;
use skiff_cluster::WindowMode;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::ntb_tool;
use crate::ntb_tool::Tool;

/// Windows as a driver of ours will use them.
pub const WINDOWS: Suite = Suite {
    name: "windows",
    on: &[
        Setting::STOCK,
        Setting::STOCK.trapped(),
        Setting::STOCK.companion().nodes(3),
    ],
    describe,
    prepare: enable,
    cases: &[
        Case {
            name: "every pair: fill, verify, look up",
            run: fill,
        },
        Case {
            name: "a slot is re-pointed while it is read",
            run: repoint,
        },
        Case {
            name: "trapped accesses are counted to the last one",
            run: counted,
        },
    ],
};

/// Faults by the control socket.
pub const FAULTS: Suite = Suite {
    name: "faults",
    on: &[Setting::STOCK],
    describe,
    prepare: enable,
    cases: &[
        Case {
            name: "poisoned slot",
            run: poison,
        },
        Case {
            name: "port gone",
            run: port_gone,
        },
        Case {
            name: "a node that was stopped gets its window back",
            run: stopped,
        },
        Case {
            name: "lost and delayed messages",
            run: messages,
        },
    ],
};

fn describe(builder: Builder, setting: Setting) -> Builder {
    // Trapped windows are slow: a small one is filled as thoroughly.
    let aperture = if setting.windows == WindowMode::Trapped {
        "1M"
    } else {
        "1G"
    };
    // The top of RAM belongs to the test: host and peers write there, the node's kernel never does.
    guest::install(builder)
        .aperture(aperture)
        .cmdline("iomem=relaxed memmap=16M$0x8000000")
}

/// Where the test's own 16 MiB of each node's RAM are.
const AREA: u64 = 0x800_0000;

fn window(setting: Setting) -> &'static str {
    match setting.layout {
        Layout::Chip => "memory",
        Layout::Companion => "companion",
    }
}

/// Bytes of a slot and bytes that a case moves.
fn sizes(setting: Setting) -> (u64, u64) {
    match setting.windows {
        WindowMode::Mapped => (64 << 20, 4 << 20),
        WindowMode::Trapped => (64 << 10, 8 << 10),
    }
}

fn enable(context: &mut Context<'_>) -> Result<()> {
    for node in context.cluster.nodes() {
        guest::run(node, &format!("link-enable {}", node.port(0)))?;
    }
    Ok(())
}

fn aim(
    cluster: &Cluster,
    window: &str,
    from: usize,
    slot: usize,
    to: usize,
    address: u64,
) -> Result<()> {
    let port = cluster.node(to).port(0);
    guest::run(
        cluster.node(from),
        &format!("slot {window} {slot} {port} {address:#x}"),
    )?;
    Ok(())
}

fn fill(context: &mut Context<'_>) -> Result<()> {
    let (slot, bytes) = sizes(context.setting);
    let window = window(context.setting);
    for (round, (a, b)) in context.pairs().into_iter().enumerate() {
        context.check(&format!("window {a} -> {b}"), |cluster| {
            let target = cluster.node(b);
            let area = AREA + (round as u64 % 2) * (8 << 20);
            aim(cluster, window, a, round, b, area)?;
            let at = slot * round as u64;
            let args = format!("{window} {at:#x} {bytes} {:#x}", round + 1);
            guest::run(cluster.node(a), &format!("window fill {args}"))?;
            let seen: guest::Seen = guest::json(cluster.node(a), &format!("window verify {args}"))?;
            ensure!(seen.right == bytes / 8, "through the window: {seen:?}");
            // The same from the receiver's side: it sees the words in its own memory.
            let first = cluster.switch().memory_read(target.port(0), area, 8)?;
            let through = guest::value(
                cluster.node(a),
                &format!("window load {window} {at:#x} --width 8"),
            )?;
            ensure!(
                first == through.to_le_bytes(),
                "the window shows {through:#x}, the memory holds {first:x?}"
            );
            // And the other way round: what the host writes there is what a load gives.
            cluster.switch().memory_write(
                target.port(0),
                area + 8,
                &0x0123_4567_89ab_cdef_u64.to_le_bytes(),
            )?;
            let through = guest::value(
                cluster.node(a),
                &format!("window load {window} {:#x} --width 8", at + 8),
            )?;
            ensure!(
                through == 0x0123_4567_89ab_cdef,
                "a load gives {through:#x}"
            );
            for (width, value) in [(1_u8, 0xef_u64), (2, 0xcdef), (4, 0x89ab_cdef)] {
                let got = guest::value(
                    cluster.node(a),
                    &format!("window load {window} {:#x} --width {width}", at + 8),
                )?;
                ensure!(got == value, "{width} bytes give {got:#x}");
            }
            guest::run(cluster.node(a), &format!("slot-clear {window} {round}"))?;
            let gone: guest::Seen = guest::json(cluster.node(a), &format!("window verify {args}"))?;
            ensure!(
                gone.all_ones == bytes / 8,
                "after the slot was cleared: {gone:?}"
            );
            Ok(())
        });
    }
    Ok(())
}

/// One node reads a slot all the time while the slot goes back and forth between two places: only what lies there may be seen.
fn repoint(context: &mut Context<'_>) -> Result<()> {
    let window = window(context.setting);
    let rounds = context.scale.pick(20, 2000);
    let cluster = context.cluster;
    let port = cluster.node(1).port(0);
    cluster.switch().memory_write(port, AREA, &[0x11; 4096])?;
    cluster
        .switch()
        .memory_write(port, AREA + 0x1_0000, &[0x11; 4096])?;
    aim(cluster, window, 0, 0, 1, AREA)?;
    let reader = cluster
        .node(0)
        .shell(&format!(
            "{} window hammer {window} 0 0x11111111 {}",
            guest::PATH,
            if context.setting.windows == WindowMode::Mapped {
                15_000_000
            } else {
                20_000
            }
        ))
        .timeout(Duration::from_secs(120))
        .spawn()?;
    let mut turns = 0;
    while turns < rounds && !reader.is_finished() {
        for address in [AREA + 0x1_0000, AREA] {
            aim(cluster, window, 0, 0, 1, address)?;
        }
        turns += 1;
    }
    let output = reader.wait()?.check()?;
    let seen: guest::Seen = serde_json::from_str(&output.stdout_text())?;
    context.remark(&format!(
        "{turns} turns under {} reads",
        seen.right + seen.all_ones + seen.wrong
    ));
    ensure!(turns > 0, "the reader was done before the first turn");
    ensure!(seen.wrong == 0, "{seen:?}");
    // All ones are allowed only while there is a moment between two translations, which the switch does not have.
    ensure!(seen.all_ones == 0, "{seen:?}");
    Ok(())
}

fn counted(context: &mut Context<'_>) -> Result<()> {
    let window = window(context.setting);
    let cluster = context.cluster;
    aim(cluster, window, 0, 3, 1, AREA)?;
    let (slot, _) = sizes(context.setting);
    let before = cluster.switch().counters(cluster.node(0).port(0))?;
    guest::run(
        cluster.node(0),
        &format!("window fill {window} {:#x} 800 7", slot * 3),
    )?;
    let seen: guest::Seen = guest::json(
        cluster.node(0),
        &format!("window verify {window} {:#x} 800 7", slot * 3),
    )?;
    let after = cluster.switch().counters(cluster.node(0).port(0))?;
    ensure!(seen.right == 100, "{seen:?}");
    let (reads, writes) = (
        after.non_posted_reads - before.non_posted_reads,
        after.posted_writes - before.posted_writes,
    );
    // Mapped windows are memory to QEMU: the switch sees none of their loads and stores. `fill` ends with a 32-bit read
    // that pushes its stores.
    let trapped = context.setting.windows == WindowMode::Trapped;
    let (all_reads, all_writes) = if trapped { (101, 100) } else { (0, 0) };
    ensure!(
        (reads, writes) == (all_reads, all_writes),
        "{reads} reads and {writes} writes counted, {all_reads} and {all_writes} were made"
    );
    let (read_bytes, write_bytes) = (
        after.non_posted_read_bytes - before.non_posted_read_bytes,
        after.posted_write_bytes - before.posted_write_bytes,
    );
    let (all_read, all_written) = if trapped { (804, 800) } else { (0, 0) };
    ensure!(
        (read_bytes, write_bytes) == (all_read, all_written),
        "{read_bytes} and {write_bytes} bytes counted"
    );
    Ok(())
}

fn poison(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let port = cluster.node(0).port(0);
    cluster
        .switch()
        .memory_write(cluster.node(1).port(0), AREA, &[0x22; 4096])?;
    aim(cluster, "memory", 0, 5, 1, AREA)?;
    let at = 5 * (64_u64 << 20);
    let load = |what: &str, wanted: u64| -> Result<()> {
        let seen = guest::value(cluster.node(0), &format!("window load memory {at:#x}"))?;
        ensure!(seen == wanted, "{what}: the slot reads {seen:#x}");
        Ok(())
    };
    load("before", 0x2222_2222)?;
    cluster.switch().poison(port, 2, 5, true)?;
    load("poisoned", 0xffff_ffff)?;
    guest::run(
        cluster.node(0),
        &format!("window store memory {at:#x} 0x33333333"),
    )?;
    cluster.switch().poison(port, 2, 5, false)?;
    load(
        "healed, and the store to the poisoned slot is gone",
        0x2222_2222,
    )
}

fn port_gone(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let other = cluster.node(1).port(0);
    aim(cluster, "memory", 0, 6, 1, AREA)?;
    let load = || {
        guest::value(
            cluster.node(0),
            &format!("window load memory {:#x}", 6 * (64_u64 << 20)),
        )
    };
    ensure!(load()? != 0xffff_ffff, "the slot shows nothing before");
    cluster.switch().set_link(other, LinkState::Down)?;
    ensure!(
        load()? == 0xffff_ffff,
        "the slot shows memory although the link is down"
    );
    cluster.switch().set_link(other, LinkState::Up)?;
    ensure!(
        load()? != 0xffff_ffff,
        "the slot shows nothing although the link is back"
    );
    cluster.switch().unplug(other)?;
    ensure!(
        load()? == 0xffff_ffff,
        "the slot shows memory of a port that is gone"
    );
    ensure!(
        !cluster.switch().status()?.ports[usize::from(other)].attached,
        "the gone port counts as attached"
    );
    cluster.switch().plug(other)?;
    // The node's function is dead until it is plugged again, as after a surprise removal.
    cluster.node(1).unplug_ntb(0)?;
    cluster.node(1).plug_ntb(0)?;
    guest::run(cluster.node(1), &format!("link-enable {other}"))?;
    ensure!(
        load()? != 0xffff_ffff,
        "the slot shows nothing although the port is back"
    );
    Ok(())
}

/// A stopped node cannot confirm that its window changed: its link goes down, and comes back when the node goes on.
fn stopped(context: &mut Context<'_>) -> Result<()> {
    const SLOT: u64 = 7;
    let cluster = context.cluster;
    let port = cluster.node(0).port(0);
    cluster
        .switch()
        .memory_write(cluster.node(1).port(0), AREA, &[0x44; 4096])?;
    aim(cluster, "memory", 0, SLOT as usize, 1, AREA)?;
    let load = || {
        guest::value(
            cluster.node(0),
            &format!("window load memory {:#x}", SLOT * (64 << 20)),
        )
    };
    ensure!(
        load()? == 0x4444_4444,
        "the slot reads {:#x} before",
        load()?
    );
    let state = || -> Result<(LinkState, WindowState)> {
        let status = cluster.switch().status()?.ports[usize::from(port)].clone();
        Ok((status.link, status.window))
    };
    cluster.node(0).pause()?;
    let given_up = (|| {
        let started = Instant::now();
        cluster.switch().poison(port, 2, SLOT as u8, true)?;
        cluster.switch().poison(port, 2, SLOT as u8, false)?;
        ensure!(
            started.elapsed() < Duration::from_secs(5),
            "the switch waited for {:?}",
            started.elapsed()
        );
        ensure!(
            state()? == (LinkState::Down, WindowState::WaitsForHelper),
            "the port is {:?}",
            state()?
        );
        Ok(())
    })();
    cluster.node(0).resume()?;
    given_up?;
    let deadline = Instant::now() + ntb_tool::SOON;
    while state()? != (LinkState::Up, WindowState::Mapped) {
        ensure!(Instant::now() < deadline, "the port stays {:?}", state()?);
        thread::sleep(Duration::from_millis(20));
    }
    ensure!(
        load()? == 0x4444_4444,
        "the slot reads {:#x} after",
        load()?
    );
    Ok(())
}

fn messages(context: &mut Context<'_>) -> Result<()> {
    /// Well above the time a message takes, well below a person's patience.
    const DELAY_MS: u64 = 1500;
    let cluster = context.cluster;
    for node in cluster.nodes() {
        ntb_tool::load(node)?;
    }
    let (from, to) = (
        Tool::open(cluster.node(0), 0)?,
        Tool::open(cluster.node(1), 0)?,
    );
    from.wait_link(to.port(), true)?;
    context.check("a message is lost, the next one arrives", |cluster| {
        cluster
            .switch()
            .message_fault(from.port(), to.port(), MessageFaultKind::Lose, 1)?;
        from.send(to.port(), 0, 1)?;
        thread::sleep(Duration::from_millis(300));
        to.wait_inbox(0, false)?;
        ensure!(
            cluster.switch().counters(from.port())?.messages_lost == 1,
            "the loss was not counted"
        );
        from.send(to.port(), 0, 2)?;
        to.wait_inbox(0, true)?;
        ensure!(
            to.message(0)?.0 == 2,
            "not the second message: {:?}",
            to.message(0)?
        );
        to.clear_messages()
    });
    context.check("a delayed message arrives later", |cluster| {
        cluster.switch().message_fault(
            from.port(),
            to.port(),
            MessageFaultKind::DelayMs(DELAY_MS),
            1,
        )?;
        let start = Instant::now();
        from.send(to.port(), 0, 3)?;
        to.wait_inbox(0, true)?;
        ensure!(
            start.elapsed() >= Duration::from_millis(DELAY_MS),
            "after {:?} already",
            start.elapsed()
        );
        ensure!(
            to.message(0)?.0 == 3,
            "another message: {:?}",
            to.message(0)?
        );
        to.clear_messages()
    });
    Ok(())
}
