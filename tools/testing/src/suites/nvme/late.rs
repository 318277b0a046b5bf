// SPDX-License-Identifier: GPL-2.0
//! A drive that stops answering: its commands are aborted, and its controller is reset in the middle of I/O.

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::nvme;
use crate::nvme::region;
use crate::nvme::MOMENT;

/// See the module.
pub const LATE: Case = Case {
    name: "a drive that does not answer: commands are aborted, the controller is reset, no operation fails or is wrong",
    run: late,
};

/// MiB of what is worked on, and where it begins.
const BYTES: u64 = 1;
const FROM: u64 = 20;

/// How often the controller was given shadow doorbells.
fn shadows(home: &Node) -> Result<usize> {
    let log = home.qemu_log()?;
    let given = log.lines().filter(|line| {
        line.contains("pci_nvme_admin_cmd") && line.contains("NVME_ADM_CMD_DBBUF_CONFIG")
    });
    Ok(given.count())
}

fn late(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    let operations = u64::from(context.scale.pick(3000, 300_000));
    home.trace("pci_nvme_admin_cmd", true)?;
    let before = shadows(home)?;
    let path = nvme::load_with(node, "io_timeout_ms=1000")?;
    ensure!(
        nvme::told(node).contains("shadow doorbells") && shadows(home)? == before + 1,
        "there are no shadow doorbells"
    );
    let part = region(&path, FROM, BYTES, 24);
    let pending = part.begin(node, operations)?;
    home.throttle(NVME.name(), 1)?;
    node.wait_log("takes long, it is aborted", MOMENT)?;
    // Not before it is over: a drive that answers in the moment in which nothing is under way is not reset.
    let reset = node.wait_log("it goes on after a reset", MOMENT);
    home.throttle(NVME.name(), 0)?;
    reset?;
    let done = pending.outcome()?.good()?;
    part.check(node, done.operations)?;
    let given = shadows(home)?;
    home.trace("pci_nvme_admin_cmd", false)?;
    ensure!(
        given >= before + 2,
        "the controller was told of shadow doorbells {given} times, {before} times before"
    );
    nvme::unload(node)
}
