// SPDX-License-Identifier: GPL-2.0
//! What all else stands on, on every kernel: a small Rust module that is built here loads there, and the node's agent
//! outlives its port.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Kernel;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;

const ALONE: Setting = Setting::STOCK.nodes(1).adapters(0);

/// See the module.
pub const HELLO: Suite = Suite {
    name: "hello",
    on: &[
        ALONE,
        ALONE.kernel(Kernel::Other),
        ALONE.kernel(Kernel::Debug),
    ],
    describe,
    prepare: |_| Ok(()),
    cases: &[
        Case {
            name: "load, use, unload",
            run: hello,
        },
        Case {
            name: "the agent's port goes and comes back",
            run: cut_off,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

fn hello(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    for _ in 0..context.scale.pick(3, 100) {
        node.modprobe("skiff_hello")?;
        context.ktap(0, &format!("{} hello", guest::PATH))?;
        context.check("hello: the module unloads", |cluster| {
            cluster.node(0).run("rmmod skiff_hello")?.check()?;
            Ok(())
        });
    }
    Ok(())
}

fn cut_off(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    for round in 0..context.scale.pick(20, 1_000) {
        // Only an agent that has been idle is woken at once, in the middle of the unbinding.
        thread::sleep(Duration::from_millis(300));
        let output = node.run_cut_off(&format!("echo {round}"))?.check()?;
        ensure!(
            output.stdout_text().trim() == round.to_string(),
            "{output:?}"
        );
    }
    Ok(())
}
