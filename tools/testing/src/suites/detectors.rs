// SPDX-License-Identifier: GPL-2.0
//! Proof that the debug kernel can fail a test: skiff_faults.ko commits one fault of each kind, and each is reported.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Kernel;
use skiff_cluster::Occurs;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::ntb_tool::SOON;

const DEBUG: Setting = Setting::STOCK
    .nodes(1)
    .adapters(0)
    .kernel(Kernel::Debug)
    .leaks();

/// A fault: what is written to the device, and the line of the report.
struct Fault {
    name: &'static str,
    report: &'static str,
}

/// A report taints the kernel, and the taint of KASAN switches lockdep off: KASAN comes last.
const FAULTS: &[Fault] = &[
    Fault {
        name: "lockdep",
        report: "possible circular locking dependency detected",
    },
    Fault {
        name: "atomic-sleep",
        report: "sleeping function called from invalid context",
    },
    Fault {
        name: "ubsan",
        report: "UBSAN: ",
    },
    Fault {
        name: "kasan",
        report: "BUG: KASAN: slab-out-of-bounds",
    },
];

/// See the module.
pub const DETECTORS: Suite = Suite {
    name: "detectors",
    on: &[DEBUG],
    describe,
    prepare: |context| Ok(context.cluster.node(0).modprobe("skiff_faults")?),
    cases: &[
        Case {
            name: "fail-nth",
            run: |context| context.ktap(0, &format!("{} fail-nth", guest::PATH)),
        },
        Case {
            name: "kmemleak",
            run: kmemleak,
        },
        Case {
            name: "reports in the kernel log",
            run: reports,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    let builder = guest::install(builder)
        // What belongs to a report besides its first line.
        .expect_log("WARNING: possible circular locking", Occurs::Required)
        .expect_log("kmemleak: ", Occurs::Allowed)
        .expect_log("FAULT_INJECTION: ", Occurs::Allowed);
    FAULTS.iter().fold(builder, |builder, fault| {
        builder.expect_log(fault.report, Occurs::Required)
    })
}

fn kmemleak(context: &mut Context<'_>) -> Result<()> {
    const FILE: &str = "/sys/kernel/debug/kmemleak";
    let node = context.cluster.node(0);
    // What boot left unreferenced is not this test's leak.
    node.shell(&format!("echo scan > {FILE}; echo clear > {FILE}"))
        .timeout(Duration::from_secs(120))
        .run()?
        .check()?;
    node.run("echo kmemleak > /dev/skiff_faults")?.check()?;
    // An object counts as leaked when it is unreferenced in a scan that begins 5 s after its allocation.
    let report = node
        .shell(&format!("sleep 6; for n in 1 2 3; do echo scan > {FILE}; grep -q skiff_faults {FILE} && break; sleep 1; done; cat {FILE}"))
        .timeout(Duration::from_secs(180))
        .run()?
        .check()?;
    ensure!(
        report.stdout_text().contains("unreferenced object"),
        "kmemleak reports nothing"
    );
    ensure!(
        report.stdout_text().contains("skiff_faults"),
        "not the module's leak:\n{}",
        report.stdout_text()
    );
    Ok(())
}

fn reports(context: &mut Context<'_>) -> Result<()> {
    for fault in FAULTS {
        context.check(&format!("{} is reported", fault.name), |cluster| {
            let node = cluster.node(0);
            let so_far = node
                .kernel_log()
                .iter()
                .filter(|line| line.contains(fault.report))
                .count();
            ensure!(so_far == 0, "reported before it was committed");
            node.run(&format!("echo {} > /dev/skiff_faults", fault.name))?
                .check()?;
            let line = node.wait_log(fault.report, SOON)?;
            ensure!(!line.is_empty(), "an empty line");
            Ok(())
        });
    }
    Ok(())
}
