// SPDX-License-Identifier: GPL-2.0

//! Access to the registers of the own port, and through its little window to those of the switch.
//!
//! A function that was pulled out reads all ones: reads say so instead of passing it on. The window to the global address
//! space is an address and a data register, so that methods which use it take `&mut self`: whoever has that is alone.

use super::{
    regs,
    regs::Global, //
};
use kernel::prelude::*;
use skiff_ext::{
    mmio::{
        Register,
        Registers, //
    },
    pci, //
};

/// The registers.
pub(super) struct Chip {
    registers: Registers<{ regs::BYTES }>,
}

impl Chip {
    /// Maps BAR0; `ENODEV` if it does not show the registers.
    pub(super) fn new(dev: &pci::Device, bar: pci::Region) -> Result<Self> {
        let chip = Self {
            registers: Registers::new(bar)?,
        };
        let id = dev.id();
        let setup = chip.read(regs::barsetup(0))?;

        if chip.read(regs::ID)? != (u32::from(id.device) << 16) | u32::from(id.vendor)
            || setup & regs::BARSETUP_EN == 0
            || setup & regs::BARSETUP_MODE_CFG == 0
        {
            dev_err!(
                dev,
                "BAR0 does not show the registers (BARSETUP0 is {setup:#010x}): the EEPROM of the board has to say so\n"
            );
            return Err(ENODEV);
        }
        Ok(chip)
    }

    /// Reads a register; `ENODEV` if the function is gone.
    pub(super) fn read(&self, register: Register) -> Result<u32> {
        let value = self.registers.read(register);

        if value == u32::MAX {
            self.alive()?;
        }
        Ok(value)
    }

    /// Writes a register. The write is posted: a read lets it arrive.
    pub(super) fn write(&self, register: Register, value: u32) {
        self.registers.write(register, value);
    }

    /// Reads a register of the switch; `ENODEV` if the function is gone.
    pub(super) fn read_global(&mut self, global: Global) -> Result<u32> {
        self.write(regs::GASAADDR, global.address());
        self.read(regs::GASADATA)
    }

    /// Writes a register of the switch. The write is posted.
    pub(super) fn write_global(&mut self, global: Global, value: u32) {
        self.write(regs::GASAADDR, global.address());
        self.write(regs::GASADATA, value);
    }

    /// Whether the function is there. Lets all earlier writes arrive.
    pub(super) fn alive(&self) -> Result {
        // Most of NTCTL is reserved, and reads 0 if it reads at all.
        if self.registers.read(regs::NTCTL) == u32::MAX {
            return Err(ENODEV);
        }
        Ok(())
    }
}
