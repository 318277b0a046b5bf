// SPDX-License-Identifier: GPL-2.0
//! A user-space driver of the IDT 89HPESxNTx bridge function: what a test needs without a kernel driver.
//!
//! Offsets and fields are taken from drivers/ntb/hw/idt/ntb_hw_idt.h of the kernel, on purpose not from the switch model:
//! a wrong offset there must not cancel itself out here.

use anyhow::ensure;
use anyhow::Result;
use clap::ValueEnum;

use crate::pci::Function;
use crate::pci::Mapping;

/// PCI vendor id of IDT.
const VENDOR: u16 = 0x111d;

const NTCTL: usize = 0x400;
const NTCTL_CPEN: u32 = 1 << 1;
const OUTDBELLSET: usize = 0x420;
const INDBELLSTS: usize = 0x428;
const NTMTBLADDR: usize = 0x4d0;
const NTMTBLDATA: usize = 0x4d8;
const NTMTBLDATA_VALID: u32 = 1;
const NTMTBLDATA_REQID_SHIFT: u32 = 1;
const NTMTBLDATA_PART_SHIFT: u32 = 17;
const REQIDCAP: usize = 0x4dc;
const LUTOFFSET: usize = 0x4e0;
const LUTOFFSET_BAR_SHIFT: u32 = 8;
const LUTLDATA: usize = 0x4e4;
const LUTMDATA: usize = 0x4e8;
const LUTUDATA: usize = 0x4ec;
const LUTUDATA_VALID: u32 = 1 << 31;

// The interrupt allow table is an extension of the emulated switch (Documentation/switch-model.rst).
const IALLOWCAP: usize = 0xf00;
const IALLOWCAP_ENTRIES: u32 = 0xffff;
const IALLOWINDEX: usize = 0xf04;
const IALLOWADDR: usize = 0xf08;
const IALLOWDATA: usize = 0xf0c;
const IALLOWCTL: usize = 0xf10;
const IALLOWCTL_VALID: u32 = 1;

/// An interrupt message: a 32-bit store of `data` to `address`.
#[derive(Clone, Copy, Debug)]
pub struct Interrupt {
    /// In the interrupt range of the node.
    pub address: u32,
    /// Vector and more, as the node's kernel chose it.
    pub data: u32,
}

/// Where the memory window of the function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Window {
    /// BAR2 of the bridge function itself.
    Memory,
    /// BAR4 of the bridge function: trapped, for device registers.
    Device,
    /// BAR2 of the companion function, function 1 of the same slot.
    Companion,
}

impl Window {
    /// The BAR number that the lookup table registers know this window by.
    pub fn lut_bar(self) -> u32 {
        match self {
            Self::Memory | Self::Companion => 2,
            Self::Device => 4,
        }
    }
}

/// An entry of a lookup table.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Partition of the peer.
    pub partition: u8,
    /// Bus address at the peer.
    pub address: u64,
}

/// The bridge function of one adapter, its registers mapped.
#[derive(Debug)]
pub struct Bridge {
    function: Function,
    registers: Mapping,
}

impl Bridge {
    /// Opens adapter number `adapter`: enables memory decoding and bus mastering, maps BAR0.
    pub fn open(adapter: usize) -> Result<Self> {
        let function = Function::by_vendor(VENDOR, adapter)?;
        function.enable()?;
        let registers = function.map(0)?;
        Ok(Self {
            function,
            registers,
        })
    }

    /// Reads the register at `offset`.
    pub fn read(&self, offset: usize) -> Result<u32> {
        self.registers.read(offset)
    }

    /// Writes the register at `offset`.
    pub fn write(&self, offset: usize, value: u32) -> Result<()> {
        self.registers.write(offset, value)
    }

    /// Brings the link of this port up as `idt_ntb_local_link_enable` does: completions enabled, own requester id in the
    /// mapping table.
    pub fn enable_link(&self, partition: u8) -> Result<()> {
        self.write(NTCTL, NTCTL_CPEN)?;
        let requester = self.read(REQIDCAP)? & 0xffff;
        self.write(NTMTBLADDR, u32::from(partition))?;
        self.write(
            NTMTBLDATA,
            NTMTBLDATA_VALID
                | (requester << NTMTBLDATA_REQID_SHIFT)
                | (u32::from(partition) << NTMTBLDATA_PART_SHIFT),
        )
    }

    /// Programs or clears entry `index` of a window's lookup table. The write of LUTUDATA is what takes effect;
    /// a read pushes it, for registers may be posted, and accesses of another function would overtake it.
    pub fn set_slot(&self, window: Window, index: u32, target: Option<Target>) -> Result<()> {
        self.write(LUTOFFSET, index | (window.lut_bar() << LUTOFFSET_BAR_SHIFT))?;
        let address = target.map_or(0, |t| t.address);
        // CAST: The two halves of a 64-bit address.
        self.write(LUTLDATA, address as u32)?;
        self.write(LUTMDATA, (address >> 32) as u32)?;
        self.write(
            LUTUDATA,
            target.map_or(0, |t| LUTUDATA_VALID | u32::from(t.partition)),
        )?;
        self.read(LUTUDATA).map(drop)
    }

    /// Sets entry `index` of the interrupt allow table: peers may write this message, or none.
    pub fn allow_interrupt(&self, index: u32, interrupt: Option<Interrupt>) -> Result<()> {
        let entries = self.read(IALLOWCAP)? & IALLOWCAP_ENTRIES;
        ensure!(
            index < entries,
            "the switch has {entries} entries for interrupts"
        );
        self.write(IALLOWINDEX, index)?;
        self.write(IALLOWADDR, interrupt.map_or(0, |i| i.address))?;
        self.write(IALLOWDATA, interrupt.map_or(0, |i| i.data))?;
        self.write(IALLOWCTL, interrupt.map_or(0, |_| IALLOWCTL_VALID))
    }

    /// Sets doorbell bits of the switch.
    pub fn ring(&self, bits: u32) -> Result<()> {
        self.write(OUTDBELLSET, bits)
    }

    /// Doorbell bits pending at this port.
    pub fn doorbells(&self) -> Result<u32> {
        self.read(INDBELLSTS)
    }

    /// Clears pending doorbell bits of this port.
    pub fn clear_doorbells(&self, bits: u32) -> Result<()> {
        self.write(INDBELLSTS, bits)
    }

    /// Maps a window whole, uncached.
    pub fn map(&self, window: Window) -> Result<Mapping> {
        match window {
            Window::Memory => self.function.map(2),
            Window::Device => self.function.map(4),
            Window::Companion => {
                let companion = self.function.sibling(1)?;
                companion.enable()?;
                companion.map(2)
            }
        }
    }

    /// Maps a part of a memory window; it begins at a page.
    pub fn map_part(&self, window: Window, offset: u64, size: usize) -> Result<Mapping> {
        match window {
            Window::Memory => self.function.map_part(2, offset, size),
            Window::Device => self.function.map_part(4, offset, size),
            Window::Companion => self.function.sibling(1)?.map_part(2, offset, size),
        }
    }
}
