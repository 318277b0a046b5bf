// SPDX-License-Identifier: GPL-2.0
//! The PCI face of an NT function: header, BARs and capabilities; the first 256 bytes of its registers.
//!
//! Source: PCI Express Base Specification for the layout; drivers/ntb/hw/idt/ntb_hw_idt.h for the places
//! of the capabilities and the device id.

use super::lanes::Lanes;
use super::port::Bar;
use super::port::Layout;
use super::port::Port;
use super::port::PortConfig;

/// PCI_DEVICE_ID_IDT_89HPES32NT8AG2 and PCI_VENDOR_ID_IDT.
const IDS: u32 = 0x808f_111d;
/// Class 0680 (other bridge), revision 2.
const CLASS: u32 = 0x0680_0002;
/// IDT_NT_PCICMDSTS.
const PCICMDSTS: u32 = 0x04;
/// IDT_PCICMDSTS_MAE: memory accesses to the function's BARs are answered.
const PCICMDSTS_MAE: u32 = 1 << 1;
/// IDT_PCICMDSTS_BME: the function may master the bus.
const PCICMDSTS_BME: u32 = 1 << 2;
/// Writable bits of the command register: memory, master, parity, SERR#, INTx off.
const COMMAND_WRITABLE: u32 = 0x0546;
/// Status: there is a list of capabilities.
const STATUS_CAPABILITIES: u32 = 1 << 20;
/// First BAR.
const BAR0: u32 = 0x10;
/// Pointer to the first capability.
const CAPABILITIES: u32 = 0x34;
/// Interrupt line (scratch) and pin (none).
const INTERRUPT: u32 = 0x3c;

/// PCI Express capability.
const PCIE: u32 = 0x40;
/// IDT_NT_PCIEDCAP: payload up to 2 KiB, extended tags, function level reset.
const PCIEDCAP: u32 = 0x44;
const PCIEDCAP_VALUE: u32 = 0x1000_8024;
/// IDT_NT_PCIEDCTLSTS.
const PCIEDCTLSTS: u32 = 0x48;
/// Writing a one resets the function.
const PCIEDCTL_FLR: u32 = 1 << 15;
/// IDT_NT_PCIELCAP: 5 GT/s, 8 lanes; bits 31:24 (PORTNUM) are the chip's number of the port.
const PCIELCAP: u32 = 0x4c;
const PCIELCAP_LINK: u32 = 0x0000_0082;
/// IDT_NT_PCIELCTLSTS: 5 GT/s, 8 lanes, common clock.
const PCIELCTLSTS: u32 = 0x50;
const PCIELCTLSTS_LINK: u32 = 0x1082_0000;
/// IDT_NT_PCIEDCAP2 and IDT_NT_PCIEDCTL2.
const PCIEDCTL2: u32 = 0x68;
/// Power management capability, and IDT_NT_PMCSR.
const PM: u32 = 0xc0;
const PMCSR: u32 = 0xc4;
/// The state bits; and that D3 to D0 keeps the registers.
const PMCSR_STATE: u32 = 0x3;
const PMCSR_NO_SOFT_RESET: u32 = 1 << 3;
/// MSI capability: one vector, 64-bit address, no masking.
const MSI: u32 = 0xd0;
const MSI_ENABLE: u32 = 1 << 16;
const MSI_64BIT: u32 = 1 << 23;
/// Vendor-specific capability of the companion layout (an addition to the chip).
const COMPANION: u32 = 0xe0;
const COMPANION_LENGTH: u32 = 0x14;
const COMPANION_VERSION: u32 = 1;
/// "SKIF", little endian.
const COMPANION_SIGNATURE: u32 = 0x4649_4b53;
/// The companion is function 1 of the same slot, the window its BAR2.
const COMPANION_PLACE: u32 = 0x0000_0201;
/// MSI-X capability of the companion layout (an addition to the chip).
const MSIX: u32 = 0xf4;
const MSIX_TABLE: u32 = 0xf8;
const MSIX_PENDING: u32 = 0xfc;
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK: u32 = 1 << 30;
/// Where the table and the pending bits are in their BAR, which is theirs alone.
const MSIX_TABLE_AT: u32 = 0;
const MSIX_PENDING_AT: u32 = 0x800;
/// The PCI number of that BAR.
pub const VECTORS_BAR: usize = 1;
/// Its bytes.
pub const VECTORS_BYTES: u64 = 0x1000;
/// Vectors: the port's own interrupt is the first; the others are for whom the node likes to tell their messages.
const VECTORS: u32 = 32;

