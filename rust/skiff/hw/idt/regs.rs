// SPDX-License-Identifier: GPL-2.0

//! Registers of IDT 89HPESxNTx switches, as far as they are used here.
//!
//! Source, unless a line says otherwise: `drivers/ntb/hw/idt/ntb_hw_idt.h` of Linux 7.2, whose names these are. *Presumed*
//! marks what is only known from memory of the chip's manual; see `Documentation/switch-model.rst`.

use skiff_ext::mmio::Register;
use skiff_model::ids::Port;

/// Bytes of a port's registers: PCI configuration space and BAR0 show the same.
pub(super) const BYTES: usize = 0x1000;

/// Chip ports are below this (IDT_MAX_NR_PORTS).
pub(super) const CHIP_PORTS_MAX: u8 = 24;

/// Vendor and device id, as in configuration space.
pub(super) const ID: Register = Register::new(0x000);

/// Command and status.
pub(super) const PCICMDSTS: u16 = 0x004;
/// The function masters the bus.
pub(super) const PCICMDSTS_BME: u32 = 1 << 2;

/// Link capabilities; bits 31:24 are the chip's number of this port.
pub(super) const PCIELCAP: Register = Register::new(0x04c);
/// Where the port's number is.
pub(super) const PCIELCAP_PORTNUM_FLD: u32 = 24;

/// Control: with all bits 0 requests need a mapping table entry and completions do not pass.
pub(super) const NTCTL: Register = Register::new(NTCTL_OFFSET);
/// Its offset, for other ports' by way of the global address space.
pub(super) const NTCTL_OFFSET: u16 = 0x400;
/// Completions pass.
pub(super) const NTCTL_CPEN: u32 = 1 << 1;

/// Causes of the interrupt. Bits of messages and doorbells follow their registers, a switch event is cleared by a one.
pub(super) const NTINTSTS: Register = Register::new(0x404);
/// A one keeps the cause from the interrupt.
pub(super) const NTINTMSK: Register = Register::new(0x408);
/// A message status bit that is not masked is set.
pub(super) const NTINT_MSG: u32 = 1 << 0;
/// A doorbell that is not masked is set.
pub(super) const NTINT_DBELL: u32 = 1 << 1;
/// A switch event came.
pub(super) const NTINT_SEVENT: u32 = 1 << 3;

/// Writing [`NTGSIGNAL_SET`] is an event for all partitions.
pub(super) const NTGSIGNAL: Register = Register::new(0x410);
/// The one bit.
pub(super) const NTGSIGNAL_SET: u32 = 1;

/// Ones set doorbells, of 32 for the whole switch. The board shares them out: 4n to 4n+3 are seen by partition n only.
pub(super) const OUTDBELLSET: Register = Register::new(0x420);
/// Doorbells that are set and seen here; a one clears.
pub(super) const INDBELLSTS: Register = Register::new(0x428);
/// A one keeps the doorbell from the interrupt.
pub(super) const INDBELLMSK: Register = Register::new(0x42c);

/// The doorbell by which `port` is rung: the first of its four.
pub(super) fn doorbell(port: Port) -> u32 {
    // By the invariant of `Port` the last one is 28.
    1 << (4 * port.get())
}

/// Messages each way (IDT_MSG_CNT).
pub(super) const MESSAGES: u8 = 4;

/// Writing sends.
pub(super) fn outmsg(index: u8) -> Register {
    Register::new(0x430).plus(4, index.into())
}

/// What came; valid while its status bit is set.
pub(super) fn inmsg(index: u8) -> Register {
    Register::new(0x440).plus(4, index.into())
}

/// From which partition it came: bits 2:0.
pub(super) fn inmsgsrc(index: u8) -> Register {
    Register::new(0x450).plus(4, index.into())
}

/// The partition in there.
pub(super) const INMSGSRC_PART: u32 = 0x7;

/// Bit k: outbound message k was not taken. Bit 16 + k: one waits in INMSGk, which takes no other until a one clears it.
pub(super) const MSGSTS: Register = Register::new(0x460);
/// A one keeps the status bit from the interrupt.
pub(super) const MSGSTSMSK: Register = Register::new(0x464);
/// Outbound bits.
pub(super) const MSGSTS_OUT: u32 = 0x0000_000f;
/// Inbound bits.
pub(super) const MSGSTS_IN: u32 = 0x000f_0000;
/// Where those start.
pub(super) const MSGSTS_IN_FLD: u8 = 16;

