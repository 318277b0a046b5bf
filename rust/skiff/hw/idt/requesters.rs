// SPDX-License-Identifier: GPL-2.0

//! The mapping table: whose requests the switch lets through. One table for the whole switch.
//!
//! Who owns which entry: on a guarded board each partition may write a range, of which the first entry is the CPU's and the
//! others are further requesters'. On an open board every port may write all; there entry n is that of partition n's CPU, as
//! `ntb_hw_idt` has it, and seven from 8 + 7n on are partition n's further requesters'.

use super::{
    chip::Chip,
    regs, //
};
use kernel::prelude::*;
use skiff_model::ids::{
    Port,
    RequesterId,
    PORTS_MAX, //
};

/// Requesters of a node beside its CPU.
const FURTHER: u8 = 7;

/// Entries `first` to `last` of the table.
///
/// # Invariants
///
/// `first` is not above `last`, which is below [`regs::NTMTBL_ENTRIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    first: u8,
    last: u8,
}

impl Range {
    /// The whole table, which is what an open board leaves to everybody.
    const ALL: Self = Self {
        first: 0,
        last: regs::NTMTBL_ENTRIES - 1,
    };

    /// What partition `port` may write.
    pub(super) fn read(chip: &mut Chip, port: Port) -> Result<Self> {
        let protection = chip.read_global(regs::ntmtblprot(port))?;
        // CAST: Six bits are left.
        let (first, last) = ((protection & 0x3f) as u8, ((protection >> 8) & 0x3f) as u8);

        // Nothing but zeros says that nobody has set it up: not all ports can have entry 0.
        // INVARIANT: Six bits are below 64.
        Ok(if first <= last && last != 0 {
            Self { first, last }
        } else {
            Self::ALL
        })
    }

    /// Whether an entry is in both.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Where the CPU's entry of `port` may be, given that this is its range.
    fn cpu(self, port: Port) -> Self {
        if self == Self::ALL {
            // INVARIANT: A port's number is below 8.
            Self {
                first: port.get(),
                last: port.get(),
            }
        } else {
            self
        }
    }
}

/// The own part of the table.
pub(super) struct Requesters {
    own: Port,
    /// The CPU's entry.
    cpu: u8,
    /// First and last entry of further requesters; none if they are the wrong way round.
    first: u8,
    last: u8,
    further: [Option<RequesterId>; FURTHER as usize],
}

impl Requesters {
    /// The own part, by what the board leaves to us. Nothing is written yet.
    pub(super) fn new(chip: &mut Chip, own: Port) -> Result<Self> {
        let range = Range::read(chip, own)?;
        let cpu = range.cpu(own).first;
        // Both are below 65: an entry behind the table is above `last`.
        let first = if range == Range::ALL {
            PORTS_MAX + FURTHER * own.get()
        } else {
            cpu + 1
        };

        Ok(Self {
            own,
            cpu,
            first,
            last: range.last,
            further: [None; FURTHER as usize],
        })
    }

    /// Lets the CPU send.
    pub(super) fn admit_cpu(&self, chip: &Chip) -> Result {
        // CAST: Sixteen bits are left.
        let requester = (chip.read(regs::REQIDCAP)? & regs::REQIDCAP_REQID) as u16;

        set(chip, self.cpu, self.entry(RequesterId::new(requester)))
    }

    /// Takes all own entries out of force.
    pub(super) fn clear(&mut self, chip: &Chip) -> Result {
        self.further = [None; FURTHER as usize];
        for index in 0..self.further.len() {
            if let Some(entry) = self.place(index) {
                set(chip, entry, 0)?;
            }
        }
        set(chip, self.cpu, 0)
    }

    /// Takes the CPU's entry out of force.
    pub(super) fn withdraw_cpu(&self, chip: &Chip) -> Result {
        set(chip, self.cpu, 0)
    }

    /// Lets a further requester send: `EEXIST` if it may already, `ENOSPC` if there is no entry left.
    pub(super) fn admit(&mut self, chip: &Chip, requester: RequesterId) -> Result {
        if self.further.contains(&Some(requester)) {
            return Err(EEXIST);
        }
        let index = self
            .further
            .iter()
            .position(Option::is_none)
            .ok_or(ENOSPC)?;
        let entry = self.place(index).ok_or(ENOSPC)?;

        set(chip, entry, self.entry(requester))?;
        self.further[index] = Some(requester);
        Ok(())
    }

    /// Takes that back: `ENOENT` if it was not admitted.
    pub(super) fn withdraw(&mut self, chip: &Chip, requester: RequesterId) -> Result {
        let index = self
            .further
            .iter()
            .position(|further| *further == Some(requester))
            .ok_or(ENOENT)?;
        let entry = self.place(index).ok_or(ENOENT)?;

        set(chip, entry, 0)?;
        self.further[index] = None;
        Ok(())
    }

    /// The table's entry of further requester `index`, if the range goes that far.
    fn place(&self, index: usize) -> Option<u8> {
        let entry = self.first.checked_add(u8::try_from(index).ok()?)?;

        (entry <= self.last).then_some(entry)
    }

    /// What lets a requester of the own partition through.
    fn entry(&self, requester: RequesterId) -> u32 {
        regs::NTMTBLDATA_VALID
            | (u32::from(requester.get()) << regs::NTMTBLDATA_REQID_FLD)
            | (u32::from(self.own.get()) << regs::NTMTBLDATA_PART_FLD)
    }
}

/// Whether the CPU of `port` is let through.
pub(super) fn admitted(chip: &mut Chip, port: Port) -> Result<bool> {
    let range = Range::read(chip, port)?.cpu(port);
    let owner = regs::NTMTBLDATA_VALID | (u32::from(port.get()) << regs::NTMTBLDATA_PART_FLD);

    for entry in range.first..=range.last {
        chip.write(regs::NTMTBLADDR, entry.into());
        if chip.read(regs::NTMTBLDATA)? & regs::NTMTBLDATA_OWNER == owner {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether nobody of partition `port` is let through: neither the CPU nor another requester.
pub(super) fn silent(chip: &Chip, port: Port) -> Result<bool> {
    let owner = regs::NTMTBLDATA_VALID | (u32::from(port.get()) << regs::NTMTBLDATA_PART_FLD);

    for entry in 0..regs::NTMTBL_ENTRIES {
        chip.write(regs::NTMTBLADDR, entry.into());
        if chip.read(regs::NTMTBLDATA)? & regs::NTMTBLDATA_OWNER == owner {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes an entry; `EPERM` if the board does not let us. In force on return.
fn set(chip: &Chip, entry: u8, value: u32) -> Result {
    chip.write(regs::NTMTBLADDR, entry.into());
    chip.write(regs::NTMTBLDATA, value);
    if chip.read(regs::NTMTBLDATA)? != value {
        return Err(EPERM);
    }
    Ok(())
}
