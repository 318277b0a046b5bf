// SPDX-License-Identifier: GPL-2.0
//! What a lender does with a device of its pool: making it available and unavailable, removing it.
//!
//! Making available takes two parties, sysfs for the driver and /dev/skiff for the pool, so each
//! step that fails is followed by the way back. What is done already is not done again: a command that
//! was cut off in the middle is completed, or undone, by calling it once more.

use std::fmt::Debug;

use skiff::Context;
use skiff::DeviceInfo;
use skiff::DeviceState;
use skiff::Fdid;
use skiff::Filter;
use skiff::PciAddress;
use skiff::Protection;
use skiff::Withdrawal;

use super::sysfs::Files;
use super::sysfs::Function;
use super::sysfs::STUB;
use crate::arguments::device::Target;
use crate::error::Error;

/// The pool of this node.
pub trait Pool: Debug {
    /// The device of this node by that name.
    fn find(&self, target: Target) -> Result<DeviceInfo, Error>;
    fn available(&self, fdid: Fdid, protection: Protection) -> Result<(), Error>;
    fn unavailable(&self, fdid: Fdid, withdrawal: Withdrawal) -> Result<(), Error>;
    fn remove(&self, fdid: Fdid, withdrawal: Withdrawal) -> Result<(), Error>;
}

impl Pool for Context {
    fn find(&self, target: Target) -> Result<DeviceInfo, Error> {
        let own = Filter::new().node(self.info()?.node);
        let found = match target {
            Target::Fdid(fdid) => self.devices(&own)?.into_iter().find(|d| d.fdid == fdid),
            Target::Function(function) => self.devices(&own.function(function))?.pop(),
        };
        found.ok_or(Error::NotInPool { device: target })
    }

    fn available(&self, fdid: Fdid, protection: Protection) -> Result<(), Error> {
        Ok(self.lend_available(fdid, protection)?)
    }

    fn unavailable(&self, fdid: Fdid, withdrawal: Withdrawal) -> Result<(), Error> {
        Ok(self.lend_unavailable(fdid, withdrawal)?)
    }

    fn remove(&self, fdid: Fdid, withdrawal: Withdrawal) -> Result<(), Error> {
        Ok(self.lend_remove(fdid, withdrawal)?)
    }
}

/// Whether a driver may be taken away.
pub type Consent<'a> = &'a dyn Fn(PciAddress, &str) -> Result<(), Error>;

/// Lets others borrow a device; `consent` is asked for if another driver has it.
pub fn available(
    pool: &dyn Pool,
    files: &dyn Files,
    target: Target,
    protection: Protection,
    consent: Consent<'_>,
) -> Result<(), Error> {
    let device = pool.find(target)?;
    let function = function(files, &device)?;
    let bound = Bound::now(function)?;
    if !bound.to_stub() {
        bound.take(consent)?;
    }
    pool.available(device.fdid, protection).map_err(|error| {
        if bound.to_stub() {
            // It was so before.
            return error;
        }
        bound.restore(error)
    })
}

/// Lets nobody borrow a device any more, and gives it back to its driver.
pub fn unavailable(
    pool: &dyn Pool,
    files: &dyn Files,
    target: Target,
    withdrawal: Withdrawal,
) -> Result<(), Error> {
    let device = pool.find(target)?;
    withdraw(pool, files, &device, withdrawal)
}

/// Takes a device out of the pool, after making it unavailable.
pub fn remove(
    pool: &dyn Pool,
    files: &dyn Files,
    target: Target,
    withdrawal: Withdrawal,
) -> Result<(), Error> {
    let device = pool.find(target)?;
    withdraw(pool, files, &device, withdrawal)?;
    pool.remove(device.fdid, withdrawal)
}

fn withdraw(
    pool: &dyn Pool,
    files: &dyn Files,
    device: &DeviceInfo,
    withdrawal: Withdrawal,
) -> Result<(), Error> {
    match device.state {
        // An earlier call has come as far as this.
        DeviceState::Unavailable => {}
        _ => pool.unavailable(device.fdid, withdrawal)?,
    }
    // What was unplugged has no driver to come back.
    let Some(function) = Function::find(files, device.function) else {
        return Ok(());
    };
    Bound::now(function)?.give_back()
}

fn function<'a>(files: &'a dyn Files, device: &DeviceInfo) -> Result<Function<'a>, Error> {
    Function::find(files, device.function).ok_or(Error::NoFunction {
        function: device.function,
    })
}

/// Which driver had a function when it was looked at.
struct Bound<'a> {
    function: Function<'a>,
    driver: Option<String>,
    driver_override: Option<String>,
}

impl<'a> Bound<'a> {
    fn now(function: Function<'a>) -> Result<Self, Error> {
        Ok(Self {
            function,
            driver: function.driver()?,
            driver_override: function.driver_override()?,
        })
    }

    /// Takes the function from the driver of skiff and lets any other have it.
    fn give_back(&self) -> Result<(), Error> {
        let Self { function, .. } = self;
        // The order keeps the driver of skiff from getting it again.
        if self.driver_override.as_deref() == Some(STUB) {
            function.set_driver_override(None)?;
        }
        if self.to_stub() {
            function.unbind()?;
        }
        match self.driver.as_deref() {
            None | Some(STUB) => function.probe(),
            Some(_) => Ok(()),
        }
    }

    /// Whether it is the driver of skiff.
    fn to_stub(&self) -> bool {
        self.driver.as_deref() == Some(STUB)
    }

    /// Gives the function to the driver of skiff. When that fails it is as before.
    fn take(&self, consent: Consent<'_>) -> Result<(), Error> {
        if !self.function.has_stub() {
            return Err(Error::NoStub);
        }
        if let Some(driver) = &self.driver {
            consent(self.function.address(), driver)?;
        }
        self.hand_over().map_err(|error| self.restore(error))
    }

    fn hand_over(&self) -> Result<(), Error> {
        let Self { function, .. } = self;
        function.set_driver_override(Some(STUB))?;
        if self.driver.is_some() {
            function.unbind()?;
        }
        function.probe()?;
        match function.driver()? {
            Some(driver) if driver == STUB => Ok(()),
            _ => Err(Error::NotTaken {
                function: function.address(),
            }),
        }
    }

    /// Undoes [`Bound::take`]; gives the error that it is for, or one that tells of both if this fails as well.
    fn restore(&self, error: Error) -> Error {
        match self.undo() {
            Ok(()) => error,
            Err(undoing) => Error::HalfDone {
                function: self.function.address(),
                error: Box::new(error),
                undoing: Box::new(undoing),
            },
        }
    }

    fn undo(&self) -> Result<(), Error> {
        let Self { function, .. } = self;
        // One of skiff's is left of a call that was cut off.
        let before = self.driver_override.as_deref();
        function.set_driver_override(before.filter(|name| *name != STUB))?;
        let now = function.driver()?;
        if now == self.driver {
            return Ok(());
        }
        if now.is_some() {
            function.unbind()?;
        }
        match &self.driver {
            Some(driver) => function.bind(driver),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
