// SPDX-License-Identifier: GPL-2.0
//! A window of a port: its set-up, limit and translation entries; plain state of one port.
//!
//! Source: IDT_NT_BARSETUPn, BARLIMITn, BARLTBASEn, BARUTBASEn, LUTOFFSET, LUTLDATA, LUTMDATA and
//! LUTUDATA of drivers/ntb/hw/idt/ntb_hw_idt.h, and idt_ntb_peer_mw_set_trans() of ntb_hw_idt.c.

use super::lanes::Lanes;
use super::port::Bar;
use super::port::PortConfig;
use super::port::Windows;
use super::Reject;

/// IDT_BARSETUP_TYPE_64.
const BARSETUP_TYPE_64: u32 = 0x4;
/// IDT_BARSETUP_PREF.
const BARSETUP_PREF: u32 = 0x8;
/// IDT_BARSETUP_SIZE_FLD: log2 of the aperture.
const BARSETUP_SIZE_FLD: u32 = 4;
/// IDT_BARSETUP_MODE_CFG: the BAR shows the registers.
const BARSETUP_MODE_CFG: u32 = 0x400;
/// IDT_BARSETUP_ATRAN_FLD and its values.
const BARSETUP_ATRAN_FLD: u32 = 11;
/// IDT_BARSETUP_TPART_MASK and _FLD: target partition of a direct translation.
const BARSETUP_TPART_MASK: u32 = 0xe000;
const BARSETUP_TPART_FLD: u32 = 13;
/// IDT_BARSETUP_EN.
const BARSETUP_EN: u32 = 1 << 31;
/// Value of BARSETUP0: 4 KiB of registers, which ntb_hw_idt demands.
pub(super) const BARSETUP_REGISTERS: u32 =
    BARSETUP_EN | BARSETUP_MODE_CFG | (12 << BARSETUP_SIZE_FLD);
/// The low 10 bits of a limit are taken as ones (comment at IDT_DIR_SIZE_ALIGN).
const BARLIMIT_ONES: u64 = 0x3ff;
/// IDT_TRANS_ALIGN: translated addresses are multiples of four.
const TRANSLATION: u32 = !3;
/// IDT_LUTUDATA_PART_MASK and IDT_LUTUDATA_VALID.
const LUTUDATA_PART_MASK: u32 = 0xf;
const LUTUDATA_VALID: u32 = 1 << 31;
/// IDT_LUTOFFSET_INDEX_MASK, IDT_LUTOFFSET_BAR_MASK and _FLD.
const LUTOFFSET_INDEX_MASK: u32 = 0x1f;
const LUTOFFSET_BAR_MASK: u32 = 0x700;
const LUTOFFSET_BAR_FLD: u32 = 8;

/// How a window translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One base for the whole aperture (IDT_MW_DIR).
    Direct,
    /// 12 entries of a sixteenth of the aperture (IDT_MW_LUT12).
    Lut12,
    /// 24 entries of a thirty-second of the aperture (IDT_MW_LUT24).
    Lut24,
}

impl Kind {
    fn of(windows: Windows, bar: Bar) -> Self {
        match (windows, bar) {
            (Windows::Lut12, _) => Kind::Lut12,
            (Windows::Lut24Direct, Bar::Device) => Kind::Direct,
            (Windows::Lut24Direct, _) => Kind::Lut24,
        }
    }

    /// IDT_BARSETUP_ATRAN values, entries, and the aperture's divisor.
    const fn shape(self) -> (u32, u8, u64) {
        match self {
            Kind::Direct => (0, 1, 1),
            Kind::Lut12 => (1, 12, 16),
            Kind::Lut24 => (2, 24, 32),
        }
    }
}

/// One lookup table entry, as the three data registers hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    low: u32,
    middle: u32,
    upper: u32,
}

/// What a window says about an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Translated {
    /// Partition number of the entry, perhaps of none that exists.
    pub(super) partition: u32,
    /// Bus address there.
    pub(super) addr: u64,
    /// Bytes from there on with the same translation.
    pub(super) len: u64,
}

/// A window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    bar: Bar,
    kind: Kind,
    aperture: u64,
    entries: Vec<Entry>,
    direct_partition: u32,
    direct_base: u64,
    limit: u64,
    /// Bit per slot; fault injection, which no reset heals.
    poisoned: u32,
}