/// Set-up of a BAR, which the board's EEPROM decides.
pub(super) fn barsetup(bar: u8) -> Register {
    Register::new(0x470).plus(0x10, bar.into())
}

/// The BAR is there.
pub(super) const BARSETUP_EN: u32 = 1 << 31;
/// It shows the registers.
pub(super) const BARSETUP_MODE_CFG: u32 = 1 << 10;
/// Where log2 of its length is: bits 9:4.
pub(super) const BARSETUP_SIZE_FLD: u32 = 4;
/// The length's bits, shifted down.
pub(super) const BARSETUP_SIZE: u32 = 0x3f;
/// How it translates.
pub(super) const BARSETUP_ATRAN: u32 = 0x1800;
/// 12 slots of a sixteenth of the BAR.
pub(super) const BARSETUP_ATRAN_LUT12: u32 = 0x0800;
/// 24 slots of a thirty-second of the BAR.
pub(super) const BARSETUP_ATRAN_LUT24: u32 = 0x1000;

/// Index of the entry of the switch's one mapping table that NTMTBLDATA shows.
pub(super) const NTMTBLADDR: Register = Register::new(0x4d0);
/// The entry: 0 VALID, 16:1 requester id, 19:17 partition.
pub(super) const NTMTBLDATA: Register = Register::new(0x4d8);
/// The entry is in force.
pub(super) const NTMTBLDATA_VALID: u32 = 1 << 0;
/// Where the requester id is.
pub(super) const NTMTBLDATA_REQID_FLD: u32 = 1;
/// Where the partition is.
pub(super) const NTMTBLDATA_PART_FLD: u32 = 17;
/// VALID and the partition.
pub(super) const NTMTBLDATA_OWNER: u32 = 0x000e_0001;
/// Entries of the table (IDT_MTBL_ENTRY_CNT).
pub(super) const NTMTBL_ENTRIES: u8 = 64;

/// The requester id of the last request that came from the root complex: bits 15:0.
pub(super) const REQIDCAP: Register = Register::new(0x4dc);
/// The id in there.
pub(super) const REQIDCAP_REQID: u32 = 0xffff;

/// Which slot of which BAR the next three are: 4:0 slot, 10:8 BAR.
pub(super) const LUTOFFSET: Register = Register::new(0x4e0);
/// Where the BAR is in there.
pub(super) const LUTOFFSET_BAR_FLD: u32 = 8;
/// Bits 31:2 of the bus address at the peer.
pub(super) const LUTLDATA: Register = Register::new(0x4e4);
/// Bits 63:32.
pub(super) const LUTMDATA: Register = Register::new(0x4e8);
/// 3:0 partition, 31 VALID.
pub(super) const LUTUDATA: Register = Register::new(0x4ec);
/// The slot is in force.
pub(super) const LUTUDATA_VALID: u32 = 1 << 31;

/// Address in the global address space that GASADATA shows.
pub(super) const GASAADDR: Register = Register::new(0xff8);
/// See [`GASAADDR`].
pub(super) const GASADATA: Register = Register::new(0xffc);

/// The interrupt allow table, an addition of the emulated switch (`Documentation/switch-model.rst`); a chip reads 0 here.
pub(super) const IALLOWCAP: Register = Register::new(0xf00);
/// Entries: bits 15:0.
pub(super) const IALLOWCAP_ENTRIES: u32 = 0xffff;
/// Where the version is: bits 31:16.
pub(super) const IALLOWCAP_VERSION_FLD: u32 = 16;
/// The version that is known.
pub(super) const IALLOWCAP_VERSION: u32 = 1;
/// The entry that the next three show.
pub(super) const IALLOWINDEX: Register = Register::new(0xf04);
/// Bus address of the write; writing it takes the entry out of force.
pub(super) const IALLOWADDR: Register = Register::new(0xf08);
/// Its 32 bits; writing them takes the entry out of force.
pub(super) const IALLOWDATA: Register = Register::new(0xf0c);
/// Puts the entry in force.
pub(super) const IALLOWCTL: Register = Register::new(0xf10);
/// The one bit.
pub(super) const IALLOWCTL_VALID: u32 = 1;

