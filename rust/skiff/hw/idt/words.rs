// SPDX-License-Identifier: GPL-2.0

//! Words that are sent through the chip's message registers: the way to a peer before there is any other.
//!
//! Each port sends from its register (port mod 4), to the same register of the peer, where another port may be waiting, too. A
//! register that is full refuses, and the sender tries again.

use super::{
    chip::Chip,
    events,
    ports::Ports,
    regs, //
};
use kernel::prelude::*;
use skiff_model::{
    ids::Port,
    ntb::Sent, //
};

/// Sends a word.
pub(super) fn send(chip: &mut Chip, ports: &Ports, peer: Port, word: u32) -> Result<Sent> {
    // PANIC: The divisor is not zero.
    let index = ports.own().get() % regs::MESSAGES;
    let refused = 1 << index;

    chip.write_global(
        regs::swpmsgctl(ports.own(), index),
        u32::from(index) | (u32::from(peer.get()) << regs::SWPMSGCTL_PART_FLD),
    );
    chip.write(regs::MSGSTS, refused);
    chip.write(regs::outmsg(index), word);
    if chip.read(regs::MSGSTS)? & refused != 0 {
        chip.write(regs::MSGSTS, refused);
        return Ok(Sent::Full);
    }
    Ok(Sent::Sent)
}

/// Takes a word; what comes from a port that has no bridge is dropped.
pub(super) fn take(chip: &mut Chip, ports: &Ports) -> Result<Option<(Port, u32)>> {
    let status = chip.read(regs::MSGSTS)?;

    for index in 0..regs::MESSAGES {
        let waits = 1 << (regs::MSGSTS_IN_FLD + index);

        if status & waits == 0 {
            continue;
        }
        let word = chip.read(regs::inmsg(index))?;
        let source = chip.read(regs::inmsgsrc(index))? & regs::INMSGSRC_PART;

        // From here on the register takes the next one.
        chip.write(regs::MSGSTS, waits);
        if let Ok(port) = Port::try_from(source) {
            if ports.check_peer(port).is_ok() {
                return Ok(Some((port, word)));
            }
        }
    }
    // What has happened while words waited has raised no interrupt.
    events::rearm(chip)?;
    Ok(None)
}
