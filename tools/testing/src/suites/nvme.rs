// SPDX-License-Identifier: GPL-2.0
//! A borrowed drive as a disk: skiff_nvme.ko.

mod aimed;
mod blocks;
mod commands;
mod counts;
mod direct;
mod ends;
mod files;
mod interplay;
mod late;
mod shared;
mod spaces;

pub use aimed::FORWARDED;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Iommu;
use skiff_cluster::Kernel;
use skiff_cluster::Occurs;

use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::lend::LENDER;
use crate::nvme;
use crate::share;

/// An IOMMU that keeps devices.
const CONTAINED: Setting = Setting::STOCK.iommu(Iommu::Intel { remap: true });

/// One borrower.
pub const DISK: Suite = Suite {
    name: "nvme",
    on: &[Setting::STOCK.kernel(Kernel::Other).companion()],
    describe: |builder, setting| {
        describe(builder, setting).node(LENDER, |node| spaces::describe(node).cpus(2))
    },
    prepare,
    cases: &[
        direct::DIRECT,
        direct::TAKEN_BACK,
        aimed::RESET,
        files::FILES,
        commands::COMMANDS,
        spaces::SPACES,
        blocks::WAKES,
        late::LATE,
        blocks::AGAIN,
        interplay::PROGRAMS,
    ],
};

/// The same, and ends in the middle of it.
pub const ALONE: Suite = Suite {
    on: &[CONTAINED.kernel(Kernel::Debug).companion()],
    describe: |builder, setting| describe(builder, setting).node(LENDER, spaces::describe),
    cases: &[
        files::FILES,
        commands::COMMANDS,
        spaces::SPACES,
        late::LATE,
        blocks::AGAIN,
        interplay::PROGRAMS,
        ends::TAKEN,
        ends::UNPLUGGED,
        ends::LENDER_NODE,
        ends::CUT,
    ],
    ..DISK
};

/// Several at once, the lender among them.
pub const SHARED: Suite = Suite {
    name: "nvme, shared",
    on: &[CONTAINED.nodes(3).companion()],
    describe,
    prepare,
    cases: &[
        direct::DIRECT,
        aimed::RESET,
        aimed::SHARERS,
        shared::RESET,
        shared::DISJOINT,
        shared::KILLED,
        interplay::SHARERS,
    ],
};

/// The same, and ends in the middle of it.
pub const SHARED_ENDS: Suite = Suite {
    on: &[Setting::STOCK.nodes(3)],
    cases: &[
        shared::UNHEARD,
        shared::DISJOINT,
        shared::KILLED,
        interplay::SHARERS,
        ends::TAKEN,
        ends::UNPLUGGED,
        ends::LENDER_NODE,
        ends::CUT,
    ],
    ..SHARED
};

/// What it costs, by the switch's counters.
pub const COUNTS: Suite = Suite {
    name: "nvme, counts",
    on: &[Setting::STOCK.trapped()],
    describe,
    prepare,
    cases: &[counts::POLLED, counts::INTERRUPTS],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    // A device may still have tried something when its borrower was gone.
    nvme::describe(builder).expect_log("DMAR: .*(DMA Read|DMA Write|DRHD)", Occurs::Allowed)
}

fn prepare(context: &mut Context<'_>) -> Result<()> {
    share::load_everywhere(context.cluster, "")?;
    nvme::open(context.cluster, context.setting)?;
    Ok(())
}
