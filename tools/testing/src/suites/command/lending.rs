// SPDX-License-Identifier: GPL-2.0
//! Lending by command: `skiff device` and smartio_tool, with the driver of a function that goes and comes back.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde_json::json;
use serde_json::Value;
use skiff_cluster::Node;

use super::good;
use super::json_lines;
use super::value;
use super::FAILED;
use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::lend;
use crate::lend::BORROWER;
use crate::lend::EDU;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share;

/// See the module.
pub const LENDING: Suite = Suite {
    name: "command, devices",
    on: &[Setting::STOCK],
    describe: |builder, _| guest::install_program(lend::describe(builder), "skiff"),
    prepare,
    cases: &[
        Case {
            name: "the life of a lent device",
            run: life,
        },
        Case {
            name: "a borrower that holds it",
            run: borrower,
        },
        Case {
            name: "configuration space",
            run: config,
        },
        Case {
            name: "filters",
            run: filters,
        },
    ],
};

/// A driver takes a moment to find its disk.
const MOMENT: Duration = Duration::from_secs(20);

fn prepare(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    share::load_everywhere(cluster, "")?;
    cluster.node(LENDER).modprobe("nvme")?;
    for node in cluster.nodes() {
        // A link, as it is installed.
        node.run("ln -s $(command -v skiff) /bin/smartio_tool")?
            .check()?;
    }
    Ok(())
}

/// smartio_tool, which must be good; gives what it printed.
fn smartio(node: &Node, words: &str) -> Result<String> {
    let output = node
        .run(&format!("smartio_tool {words} </dev/null"))?
        .check()?;
    Ok(output.stdout_text().into_owned())
}

/// smartio_tool, which must fail; gives what it said.
fn refused(node: &Node, words: &str) -> Result<String> {
    let output = node.run(&format!("smartio_tool {words} </dev/null"))?;
    let code = output.status.code();
    ensure!(code == FAILED, "{words}: exit code {code}: {output:?}");
    Ok(output.stderr_text().into_owned())
}

/// The driver of a function; empty if it has none.
fn driver(node: &Node, address: &str) -> Result<String> {
    let line = format!("readlink /sys/bus/pci/devices/{address}/driver | sed 's|.*/||'");
    Ok(node.run(&line)?.stdout_text().trim().to_owned())
}

fn has_driver(node: &Node, address: &str, wanted: &str) -> Result<()> {
    let found = driver(node, address)?;
    ensure!(
        found == wanted,
        "the driver of {address} is {found:?}, not {wanted:?}"
    );
    Ok(())
}

/// The driver that is for it works again.
fn has_disk(node: &Node, address: &str) -> Result<()> {
    has_driver(node, address, "nvme")?;
    let line = format!("ls /sys/bus/pci/devices/{address}/nvme/nvme*/ | grep -q nvme.*n1");
    node.wait_for(&line, MOMENT)?;
    let left = node.run(&format!(
        "cat /sys/bus/pci/devices/{address}/driver_override"
    ))?;
    let left = left.stdout_text().trim().to_owned();
    ensure!(left == "(null)", "driver_override is left at {left}");
    Ok(())
}

/// What `list` prints of a controller: there is no pci.ids.
fn line(fdid: &str, state: &str) -> String {
    format!("{fdid}: Class 0108 Device 1b36:0010 [{state}]\n")
}

/// The id of the first device of the lender's pool, which is node 1 as this suite has it.
fn first(node: &Node) -> String {
    format!("{:x}", (u32::from(node.port(0)) + 1) << 18)
}

