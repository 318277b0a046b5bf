// SPDX-License-Identifier: GPL-2.0
//! Doorbells: 32 bits for the whole switch, and the masks that say whose go to whom.
//!
//! Source: IDT_NT_OUTDBELLSET, INDBELLSTS, INDBELLMSK, IDT_SW_GDBELLSTS of
//! drivers/ntb/hw/idt/ntb_hw_idt.h, chapter 5 of ntb_hw_idt.c; GODBELLMSK and GIDBELLMSK from the
//! chip's user manual.

use super::lanes::Lanes;
use super::port::Port;
use super::Switch;

/// Doorbells of the switch.
pub(super) const DOORBELLS: u32 = 32;
/// IDT_SW_GDBELLSTS: the or of all ports' INDBELLSTS.
pub(super) const GDBELLSTS: u32 = 0x3ec3c;
/// GODBELLMSK0: bit p of register x keeps partition p from setting doorbell x.
pub(super) const GODBELLMSK: u32 = 0x3ed00;
/// GIDBELLMSK0 (0x3ED80): bit p of register x hides doorbell x from partition p. After the last one:
pub(super) const GIDBELLMSK_END: u32 = 0x3ee00;
/// Doorbells of each partition.
const OWN: u32 = 4;

/// The global masks: which partitions may not set, and which do not see, each doorbell.
#[derive(Clone, Debug)]
pub(super) struct Masks {
    set: [u8; DOORBELLS as usize],
    see: [u8; DOORBELLS as usize],
}

impl Masks {
    /// Everybody may set and sees every doorbell: the chip without an EEPROM.
    pub(super) fn new() -> Self {
        Self {
            set: [0; DOORBELLS as usize],
            see: [0; DOORBELLS as usize],
        }
    }

    /// Doorbells 4n..=4n+3 are seen by partition n only, as the EEPROM of each of our boards says.
    pub(super) fn share_out(&mut self) {
        for (mask, doorbell) in self.see.iter_mut().zip(0u32..) {
            *mask = !(1 << (doorbell / OWN));
        }
    }

    /// A mask register, by its distance from GODBELLMSK0.
    fn register(&mut self, distance: u32) -> Option<&mut u8> {
        let index = (distance / 4) as usize;
        self.set.iter_mut().chain(&mut self.see).nth(index)
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        let index = (offset.wrapping_sub(GODBELLMSK) / 4) as usize;
        self.set
            .iter()
            .chain(&self.see)
            .nth(index)
            .map_or(0, |mask| u32::from(*mask))
    }

    pub(super) fn write(&mut self, offset: u32, lanes: Lanes) {
        if let Some(mask) = self.register(offset.wrapping_sub(GODBELLMSK)) {
            *mask = lanes.merge(u32::from(*mask), 0xff) as u8;
        }
    }

    /// The doorbells that `from` may set and `to` sees.
    pub(super) fn passing(&self, from: Port, to: Port) -> u32 {
        let mut bits = 0;
        for doorbell in 0..DOORBELLS {
            let index = doorbell as usize;
            let hidden = (self.set[index] >> from.index()) | (self.see[index] >> to.index());
            if hidden & 1 == 0 {
                bits |= 1 << doorbell;
            }
        }
        bits
    }
}

/// A port's side: INDBELLSTS and INDBELLMSK.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    pub(super) status: u32,
    pub(super) mask: u32,
}

impl Inbound {
    /// None set, all masked.
    pub(super) fn new() -> Self {
        Self {
            status: 0,
            mask: u32::MAX,
        }
    }

    /// An unmasked doorbell is set.
    pub(super) fn pending(&self) -> bool {
        self.status & !self.mask != 0
    }
}

impl Switch {
    /// Writes OUTDBELLSET of a port: the one way a doorbell gets set.
    pub(super) fn ring(&mut self, from: Port, bits: u32) {
        if bits == 0 {
            return;
        }
        let link = self.link_up(from);
        if let Some(endpoint) = self.endpoint_mut(from) {
            endpoint.counts.doorbells_sent += 1;
        }
        for to in self.each_port() {
            let reached = bits & self.doorbells.passing(from, to);
            if !link || !self.link_up(to) || reached == 0 {
                continue;
            }
            if let Some(endpoint) = self.endpoint_mut(to) {
                endpoint.doorbell.status |= reached;
                if reached & !endpoint.doorbell.mask != 0 {
                    endpoint.counts.doorbells_received += 1;
                }
            }
        }
    }

    /// GDBELLSTS.
    pub(super) fn global_doorbells(&self) -> u32 {
        self.endpoints
            .iter()
            .fold(0, |bits, endpoint| bits | endpoint.doorbell.status)
    }
}
