// SPDX-License-Identifier: GPL-2.0
//! Failing allocations: every one of every call fails once, and the call succeeds or says so, and leaves nothing behind.

pub mod injector;
mod lending;
mod operations;

use std::fs::File;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

use self::injector::Injection;
use self::injector::Injector;
use self::operations::Operation;
use self::operations::Stage;
use crate::abi::layout::NODE_LOCAL;
use crate::abi::objects::Held;
use crate::abi::objects::Lent;
use crate::abi::raw;
use crate::ktap::Report;

/// A call with more allocations than this never ends.
const LIMIT: u32 = 2000;

/// Runs all operations; those towards a peer want the node that has `peer` as its number, those on devices a function of
/// this node to lend (KTAP).
pub fn run(peer: Option<u64>, function: Option<&str>) -> Result<()> {
    let injector = Injector::new()?;
    let mut report = Report::start();
    for operation in operations::ALL {
        if operation.far && peer.is_none() {
            continue;
        }
        let name = format!(
            "fail-nth: {}: success or errno, nothing left behind",
            operation.name
        );
        let node = match (operation.far, peer) {
            (true, Some(peer)) => peer,
            _ => NODE_LOCAL,
        };
        report.test(&name, || sweep(&injector, operation, node));
    }
    if let Some(function) = function {
        let context = raw::open()?;
        let lent = Lent::new(&context, function)?;
        sweep_all(&mut report, &injector, lending::ALL);
        lent.take()?;
        sweep_all(&mut report, &injector, lending::UNLENT);
        drop(lent);
    }
    report.finish()
}

/// Runs operations on this node alone.
fn sweep_all(report: &mut Report, injector: &Injector, operations: &[Operation]) {
    for operation in operations {
        let name = format!(
            "fail-nth: {}: success or errno, nothing left behind",
            operation.name
        );
        report.test(&name, || sweep(injector, operation, NODE_LOCAL));
    }
}

/// Counts up until a call ends without a failure in it.
fn sweep(injector: &Injector, operation: &Operation, node: u64) -> Result<()> {
    let context = raw::open()?;
    let mut refused = 0;
    for nth in 1..=LIMIT {
        let (result, injection) = once(injector, operation, node, &context, nth)
            .with_context(|| format!("failure {nth}"))?;
        match (result, injection) {
            (Ok(()), Injection::Missed) => {
                println!(
                    "# {}: {} failures, {refused} of them an errno",
                    operation.name,
                    nth - 1
                );
                ensure!(
                    refused > 0 || !operation.allocates,
                    "no failure had a consequence: they were not injected"
                );
                return Ok(());
            }
            (Ok(()), Injection::Hit) => {}
            (Err(error), Injection::Hit) => {
                refused += 1;
                // EFAULT: the copying from and to the caller's memory fails, too.
                ensure!(
                    matches!(error, Errno::ENOMEM | Errno::EFAULT)
                        || operation.errors.contains(&error),
                    "failure {nth}: {error:?}"
                );
            }
            (Err(error), Injection::Missed) => {
                anyhow::bail!("without an injection: {error:?}")
            }
        }
    }
    anyhow::bail!("no call without injection in {LIMIT}")
}

/// One call with its `nth` allocation failing; the node must hold afterwards what it held before.
fn once(
    injector: &Injector,
    operation: &Operation,
    node: u64,
    context: &File,
    nth: u32,
) -> Result<(Result<(), Errno>, Injection)> {
    let before = Held::now(context)?;
    let mut stage = Stage::new(node)?;
    (operation.prepare)(&mut stage).context("the preparation")?;
    let (result, injection) = injector.call(nth, || (operation.call)(&mut stage))?;
    if result.is_err() {
        // A command that fails leaves nothing changed, and may be repeated.
        (operation.again)(&mut stage).context("the same call again")?;
    }
    drop(stage);
    before.same(context)?;
    Ok((result, injection))
}
