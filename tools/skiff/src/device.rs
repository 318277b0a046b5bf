// SPDX-License-Identifier: GPL-2.0
//! What is done with lent devices: `skiff device`, and the commands of smartio_tool that are the same.

pub mod borrow;
pub mod config;
pub mod filter;
pub mod lend;
pub mod list;
mod names;
pub mod sysfs;

use std::io;
use std::io::IsTerminal;
use std::io::Write;

use skiff::Context;
use skiff::LendOptions;
use skiff::PciAddress;
use skiff::Protection;
use skiff::Withdrawal;

use crate::arguments::device::Device;
use crate::arguments::device::Target;
use crate::error::Error;
use crate::output::Output;
use crate::signals::Held;
use sysfs::System;

/// `skiff device`
pub fn run(command: Device, output: &Output) -> Result<(), Error> {
    match command {
        Device::List(wanted) => list::list(&wanted, output),
        Device::Info { fdid } => list::info(fdid, output),
        Device::Add(wanted) => {
            let options = LendOptions::new().mode(wanted.mode).nodes(&wanted.nodes);
            add(wanted.function, &options, output)
        }
        Device::Available(wanted) => {
            let protection = if wanted.unprotected {
                Protection::Waived
            } else {
                Protection::Required
            };
            available(wanted.device, wanted.force, protection)
        }
        Device::Unavailable(wanted) => unavailable(wanted.device, withdrawal(wanted.force)),
        Device::Remove(wanted) => remove(wanted.device, withdrawal(wanted.force)),
        Device::Connect { node } => Ok(Context::open()?.lend_connect(node)?),
        Device::Disconnect { node } => Ok(Context::open()?.lend_disconnect(node)?),
        Device::Borrow(wanted) => borrow::run(&wanted, output),
        Device::Lspci(wanted) => config::run(wanted.fdid, &wanted.options),
    }
}

/// Adds a function to the pool and prints what others see of it.
pub fn add(function: PciAddress, options: &LendOptions, output: &Output) -> Result<(), Error> {
    let context = Context::open()?;
    let fdid = context.lend_add(function, options)?;
    list::print_new(&context, fdid, output)
}

/// Makes a device available; `force` takes its driver away without asking.
pub fn available(device: Target, force: bool, protection: Protection) -> Result<(), Error> {
    let context = Context::open()?;
    let consent = |function: PciAddress, driver: &str| {
        if force || agreed(function, driver)? {
            return Ok(());
        }
        let driver = driver.to_owned();
        Err(Error::DriverBound { function, driver })
    };
    let _held = Held::new()?;
    lend::available(&context, &System, device, protection, &consent)
}

/// Makes a device unavailable.
pub fn unavailable(device: Target, withdrawal: Withdrawal) -> Result<(), Error> {
    let context = Context::open()?;
    let _held = Held::new()?;
    lend::unavailable(&context, &System, device, withdrawal)
}

/// Takes a device out of the pool.
pub fn remove(device: Target, withdrawal: Withdrawal) -> Result<(), Error> {
    let context = Context::open()?;
    let _held = Held::new()?;
    lend::remove(&context, &System, device, withdrawal)
}

pub fn withdrawal(force: bool) -> Withdrawal {
    if force {
        Withdrawal::Force
    } else {
        Withdrawal::IfIdle
    }
}

/// Asks whether a driver may be taken away, if there is somebody to ask.
fn agreed(function: PciAddress, driver: &str) -> Result<bool, Error> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    let mut stderr = io::stderr();
    write!(
        stderr,
        "The driver {driver} has {function}, and what uses it loses it. Take it away? [y/N] "
    )
    .and_then(|()| stderr.flush())
    .map_err(Error::Print)?;
    let mut answer = String::new();
    stdin.read_line(&mut answer).map_err(|cause| Error::File {
        what: "read",
        path: "stdin".into(),
        cause,
    })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
