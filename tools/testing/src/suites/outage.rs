// SPDX-License-Identifier: GPL-2.0
//! The switch dies, nodes are reset: whoever is left goes on and knows.

use std::time::Duration;

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

/// The switch process is killed.
pub const SWITCH: Suite = Suite {
    name: "switch killed",
    on: &[Setting::STOCK],
    describe,
    prepare: |context| ntb_tool::load_everywhere(context.cluster),
    cases: &[Case {
        name: "nodes survive, report the loss of the link, and get a new switch",
        run: killed,
    }],
};

/// Nodes that go and come in every way there is.
pub const RETURN: Suite = Suite {
    name: "return",
    on: &[Setting::STOCK],
    describe,
    prepare: |context| ntb_tool::load_everywhere(context.cluster),
    cases: &[
        Case {
            name: "reboot",
            run: |context| returns(context, "reboot"),
        },
        Case {
            name: "reset",
            run: |context| returns(context, "reset"),
        },
        Case {
            name: "kill",
            run: |context| returns(context, "kill"),
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
        .aperture("16M")
        .cmdline("iomem=relaxed memmap=16M$0x8000000")
}

/// How long a node may take to notice that its link is gone.
const NOTICE: Duration = Duration::from_secs(15);

fn killed(context: &mut Context<'_>) -> Result<()> {
    let functions: Vec<String> = context
        .cluster
        .nodes()
        .iter()
        .map(|node| node.ntb_address(0))
        .collect::<Result<_, _>>()?;
    context.cluster.kill_switch()?;
    for (node, function) in functions.iter().enumerate() {
        context.check(
            &format!("node {node} runs on and reports the loss"),
            |cluster| {
                let node = cluster.node(node);
                // The link to the switch is down, and the port above takes the function away as it does on any loss of
                // its link (QEMU's does not by itself): the driver says so.
                node.unplug_ntb(0)?;
                node.wait_log("IDT NTB device is removed", NOTICE)?;
                node.wait_for(
                    &format!("test ! -e /sys/bus/pci/devices/{function}"),
                    NOTICE,
                )?;
                node.run("head -c 1000000 /dev/zero | sha256sum")?.check()?;
                Ok(())
            },
        );
    }
    context.check("a new switch is taken into use", |cluster| {
        cluster.restart_switch()?;
        for node in cluster.nodes() {
            node.plug_ntb(0)?;
            Tool::open(node, 0)?.take_into_use()?;
        }
        for (a, b) in [(0, 1), (1, 0)] {
            let tool = Tool::open(cluster.node(a), 0)?;
            tool.wait_link(cluster.node(b).port(0), true)?;
        }
        Ok(())
    });
    Ok(())
}

fn returns(context: &mut Context<'_>, how: &str) -> Result<()> {
    let cluster = context.cluster;
    let (stays, goes) = (cluster.node(0), cluster.node(1));
    let port = goes.port(0);
    let watcher = Tool::open(stays, 0)?;
    let down = watcher.link_event(port, false)?;
    match how {
        "reboot" => goes.reboot()?,
        "reset" => goes.reset()?,
        _ => {
            goes.kill()?;
            goes.start()?;
        }
    }
    down.wait()?.check()?;
    ensure!(
        !watcher.link(port)?,
        "the link is up although the node's driver is not loaded yet"
    );
    ntb_tool::load(goes)?;
    watcher.wait_link(port, true)?;
    let back = Tool::open(goes, 0)?;
    back.wait_link(stays.port(0), true)?;
    watcher.send(port, 2, 0xbac)?;
    back.wait_inbox(2, true)?;
    ensure!(
        back.message(2)?.0 == 0xbac,
        "another message: {:?}",
        back.message(2)?
    );
    back.clear_messages()?;
    watcher.clear_messages()
}
