// SPDX-License-Identifier: GPL-2.0
//! What the steps of lenders and borrowers tell, as values (tools/testing/guest/src/share/lend.rs and nvme.rs).

use serde::Deserialize;

/// A device of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// Fabric device id.
    pub fdid: u32,
    /// Number of its lender.
    pub node: u32,
    /// `Unavailable`, `Available`, `Borrowed`, `Exclusive` or `Broken`.
    pub state: String,
    /// Whether an IOMMU keeps it.
    pub contained: bool,
    /// Domain, bus, device and function.
    pub function: String,
    /// Class code.
    pub class: u32,
    /// PCI vendor.
    pub vendor: u16,
    /// PCI device id.
    pub device: u16,
    /// Bytes of its BARs.
    pub bars: [u64; 6],
    /// Vectors that it can have.
    pub vectors: u32,
    /// How many have it.
    pub borrowers: u32,
}

/// A borrowed device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BorrowInfo {
    /// Whether nobody else has it.
    pub exclusive: bool,
    /// What is mapped for it.
    pub maps: u32,
    /// Vectors that it has.
    pub vectors: u32,
    /// The device.
    pub device: Listed,
}

/// An NVMe controller that was started.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Started {
    /// Serial number.
    pub serial: String,
    /// Blocks of its disk.
    pub blocks: u64,
    /// Bytes of a block.
    pub block: u64,
    /// Version of the specification: major << 16 | minor << 8.
    pub version: u32,
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Moved {
    /// Commands that went well.
    pub commands: u64,
    /// Bytes that were read and are wrong.
    pub wrong: u64,
    /// The first of them.
    pub first: Option<u64>,
}

/// What was seen while an extent was read over and over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Hammered {
    /// Commands that went well.
    pub commands: u64,
    /// Bytes that were wrong.
    pub wrong: u64,
    /// Why it ended, if nobody ended it.
    pub failed: Option<String>,
}