/// State of one function that a reset takes back.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct State {
    command: u32,
    bars: [u32; 6],
    interrupt_line: u32,
    pcie_control: u32,
    pcie_link_control: u32,
    pcie_control2: u32,
    power: u32,
    msi_control: u32,
    msi_address: [u32; 2],
    msi_data: u32,
    msix_control: u32,
}

/// What a write to the configuration space changed beyond the bits themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The function stopped or began to answer memory accesses, or a BAR moved.
    pub(super) decode: bool,
    /// The function stopped or began to master the bus.
    pub(super) master: bool,
    /// A function level reset was asked for.
    pub(super) reset: bool,
}

/// One NT function towards its root complex.
#[derive(Clone, Debug)]
pub(super) struct Function {
    port: Port,
    config: PortConfig,
    state: State,
}

impl Function {
    pub(super) fn new(port: Port, config: PortConfig) -> Self {
        Self {
            port,
            config,
            state: State::default(),
        }
    }

    /// All registers to their defaults.
    pub(super) fn reset(&mut self) {
        self.state = State::default();
    }

    /// The function answers memory accesses (command register, and in D0).
    pub(super) fn decodes(&self) -> bool {
        self.state.command & PCICMDSTS_MAE != 0 && self.state.power == 0
    }

    /// The function masters the bus: the inbound gate of its node (command register, and in D0).
    pub(super) fn masters(&self) -> bool {
        self.state.command & PCICMDSTS_BME != 0 && self.state.power == 0
    }

    /// The port's interrupt can leave, as MSI or as the first vector of MSI-X: enabled, and it is a bus master's write.
    pub(super) fn msi(&self) -> bool {
        let msix = self.state.msix_control & (MSIX_ENABLE | MSIX_MASK) == MSIX_ENABLE;
        (self.state.msi_control & MSI_ENABLE != 0 || msix) && self.masters()
    }

    /// Vectors of MSI-X; 0 if the function has MSI only.
    pub(super) fn vectors(&self) -> u32 {
        match self.config.layout {
            Layout::Chip => 0,
            Layout::Companion => VECTORS,
        }
    }

    /// Bytes of a BAR; 0 where the function has none.
    pub(super) fn bar_size(&self, bar: Bar) -> u64 {
        match (bar, self.config.layout) {
            (Bar::Registers, _) => u64::from(super::REGISTERS),
            (Bar::Memory, Layout::Companion) => 0,
            (Bar::Memory, Layout::Chip) => self.config.memory_aperture,
            (Bar::Device, _) => self.config.device_aperture,
        }
    }

    /// Where the root complex has put a BAR; 0 if there is none.
    pub(super) fn bar_address(&self, bar: Bar) -> u64 {
        if self.bar_size(bar) == 0 {
            return 0;
        }
        let low = u64::from(self.state.bars[bar.number()] & !0xf);
        match bar {
            Bar::Registers => low,
            Bar::Memory | Bar::Device => (u64::from(self.state.bars[bar.number() + 1]) << 32) | low,
        }
    }

    /// Address bits of a BAR register that can be written, and its fixed type bits.
    fn bar_bits(&self, index: usize) -> (u32, u32) {
        if index == VECTORS_BAR {
            return match self.vectors() {
                0 => (0, 0),
                _ => (!(VECTORS_BYTES - 1) as u32, 0),
            };
        }
        let Some(bar) = Bar::from_number(index & !1) else {
            return (0, 0);
        };
        let size = self.bar_size(bar);
        if size == 0 {
            return (0, 0);
        }
        let mask = !(size - 1);
        match (bar, index & 1) {
            (Bar::Registers, _) => (mask as u32, 0),
            // 64 bits, prefetchable.
            (_, 0) => (mask as u32, 0xc),
            (_, _) => ((mask >> 32) as u32, 0),
        }
    }

