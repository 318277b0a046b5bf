// SPDX-License-Identifier: GPL-2.0
//! A device that is told to reach what was not mapped for it.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Iommu;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::on_disk;
use crate::lend::wait_state;
use crate::lend::Moved;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share::Actor;
use crate::share::PAGE;
use crate::share::SOON;

/// See the module. Without an IOMMU there is nothing to see.
pub const OUTSIDE: Case = Case {
    name: "a device told to leave its mappings faults and changes nothing",
    run: outside,
};

/// Pages of the lender that are aimed at.
const PAGES: u64 = 4;

fn outside(context: &mut Context<'_>) -> Result<()> {
    if context.setting.iommu == Iommu::Off {
        return Ok(());
    }
    let cluster = context.cluster;
    let home = cluster.node(LENDER);
    let victim = Actor::start(home, "victim")?;
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let places: Vec<u64> = victim.ask(&format!("create memory {} --user", PAGES * PAGE))?;
    victim.tell("map own memory")?;
    victim.fill("own", 0, PAGES * PAGE, 1)?;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    user.tell(&format!("borrow device {fdid} --exclusive"))?;
    user.tell("create memory 0x4000 --id 9")?;
    user.tell("prepare memory")?;
    user.tell("map own memory")?;
    user.fill("own", 0, 4 * PAGE, 2)?;
    user.tell("nvme start disk device")?;
    // The last one: nothing is mapped behind it.
    let mapped: u64 = user.ask(&format!(
        "device-map part device memory --offset {PAGE} --bytes {PAGE}"
    ))?;
    let (from, seed) = (50 << 20, 51);
    let written: Moved = user.ask(&format!(
        "nvme move disk write {from} {} {seed}",
        PAGES * PAGE
    ))?;
    ensure!(written.commands > 0, "{written:?}");
    // What was mapped can be written, and no page beside it.
    let status: u16 = user.ask(&format!("nvme aim disk read {from} {PAGE} {mapped:#x}"))?;
    ensure!(status == 0, "status {status:#x}");
    let step = format!("verify own {PAGE} {PAGE} {seed} --from {from}");
    let found: crate::share::Verified = user.ask(&step)?;
    ensure!(found.wrong == 0, "{step}: {found:?}");
    // How such a command ends is the controller's business.
    let aim = |way: &str, place: u64, address: u64| -> Result<u16> {
        user.ask(&format!("nvme aim disk {way} {place} {PAGE} {address:#x}"))
    };
    aim("read", from, mapped + PAGE)?;
    for place in &places {
        aim("read", from, *place)?;
    }
    let function = NVME.address(home)?;
    let short = function.trim_start_matches("0000:");
    let fault = format!("DMAR: \\[DMA (Write|Read).*Request device \\[(0000:)?{short}\\]");
    home.wait_log(&fault, SOON).context("no fault in the log")?;
    victim.verify("own", 0, PAGES * PAGE, 1)?;
    user.verify("own", 0, PAGE, 2)?;
    user.verify("own", 2 * PAGE, 2 * PAGE, 2)?;
    // Nor is anything read: the victim's bytes do not get to the disk.
    let to = from + (1 << 20);
    aim("write", to, places[0])?;
    user.tell("nvme flush disk")?;
    let mut stolen = vec![0; usize::try_from(PAGE)?];
    let image = std::fs::File::open(home.disk(NVME.name()))?;
    std::os::unix::fs::FileExt::read_exact_at(&image, &mut stolen, to)?;
    ensure!(
        !lend::is_sequence(&stolen, 0, 1),
        "memory of the lender is on the disk"
    );
    // It goes on as if nothing had been.
    let read: Moved = user.ask(&format!(
        "nvme move disk read {from} {} {seed}",
        PAGES * PAGE
    ))?;
    ensure!(read.wrong == 0, "{read:?}");
    on_disk(cluster, NVME, from, PAGES * PAGE, seed)?;
    user.kill()?;
    wait_state(&victim, fdid, "Available")
}
