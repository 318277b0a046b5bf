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

/// Every suite, in the order in which they run.
pub const ALL: &[Suite] = &[
    idt::PAIRS,
    idt::LOSS,
    idt::DIRECT,
    adapters::ADAPTERS,
    fabric::WINDOWS,
    fabric::FAULTS,
    iommu::MAPPED,
    iommu::TRAPPED,
    devices::REGISTERS,
    devices::INTERRUPTS,
    hotplug::HOTPLUG,
    outage::SWITCH,
    outage::RETURN,
    hello::HELLO,
    detectors::DETECTORS,
];
