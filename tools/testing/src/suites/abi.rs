// SPDX-License-Identifier: GPL-2.0
//! What programs may say to /dev/skiff: every rule of the header with bad input, and random calls on the debug kernel.

use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use anyhow::ensure;
use anyhow::Result;
use ntb_switch::control::LinkState;
use skiff_cluster::Builder;
use skiff_cluster::Kernel;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::lend;
use crate::share;

/// Bad input.
pub const ABI: Suite = Suite {
    name: "abi",
    on: &[
        Setting::STOCK,
        Setting::STOCK.kernel(Kernel::Other),
        Setting::STOCK.kernel(Kernel::Debug),
    ],
    describe: describe_with_device,
    prepare,
    cases: &[Case {
        name: "bad input",
        run: bad_input,
    }],
};

/// Random calls.
pub const FUZZ: Suite = Suite {
    name: "fuzz",
    on: &[Setting::STOCK.kernel(Kernel::Debug)],
    describe: describe_with_devices,
    prepare,
    cases: &[
        Case {
            name: "random calls",
            run: calm,
        },
        Case {
            name: "random calls while the link comes and goes",
            run: flapping,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

/// Node 0 has a device that it can lend to itself.
fn describe_with_device(builder: Builder, setting: Setting) -> Builder {
    describe(builder, setting).node(0, lend::with_edu)
}

/// Every node has one to lend.
fn describe_with_devices(builder: Builder, setting: Setting) -> Builder {
    describe_with_device(builder, setting).node(1, lend::with_edu)
}

fn prepare(context: &mut Context<'_>) -> Result<()> {
    share::load_everywhere(context.cluster, "")
}

fn bad_input(context: &mut Context<'_>) -> Result<()> {
    let function = lend::EDU.address(&context.cluster.nodes()[0])?;
    context.ktap(0, &format!("{} abi {function}", guest::PATH))
}

/// Seconds of each case: a minute together, or a night.
const SECONDS: (u32, u32) = (40, 3 * 3600);
/// Of the one with a link that comes and goes.
const FLAPPING_SECONDS: (u32, u32) = (20, 3600);
/// How long after its time a node may still work: it closes all, and waits for the other one.
const GRACE: Duration = Duration::from_secs(240);
/// How long the link is up and down.
const UP: Duration = Duration::from_millis(1500);
/// See [`UP`].
const DOWN: Duration = Duration::from_millis(200);

fn calm(context: &mut Context<'_>) -> Result<()> {
    let seconds = context.scale.pick(SECONDS.0, SECONDS.1);
    fuzz(context, seconds, |_| Ok(()))
}

fn flapping(context: &mut Context<'_>) -> Result<()> {
    let seconds = context.scale.pick(FLAPPING_SECONDS.0, FLAPPING_SECONDS.1);
    let end = Instant::now() + Duration::from_secs(u64::from(seconds));
    fuzz(context, seconds, |context| {
        let port = context.cluster.node(1).port(0);
        while Instant::now() + UP < end {
            thread::sleep(UP);
            context.cluster.switch().set_link(port, LinkState::Down)?;
            thread::sleep(DOWN);
            context.cluster.switch().set_link(port, LinkState::Up)?;
        }
        Ok(())
    })
}

/// Every node fuzzes, each with what the others offer, while `meanwhile` runs.
fn fuzz(
    context: &mut Context<'_>,
    seconds: u32,
    meanwhile: impl FnOnce(&Context<'_>) -> Result<()>,
) -> Result<()> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seed = since.as_secs();
    let limit = Duration::from_secs(u64::from(seconds)) + GRACE;
    let mut jobs = Vec::new();
    for node in context.cluster.nodes() {
        // Neighbouring seeds are those of a node's threads.
        let seed = (seed << 8) + (node.index() as u64) * 16;
        let function = lend::EDU.address(node)?;
        let line = format!(
            "{} ioctl-fuzz --lend {function} --seed {seed:#x} --seconds {seconds}",
            guest::PATH
        );
        context.remark(&format!("node {}: {line}", node.index()));
        jobs.push((
            node.index(),
            node.shell(&line).timeout(limit).spawn()?,
            line,
        ));
    }
    meanwhile(context)?;
    for (node, job, line) in jobs {
        let output = job.wait()?;
        for said in output.stdout_text().lines() {
            if let Some(tally) = said.strip_prefix("# ") {
                context.remark(&format!("node {node}: {tally}"));
            }
        }
        context.results(&format!("node {node}: "), &line, &output)?;
    }
    // Whatever the link did last, the nodes find each other again.
    for node in context.cluster.nodes() {
        share::wait_up(context.cluster, node)?;
    }
    let running = context.cluster.nodes().iter().all(|node| node.is_running());
    ensure!(running, "a node is gone");
    Ok(())
}
