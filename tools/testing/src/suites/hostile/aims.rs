// SPDX-License-Identifier: GPL-2.0
//! The attacks by slot and by register. Where nothing holds one back, it must succeed: the documentation says so.

use std::fmt::Write as _;

use anyhow::ensure;
use anyhow::Result;
use serde::Deserialize;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use super::attack;
use super::contained;
use super::counted;
use super::victims;
use super::Business;
use super::ATTACKER;
use crate::frame::Context;
use crate::guest;
use crate::guest::Seen;
use crate::share::Actor;
use crate::share::Status;
use crate::share::PAGE;
use crate::share::SOON;

/// Aims the attacker's slot `slot` of a window at an address of a victim's bus.
fn aim(cluster: &Cluster, window: &str, slot: u32, victim: &Node, address: u64) -> Result<()> {
    let port = victim.port(0);
    guest::run(
        cluster.node(ATTACKER),
        &format!("slot {window} {slot} {port} {address:#x}"),
    )?;
    Ok(())
}

/// Bytes that a slot of the memory window reaches.
const SLOT: u64 = 64 << 20;

/// What `hostile sweep` tells.
#[derive(Debug, Deserialize)]
struct Swept {
    loaded: u64,
    found: Vec<String>,
    stored: u64,
}

/// Slots lead to memory that is not exported, and everywhere else.
pub fn memory(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let setting = context.setting;
    let business = Business::begin(cluster)?;
    for victim in victims(cluster) {
        let actor = Actor::start(victim, "keeps")?;
        let bytes = 64 * PAGE;
        // A private segment of a program's own memory, which no adapter knows.
        let pages: Vec<u64> = actor.ask(&format!("create own {bytes} --user"))?;
        actor.tell("map map own")?;
        actor.fill("map", 0, bytes, 8)?;
        for page in pages.iter().step_by(16) {
            aim(cluster, "memory", 10, victim, page - page % SLOT)?;
            let place = 10 * SLOT + page % SLOT;
            let line = format!("window fill memory {place:#x} {PAGE} 9");
            guest::run(cluster.node(ATTACKER), &line)?;
            let line = format!("window verify memory {place:#x} {PAGE} 9");
            let seen: Seen = guest::json(cluster.node(ATTACKER), &line)?;
            if contained(setting) {
                ensure!(seen.all_ones == PAGE / 8, "{page:#x}: {seen:?}");
            } else {
                // Nothing holds it back, and the documentation says so.
                ensure!(seen.right == PAGE / 8, "{page:#x}: {seen:?}");
            }
        }
        if contained(setting) {
            actor.verify("map", 0, bytes, 8)?;
            let mut line = format!(
                "hostile --victims {} sweep 0x40000 0x100000000",
                victim.port(0)
            );
            for piece in cluster.switch().space(victim.port(0))? {
                write!(line, " --keep {:#x}:{:#x}", piece.addr, piece.len)?;
            }
            let swept: Swept = guest::json(cluster.node(ATTACKER), &line)?;
            ensure!(swept.found.is_empty(), "{swept:?}");
            ensure!(
                swept.stored > 0 && swept.loaded == swept.stored,
                "{swept:?}"
            );
            actor.verify("map", 0, bytes, 8)?;
        }
    }
    business.end()
}

/// Interrupts of one kind that a node with one CPU never has.
fn rescheduled(node: &Node) -> Result<u64> {
    let output = node.run("awk '$1 == \"RES:\" { print $2 }' /proc/interrupts")?;
    guest::number(output.check()?.stdout_text().trim())
}

