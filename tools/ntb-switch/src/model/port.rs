// SPDX-License-Identifier: GPL-2.0
//! Names of ports and windows, and what a board's EEPROM fixes about a port; plain values.

use std::fmt;

/// Most partitions, and so ports with a bridge, that the chip has.
pub const MAX_PORTS: usize = 8;

/// The chip's numbers of the ports that can have a bridge, by partition index (idt_89hpes32nt8ag2_cfg).
const CHIP_NUMBERS: [u8; MAX_PORTS] = [0, 2, 4, 6, 8, 12, 16, 20];

/// Largest aperture of a window: ntb_hw_idt keeps a window's size in an `int`.
pub const MAX_APERTURE: u64 = 1 << 30;

/// Smallest aperture: 32 slots of one page.
pub const MIN_APERTURE: u64 = 128 << 10;

/// A port, named by its partition index 0..=7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(u8);

impl Port {
    /// `None` above 7.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < MAX_PORTS {
            Some(Self(index))
        } else {
            None
        }
    }

    /// The partition index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The chip's number of the port: 0, 2, 4, 6, 8, 12, 16 or 20.
    pub const fn chip_number(self) -> u8 {
        CHIP_NUMBERS[self.0 as usize]
    }

    /// The reverse of [`Port::chip_number`].
    pub(super) fn from_chip_number(number: u8) -> Option<Self> {
        let index = CHIP_NUMBERS.iter().position(|have| *have == number)?;
        Self::new(u8::try_from(index).ok()?)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A base address register of the NT function that a board uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bar {
    /// BAR0: the registers.
    Registers,
    /// BAR2 (and 3): the memory window.
    Memory,
    /// BAR4 (and 5): the device window.
    Device,
}

impl Bar {
    /// Both windows.
    pub const WINDOWS: [Bar; 2] = [Bar::Memory, Bar::Device];

    /// The PCI number of the (lower) register: 0, 2 or 4.
    pub const fn number(self) -> usize {
        match self {
            Bar::Registers => 0,
            Bar::Memory => 2,
            Bar::Device => 4,
        }
    }

    /// The reverse of [`Bar::number`].
    pub const fn from_number(number: usize) -> Option<Self> {
        match number {
            0 => Some(Bar::Registers),
            2 => Some(Bar::Memory),
            4 => Some(Bar::Device),
            _ => None,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BAR{}", self.number())
    }
}

/// Which function carries the memory window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The NT function, in its BAR2, as on the chip.
    Chip,
    /// A companion function in the same slot; the NT function has no BAR2.
    Companion,
}

/// How the two windows translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// BAR2 and BAR4 by lookup tables of 12 entries.
    Lut12,
    /// BAR2 by a lookup table of 24 entries, BAR4 by one direct translation.
    Lut24Direct,
}

/// How far the board's EEPROM protects the ports from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// Not at all, the chip's defaults: each port can rewrite the whole switch, by accident or on purpose. ntb_hw_idt
    /// needs that. Doorbells 4n..=4n+3 are partition n's until somebody changes the masks.
    #[default]
    Open,
    /// GASAPROT and NTMTBLPROTn are set, so doorbells 4n..=4n+3 stay partition n's; events are unmasked.
    Guarded,
}

/// What the board's EEPROM says about one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Where the memory window is.
    pub layout: Layout,
    /// Kinds of translation.
    pub windows: Windows,
    /// Bytes of the memory window (BAR2): a power of two.
    pub memory_aperture: u64,
    /// Bytes of the device window (BAR4): a power of two.
    pub device_aperture: u64,
}

/// Why a set of ports cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The number of ports.
    #[error("a switch has 1 to 8 ports, not {0}")]
    Ports(usize),
    /// An aperture.
    #[error("port {port}: the aperture {aperture:#x} of {bar} is not a power of two from 128 KiB to 1 GiB")]
    Aperture {
        /// The port.
        port: Port,
        /// Its window.
        bar: Bar,
        /// What was asked for.
        aperture: u64,
    },
}

/// Checks what a board may look like.
pub(super) fn check(ports: &[PortConfig]) -> Result<(), ConfigError> {
    if ports.is_empty() || ports.len() > MAX_PORTS {
        return Err(ConfigError::Ports(ports.len()));
    }
    for (config, index) in ports.iter().zip(0u8..) {
        for (bar, aperture) in [
            (Bar::Memory, config.memory_aperture),
            (Bar::Device, config.device_aperture),
        ] {
            if !aperture.is_power_of_two() || !(MIN_APERTURE..=MAX_APERTURE).contains(&aperture) {
                return Err(ConfigError::Aperture {
                    port: Port(index),
                    bar,
                    aperture,
                });
            }
        }
    }
    Ok(())
}
