// SPDX-License-Identifier: GPL-2.0
//! A small Rust module on every kernel: proof that what is built here loads there.

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
        ALONE.kernel(Kernel::Stock73),
        ALONE.kernel(Kernel::Debug),
    ],
    describe,
    prepare: |_| Ok(()),
    cases: &[Case {
        name: "load, use, unload",
        run: hello,
    }],
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
