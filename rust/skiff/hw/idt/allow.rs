// SPDX-License-Identifier: GPL-2.0

//! The interrupt allow table of the emulated switch: it passes no other interrupt of a peer to this node.
//!
//! Source: `Documentation/switch-model.rst`, "Interrupt allow table". A chip has none: what a node's interrupt remapping lets
//! through is all that counts there.

use super::{
    chip::Chip,
    regs, //
};
use crate::hw::signal::{
    Signal,
    SIGNALS, //
};
use kernel::prelude::*;

/// What the own table holds, as far as it is used.
pub(super) struct Allowed([Option<Signal>; SIGNALS]);

impl Allowed {
    /// Nothing. The table is written by [`restore`](Self::restore).
    pub(super) fn new() -> Self {
        Self([None; SIGNALS])
    }

    /// Lets peers raise this interrupt, or takes that back. In force on return. Errors: EINVAL if there is no such entry or the
    /// table cannot hold the signal.
    pub(super) fn set(&mut self, chip: &Chip, entry: usize, signal: Option<Signal>) -> Result {
        let allowed = self.0.get_mut(entry).ok_or(EINVAL)?;

        if entries(chip)? > 0 {
            write(chip, entry, signal)?;
        }
        *allowed = signal;
        Ok(())
    }

    /// Allows nothing any more.
    pub(super) fn clear(&mut self, chip: &Chip) -> Result {
        *self = Self::new();
        self.restore(chip)
    }

    /// Writes the table, after a reset or somebody else.
    pub(super) fn restore(&self, chip: &Chip) -> Result {
        if entries(chip)? == 0 {
            return Ok(());
        }
        for (entry, signal) in self.0.iter().enumerate() {
            write(chip, entry, *signal)?;
        }
        Ok(())
    }
}

/// How many entries there are; 0 if there is no table, or one that is too short.
fn entries(chip: &Chip) -> Result<u32> {
    let capability = chip.read(regs::IALLOWCAP)?;
    let entries = capability & regs::IALLOWCAP_ENTRIES;

    if capability >> regs::IALLOWCAP_VERSION_FLD != regs::IALLOWCAP_VERSION {
        return Ok(0);
    }
    // CAST: A small constant.
    if entries < SIGNALS as u32 {
        return Err(ENODEV);
    }
    Ok(entries)
}

/// Writes an entry; nothing is in force while it is half written.
fn write(chip: &Chip, entry: usize, signal: Option<Signal>) -> Result {
    let control = match signal {
        Some(_) => regs::IALLOWCTL_VALID,
        None => 0,
    };

    chip.write(regs::IALLOWINDEX, u32::try_from(entry)?);
    if let Some(signal) = signal {
        chip.write(regs::IALLOWADDR, u32::try_from(signal.at.get())?);
        chip.write(regs::IALLOWDATA, signal.data);
    }
    chip.write(regs::IALLOWCTL, control);
    if chip.read(regs::IALLOWCTL)? != control {
        return Err(EIO);
    }
    Ok(())
}
