// SPDX-License-Identifier: GPL-2.0
//! Every allocation of every call on /dev/skiff fails once, on the debug kernel; nothing leaks.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Job;
use skiff_cluster::Kernel;
use skiff_cluster::Node;
use skiff_cluster::Occurs;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::lend;
use crate::share;
use crate::share::Actor;

/// See the module.
pub const ALLOCATION: Suite = Suite {
    name: "allocation failures",
    on: &[Setting::STOCK.kernel(Kernel::Debug).leaks()],
    describe,
    prepare: |context| share::load_everywhere(context.cluster, ""),
    cases: &[
        Case {
            name: "fail-nth",
            run: sweep,
        },
        Case {
            name: "nothing leaked",
            run: no_leak,
        },
    ],
};

/// Id of the segment that skiff-guest's allocation test connects to.
const SEGMENT: u32 = 7701;
/// Its length: the test maps 64 pages.
const BYTES: u64 = 64 * share::PAGE;

/// Names the kernel's record of objects that nobody refers to.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// How long all operations may take.
const LIMIT: Duration = Duration::from_secs(300);

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
        .node(0, lend::with_edu)
        .expect_log("FAULT_INJECTION: ", Occurs::Allowed)
}

fn sweep(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    for node in cluster.nodes() {
        // What boot left unreferenced is not this test's leak.
        node.run(&format!("echo scan > {KMEMLEAK}; echo clear > {KMEMLEAK}"))?
            .check()?;
    }
    let owner = Actor::start(cluster.node(1), "owner")?;
    owner.tell(&format!(
        "create segment {BYTES} --id {SEGMENT} --mode 666 --share"
    ))?;
    let peer = owner.status()?.node;
    let function = lend::EDU.address(cluster.node(0))?;
    let line = format!("{} allocation --peer {peer} --lend {function}", guest::PATH);
    let output = cluster.node(0).shell(&line).timeout(LIMIT).run()?;
    for said in output.stdout_text().lines() {
        if let Some(count) = said.strip_prefix("# ") {
            context.remark(count);
        }
    }
    context.results("", &line, &output)
}

fn no_leak(context: &mut Context<'_>) -> Result<()> {
    let nodes = context.cluster.nodes();
    // All at once: a scan takes a while.
    let jobs = nodes.iter().map(leaks).collect::<Result<Vec<Job>>>()?;
    for (node, job) in nodes.iter().zip(jobs) {
        let output = job.wait()?.check()?;
        let leaked = output.stdout_text();
        ensure!(
            !leaked.contains("skiff"),
            "node {}:\n{leaked}",
            node.index()
        );
    }
    Ok(())
}

/// Asks for what kmemleak reports, once an object had the time to count as leaked: 5 s after its allocation.
fn leaks(node: &Node) -> Result<Job> {
    let line = format!("sleep 6; echo scan > {KMEMLEAK}; echo scan > {KMEMLEAK}; cat {KMEMLEAK}");
    Ok(node
        .shell(&line)
        .timeout(Duration::from_secs(120))
        .spawn()?)
}
