// SPDX-License-Identifier: GPL-2.0
//! The table of contents of the cluster tests.

mod adapters;
mod detectors;
mod devices;
mod fabric;
mod hello;
mod hotplug;
mod idt;
mod iommu;
mod outage;

use crate::frame::Suite;

/// Every suite, in the order in which they start: two run at a time, so what takes long comes first.
pub const ALL: &[Suite] = &[
    hotplug::HOTPLUG,
    detectors::DETECTORS,
    idt::PAIRS,
    idt::LOSS,
    idt::DIRECT,
    iommu::TRAPPED,
    iommu::MAPPED,
    fabric::WINDOWS,
    fabric::FAULTS,
    outage::RETURN,
    outage::SWITCH,
    adapters::ADAPTERS,
    devices::REGISTERS,
    devices::INTERRUPTS,
    hello::HELLO,
];
