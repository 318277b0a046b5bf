// SPDX-License-Identifier: GPL-2.0
//! The attacker's port of the switch: link, message words, lookup table, doorbells.
//!
//! [`Port`] owns the registers and the window; one thread. Offsets: `drivers/ntb/hw/idt/ntb_hw_idt.h` of the kernel; what the
//! board's protection registers mean: Documentation/switch-model.rst.

use anyhow::Context;
use anyhow::Result;
use skiff_model::ids;

use crate::idt::Bridge;
use crate::idt::Target;
use crate::idt::Window;
use crate::pci::Mapping;

const PCIELCAP: usize = 0x4c;
const PCIELCAP_PORTNUM_SHIFT: u32 = 24;
const NTCTL: usize = 0x400;
const NTCTL_CPEN: u32 = 1 << 1;
const NTGSIGNAL: usize = 0x410;
const OUTMSG: usize = 0x430;
const INMSG: usize = 0x440;
const INMSGSRC: usize = 0x450;
const INMSGSRC_PART: u32 = 7;
const MSGSTS: usize = 0x460;
const MSGSTS_IN_SHIFT: u32 = 16;
const MESSAGES: u32 = 4;
const NTMTBLADDR: usize = 0x4d0;
const NTMTBLDATA: usize = 0x4d8;
const NTMTBLDATA_VALID: u32 = 1;
const NTMTBLDATA_PART_SHIFT: u32 = 17;
const GASAADDR: usize = 0xff8;
const GASADATA: usize = 0xffc;

/// Status of chip port 0; 0x20 a chip port.
const SWPORTSTS: u32 = 0x3e204;
const SWPORTSTS_PART_SHIFT: u32 = 10;
/// Entries of the mapping table that partition 0 may write; 4 a partition.
const NTMTBLPROT: u32 = 0x3e710;
/// Global signals that were told; a one clears.
const SEGSIGSTS: u32 = 0x3ec30;
/// Where outbound message 0 of partition 0 goes; 0x20 a message, 4 a partition.
const SWPMSGCTL: u32 = 0x3ee00;
const SWPMSGCTL_PART_SHIFT: u32 = 4;

/// Slots of a memory window with LUT12, each a sixteenth of it.
pub const SLOTS: u32 = 12;
const PARTS: u64 = 16;

/// The port.
#[derive(Debug)]
pub struct Port {
    bridge: Bridge,
    number: ids::Port,
    window: Mapping,
}

impl Port {
    /// Opens the adapter's function and brings the own end of all links up.
    pub fn open(adapter: usize) -> Result<Self> {
        let bridge = Bridge::open(adapter)?;
        let chip_port = bridge.read(PCIELCAP)? >> PCIELCAP_PORTNUM_SHIFT;
        let status = global(&bridge, SWPORTSTS + 0x20 * chip_port)?;
        let number = ids::Port::try_from((status >> SWPORTSTS_PART_SHIFT) & 7)
            .context("this port has no partition")?;
        let window = bridge.map(Window::Memory)?;
        let port = Self {
            bridge,
            number,
            window,
        };
        port.link_up()?;
        Ok(port)
    }

    /// Completions pass, the CPU is in the mapping table, and everybody is told to look.
    fn link_up(&self) -> Result<()> {
        let own = u32::from(self.number.get());
        // On a guarded board the first entry of the own range is the CPU's, on an open one the entry of the own number.
        let range = self.global(NTMTBLPROT + 4 * own)?;
        let first = range & 0x3f;
        let entry = if first == 0 && (range >> 8) == 0x3f {
            own
        } else {
            first
        };
        self.bridge.write(NTCTL, NTCTL_CPEN)?;
        self.bridge.write(NTMTBLADDR, entry)?;
        self.bridge.write(
            NTMTBLDATA,
            NTMTBLDATA_VALID | (own << NTMTBLDATA_PART_SHIFT),
        )?;
        self.signal()
    }

    /// Tells all ports that something has happened here.
    pub fn signal(&self) -> Result<()> {
        self.bridge.write(NTGSIGNAL, 1)?;
        self.set_global(SEGSIGSTS, 1 << self.number.get())?;
        self.bridge.read(NTCTL).map(drop)
    }

    /// Its number: the partition.
    pub fn number(&self) -> ids::Port {
        self.number
    }

    /// The registers.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Reads a register of the switch.
    pub fn global(&self, address: u32) -> Result<u32> {
        global(&self.bridge, address)
    }

    /// Writes a register of the switch, or tries to.
    pub fn set_global(&self, address: u32, value: u32) -> Result<()> {
        self.bridge.write(GASAADDR, address)?;
        self.bridge.write(GASADATA, value)
    }

    /// Bytes that a slot reaches.
    pub fn slot_bytes(&self) -> u64 {
        self.window.size() as u64 / PARTS
    }

    /// The window: slot n is the nth part.
    pub fn window(&self) -> &Mapping {
        &self.window
    }

    /// Points a slot at `base` of a peer's bus.
    pub fn aim(&self, slot: u32, peer: ids::Port, base: u64) -> Result<()> {
        let target = Target {
            partition: peer.get(),
            address: base,
        };
        self.bridge.set_slot(Window::Memory, slot, Some(target))
    }

    /// Rings a peer: the first of its four doorbells.
    pub fn ring(&self, peer: ids::Port) -> Result<()> {
        self.bridge.ring(1 << (4 * peer.get()))
    }

    /// Sends a word. Whether the peer's register had room for it.
    pub fn send_word(&self, peer: ids::Port, word: u32) -> Result<bool> {
        let index = u32::from(self.number.get()) % MESSAGES;
        let refused = 1 << index;
        self.set_global(
            SWPMSGCTL + 0x20 * index + 4 * u32::from(self.number.get()),
            index | (u32::from(peer.get()) << SWPMSGCTL_PART_SHIFT),
        )?;
        self.bridge.write(MSGSTS, refused)?;
        self.bridge.write(OUTMSG + 4 * index as usize, word)?;
        let full = self.bridge.read(MSGSTS)? & refused != 0;
        self.bridge.write(MSGSTS, refused)?;
        Ok(!full)
    }

    /// Takes a word that has come, and who sent it.
    pub fn take_word(&self) -> Result<Option<(ids::Port, u32)>> {
        let status = self.bridge.read(MSGSTS)?;
        for index in 0..MESSAGES {
            let waits = 1 << (MSGSTS_IN_SHIFT + index);
            if status & waits == 0 {
                continue;
            }
            let word = self.bridge.read(INMSG + 4 * index as usize)?;
            let from = self.bridge.read(INMSGSRC + 4 * index as usize)? & INMSGSRC_PART;
            self.bridge.write(MSGSTS, waits)?;
            if let Ok(from) = ids::Port::try_from(from) {
                return Ok(Some((from, word)));
            }
        }
        Ok(None)
    }
}

fn global(bridge: &Bridge, address: u32) -> Result<u32> {
    bridge.write(GASAADDR, address)?;
    bridge.read(GASADATA)
}
