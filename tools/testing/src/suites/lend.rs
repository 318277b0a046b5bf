// SPDX-License-Identifier: GPL-2.0
//! Devices of another node: the pool, borrowing, I/O with memory everywhere.

mod device;
mod guard;
mod io;
mod killed;
mod pool;
mod taken;

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Iommu;
use skiff_cluster::Kernel;
use skiff_cluster::Occurs;

use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::lend;
use crate::lend::LENDER;
use crate::lend::NVME;

/// An IOMMU that keeps devices.
const CONTAINED: Setting = Setting::STOCK.iommu(Iommu::Intel { remap: true });

/// See the module.
pub const LEND: Suite = Suite {
    name: "lend",
    on: &[
        CONTAINED.kernel(Kernel::Debug),
        Setting::STOCK.nodes(3),
        Setting::STOCK.kernel(Kernel::Other).companion(),
    ],
    describe,
    prepare,
    cases: &[
        pool::LIFE,
        pool::FILTER,
        pool::SHARES,
        pool::RIGHTS,
        io::PLACES,
        io::PARALLEL,
        io::INTERRUPTS,
        io::PEERS,
        device::CONFIG,
        device::EDU,
        device::HINTS,
        device::REQUESTERS,
        guard::OUTSIDE,
        taken::REVOKED,
        taken::RETURNED,
        killed::PROCESS,
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    // A device that is told to reach what it must not is reported, where there is somebody to report it.
    let builder = guest::install_program(lend::describe(builder), io::EXAMPLE);
    builder.expect_log("DMAR: .*(DMA Read|DMA Write|DRHD)", Occurs::Allowed)
}

fn prepare(context: &mut Context<'_>) -> Result<()> {
    if context.setting == Setting::STOCK.nodes(3) {
        at_home(context);
    }
    lend::prepare(context)
}

/// Without skiff.ko: what goes wrong here is no matter of lending.
fn at_home(context: &mut Context<'_>) {
    context.check("the NVMe driver of these tests works at home", |cluster| {
        let node = cluster.node(LENDER);
        node.run("echo 1 > /proc/sys/vm/nr_hugepages")?.check()?;
        let (from, bytes, seed) = (3 << 20, (1 << 20) + 512, 11);
        let told = guest::run(node, &format!("nvme-local {from} {bytes} {seed}"))?;
        node.run("echo 0 > /proc/sys/vm/nr_hugepages")?.check()?;
        ensure!(told.contains("\"serial\":\"skiff-one\""), "{told}");
        lend::on_disk(cluster, NVME, from, bytes, seed)
    });
}
