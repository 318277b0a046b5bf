// SPDX-License-Identifier: GPL-2.0
//! A port's one interrupt: status, mask and the edge that sends the MSI; plain state of one port.
//!
//! Source: IDT_NT_NTINTSTS and NTINTMSK of drivers/ntb/hw/idt/ntb_hw_idt.h, and the comments at
//! idt_db_isr() and in chapter 8 of ntb_hw_idt.c: an interrupt is sent when the unmasked set turns
//! from empty to not empty, and never again before it was empty.

use super::lanes::Lanes;

/// IDT_NTINTSTS_MSG: an unmasked message status bit is set.
pub(super) const MSG: u32 = 0x1;
/// IDT_NTINTSTS_DBELL: an unmasked doorbell is set.
pub(super) const DBELL: u32 = 0x2;
/// IDT_NTINTSTS_SEVENT: a switch event came; stays until a one is written.
pub(super) const SEVENT: u32 = 0x8;
/// IDT_NTINTSTS_TMPSENSOR: never set, the modelled temperature raises no alarm.
const TMPSENSOR: u32 = 0x80;
/// All that can be masked.
const ALL: u32 = MSG | DBELL | SEVENT | TMPSENSOR;

/// The interrupt logic of a port.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    latched: u32,
    mask: u32,
    /// The condition held when it was last looked at.
    was: bool,
}

impl Interrupt {
    /// All masked.
    pub(super) fn new() -> Self {
        Self {
            latched: 0,
            mask: ALL,
            was: false,
        }
    }

    /// A switch event for this port.
    pub(super) fn latch_event(&mut self) {
        self.latched |= SEVENT;
    }

    /// NTINTSTS, given the two bits that follow other registers.
    pub(super) fn status(&self, message: bool, doorbell: bool) -> u32 {
        let message = if message { MSG } else { 0 };
        let doorbell = if doorbell { DBELL } else { 0 };
        self.latched | message | doorbell
    }

    /// Writes NTINTSTS: ones clear what is latched.
    pub(super) fn clear(&mut self, lanes: Lanes) {
        self.latched &= !lanes.ones();
    }

    /// NTINTMSK.
    pub(super) fn mask(&self) -> u32 {
        self.mask
    }

    /// Writes NTINTMSK.
    pub(super) fn set_mask(&mut self, lanes: Lanes) {
        self.mask = lanes.merge(self.mask, ALL);
    }

    /// Whether the condition holds.
    pub(super) fn pending(&self, status: u32) -> bool {
        status & !self.mask != 0
    }

    /// Takes note of the condition; true on its rising edge.
    pub(super) fn edge(&mut self, condition: bool) -> bool {
        let rising = condition && !self.was;
        self.was = condition;
        rising
    }
}