/// A register of the global address space, which belongs to the whole switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Global(u32);

impl Global {
    /// Its address.
    pub(super) const fn address(self) -> u32 {
        self.0
    }

    /// The register `stride` bytes times `count` further on.
    const fn plus(self, stride: u16, count: u8) -> Self {
        // CAST: Widening; the largest sum is far below 2^32.
        Self(self.0 + stride as u32 * count as u32)
    }
}

/// A register of another chip port's NT function (IDT_SW_NTP0_*, stride of IDT_SW_NTP2_*).
pub(super) fn ntp(chip_port: u8, offset: u16) -> Global {
    Global(0x1000 + u32::from(offset)).plus(0x2000, chip_port)
}

/// State of a partition.
pub(super) fn swpartsts(part: Port) -> Global {
    Global(0x3e104).plus(0x20, part.get())
}

/// Bits 6:5 of it.
pub(super) const SWPARTSTS_STATE: u32 = 0x60;
/// The partition is active.
pub(super) const SWPARTSTS_STATE_ACT: u32 = 0x20;

/// State of a chip port.
pub(super) fn swportsts(chip_port: u8) -> Global {
    Global(0x3e204).plus(0x20, chip_port)
}

/// Its link is up.
pub(super) const SWPORTSTS_LINKUP: u32 = 1 << 4;
/// Bits 9:6 say which functions it has.
pub(super) const SWPORTSTS_MODE_FLD: u32 = 6;
/// See [`SWPORTSTS_MODE_FLD`].
pub(super) const SWPORTSTS_MODE: u32 = 0xf;
/// The modes with an NT function: NT, USNT, USNTDMA, NTDMA.
pub(super) const SWPORTSTS_MODES_NT: [u32; 4] = [3, 4, 7, 8];
/// Where its partition is: bits 12:10.
pub(super) const SWPORTSTS_SWPART_FLD: u32 = 10;

/// Bit p: chip port p may not write through GASADATA (*presumed*).
pub(super) const GASAPROT: Global = Global(0x3e700);

/// Entries of the mapping table that partition `part` may write: 5:0 first, 13:8 last (*presumed*).
pub(super) fn ntmtblprot(part: Port) -> Global {
    Global(0x3e710).plus(4, part.get())
}

/// Bit of kind k: keeps events of that kind from all partitions.
pub(super) const SEMSK: Global = Global(0x3ec04);
/// Kinds: links up, links down, global signals.
pub(super) const SE_KINDS: u32 = (1 << 0) | (1 << 1) | (1 << 5);
/// Bit p: keeps all events from partition p.
pub(super) const SEPMSK: Global = Global(0x3ec08);
/// Chip ports whose link came up; a one clears.
pub(super) const SELINKUPSTS: Global = Global(0x3ec0c);
/// A one keeps the chip port's from being told.
pub(super) const SELINKUPMSK: Global = Global(0x3ec10);
/// Chip ports whose link went down; a one clears.
pub(super) const SELINKDNSTS: Global = Global(0x3ec14);
/// A one keeps the chip port's from being told.
pub(super) const SELINKDNMSK: Global = Global(0x3ec18);
/// Partitions that were reset; a one clears.
pub(super) const SEFRSTSTS: Global = Global(0x3ec1c);
/// Partitions with a hot reset; a one clears.
pub(super) const SEHRSTSTS: Global = Global(0x3ec24);
/// Partitions that wrote NTGSIGNAL; a one clears.
pub(super) const SEGSIGSTS: Global = Global(0x3ec30);
/// A one keeps the partition's from being told.
pub(super) const SEGSIGMSK: Global = Global(0x3ec34);

/// Where outbound message `index` of partition `part` goes: 1:0 inbound register, 6:4 partition.
pub(super) fn swpmsgctl(part: Port, index: u8) -> Global {
    Global(0x3ee00).plus(0x20, index).plus(4, part.get())
}

/// Where the partition is in there.
pub(super) const SWPMSGCTL_PART_FLD: u32 = 4;
