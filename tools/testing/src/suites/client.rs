// SPDX-License-Identifier: GPL-2.0
//! Kernel clients, on a lender and a borrower of QEMU's device for teaching.

mod borrow;
mod calls;
mod samples;
mod segments;

use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Kernel;
use skiff_cluster::Occurs;

use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::lend;
use crate::lend::BORROWER;
use crate::lend::EDU;
use crate::lend::LENDER;
use crate::share;
use crate::share::Actor;

/// See the module. With an IOMMU, on the debug kernel, and without one.
pub const CLIENT: Suite = Suite {
    name: "client",
    on: &[
        Setting::STOCK
            .kernel(Kernel::Debug)
            .iommu(Iommu::Intel { remap: true }),
        Setting::STOCK.kernel(Kernel::Other),
    ],
    describe,
    prepare,
    cases: &[
        calls::ORDERED,
        calls::FLOODED,
        calls::UNWANTED,
        calls::PRESENT,
        calls::SUSPENDED,
        calls::REVOKED,
        segments::TOLD,
        samples::TWO_IN_C,
        samples::RUST_AND_C,
        samples::TAKEN,
        samples::CUT,
        samples::KILLED,
        borrow::AWAY,
        borrow::HOME,
        borrow::TAKEN,
        borrow::CUT,
        borrow::TAKEN_AT_HOME,
        borrow::UNBOUND,
        borrow::RESUMED,
        borrow::KILLED,
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    // What a borrow leaves under way when it ends faults.
    guest::install(builder)
        .node(LENDER, lend::with_edu)
        .expect_log("DMAR: .*(DMA Read|DMA Write|DRHD)", Occurs::Allowed)
}

/// Loads skiff.ko everywhere; the borrower sees the device.
fn prepare(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    share::load_everywhere(cluster, "")?;
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    lend::offer(context.setting, &lender, EDU)?;
    lend::connect(cluster, &lender, 1)
}

/// The lender, which was started again, lends its device once more.
fn give(context: &Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    lend::offer(context.setting, &lender, EDU)?;
    let borrower = cluster.node(BORROWER).port(0);
    lender.tell(&format!("lend-connect {borrower}"))
}

/// The device.
fn fdid(cluster: &Cluster) -> Result<u32> {
    let watcher = Actor::start(cluster.node(LENDER), "watcher")?;
    Ok(lend::seen(cluster, &watcher, EDU)?.fdid)
}