fn life(context: &mut Context<'_>) -> Result<()> {
    let (near, far) = (context.cluster.node(BORROWER), context.cluster.node(LENDER));
    let (address, fdid) = (NVME.address(far)?, first(far));
    let borrower_id = (u32::from(near.port(0)) + 1) * 4;
    has_disk(far, &address)?;

    let added = smartio(far, &format!("add {address}"))?;
    ensure!(added == line(&fdid, "unavailable"), "{added}");
    has_driver(far, &address, "nvme")?;
    let twice = refused(far, &format!("add {address}"))?;
    ensure!(
        twice.contains("it is in the pool already (EADDRINUSE)"),
        "{twice}"
    );

    let unseen = smartio(near, "list")?;
    ensure!(unseen.is_empty(), "seen without being connected: {unseen}");
    smartio(far, &format!("connect {borrower_id}"))?;
    near.wait_for("smartio_tool list | grep -q unavailable", share::SOON)?;
    ensure!(
        smartio(near, "list")? == line(&fdid, "unavailable"),
        "the list"
    );

    context.check("a driver is not taken away without being asked", |_| {
        let said = refused(far, &format!("available {address}"))?;
        ensure!(
            said == format!(
                "smartio_tool: the driver nvme has {address}\n  \
                 help: stop what uses it, and take it away: --force\n"
            ),
            "{said}"
        );
        has_disk(far, &address)
    });
    context.check("a device that cannot be lent gets its driver back", |_| {
        let said = refused(far, &format!("available --force {address}"))?;
        ensure!(said.contains("no IOMMU keeps it"), "{said}");
        ensure!(said.contains("--unsafe"), "{said}");
        has_disk(far, &address)
    });
    context.check("available", |_| {
        smartio(far, &format!("available --force --unsafe {address}"))?;
        has_driver(far, &address, "skiff_lend")?;
        for node in [near, far] {
            node.wait_for("smartio_tool list | grep -q '\\[available\\]'", share::SOON)?;
            ensure!(
                smartio(node, "list")? == line(&fdid, "available"),
                "the list"
            );
        }
        let rows = value(near, "device list")?;
        let row = &rows[0];
        ensure!(row["fdid"] == fdid && row["state"] == "available", "{rows}");
        ensure!(
            row["function"] == address && row["local"] == false,
            "{rows}"
        );
        ensure!(
            row["class"] == "010802" && row["contained"] == false,
            "{rows}"
        );
        ensure!(
            value(near, "device list --class 02")? == json!([]),
            "a filter"
        );
        ensure!(
            value(near, "device list --vendor 1b36")? == rows,
            "a filter"
        );
        let info = good(near, &format!("device info {fdid}"))?;
        ensure!(info.contains("BAR 0: "), "{info}");
        Ok(())
    });
    context.check("unavailable", |_| {
        smartio(far, &format!("unavailable {address}"))?;
        has_disk(far, &address)
    });
    context.check("removed", |_| {
        smartio(far, &format!("remove {fdid}"))?;
        ensure!(smartio(far, "list")?.is_empty(), "it is still there");
        near.wait_for("[ -z \"$(smartio_tool list)\" ]", share::SOON)?;
        let gone = refused(far, &format!("remove {address}"))?;
        ensure!(
            gone.contains(&format!("{address} is not in the pool")),
            "{gone}"
        );
        Ok(())
    });
    good(far, &format!("device disconnect {}", near.port(0)))?;
    Ok(())
}

/// Lends the controller to the borrower; gives its address and its id.
fn lent(near: &Node, far: &Node) -> Result<(String, String)> {
    let address = NVME.address(far)?;
    let added: Value = value(far, &format!("device add {address} --mode 666"))?;
    let fdid = added["fdid"].as_str().context("no fdid")?.to_owned();
    good(far, &format!("device connect {}", near.port(0)))?;
    good(far, &format!("device available {address} --force --unsafe"))?;
    let seen = format!("smartio_tool list | grep -q '{fdid}.*\\[available\\]'");
    near.wait_for(&seen, share::SOON)?;
    Ok((address, fdid))
}

/// Takes that back.
fn withdrawn(near: &Node, far: &Node, address: &str) -> Result<()> {
    good(far, &format!("device remove {address}"))?;
    good(far, &format!("device disconnect {}", near.port(0)))?;
    has_disk(far, address)
}

