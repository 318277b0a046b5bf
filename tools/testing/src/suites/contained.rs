// SPDX-License-Identifier: GPL-2.0
//! Whether peers reach only what is exported: the kernel log and the ABI say it, and why not.

use super::nvme::FORWARDED;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Iommu;
use skiff_cluster::Occurs;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::lend::DISK;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share;
use crate::share::Actor;
use crate::share::SOON;

/// See the module.
pub const CONTAINED: Suite = Suite {
    name: "contained",
    on: &[
        Setting::STOCK,
        Setting::STOCK.iommu(Iommu::Intel { remap: true }),
    ],
    describe,
    prepare: |_| Ok(()),
    cases: &[SAID],
};

/// The same where memory is contained and interrupts are not; the companion layout has spare ones.
pub const HALF: Suite = Suite {
    on: &[Setting::STOCK
        .iommu(Iommu::Intel { remap: false })
        .companion()],
    describe: |builder, setting| {
        // A device may still have tried something when its borrower was gone.
        describe(builder, setting)
            .node(LENDER, |node| NVME.nvme(node, DISK, ""))
            .expect_log("DMAR: .*(DMA Read|DMA Write|DRHD)", Occurs::Allowed)
    },
    cases: &[SAID, FORWARDED],
    ..CONTAINED
};

const SAID: Case = Case {
    name: "the kernel log and the ABI say whether peers are contained",
    run: contained,
};

/// Where there is an IOMMU the switch's registers are protected too, so that what is missing is the IOMMU's doing.
fn describe(builder: Builder, setting: Setting) -> Builder {
    let builder = guest::install(builder);
    match setting.iommu {
        Iommu::Off => builder,
        Iommu::Intel { .. } | Iommu::Virtio => builder.switch_arg("--guarded"),
    }
}

/// What is missing in a setting, by a word of each reason.
fn missing(setting: Setting) -> [(&'static str, bool); 3] {
    [
        ("no IOMMU", setting.iommu == Iommu::Off),
        (
            "no interrupt remapping",
            setting.iommu != Iommu::Intel { remap: true },
        ),
        ("not guarded", setting.iommu == Iommu::Off),
    ]
}

fn contained(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    let right = context.setting.iommu == Iommu::Intel { remap: true };
    if !right {
        context.check(
            "require_iommu=1 refuses to serve what is not contained",
            |_| {
                let loaded = share::load(node, "require_iommu=1");
                let served = node
                    .run("ls /sys/bus/pci/drivers/skiff/0*")?
                    .status
                    .success();
                ensure!(
                    loaded.is_err() || !served,
                    "it loaded, and drives the adapter"
                );
                node.run("rmmod skiff 2>/dev/null; true")?.check()?;
                Ok(())
            },
        );
    }
    share::load_everywhere(context.cluster, "")?;
    let status = Actor::start(node, "actor")?.status()?;
    ensure!(
        status.contained == right,
        "the ABI says that peers are contained: {}",
        status.contained
    );
    let line = node.wait_log("contained", SOON)?;
    ensure!(
        line.contains("not contained") != right,
        "the log says {line:?}"
    );
    if !right {
        let (_, why) = line
            .split_once("not contained: ")
            .with_context(|| format!("no reason in {line:?}"))?;
        for (reason, lacking) in missing(context.setting) {
            ensure!(
                why.contains(reason) == lacking,
                "{reason:?} in {why:?}, and not {lacking}"
            );
        }
    }
    let links = node.run("cat /sys/kernel/debug/skiff/links")?.check()?;
    let word = if right {
        "contained=yes"
    } else {
        "contained=no"
    };
    let links = links.stdout_text();
    let line = links.lines().next().context("no adapter in debugfs")?;
    ensure!(
        line.split(' ').any(|found| found == word),
        "no {word} in {line:?}"
    );
    Ok(())
}
