// SPDX-License-Identifier: GPL-2.0
//! Bad input for /dev/skiff: each case is a line of a table, with the errno that include/uapi/linux/skiff.h documents.
//!
//! Everything goes through raw system calls ([`raw`]), with the ABI as numbers of its own ([`layout`]).

mod events;
mod fields;
mod format;
mod kinds;
pub mod layout;
mod lending;
mod maps;
pub mod objects;
pub mod raw;
mod sealed;

use std::fmt::Debug;

use anyhow::ensure;
use anyhow::Result;
use nix::errno::Errno;

use self::objects::Held;
use self::objects::Objects;
use crate::ktap::Report;

/// A call that must fail with one of these.
pub fn expect<T: Debug>(result: Result<T, Errno>, errors: &[Errno]) -> Result<()> {
    match result {
        Err(error) => ensure!(errors.contains(&error), "{error:?} instead of {errors:?}"),
        Ok(value) => anyhow::bail!("success ({value:?}) instead of {errors:?}"),
    }
    Ok(())
}

/// Runs all tests (KTAP); `function` is a function of this node to lend.
pub fn run(function: &str) -> Result<()> {
    let context = raw::open()?;
    let before = Held::now(&context)?;
    let objects = Objects::new(function)?;
    let holding = Held::now(&context)?;
    let mut report = Report::start();
    format::run(&mut report, &objects);
    fields::run(&mut report, &objects);
    sealed::run(&mut report, &objects);
    kinds::run(&mut report, &objects);
    lending::run(&mut report, &objects);
    maps::run(&mut report, &objects);
    events::run(&mut report, &objects);
    report.test("abi: calls that failed left nothing behind", || {
        holding.same(&context)
    });
    drop(objects);
    report.test(
        "abi: descriptors that are closed leave nothing behind",
        || before.same(&context),
    );
    report.finish()
}