impl Window {
    pub(super) fn new(config: &PortConfig, bar: Bar) -> Self {
        let aperture = match bar {
            Bar::Memory => config.memory_aperture,
            Bar::Device | Bar::Registers => config.device_aperture,
        };
        let mut window = Self {
            bar,
            kind: Kind::of(config.windows, bar),
            aperture,
            entries: Vec::new(),
            direct_partition: 0,
            direct_base: 0,
            limit: 0,
            poisoned: 0,
        };
        window.reset();
        window
    }

    /// No translations. A direct window starts with limit 0, so that it leads nowhere.
    pub(super) fn reset(&mut self) {
        let (_, entries, _) = self.kind.shape();
        self.entries = vec![Entry::default(); usize::from(entries)];
        self.direct_partition = 0;
        self.direct_base = 0;
        self.limit = if self.kind == Kind::Direct {
            0
        } else {
            u64::MAX
        };
    }

    /// Bytes of the window.
    pub(super) fn aperture(&self) -> u64 {
        self.aperture
    }

    /// Number of slots, and bytes of one.
    pub(super) fn slots(&self) -> (u8, u64) {
        let (_, entries, divisor) = self.kind.shape();
        (entries, self.aperture / divisor)
    }

    /// Sets or clears a slot's poison; `None` if there is no such slot.
    pub(super) fn poison(&mut self, slot: u8, on: bool) -> Option<()> {
        if slot >= self.slots().0 {
            return None;
        }
        let bit = 1 << slot;
        self.poisoned = if on {
            self.poisoned | bit
        } else {
            self.poisoned & !bit
        };
        Some(())
    }

    /// Whether any translation leads to this partition.
    pub(super) fn leads_to(&self, partition: u32) -> bool {
        match self.kind {
            Kind::Direct => self.direct_partition == partition,
            Kind::Lut12 | Kind::Lut24 => self.entries.iter().any(|entry| {
                entry.upper & LUTUDATA_VALID != 0 && entry.upper & LUTUDATA_PART_MASK == partition
            }),
        }
    }

    /// Translates an offset below the aperture; `bar_address` is where the BAR lies, for the limit.
    /// An error carries the number of bytes from there on that meet it.
    pub(super) fn translate(
        &self,
        bar_address: u64,
        offset: u64,
    ) -> Result<Translated, (Reject, u64)> {
        let (slots, size) = self.slots();
        let slot = offset / size;
        let within = offset % size;
        if slot >= u64::from(slots) {
            return Err((Reject::NoTranslation, (self.aperture - offset).max(1)));
        }
        let rest = size - within;
        if (self.poisoned >> slot) & 1 != 0 {
            return Err((Reject::Poisoned, rest));
        }
        let (partition, base) = match self.kind {
            Kind::Direct => (self.direct_partition, self.direct_base),
            Kind::Lut12 | Kind::Lut24 => {
                let entry = self.entries.get(slot as usize).copied().unwrap_or_default();
                if entry.upper & LUTUDATA_VALID == 0 {
                    return Err((Reject::NoTranslation, rest));
                }
                let base = (u64::from(entry.middle) << 32) | u64::from(entry.low);
                (entry.upper & LUTUDATA_PART_MASK, base)
            }
        };
        let limit = self.limit | BARLIMIT_ONES;
        let below = bar_address
            .checked_add(offset)
            .and_then(|at| limit.checked_sub(at))
            .ok_or((Reject::Limit, rest))?;
        let addr = base.checked_add(within).ok_or((Reject::Overflow, rest))?;
        // Bytes up to the limit and up to the end of the address space; the last byte is left out.
        let len = rest.min(below.saturating_add(1)).min(u64::MAX - addr);
        if len == 0 {
            return Err((Reject::Overflow, rest));
        }
        Ok(Translated {
            partition,
            addr,
            len,
        })
    }

    /// BARSETUP of the window.
    pub(super) fn setup(&self) -> u32 {
        BARSETUP_EN
            | BARSETUP_TYPE_64
            | BARSETUP_PREF
            | (self.aperture.trailing_zeros() << BARSETUP_SIZE_FLD)
            | (self.kind.shape().0 << BARSETUP_ATRAN_FLD)
            | (self.direct_partition << BARSETUP_TPART_FLD)
    }

