// SPDX-License-Identifier: GPL-2.0
//! Programs that use skiff by its libraries: C by libskiff, Rust by the example of the crate.

use anyhow::ensure;
use anyhow::Result;
use skiff_cluster::Builder;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::lend;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::share;

/// See the module.
pub const LIBRARY: Suite = Suite {
    name: "library",
    on: &[Setting::STOCK],
    describe,
    prepare: |context| share::load_everywhere(context.cluster, ""),
    cases: &[
        Case {
            name: "C on one node, linked statically",
            run: alone,
        },
        Case {
            name: "C on two nodes, with libskiff.so",
            run: pair,
        },
        Case {
            name: "C and a device that another node lends",
            run: device,
        },
        Case {
            name: "the crate's example on two nodes",
            run: mailbox,
        },
    ],
};

/// What a program that is not static needs in a node, besides libskiff.so.0.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// See [`LOADER`].
const LIBRARIES: &[&str] = &["libc.so.6", "libm.so.6", "libgcc_s.so.1"];

fn describe(builder: Builder, _: Setting) -> Builder {
    let mut builder = guest::install(builder);
    for name in [
        "skiff-c-memory",
        "skiff-c-segment",
        "skiff-c-pair",
        "skiff-c-device",
        "skiff",
        "examples/mailbox",
    ] {
        builder = guest::install_program(builder, name);
    }
    for name in LIBRARIES {
        let path = format!("/lib/x86_64-linux-gnu/{name}");
        builder = builder.file(&path, format!("/lib/{name}"));
    }
    builder
        .node(LENDER, lend::with_edu)
        .file(guest::beside("libskiff.so.0"), "/lib/libskiff.so.0")
        .file(LOADER, LOADER)
}

fn alone(context: &mut Context<'_>) -> Result<()> {
    context.ktap(0, "skiff-c-memory")?;
    context.ktap(0, "skiff-c-segment")
}

fn pair(context: &mut Context<'_>) -> Result<()> {
    let (near, far) = (context.cluster.node(0), context.cluster.node(1));
    let line = |role: &str, peer: u8| format!("skiff-c-pair {role} {peer}");
    let (owning, using) = (line("owner", far.port(0)), line("user", near.port(0)));
    let owner = near.shell(&owning).spawn()?;
    let user = far.shell(&using).spawn()?;
    let (owner, user) = (owner.wait()?, user.wait()?);
    context.results("owner: ", &owning, &owner)?;
    context.results("user: ", &using, &user)
}

fn device(context: &mut Context<'_>) -> Result<()> {
    let (near, far) = (context.cluster.node(BORROWER), context.cluster.node(LENDER));
    let address = lend::EDU.address(far)?;
    far.run(&format!(
        "skiff device add {address} --mode 666 && skiff device connect {} && \
         skiff device available {address} --unsafe",
        near.port(0)
    ))?
    .check()?;
    near.wait_for("skiff device list | grep -q ' available '", share::SOON)?;
    context.ktap(BORROWER, "skiff-c-device")?;
    far.run(&format!("skiff device remove {address}"))?
        .check()?;
    Ok(())
}

fn mailbox(context: &mut Context<'_>) -> Result<()> {
    let (near, far) = (context.cluster.node(0), context.cluster.node(1));
    let open = near.shell("exec mailbox open 7").spawn()?;
    open.wait_for_output("open\n", share::SOON)?;
    for text in ["ahoy", "make fast", ""] {
        far.run(&format!("mailbox post {} 7 '{text}'", near.port(0)))?
            .check()?;
    }
    let said = open.wait()?.check()?.stdout_text().into_owned();
    ensure!(said == "open\nahoy\nmake fast\n", "{said:?}");
    let late = far.run(&format!("mailbox post {} 7 late", near.port(0)))?;
    ensure!(late.status.code() == 1, "{late:?}");
    ensure!(late.stderr_text().contains("(ENOENT)"), "{late:?}");
    Ok(())
}
