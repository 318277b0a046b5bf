// SPDX-License-Identifier: GPL-2.0
//! Two adapters a node: four ports, each with a life of its own.

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::ntb_tool;
use crate::ntb_tool::Tool;

/// See the module.
pub const ADAPTERS: Suite = Suite {
    name: "adapters",
    on: &[Setting::STOCK.adapters(2)],
    describe,
    prepare: |context| ntb_tool::load_everywhere(context.cluster),
    cases: &[Case {
        name: "every adapter reaches every other one",
        run: every_adapter,
    }],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
        .aperture("16M")
        .cmdline("iomem=relaxed")
}

fn every_adapter(context: &mut Context<'_>) -> Result<()> {
    let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
    for from in all {
        for to in all.into_iter().filter(|to| *to != from) {
            let name = format!(
                "ntb_hw_idt message node {} adapter {} -> node {} adapter {}",
                from.0, from.1, to.0, to.1
            );
            context.check(&name, |cluster| {
                let sender = Tool::open(cluster.node(from.0), from.1)?;
                let receiver = Tool::open(cluster.node(to.0), to.1)?;
                sender.wait_link(receiver.port(), true)?;
                let value =
                    0xada0_0000 | (u32::from(sender.port()) << 8) | u32::from(receiver.port());
                sender.send(receiver.port(), 0, value)?;
                receiver.wait_inbox(0, true)?;
                let (got, source) = receiver.message(0)?;
                ensure!(got == value, "{got:#x} arrived, {value:#x} was sent");
                ensure!(
                    source == receiver.peer(sender.port())?,
                    "the hardware names peer {source}"
                );
                receiver.clear_messages()
            });
        }
    }
    Ok(())
}
