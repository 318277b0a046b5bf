// SPDX-License-Identifier: GPL-2.0
//! How devices are named: in the whole fabric, and on the node that lends them.

use std::fmt;
use std::str::FromStr;

use crate::uapi;

/// Fabric device id: names a lent device, the same way on all nodes.
///
/// It is written in hexadecimal digits without a prefix; of node 1 the first one is `80000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fdid(u32);

impl Fdid {
    /// The id of the device with this index in a node's pool; `None` when there cannot be one.
    pub fn of(node: u32, index: u16) -> Option<Self> {
        let node = (node < uapi::SKIFF_NODES_MAX).then_some((node + 1) * 4)?;
        Some(Self((node << 16) | u32::from(index)))
    }

    /// The number that the kernel knows.
    pub fn raw(self) -> u32 {
        self.0
    }

    /// Number of the lender; `None` when it is nobody's id.
    pub fn node(self) -> Option<u32> {
        let node = self.0 >> 16;
        let number = (node / 4).checked_sub(1)?;
        (node % 4 == 0 && number < uapi::SKIFF_NODES_MAX).then_some(number)
    }

    /// Index in the lender's pool.
    pub fn index(self) -> u16 {
        // CAST: the low half is meant.
        self.0 as u16
    }
}

impl From<u32> for Fdid {
    fn from(raw: u32) -> Self {
        Self(raw)
    }
}

impl fmt::Display for Fdid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Fdid {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        hexadecimal(digits, 8).map(Self).ok_or(BadName::Fdid)
    }
}

/// Where a PCI function is on its node: domain, bus, device and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bdf: u16,
}

impl PciAddress {
    /// The function whose bus, device and function are `bdf`: bits 15:8, 7:3 and 2:0.
    pub fn new(domain: u32, bdf: u16) -> Self {
        Self { domain, bdf }
    }

    /// PCI domain.
    pub fn domain(self) -> u32 {
        self.domain
    }

    /// Bus, device and function in one number.
    pub fn bdf(self) -> u16 {
        self.bdf
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bdf } = self;
        let (bus, device, function) = (bdf >> 8, (bdf >> 3) & 0x1f, bdf & 7);
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

impl FromStr for PciAddress {
    type Err = BadName;

    /// As lspci prints it: `03:00.0`, or with the domain `0000:03:00.0`.
    fn from_str(text: &str) -> Result<Self, BadName> {
        parse_function(text).ok_or(BadName::PciAddress)
    }
}

fn parse_function(text: &str) -> Option<PciAddress> {
    let (path, function) = text.rsplit_once('.')?;
    let (path, device) = path.rsplit_once(':')?;
    let (domain, bus) = path.rsplit_once(':').unwrap_or(("0", path));
    let within = |digits, most| hexadecimal(digits, 2).filter(|number| *number <= most);
    let bdf = (within(bus, 0xff)? << 8) | (within(device, 0x1f)? << 3) | within(function, 7)?;
    Some(PciAddress {
        domain: hexadecimal(domain, 8)?,
        // CAST: each part is within its bits.
        bdf: bdf as u16,
    })
}

/// One to `most` hexadecimal digits, and nothing else.
fn hexadecimal(digits: &str, most: usize) -> Option<u32> {
    let good = digits.bytes().all(|digit| digit.is_ascii_hexdigit()) && digits.len() <= most;
    u32::from_str_radix(digits, 16).ok().filter(|_| good)
}

/// A text that names no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It was to be a fabric device id.
    #[error("a fabric device id has 1 to 8 hexadecimal digits")]
    Fdid,
    /// It was to be the place of a PCI function.
    #[error("a PCI function is named [DOMAIN:]BUS:DEVICE.FUNCTION, in hexadecimal digits")]
    PciAddress,
}
