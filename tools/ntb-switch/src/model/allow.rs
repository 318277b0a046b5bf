// SPDX-License-Identifier: GPL-2.0
//! The interrupt allow table: which interrupt messages a port lets its peers write; private to its port.
//!
//! Not on the chip, where any peer with a slot can write any message that the node's interrupt
//! remapping accepts. The registers lie at 0xF00, which the chip leaves reserved.

use super::lanes::Lanes;
use super::PeerInterrupts;

/// First and last register of the block.
pub(super) const FIRST: u32 = 0xf00;
pub(super) const LAST: u32 = 0xf10;
/// IALLOWCAP: bits 15:0 number of entries, bits 31:16 version. 0 on a switch without the table.
const IALLOWCAP: u32 = 0xf00;
/// IALLOWINDEX: the entry that the next three registers show.
const IALLOWINDEX: u32 = 0xf04;
/// IALLOWADDR: bus address of the message; writing takes the entry out of force.
const IALLOWADDR: u32 = 0xf08;
/// IALLOWDATA: its 32 bits; writing takes the entry out of force.
const IALLOWDATA: u32 = 0xf0c;
/// IALLOWCTL: bit 0 puts the entry in force.
const IALLOWCTL: u32 = 0xf10;
const IALLOWCTL_VALID: u32 = 1;
const VERSION: u32 = 1;
/// Entries of a port.
pub(super) const ENTRIES: usize = 256;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    addr: u32,
    data: u32,
    control: u32,
}

/// One port's table.
#[derive(Clone, Debug)]
pub(super) struct AllowTable {
    index: u32,
    entries: Box<[Entry; ENTRIES]>,
}

impl AllowTable {
    pub(super) fn new() -> Self {
        Self {
            index: 0,
            entries: Box::new([Entry::default(); ENTRIES]),
        }
    }

    /// Whether an entry in force names exactly this message.
    pub(super) fn allows(&self, addr: u64, data: u32) -> bool {
        PeerInterrupts::contains(addr)
            && self.entries.iter().any(|entry| {
                entry.control & IALLOWCTL_VALID != 0
                    && u64::from(entry.addr) == addr
                    && entry.data == data
            })
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        let entry = self
            .entries
            .get(self.index as usize)
            .copied()
            .unwrap_or_default();
        match offset {
            IALLOWCAP => (VERSION << 16) | ENTRIES as u32,
            IALLOWINDEX => self.index,
            IALLOWADDR => entry.addr,
            IALLOWDATA => entry.data,
            IALLOWCTL => entry.control,
            _ => 0,
        }
    }

    /// Writes to an index beyond the table are dropped.
    pub(super) fn write(&mut self, offset: u32, lanes: Lanes) {
        if offset == IALLOWINDEX {
            self.index = lanes.merge(self.index, 0xffff);
            return;
        }
        let Some(entry) = self.entries.get_mut(self.index as usize) else {
            return;
        };
        match offset {
            IALLOWADDR => {
                *entry = Entry {
                    addr: lanes.merge(entry.addr, !3),
                    control: 0,
                    ..*entry
                }
            }
            IALLOWDATA => {
                *entry = Entry {
                    data: lanes.merge(entry.data, !0),
                    control: 0,
                    ..*entry
                }
            }
            IALLOWCTL => entry.control = lanes.merge(entry.control, IALLOWCTL_VALID),
            _ => {}
        }
    }
}
