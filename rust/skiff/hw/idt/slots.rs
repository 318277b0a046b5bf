// SPDX-License-Identifier: GPL-2.0

//! The windows with their lookup tables, and where on this machine they are.

use super::{
    chip::Chip,
    companion::Companion,
    regs, //
};
use crate::hw::{
    window::{
        Layout,
        Window, //
    },
    NAME, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::pci;
use skiff_model::{
    addr::{
        BusAddr,
        SlotBytes, //
    },
    ids::Port,
    ntb::{
        Geometry,
        Side,
        Windows, //
    },
};

/// BAR of the memory window, as the lookup tables know it.
const MEMORY: u8 = 2;
/// BAR of the device window.
const REGISTERS: u8 = 4;

/// A window and what it takes to have it.
pub(super) struct Slots {
    window: Arc<Window>,
    /// The BAR that the lookup table knows it by.
    bar: u8,
    // After the window: the BAR is released before its function is disabled.
    _companion: Option<pci::Enabled>,
}

/// The windows that the set-up of the board makes.
pub(super) fn windows(dev: &pci::Device, chip: &Chip) -> Result<Windows<Slots>> {
    Ok(Windows {
        memory: Slots::memory(dev, chip)?,
        registers: Slots::registers(dev, chip)?,
    })
}

impl Slots {
    /// Finds the memory window in BAR2 or in the companion function.
    fn memory(dev: &pci::Device, chip: &Chip) -> Result<Self> {
        let setup = chip.read(regs::barsetup(MEMORY))?;
        let Some(shape) = shape(setup) else {
            dev_err!(
                dev,
                "BAR2 is no window with a lookup table (BARSETUP2 is {setup:#010x}): the EEPROM of the board has to make it one\n"
            );
            return Err(ENODEV);
        };

        match Companion::find(dev) {
            None => Self::new(dev, MEMORY, MEMORY, shape, Layout::Chip, None),
            Some(companion) => {
                let Companion { dev, bar } = companion?;
                let enabled = dev.enable()?;

                Self::new(&dev, bar, MEMORY, shape, Layout::Companion, Some(enabled))
            }
        }
    }

    /// Finds the device window in BAR4; `None` if the board makes something else of that.
    fn registers(dev: &pci::Device, chip: &Chip) -> Result<Option<Self>> {
        match shape(chip.read(regs::barsetup(REGISTERS))?) {
            Some(shape) => {
                Self::new(dev, REGISTERS, REGISTERS, shape, Layout::Chip, None).map(Some)
            }
            None => Ok(None),
        }
    }

    /// A window of this shape in BAR `place` of a function, which the lookup table knows as `bar`.
    fn new(
        dev: &pci::Device,
        place: u8,
        bar: u8,
        (geometry, bytes): (Geometry, u64),
        layout: Layout,
        companion: Option<pci::Enabled>,
    ) -> Result<Self> {
        let region = dev.request(place, NAME)?;

        if region.bytes() != bytes {
            dev_err!(
                dev,
                "the window in BAR{place} is {} bytes long and should be {bytes}\n",
                region.bytes()
            );
            return Err(ENODEV);
        }
        Ok(Self {
            window: Arc::new(Window::new(region, geometry, layout)?, GFP_KERNEL)?,
            bar,
            _companion: companion,
        })
    }

    /// The window.
    pub(super) fn window(&self) -> &Arc<Window> {
        &self.window
    }

    /// Points a slot at a peer. VALID is off while the address is neither the old nor the new one.
    pub(super) fn set(&self, chip: &Chip, slot: u8, peer: Port, base: BusAddr) -> Result {
        let value = regs::LUTUDATA_VALID | u32::from(peer.get());

        if self.window.geometry().slot_bytes().offset_of(base) != 0 {
            return Err(EINVAL);
        }
        self.clear(chip, slot)?;
        // CAST: The two halves of an address.
        chip.write(regs::LUTLDATA, base.get() as u32);
        chip.write(regs::LUTMDATA, (base.get() >> 32) as u32);
        self.finish(chip, value)
    }

    /// Lets a slot lead nowhere.
    pub(super) fn clear(&self, chip: &Chip, slot: u8) -> Result {
        if slot >= self.window.geometry().slots() {
            return Err(EINVAL);
        }
        let bar = u32::from(self.bar) << regs::LUTOFFSET_BAR_FLD;

        chip.write(regs::LUTOFFSET, bar | u32::from(slot));
        self.finish(chip, 0)
    }

    /// Lets all slots lead nowhere.
    pub(super) fn clear_all(&self, chip: &Chip) -> Result {
        (0..self.window.geometry().slots()).try_for_each(|slot| self.clear(chip, slot))
    }

    /// Puts the entry in force, and is back when it is.
    fn finish(&self, chip: &Chip, upper: u32) -> Result {
        chip.write(regs::LUTUDATA, upper);
        if chip.read(regs::LUTUDATA)? != upper {
            return Err(EIO);
        }
        Ok(())
    }
}

/// Slots of a window that is set up like this, and the length of its BAR.
fn shape(setup: u32) -> Option<(Geometry, u64)> {
    if setup & regs::BARSETUP_EN == 0 || setup & regs::BARSETUP_MODE_CFG != 0 {
        return None;
    }
    let bytes = 1u64.checked_shl((setup >> regs::BARSETUP_SIZE_FLD) & regs::BARSETUP_SIZE)?;
    let (slots, divisor) = match setup & regs::BARSETUP_ATRAN {
        regs::BARSETUP_ATRAN_LUT12 => (12, 16),
        regs::BARSETUP_ATRAN_LUT24 => (24, 32),
        _ => return None,
    };
    // PANIC: The divisor is not zero.
    let geometry = Geometry::new(slots, SlotBytes::new(bytes / divisor)?, Side::User)?;

    Some((geometry, bytes))
}
