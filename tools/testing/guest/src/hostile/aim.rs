// SPDX-License-Identifier: GPL-2.0
//! The attacks by slot and by register: other pairs' rings, and what belongs to other ports.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use serde::Serialize;
use skiff_model::ids;
use skiff_model::ring::INBOX_BYTES;

use super::port::Port;
use super::port::SLOTS;
use super::victim::Victims;
use crate::idt::Window;
use crate::random::Random;

const PAGE: u64 = 4096;

/// Pages around the own inbox where those of other pairs are.
const AROUND: u64 = 64;

/// What was stored.
#[derive(Debug, Default, Serialize)]
pub struct Stored {
    /// Words.
    pub words: u64,
    /// Those that were there when they were read back: memory that this node reaches.
    pub arrived: u64,
}

/// Stores into the rings of the victims with each other: they lie where the own inbox lies.
pub fn rings(
    port: &Port,
    victims: &mut Victims<'_>,
    random: &mut Random,
    count: u64,
) -> Result<Stored> {
    let mut stored = Stored::default();
    victims.up()?;
    let bytes = port.slot_bytes();
    let slot = SLOTS - 1;
    while stored.words < count {
        for victim in &victims.all {
            let boot = victim.boot.context("its inbox is not known")?;
            let own = boot.frame() * PAGE;
            let base = own - own % bytes;
            port.aim(slot, victim.number, base)?;
            for _ in 0..256 {
                let first = (own - base).saturating_sub(AROUND * PAGE);
                let page = first + PAGE * random.below(2 * AROUND);
                let within = match random.below(4) {
                    // An index, or the beat.
                    0 | 1 => 0x40 * random.below(3),
                    _ => 4 * random.below(PAGE / 4),
                };
                let at = page + within;
                let own_inbox = own - base..own - base + INBOX_BYTES as u64;
                if at >= bytes || own_inbox.contains(&at) {
                    continue;
                }
                let at = usize::try_from(u64::from(slot) * bytes + at)?;
                let value = random.edgy() as u32;
                port.window().write(at, value)?;
                stored.words += 1;
                stored.arrived += u64::from(port.window().read::<u32>(at)? == value);
            }
            for other in &victims.all {
                other.ring()?;
            }
        }
        victims.turn()?;
        sleep(Duration::from_millis(5));
    }
    port.bridge().set_slot(Window::Memory, slot, None)?;
    Ok(stored)
}

/// Findings that are told.
const FOUND_MOST: usize = 32;

/// What was read where.
#[derive(Debug, Default, Serialize)]
pub struct Swept {
    /// Words that were loaded.
    pub loaded: u64,
    /// Where there was something though nothing should be, and what.
    pub found: Vec<String>,
    /// Words that were stored where nothing should be.
    pub stored: u64,
}

/// A range of a victim's bus: first address and bytes.
pub type Range = (u64, u64);

/// Aims a slot everywhere below `end` of a victim's bus and at random places above; loads every `step` bytes where none of
/// `kept` is, and stores there when all is loaded: what the emulated window shows of nothing keeps a store for a moment.
pub fn sweep(
    port: &Port,
    victim: ids::Port,
    (step, end): (u64, u64),
    kept: &[Range],
    random: &mut Random,
) -> Result<Swept> {
    let mut swept = Swept::default();
    let bytes = port.slot_bytes();
    let slot = SLOTS - 1;
    let mut bases: Vec<u64> = (0..end).step_by(usize::try_from(bytes)?).collect();
    bases.extend((0..16).map(|_| (random.edgy() | end) & !(bytes - 1)));
    for store in [false, true] {
        for base in &bases {
            port.aim(slot, victim, *base)?;
            for at in (0..bytes).step_by(usize::try_from(step)?) {
                let address = base.wrapping_add(at);
                let known = |(first, length): &Range| address.wrapping_sub(*first) < *length;
                let place = usize::try_from(u64::from(slot) * bytes + at)?;
                if kept.iter().any(known) {
                    continue;
                }
                if store {
                    port.window().write(place, random.next() as u32)?;
                    swept.stored += 1;
                    continue;
                }
                swept.loaded += 1;
                let value: u32 = port.window().read(place)?;
                if value != u32::MAX && swept.found.len() < FOUND_MOST {
                    swept.found.push(format!("{address:#x}: {value:#x}"));
                }
            }
        }
    }
    port.bridge().set_slot(Window::Memory, slot, None)?;
    Ok(swept)
}

/// What became of other ports' registers.
#[derive(Debug, Default, Serialize)]
pub struct Registers {
    /// Registers that were written.
    pub tried: u64,
    /// Those that read something else afterwards, by address.
    pub changed: Vec<String>,
}

/// Registers of a port's function that open or close it: control and masks. Not those that show one entry of a table: the victim
/// itself goes from one to the next.
const OF_A_PORT: [u32; 4] = [0x400, 0x408, 0x42c, 0x464];
/// Registers of the whole switch: masks of events and of doorbells, protection.
const OF_THE_SWITCH: [u32; 7] = [
    0x3ec04, 0x3ec08, 0x3ec10, 0x3ec18, 0x3ec34, 0x3ed00, 0x3ed80,
];
const GASAPROT: u32 = 0x3e700;
const NTMTBLPROT: u32 = 0x3e710;
const NTMTBLADDR: usize = 0x4d0;
const NTMTBLDATA: usize = 0x4d8;
const ENTRIES: u32 = 64;

/// Writes registers that are none of this port's business.
pub fn registers(port: &Port, victims: &[ids::Port]) -> Result<Registers> {
    let mut done = Registers::default();
    let own = u32::from(port.number().get());
    let mut addresses: Vec<u32> = OF_THE_SWITCH.to_vec();
    addresses.push(GASAPROT);
    addresses.extend((0..8).map(|part| NTMTBLPROT + 4 * part));
    for victim in victims {
        // On this chip partition n is chip port 2n or 4n: both are tried, and those that are no port read 0.
        for chip_port in [2 * u32::from(victim.get()), 4 * u32::from(victim.get())] {
            addresses.extend(OF_A_PORT.map(|at| 0x1000 + 0x2000 * chip_port + at));
        }
        // Where the victim's messages go.
        addresses.extend((0..4).map(|n| 0x3ee00 + 0x20 * n + 4 * u32::from(victim.get())));
    }
    for address in addresses {
        let before = port.global(address)?;
        port.set_global(address, !before)?;
        let after = port.global(address)?;
        done.tried += 1;
        if before != after {
            port.set_global(address, before)?;
            done.changed.push(format!("{address:#x}"));
        }
    }
    let range = port.global(NTMTBLPROT + 4 * own)?;
    let mine = (range & 0x3f)..=((range >> 8) & 0x3f);
    ensure!(mine != (0..=ENTRIES - 1), "the board is open");
    for entry in (0..ENTRIES).filter(|entry| !mine.contains(entry)) {
        port.bridge().write(NTMTBLADDR, entry)?;
        let before = port.bridge().read(NTMTBLDATA)?;
        port.bridge().write(NTMTBLDATA, before ^ 0x3)?;
        let after = port.bridge().read(NTMTBLDATA)?;
        done.tried += 1;
        if before != after {
            done.changed.push(format!("mapping table entry {entry}"));
        }
    }
    Ok(done)
}