fn borrower(context: &mut Context<'_>) -> Result<()> {
    let (near, far) = (context.cluster.node(BORROWER), context.cluster.node(LENDER));
    let (address, fdid) = lent(near, far)?;
    let hold = |words: &str| {
        let line = format!("exec skiff --json device borrow {fdid} {words} </dev/null");
        let job = near.shell(&line).spawn()?;
        job.wait_for_output("\n", share::SOON)?;
        Ok::<_, anyhow::Error>(job)
    };

    context.check("a borrowed device stays its borrower's", |_| {
        let job = hold("--exclusive")?;
        let held = json_lines(&job.stdout_so_far())?;
        let wanted = json!({ "fdid": fdid, "node": far.port(0), "exclusive": true });
        ensure!(held == [wanted], "{held:?}");
        far.wait_for("smartio_tool list | grep -q '\\[exclusive\\]'", share::SOON)?;
        for words in ["unavailable", "remove"] {
            let said = refused(far, &format!("{words} {address}"))?;
            ensure!(said.contains("it is borrowed"), "{said}");
            ensure!(said.contains("--force"), "{said}");
        }
        has_driver(far, &address, "skiff_lend")?;
        job.kill(15);
        let held = json_lines(&job.wait()?.check()?.stdout)?;
        ensure!(held.len() == 1, "events of its own end: {held:?}");
        far.wait_for("smartio_tool list | grep -q '\\[available\\]'", share::SOON)?;
        Ok(())
    });
    context.check("taken away with force, it ends", |_| {
        let job = hold("")?;
        smartio(far, &format!("unavailable --force {address}"))?;
        let lines = json_lines(&job.wait()?.check()?.stdout)?;
        let last = lines.last().context("no line")?;
        ensure!(last["event"] == "ended", "{lines:?}");
        has_disk(far, &address)
    });
    withdrawn(near, far, &address)
}

fn config(context: &mut Context<'_>) -> Result<()> {
    let (near, far) = (context.cluster.node(BORROWER), context.cluster.node(LENDER));
    let (address, fdid) = lent(near, far)?;
    let dump = smartio(near, &format!("lspci {fdid}"))?;
    let mut lines = dump.lines();
    let head = lines.next().context("no line")?;
    ensure!(
        head == format!("{address} Class 0108: Device 1b36:0010"),
        "{head}"
    );
    let first = lines.next().context("no bytes")?;
    ensure!(first.starts_with("00: 36 1b 10 00 "), "{first}");
    let own = smartio(far, &format!("lspci {fdid}"))?;
    // Ids, class and BARs do not change.
    let same = |dump: &str| {
        dump.lines()
            .skip(3)
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    ensure!(same(&own) == same(&dump), "{own}\n{dump}");
    withdrawn(near, far, &address)
}

fn filters(context: &mut Context<'_>) -> Result<()> {
    let far = context.cluster.node(LENDER);
    let nothing = refused(far, "add-filter ffff:")?;
    ensure!(nothing.contains("nothing is like ffff:"), "{nothing}");
    let added = smartio(far, "add-filter ::0108")?;
    ensure!(added.lines().count() == 2, "{added}");
    let edu = smartio(far, &format!("add {}", EDU.address(far)?))?;
    ensure!(edu.contains("1234:11e8 [unavailable]"), "{edu}");
    smartio(far, "available-filter --force --unsafe ::0108")?;
    let count = |state: &str| {
        let list = smartio(far, "list")?;
        let found = list
            .lines()
            .filter(|line| line.ends_with(&format!("[{state}]")));
        Ok::<_, anyhow::Error>(found.count())
    };
    ensure!(
        count("available")? == 2 && count("unavailable")? == 1,
        "the list"
    );
    let again = refused(far, "available-filter --force --unsafe 1b36:0010")?;
    ensure!(again.contains("2 of 2 devices failed"), "{again}");
    smartio(far, "unavailable-filter 1b36:")?;
    ensure!(count("unavailable")? == 3, "the list");
    has_disk(far, &NVME.address(far)?)?;
    let list = value(far, "device list")?;
    for row in list.as_array().context("no list")? {
        let fdid = row["fdid"].as_str().context("no fdid")?;
        smartio(far, &format!("remove {fdid}"))?;
    }
    ensure!(smartio(far, "list")?.is_empty(), "something is left");
    Ok(())
}
