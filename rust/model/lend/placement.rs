// SPDX-License-Identifier: GPL-2.0
//! On which node memory of a device is made, by who reads it.

use crate::wire::DeviceMemory;

/// Who reads and writes memory of a device: bits of the ABI, whose values are those of SISCI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints(u32);

/// A node that memory of a device can be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The borrower.
    Borrower,
    /// The lender.
    Lender,
}

impl Hints {
    /// The device reads it.
    pub const DEVICE_READ: u32 = 1 << 0;
    /// The device writes it.
    pub const DEVICE_WRITE: u32 = 1 << 1;
    /// The borrower's CPUs read it.
    pub const HOST_READ: u32 = 1 << 2;
    /// The borrower's CPUs write it.
    pub const HOST_WRITE: u32 = 1 << 3;
    /// CPUs of several nodes do.
    pub const MULTIHOST: u32 = 1 << 4;
    /// Other devices do.
    pub const PEER: u32 = 1 << 5;

    const ALL: u32 = (Self::PEER << 1) - 1;

    /// These bits; `None` if there are others.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits & !Self::ALL == 0).then_some(Self(bits))
    }

    /// Where it is made. Stores cross the fabric and are forgotten, loads wait for an answer: memory belongs to who reads it. A
    /// CPU stands still for one load, a device has many under way: if both read it is the borrower's. What several nodes read is
    /// with the device, and so is what other borrowers use.
    pub fn side(self, kind: DeviceMemory) -> Side {
        let one_host = self.0 & (Self::HOST_READ | Self::MULTIHOST) == Self::HOST_READ;

        match kind {
            DeviceMemory::Private if one_host => Side::Borrower,
            DeviceMemory::Private | DeviceMemory::Shared => Side::Lender,
        }
    }
}