    /// A register of the group of four that belongs to the lower (`upper` false) or upper BAR.
    pub(super) fn read(&self, upper: bool, register: u32) -> u32 {
        match (register, upper) {
            (0x0, false) => self.setup(),
            (0x4, false) => self.limit as u32,
            (0x4, true) => (self.limit >> 32) as u32,
            (0x8, false) => self.direct_base as u32,
            (0xc, false) => (self.direct_base >> 32) as u32,
            _ => 0,
        }
    }

    /// Writes such a register; whether translations may have changed.
    pub(super) fn write(&mut self, upper: bool, register: u32, lanes: Lanes) -> bool {
        let direct = self.kind == Kind::Direct;
        match (register, upper) {
            (0x0, false) if direct => {
                self.direct_partition =
                    (lanes.merge(self.setup(), BARSETUP_TPART_MASK) >> BARSETUP_TPART_FLD) & 7;
            }
            (0x4, false) => self.limit = with_low(self.limit, lanes, !0),
            (0x4, true) => self.limit = with_high(self.limit, lanes),
            (0x8, false) if direct => {
                self.direct_base = with_low(self.direct_base, lanes, TRANSLATION);
            }
            (0xc, false) if direct => self.direct_base = with_high(self.direct_base, lanes),
            _ => return false,
        }
        true
    }
}

fn with_low(old: u64, lanes: Lanes, writable: u32) -> u64 {
    old & !u64::from(u32::MAX) | u64::from(lanes.merge(old as u32, writable))
}

fn with_high(old: u64, lanes: Lanes) -> u64 {
    (u64::from(lanes.merge((old >> 32) as u32, !0)) << 32) | old & u64::from(u32::MAX)
}

/// The registers through which a port reaches its lookup tables.
///
/// Writing LUTOFFSET loads the entry that it names; LUTLDATA and LUTMDATA change this copy; writing
/// LUTUDATA puts it in force as a whole, so that no half of a translation ever is.
#[derive(Clone, Debug, Default)]
pub(super) struct LutAccess {
    offset: u32,
    copy: Entry,
}

impl LutAccess {
    /// LUTOFFSET, LUTLDATA, LUTMDATA or LUTUDATA by their distance from the first.
    pub(super) fn read(&self, register: u32) -> u32 {
        match register {
            0x0 => self.offset,
            0x4 => self.copy.low,
            0x8 => self.copy.middle,
            0xc => self.copy.upper,
            _ => 0,
        }
    }

    /// Writes one of them; gives the window whose table changed.
    pub(super) fn write(
        &mut self,
        register: u32,
        lanes: Lanes,
        windows: &mut [Window; 2],
    ) -> Option<Bar> {
        match register {
            0x0 => {
                let writable = LUTOFFSET_INDEX_MASK | LUTOFFSET_BAR_MASK;
                self.offset = lanes.merge(self.offset, writable);
                self.copy = self
                    .entry(windows)
                    .map(|(_, entry)| *entry)
                    .unwrap_or_default();
                None
            }
            0x4 => {
                self.copy.low = lanes.merge(self.copy.low, TRANSLATION);
                None
            }
            0x8 => {
                self.copy.middle = lanes.merge(self.copy.middle, !0);
                None
            }
            0xc => {
                let writable = LUTUDATA_PART_MASK | LUTUDATA_VALID;
                self.copy.upper = lanes.merge(self.copy.upper, writable);
                let copy = self.copy;
                let (bar, entry) = self.entry(windows)?;
                *entry = copy;
                Some(bar)
            }
            _ => None,
        }
    }

    /// The entry that LUTOFFSET names.
    fn entry<'a>(&self, windows: &'a mut [Window; 2]) -> Option<(Bar, &'a mut Entry)> {
        let number = (self.offset & LUTOFFSET_BAR_MASK) >> LUTOFFSET_BAR_FLD;
        let index = (self.offset & LUTOFFSET_INDEX_MASK) as usize;
        let window = windows
            .iter_mut()
            .find(|window| window.bar.number() == number as usize && window.kind != Kind::Direct)?;
        Some((window.bar, window.entries.get_mut(index)?))
    }
}
