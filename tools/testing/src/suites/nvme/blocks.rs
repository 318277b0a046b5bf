// SPDX-License-Identifier: GPL-2.0
//! Verified random I/O, and what of it is left after returning, after a reboot, and for Linux's own driver.

use anyhow::ensure;
use anyhow::Result;

use crate::disk::Region;
use crate::frame::Case;
use crate::frame::Context;
use crate::lend::offer;
use crate::lend::wait_state;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::nvme;
use crate::nvme::region;
use crate::share::Actor;

/// See the module.
pub const AGAIN: Case = Case {
    name: "random I/O, by interrupts and polled: right at once, when borrowed again, after a reboot, at home",
    run: again,
};

/// Idle and busy in turns.
pub const WAKES: Case = Case {
    name: "few operations at a time, with pauses of any length: the controller is told of each, and none waits for another",
    run: wakes,
};

/// MiB of each region, and where the two begin.
const BYTES: u64 = 1;
const FIRST: u64 = 5;
const SECOND: u64 = 40;

/// One by interrupts, one polled.
fn parts(path: &str) -> [Region<'_>; 2] {
    [
        region(path, FIRST, BYTES, 21),
        Region {
            polled: true,
            ..region(path, SECOND, BYTES, 22)
        },
    ]
}

fn again(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    let lender = Actor::start(home, "lender")?;
    let operations = u64::from(context.scale.pick(1500, 2_000_000));
    let path = nvme::load(node)?;
    let mut done = Vec::new();
    for part in parts(&path) {
        done.push(part.work(node, operations)?.operations);
    }
    let check = |path: &str| -> Result<()> {
        for (part, operations) in parts(path).iter().zip(&done) {
            part.check(node, *operations)?;
        }
        Ok(())
    };
    check(&path)?;
    check(&nvme::bind_again(node)?)?;
    nvme::unload(node)?;
    check(&nvme::load(node)?)?;
    node.kill()?;
    nvme::start_again(cluster, BORROWER)?;
    check(&nvme::load(node)?)?;
    nvme::unload(node)?;
    // What skiff_nvme.ko takes for a block must be the same for others.
    let fdid = crate::lend::seen(cluster, &lender, NVME)?.fdid;
    wait_state(&lender, fdid, "Available")?;
    lender.tell(&format!("lend-unavailable {fdid}"))?;
    lender.tell(&format!("lend-remove {fdid}"))?;
    let path = nvme::at_home(home)?;
    for (part, operations) in parts(&path).into_iter().zip(done) {
        let part = Region {
            polled: false,
            ..part
        };
        part.check(home, operations)?;
    }
    let fdid = offer(context.setting, &lender, NVME)?;
    let user = Actor::start(node, "user")?;
    wait_state(&user, fdid, "Available")
}

fn wakes(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(BORROWER);
    let operations = u64::from(context.scale.pick(400, 400_000));
    let path = nvme::load(node)?;
    for depth in 1..=4 {
        for polled in [false, true] {
            let part = Region {
                depth,
                polled,
                bytes: 256 << 10,
                ..region(&path, FIRST, BYTES, 23)
            };
            // About as long as an operation takes.
            part.work_with_pauses(node, operations, 400)?;
        }
    }
    let told = nvme::told(node);
    ensure!(
        told.contains("shadow doorbells") && !told.contains("takes long"),
        "a command was slept on: {told}"
    );
    nvme::unload(node)
}
