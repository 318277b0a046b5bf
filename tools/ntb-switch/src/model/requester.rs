// SPDX-License-Identifier: GPL-2.0
//! The NT mapping table: which requesters of which partitions may send through the switch.
//!
//! One table of 64 entries for the whole switch; every port reaches it through an address register of
//! its own. Source: IDT_NT_NTMTBLADDR, NTMTBLSTS, NTMTBLDATA of drivers/ntb/hw/idt/ntb_hw_idt.h.
//! The emulated fabric carries no requester ids, so a partition is let through by any valid entry of its own.

use super::lanes::Lanes;
use super::port::Port;
use super::port::MAX_PORTS;

/// IDT_MTBL_ENTRY_CNT.
pub(super) const ENTRIES: usize = 64;
/// IDT_NTMTBLDATA_VALID.
const VALID: u32 = 1;
/// IDT_NTMTBLDATA_PART_MASK and _FLD.
const PART_MASK: u32 = 0x000e_0000;
const PART_FLD: u32 = 17;
/// VALID, REQID, PART, ATP_TRANS, CNS_INV, RNS_INV.
const WRITABLE: u32 = 0xe00f_ffff;
/// NTMTBLPROTn: bits 5:0 first and bits 13:8 last entry that partition n may write (layout of the model).
const PROTECTION_WRITABLE: u32 = 0x3f3f;
/// All entries.
pub(super) const PROTECTION_OPEN: u32 = 0x3f00;

/// The table and who may write it.
#[derive(Clone, Debug)]
pub(super) struct MappingTable {
    entries: [u32; ENTRIES],
    protection: [u32; MAX_PORTS],
}

/// The partition an entry lets through.
fn admits(entry: u32) -> Option<Port> {
    if entry & VALID == 0 {
        return None;
    }
    Port::new(((entry & PART_MASK) >> PART_FLD) as u8)
}

impl MappingTable {
    pub(super) fn new() -> Self {
        Self {
            entries: [0; ENTRIES],
            protection: [PROTECTION_OPEN; MAX_PORTS],
        }
    }

    /// Gives each partition eight entries of its own.
    pub(super) fn guard(&mut self) {
        for (protection, partition) in self.protection.iter_mut().zip(0u32..) {
            let first = 8 * partition;
            *protection = first | ((first + 7) << 8);
        }
    }

    /// Whether requests of a partition are let through.
    pub(super) fn admitted(&self, port: Port) -> bool {
        self.entries
            .iter()
            .any(|entry| admits(*entry) == Some(port))
    }

    /// NTMTBLDATA of an index.
    pub(super) fn read(&self, index: u32) -> u32 {
        self.entries.get(index as usize).copied().unwrap_or(0)
    }

    /// Writes NTMTBLDATA as partition `by`; gives the partitions whose admission may have changed.
    pub(super) fn write(&mut self, by: Port, index: u32, lanes: Lanes) -> [Option<Port>; 2] {
        let protection = self.protection(by);
        let (first, last) = (protection & 0x3f, (protection >> 8) & 0x3f);
        if !(first..=last).contains(&index) {
            return [None, None];
        }
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return [None, None];
        };
        let before = admits(*entry);
        *entry = lanes.merge(*entry, WRITABLE);
        let after = admits(*entry);
        if before == after {
            return [None, None];
        }
        [before, after]
    }

    /// Takes all of a partition's entries out of force.
    pub(super) fn withdraw(&mut self, port: Port) {
        for entry in &mut self.entries {
            if admits(*entry) == Some(port) {
                *entry = 0;
            }
        }
    }

    /// NTMTBLPROTn.
    pub(super) fn protection(&self, port: Port) -> u32 {
        self.protection[port.index()]
    }

    /// Writes NTMTBLPROTn.
    pub(super) fn set_protection(&mut self, port: Port, lanes: Lanes) {
        let protection = &mut self.protection[port.index()];
        *protection = lanes.merge(*protection, PROTECTION_WRITABLE);
    }
}
