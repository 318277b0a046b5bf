// SPDX-License-Identifier: GPL-2.0
//! The table of contents of the cluster tests.

mod abi;
mod adapters;
mod allocation;
mod block;
mod client;
mod command;
mod contained;
mod detectors;
mod devices;
mod fabric;
mod hello;
mod hostile;
mod hotplug;
mod idt;
mod iommu;
mod lend;
mod lend_life;
mod library;
mod nvme;
mod outage;
mod share_again;
mod share_data;
mod share_function;
mod share_life;
mod share_limits;
mod share_outage;
mod share_window;
mod tracing;

use crate::frame::Suite;

/// Every suite, in the order in which they start: two run at a time, so what takes long comes first.
pub const ALL: &[Suite] = &[
    share_outage::KILLED,
    share_data::DEBUG,
    share_data::ELSEWHERE,
    hostile::HOSTILE,
    share_data::PAIRS,
    share_outage::OUTAGE,
    share_function::FUNCTION,
    abi::FUZZ,
    allocation::ALLOCATION,
    hotplug::HOTPLUG,
    detectors::DETECTORS,
    idt::PAIRS,
    idt::LOSS,
    idt::DIRECT,
    iommu::TRAPPED,
    iommu::MAPPED,
    fabric::WINDOWS,
    fabric::FAULTS,
    nvme::ALONE,
    client::CLIENT,
    lend::LEND,
    nvme::SHARED,
    nvme::SHARED_ENDS,
    nvme::DISK,
    nvme::COUNTS,
    block::BLOCK,
    lend_life::LIFE,
    share_life::LIFE,
    share_again::AGAIN,
    share_limits::LIMITS,
    share_window::SLOTS,
    share_window::ADAPTERS,
    share_window::READS,
    abi::ABI,
    command::COMMAND,
    command::LENDING,
    library::LIBRARY,
    tracing::TRACING,
    contained::CONTAINED,
    contained::HALF,
    outage::RETURN,
    outage::SWITCH,
    adapters::ADAPTERS,
    devices::REGISTERS,
    devices::INTERRUPTS,
    hello::HELLO,
];