/// Has a message written to a victim's interrupt range, so often. The emulated switch has a table of what may pass, which no chip
/// has: it lets this one through.
fn interrupt(cluster: &Cluster, victim: &Node, message: (u64, u64), times: u64) -> Result<()> {
    let (address, data) = message;
    let passed = || -> Result<u64> {
        let port = cluster.node(ATTACKER).port(0);
        Ok(cluster.switch().counters(port)?.interrupt_writes)
    };
    let before = passed()?;
    guest::run(victim, &format!("allow-interrupt 0 {address:#x} {data:#x}"))?;
    aim(cluster, "device", 0, victim, address)?;
    for _ in 0..times {
        let line = format!("window store device 0 {data:#x}");
        guest::run(cluster.node(ATTACKER), &line)?;
    }
    guest::run(cluster.node(ATTACKER), "slot-clear device 0")?;
    guest::run(victim, "allow-interrupt 0")?;
    ensure!(passed()? == before + times, "it did not pass the switch");
    Ok(())
}

/// Interrupt address and data by which a peer asks a CPU to reschedule: the vector is that of the kernel's irq_vectors.h.
const RESCHEDULE: (u64, u64) = (0xfee0_0000, 0xfd);
/// The same range in the format of interrupt remapping, with a handle that nobody has: 0x200, in bits 19:5.
const UNKNOWN: (u64, u64) = (0xfee0_4010, 0);

/// Slots lead to the interrupt range.
pub fn interrupts(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let setting = context.setting;
    let business = Business::begin(cluster)?;
    for victim in victims(cluster) {
        let before = rescheduled(victim)?;
        if contained(setting) {
            interrupt(cluster, victim, UNKNOWN, 3)?;
            victim.wait_log("INTR-REMAP.*fault index 0x200", SOON)?;
            ensure!(rescheduled(victim)? == before, "an interrupt came");
        } else {
            // Nothing holds it back, and the documentation says so.
            interrupt(cluster, victim, RESCHEDULE, 3)?;
            let line = format!("awk '$1 == \"RES:\" {{ exit $2 == {before} }}' /proc/interrupts");
            victim.wait_for(&line, SOON)?;
        }
        // Without an entry in the victim's table it does not even pass the switch.
        let port = cluster.node(ATTACKER).port(0);
        let refused = cluster.switch().counters(port)?.interrupt_writes_refused;
        aim(cluster, "device", 0, victim, RESCHEDULE.0)?;
        let line = format!("window store device 0 {:#x}", RESCHEDULE.1);
        guest::run(cluster.node(ATTACKER), &line)?;
        guest::run(cluster.node(ATTACKER), "slot-clear device 0")?;
        let after = cluster.switch().counters(port)?.interrupt_writes_refused;
        ensure!(after == refused + 1, "{refused}, then {after}");
    }
    business.end()
}

/// What `hostile registers` tells.
#[derive(Debug, Deserialize)]
struct Registers {
    tried: u64,
    changed: Vec<String>,
}

/// Registers of other ports and of the switch are written.
pub fn registers(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let business = Business::begin(cluster)?;
    let done: Registers = attack(cluster, "", "registers")?;
    ensure!(done.tried > 0 && done.changed.is_empty(), "{done:?}");
    business.end()
}

/// What `hostile rings` tells.
#[derive(Debug, Deserialize)]
struct Stored {
    words: u64,
    arrived: u64,
}

/// Slots lead to the victims' rings with each other.
pub fn rings(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let count = context.scale.pick(5000, 1_000_000);
    // They share no memory meanwhile: what a node exports every node reaches.
    let done: Stored = attack(cluster, "--seed 7", &format!("rings {count}"))?;
    ensure!(
        done.words >= u64::from(count) && done.arrived > 0,
        "{done:?}"
    );
    let nonsense: u64 = victims(cluster)
        .iter()
        .map(|node| counted(node, 1 - node.index(), "decode_errors"))
        .sum::<Result<_>>()?;
    ensure!(nonsense > 0, "no ring of the victims was hit: {done:?}");
    for node in victims(cluster) {
        let actor = Actor::start(node, "looks")?;
        actor.until("status", |status: &Status| status.nodes & 0b11 == 0b11)?;
    }
    Business::begin(cluster)?.end()
}
