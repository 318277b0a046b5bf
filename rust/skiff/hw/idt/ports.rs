// SPDX-License-Identifier: GPL-2.0

//! Which ports of the switch have a bridge, and whether they are up.
//!
//! A [`Port`] is a partition. Events of links and some registers count chip ports instead: this file knows both.

use super::{
    chip::Chip,
    regs, //
};
use kernel::prelude::*;
use skiff_model::ids::{
    Port,
    PORTS_MAX, //
};

/// The ports of a switch that have a bridge.
///
/// # Invariants
///
/// `chip_ports[own]` is set, and all numbers in there are below [`regs::CHIP_PORTS_MAX`].
pub(super) struct Ports {
    own: Port,
    chip_ports: [Option<u8>; PORTS_MAX as usize],
}

impl Ports {
    /// Looks at each of the chip ports that may have a bridge.
    pub(super) fn scan(chip: &mut Chip, candidates: &[u8]) -> Result<Self> {
        // CAST: Eight bits are left.
        let own_chip_port = (chip.read(regs::PCIELCAP)? >> regs::PCIELCAP_PORTNUM_FLD) as u8;

        if own_chip_port >= regs::CHIP_PORTS_MAX {
            return Err(EIO);
        }
        let own = partition(chip.read_global(regs::swportsts(own_chip_port))?)?;
        let mut chip_ports = [None; PORTS_MAX as usize];

        chip_ports[own.index()] = Some(own_chip_port);
        for &chip_port in candidates {
            if chip_port == own_chip_port {
                continue;
            }
            let status = chip.read_global(regs::swportsts(chip_port))?;
            let mode = (status >> regs::SWPORTSTS_MODE_FLD) & regs::SWPORTSTS_MODE;

            if !regs::SWPORTSTS_MODES_NT.contains(&mode) {
                continue;
            }
            let port = partition(status)?;
            let state = chip.read_global(regs::swpartsts(port))? & regs::SWPARTSTS_STATE;

            if state != regs::SWPARTSTS_STATE_ACT {
                continue;
            }
            // A partition has one bridge.
            match &mut chip_ports[port.index()] {
                Some(_) => return Err(EIO),
                place => *place = Some(chip_port),
            }
        }
        // INVARIANT: Just found.
        Ok(Self { own, chip_ports })
    }

    /// The port that this adapter is.
    pub(super) fn own(&self) -> Port {
        self.own
    }

    /// The chip's number of a port with a bridge.
    pub(super) fn chip_port(&self, port: Port) -> Option<u8> {
        self.chip_ports[port.index()]
    }

    /// Whether `port` is another port with a bridge; `ENXIO` if not.
    pub(super) fn check_peer(&self, port: Port) -> Result {
        if port == self.own || self.chip_port(port).is_none() {
            return Err(ENXIO);
        }
        Ok(())
    }

    /// All ports with a bridge, the own one included, with the chip's number.
    pub(super) fn all(&self) -> impl Iterator<Item = (Port, u8)> + '_ {
        Port::all().filter_map(|port| Some((port, self.chip_port(port)?)))
    }

    /// The other ports with a bridge, with the chip's number.
    pub(super) fn peers(&self) -> impl Iterator<Item = (Port, u8)> + '_ {
        self.all().filter(|&(port, _)| port != self.own)
    }

    /// Bits of all ports, by their partition.
    pub(super) fn partition_bits(&self) -> u32 {
        self.all()
            .fold(0, |bits, (port, _)| bits | (1 << port.get()))
    }

    /// Bits of all ports, by the chip's number.
    pub(super) fn chip_bits(&self) -> u32 {
        // By the type's invariant no bit is shifted out.
        self.all()
            .fold(0, |bits, (_, chip_port)| bits | (1 << chip_port))
    }
}

/// The partition in a port's status.
fn partition(status: u32) -> Result<Port> {
    // CAST: Three bits are left.
    Port::new(((status >> regs::SWPORTSTS_SWPART_FLD) & 0x7) as u8).ok_or(EIO)
}