    /// A register below 0x100, or `None` if it is not one of the configuration space's.
    pub(super) fn read(&self, offset: u32) -> u32 {
        let state = &self.state;
        match offset {
            0x00 => IDS,
            PCICMDSTS => state.command | STATUS_CAPABILITIES,
            0x08 => CLASS,
            BAR0..=0x27 => {
                let index = ((offset - BAR0) / 4) as usize;
                state.bars[index] | self.bar_bits(index).1
            }
            // Subsystem ids, as a board that leaves them alone.
            0x2c => IDS,
            CAPABILITIES => PCIE,
            INTERRUPT => state.interrupt_line,
            // Version 2, endpoint.
            PCIE => 0x0002_0010 | (PM << 8),
            PCIEDCAP => PCIEDCAP_VALUE,
            PCIEDCTLSTS => state.pcie_control,
            PCIELCAP => PCIELCAP_LINK | (u32::from(self.port.chip_number()) << 24),
            PCIELCTLSTS => PCIELCTLSTS_LINK | state.pcie_link_control,
            PCIEDCTL2 => state.pcie_control2,
            // Version 3, no PME.
            PM => 0x0003_0001 | (MSI << 8),
            PMCSR => PMCSR_NO_SOFT_RESET | state.power,
            MSI => 0x05 | MSI_64BIT | state.msi_control | (self.after_msi() << 8),
            0xd4 => state.msi_address[0],
            0xd8 => state.msi_address[1],
            0xdc => state.msi_data,
            COMPANION..=0xf3 => self.companion(offset - COMPANION),
            MSIX..=0xff => self.msix(offset),
            _ => 0,
        }
    }

    /// A write below 0x100.
    pub(super) fn write(&mut self, offset: u32, lanes: Lanes) -> Changed {
        let before = (self.decodes(), self.masters(), self.state.bars);
        let mut reset = false;
        match offset {
            PCICMDSTS => self.state.command = lanes.merge(self.state.command, COMMAND_WRITABLE),
            BAR0..=0x27 => {
                let index = ((offset - BAR0) / 4) as usize;
                let writable = self.bar_bits(index).0;
                self.state.bars[index] = lanes.merge(self.state.bars[index], writable);
            }
            INTERRUPT => self.state.interrupt_line = lanes.merge(self.state.interrupt_line, 0xff),
            PCIEDCTLSTS => {
                reset = lanes.ones() & PCIEDCTL_FLR != 0;
                self.state.pcie_control = lanes.merge(self.state.pcie_control, 0x7fff);
            }
            PCIELCTLSTS => {
                self.state.pcie_link_control = lanes.merge(self.state.pcie_link_control, 0x01c3);
            }
            PCIEDCTL2 => self.state.pcie_control2 = lanes.merge(self.state.pcie_control2, 0x1f),
            PMCSR => self.state.power = lanes.merge(self.state.power, PMCSR_STATE),
            MSI => self.state.msi_control = lanes.merge(self.state.msi_control, MSI_ENABLE),
            0xd4 => self.state.msi_address[0] = lanes.merge(self.state.msi_address[0], !3),
            0xd8 => self.state.msi_address[1] = lanes.merge(self.state.msi_address[1], !0),
            0xdc => self.state.msi_data = lanes.merge(self.state.msi_data, 0xffff),
            MSIX if self.vectors() != 0 => {
                self.state.msix_control =
                    lanes.merge(self.state.msix_control, MSIX_ENABLE | MSIX_MASK);
            }
            _ => {}
        }
        Changed {
            decode: before.0 != self.decodes() || before.2 != self.state.bars,
            master: before.1 != self.masters(),
            reset,
        }
    }

    /// The capability after MSI.
    fn after_msi(&self) -> u32 {
        match self.config.layout {
            Layout::Chip => 0,
            Layout::Companion => COMPANION,
        }
    }

    /// The capability that names the function with the memory window.
    fn companion(&self, offset: u32) -> u32 {
        if self.config.layout == Layout::Chip {
            return 0;
        }
        match offset {
            0x00 => 0x09 | (MSIX << 8) | (COMPANION_LENGTH << 16) | (COMPANION_VERSION << 24),
            0x04 => COMPANION_SIGNATURE,
            0x08 => COMPANION_PLACE,
            0x0c => self.config.memory_aperture as u32,
            0x10 => (self.config.memory_aperture >> 32) as u32,
            _ => 0,
        }
    }

    /// The capability with the vectors.
    fn msix(&self, offset: u32) -> u32 {
        let bar = VECTORS_BAR as u32;
        match (self.vectors().checked_sub(1), offset) {
            (Some(last), MSIX) => 0x11 | (last << 16) | self.state.msix_control,
            (Some(_), MSIX_TABLE) => MSIX_TABLE_AT | bar,
            (Some(_), MSIX_PENDING) => MSIX_PENDING_AT | bar,
            _ => 0,
        }
    }
}
