// SPDX-License-Identifier: GPL-2.0
//! The NTB function is pulled out with the driver bound, and comes back; again and again.

use anyhow::ensure;
use anyhow::Context as _;
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
pub const HOTPLUG: Suite = Suite {
    name: "hotplug",
    on: &[Setting::STOCK],
    describe,
    prepare: |context| ntb_tool::load_everywhere(context.cluster),
    cases: &[Case {
        name: "ntb_hw_idt survives unplug and re-add",
        run: rounds,
    }],
};

/// A place in the RAM of both nodes that their kernels never touch.
const AREA: u64 = 0x800_0000;

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
        .aperture("16M")
        .cmdline("iomem=relaxed memmap=16M$0x8000000")
}

fn rounds(context: &mut Context<'_>) -> Result<()> {
    let rounds = context.scale.pick(50, 1000);
    let cluster = context.cluster;
    let (stays, goes) = (cluster.node(0), cluster.node(1));
    let port = goes.port(0);
    for round in 0..rounds {
        let one = || -> Result<()> {
            let watcher = Tool::open(stays, 0)?;
            watcher.wait_link(port, true)?;
            watcher.aim(port, 0, AREA, 1 << 20)?;
            let mark = 0x1000_0000 + round;
            guest::run(stays, &format!("window store memory 0 {mark:#x}"))?;
            let there = cluster.switch().memory_read(port, AREA, 4)?;
            ensure!(
                there == mark.to_le_bytes(),
                "{mark:#x} was stored, the other node's memory holds {there:x?}"
            );
            goes.unplug_ntb(0)?;
            watcher.wait_link(port, false)?;
            let seen = guest::value(stays, "window load memory 0")?;
            ensure!(
                seen == 0xffff_ffff,
                "the slot towards the unplugged node reads {seen:#x}"
            );
            watcher.release(port, 0)?;
            goes.plug_ntb(0)?;
            let returned = Tool::open(goes, 0)?;
            returned.take_into_use()?;
            watcher.wait_link(port, true)?;
            // And the other way, through the function that has just come.
            returned.wait_link(stays.port(0), true)?;
            returned.aim(stays.port(0), 0, AREA, 1 << 20)?;
            guest::run(goes, &format!("window store memory 0 {mark:#x}"))?;
            let there = cluster.switch().memory_read(stays.port(0), AREA, 4)?;
            ensure!(
                there == mark.to_le_bytes(),
                "{mark:#x} was stored by the one that came back, {there:x?} is there"
            );
            returned.release(stays.port(0), 0)
        };
        one().with_context(|| format!("round {round} of {rounds}"))?;
    }
    Ok(())
}
