// SPDX-License-Identifier: GPL-2.0

//! The one interrupt and its three causes: doorbell, message, switch event.
//!
//! It is sent when the unmasked causes turn from none to some, and not again before there was none. So a cause is cleared, the
//! clearing arrives, and only then is looked at what is behind it; and before the interrupt is waited for, either no cause was
//! seen, or [`rearm`] has let the chip look again.

use super::{
    chip::Chip,
    ports::Ports,
    regs, //
};
use kernel::prelude::*;
use skiff_ext::pci;
use skiff_model::ntb::EventSet;

/// Status registers of switch events that may be set for us.
const STATUSES: [regs::Global; 5] = [
    regs::SELINKUPSTS,
    regs::SELINKDNSTS,
    regs::SEFRSTSTS,
    regs::SEHRSTSTS,
    regs::SEGSIGSTS,
];

/// How often causes that come while they are cleared are looked at before somebody else gets his turn.
const ROUNDS: usize = 8;

/// NTINTMSK with the three causes unmasked.
const LISTEN: u32 = !(regs::NTINT_MSG | regs::NTINT_DBELL | regs::NTINT_SEVENT);

/// No cause raises the interrupt, and none of an earlier owner is left.
pub(super) fn quiet(chip: &mut Chip) -> Result {
    chip.write(regs::NTINTMSK, u32::MAX);
    chip.write(regs::INDBELLMSK, u32::MAX);
    chip.write(regs::MSGSTSMSK, regs::MSGSTS_OUT | regs::MSGSTS_IN);
    chip.write(regs::INDBELLSTS, u32::MAX);
    chip.write(regs::MSGSTS, regs::MSGSTS_OUT | regs::MSGSTS_IN);
    chip.write(regs::NTINTSTS, regs::NTINT_SEVENT);
    chip.alive()
}

/// Lets the switch tell us of links and signals, and all three causes raise the interrupt. Before this the switch must be
/// [`quiet`].
pub(super) fn listen(dev: &pci::Device, chip: &mut Chip, ports: &Ports) -> Result {
    let own = 1 << ports.own().get();
    let protected = chip.read_global(regs::GASAPROT)?;
    let guarded = ports
        .chip_port(ports.own())
        .is_some_and(|chip_port| protected & (1 << chip_port) != 0);

    if !guarded {
        // All ports write the same values, so that it does not matter who comes last; source: idt_init_link().
        chip.write_global(regs::SEPMSK, !ports.partition_bits());
        chip.write_global(regs::SELINKUPMSK, !ports.chip_bits());
        chip.write_global(regs::SELINKDNMSK, !ports.chip_bits());
        chip.write_global(regs::SEGSIGMSK, !ports.partition_bits());
        chip.write_global(regs::SEMSK, !regs::SE_KINDS);
    }
    if chip.read_global(regs::SEMSK)? & regs::SE_KINDS != 0
        || chip.read_global(regs::SEPMSK)? & own != 0
    {
        dev_warn!(
            dev,
            "the switch does not tell of links: the EEPROM of the board masks its events\n"
        );
    }
    clear_switch(chip);
    chip.write(regs::MSGSTSMSK, regs::MSGSTS_OUT);
    chip.write(regs::INDBELLMSK, !regs::doorbell(ports.own()));
    chip.write(regs::NTINTMSK, LISTEN);
    chip.alive()
}

/// Clears what has happened and says what it was. A word stays, and keeps the interrupt from being sent again, until it is
/// taken.
pub(super) fn take(chip: &mut Chip, ports: &Ports) -> Result<EventSet> {
    let mut events = EventSet::NONE;

    for _ in 0..ROUNDS {
        // Lets the clearing of the round before arrive, too.
        let status = chip.read(regs::NTINTSTS)?;

        if status & regs::NTINT_MSG != 0 {
            events = events.union(EventSet::WORD);
        }
        if status & (regs::NTINT_DBELL | regs::NTINT_SEVENT) == 0 {
            return Ok(events);
        }
        if status & regs::NTINT_DBELL != 0 {
            chip.write(regs::INDBELLSTS, regs::doorbell(ports.own()));
            events = events.union(EventSet::DOORBELL);
        }
        if status & regs::NTINT_SEVENT != 0 {
            clear_switch(chip);
            events = events.union(EventSet::LINK);
        }
    }
    rearm(chip)?;
    Ok(events)
}

/// Lets the interrupt be sent for causes that are left: masking them makes them none.
pub(super) fn rearm(chip: &Chip) -> Result {
    chip.write(regs::NTINTMSK, u32::MAX);
    chip.write(regs::NTINTMSK, LISTEN);
    chip.alive()
}

/// Tells all peers that this port's link may have changed, which no other event does.
pub(super) fn signal(chip: &mut Chip, ports: &Ports) -> Result {
    chip.write(regs::NTGSIGNAL, regs::NTGSIGNAL_SET);
    // So that the next one is news, too; source: idt_ntb_local_link_enable().
    chip.write_global(regs::SEGSIGSTS, 1 << ports.own().get());
    chip.alive()
}

/// Clears our notice of switch events, then the events; source of the registers: idt_se_isr(), which does it the other way round.
///
/// The chip notes an event for us only when its status turns from 0 to 1. Were our notice cleared last, an event between the two
/// would be left with its status set and no notice, and the next one of its kind would not be told.
fn clear_switch(chip: &mut Chip) {
    chip.write(regs::NTINTSTS, regs::NTINT_SEVENT);
    for status in STATUSES {
        chip.write_global(status, u32::MAX);
    }
}
