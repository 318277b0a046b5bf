// SPDX-License-Identifier: GPL-2.0
//! The pool, seen from a context: what this node lends, what it may borrow, and borrowing.

use std::os::fd::AsFd;

use crate::context::failed;
use crate::context::milliseconds;
use crate::device::options::Filter;
use crate::device::options::LendOptions;
use crate::device::options::Protection;
use crate::device::options::Withdrawal;
use crate::device::state::DeviceInfo;
use crate::device::state::Refusal;
use crate::device::state::Share;
use crate::error::Attempt;
use crate::error::Error;
use crate::error::Result;
use crate::size_of_abi;
use crate::sys::Command;
use crate::uapi;
use crate::BorrowOptions;
use crate::Borrowed;
use crate::Context;
use crate::Fdid;
use crate::Node;
use crate::PciAddress;
use crate::Set;

/// Lending, which needs CAP_SYS_ADMIN.
impl Context {
    /// Adds a function of this node to the pool. It is not touched, and not available yet.
    pub fn lend_add(&self, function: PciAddress, options: &LendOptions) -> Result<Fdid> {
        let attempt = Attempt::LendAdd { function };
        let nodes = Set::of(&options.nodes).ok_or(Error::new(attempt, libc::EINVAL))?;
        let mut raw = uapi::skiff_lend_add {
            size: size_of_abi::<uapi::skiff_lend_add>(),
            domain: function.domain(),
            bdf: function.bdf().into(),
            mode: options.mode,
            nodes: nodes.bits(),
            ..Default::default()
        };
        self.command(attempt, Command::LendAdd(&mut raw))?;
        Ok(raw.fdid.into())
    }

    /// Takes an unavailable device out of the pool of this node.
    pub fn lend_remove(&self, fdid: impl Into<Fdid>, withdrawal: Withdrawal) -> Result<()> {
        let fdid = fdid.into();
        let mut raw = lent(fdid, force(withdrawal));
        self.command(Attempt::LendRemove { fdid }, Command::LendRemove(&mut raw))
    }

    /// Resets a device of this node and lets others borrow it. The driver skiff_lend must be
    /// bound to it; [`Error::refusal`] says why a device cannot be lent.
    pub fn lend_available(&self, fdid: impl Into<Fdid>, protection: Protection) -> Result<()> {
        let fdid = fdid.into();
        let flags = match protection {
            Protection::Required => 0,
            Protection::Waived => uapi::SKIFF_LEND_UNSAFE,
        };
        let mut raw = lent(fdid, flags);
        let attempt = Attempt::LendAvailable { fdid };
        let done = self.command(attempt, Command::LendAvailable(&mut raw));
        done.map_err(|error| match error.errno() {
            libc::EOPNOTSUPP => error.refused(Refusal::from_raw(raw.refusal)),
            _ => error,
        })
    }

    /// Lets nobody borrow a device of this node any more. The driver stays.
    pub fn lend_unavailable(&self, fdid: impl Into<Fdid>, withdrawal: Withdrawal) -> Result<()> {
        let fdid = fdid.into();
        let mut raw = lent(fdid, force(withdrawal));
        let attempt = Attempt::LendUnavailable { fdid };
        self.command(attempt, Command::LendUnavailable(&mut raw))
    }

    /// Shows the pool of this node to another one, until that is taken back, whatever becomes
    /// of links and of the other node. EBUSY when it sees the pool already.
    pub fn lend_connect(&self, node: impl Into<Node>) -> Result<()> {
        let node = node.into();
        let mut raw = peer(node);
        self.command(
            Attempt::LendConnect { node },
            Command::LendConnect(&mut raw),
        )
    }

    /// Hides the pool of this node from another one, and takes from it what it has borrowed.
    pub fn lend_disconnect(&self, node: impl Into<Node>) -> Result<()> {
        let node = node.into();
        let mut raw = peer(node);
        let attempt = Attempt::LendDisconnect { node };
        self.command(attempt, Command::LendDisconnect(&mut raw))
    }
}

/// Borrowing.
impl Context {
    /// The devices that this node lends, and those that others lend and let it see, ascending
    /// by their id. Nobody is asked for that.
    pub fn devices(&self, filter: &Filter) -> Result<Vec<DeviceInfo>> {
        let mut devices = Vec::new();
        let mut from = Some(0);
        while let Some(lowest) = from {
            let Some(device) = self.next_device(filter, lowest)? else {
                break;
            };
            devices.push(device);
            from = device.fdid.raw().checked_add(1);
        }
        Ok(devices)
    }

    /// The device with this id; `None` when this node sees no such device.
    pub fn device(&self, fdid: impl Into<Fdid>) -> Result<Option<DeviceInfo>> {
        let fdid = fdid.into();
        let found = self.next_device(&Filter::new(), fdid.raw())?;
        Ok(found.filter(|device| device.fdid == fdid))
    }

    fn next_device(&self, filter: &Filter, from: u32) -> Result<Option<DeviceInfo>> {
        let mut raw = uapi::skiff_device_query {
            size: size_of_abi::<uapi::skiff_device_query>(),
            from,
            ..filter.wanted
        };
        match self.command(Attempt::Devices, Command::DeviceQuery(&mut raw)) {
            Ok(()) if raw.device.fdid < from => Err(Error::new(Attempt::Devices, libc::EPROTO)),
            Ok(()) => Ok(Some(raw.device.into())),
            Err(error) if error.errno() == libc::ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Borrows a device.
    pub fn borrow(&self, fdid: impl Into<Fdid>, options: &BorrowOptions) -> Result<Borrowed> {
        let fdid = fdid.into();
        let mut raw = uapi::skiff_device_borrow {
            size: size_of_abi::<uapi::skiff_device_borrow>(),
            flags: match options.share {
                Share::Shared => 0,
                Share::Exclusive => uapi::SKIFF_BORROW_EXCLUSIVE,
            },
            fdid: fdid.raw(),
            timeout_ms: milliseconds(options.timeout),
            ..Default::default()
        };
        let borrowed = self.sys.borrow(self.fd.as_fd(), &mut raw);
        let fd = borrowed.map_err(failed(Attempt::Borrow { fdid }))?;
        Ok(Borrowed::new(self.sys, fd, options.timeout))
    }
}

fn force(withdrawal: Withdrawal) -> u32 {
    match withdrawal {
        Withdrawal::IfIdle => 0,
        Withdrawal::Force => uapi::SKIFF_LEND_FORCE,
    }
}

/// The argument of what is done with a device of the own pool.
fn lent(fdid: Fdid, flags: u32) -> uapi::skiff_lend_device {
    uapi::skiff_lend_device {
        size: size_of_abi::<uapi::skiff_lend_device>(),
        flags,
        fdid: fdid.raw(),
        refusal: 0,
    }
}

/// The argument of what is done about who sees the pool.
fn peer(node: Node) -> uapi::skiff_lend_peer {
    uapi::skiff_lend_peer {
        size: size_of_abi::<uapi::skiff_lend_peer>(),
        node: node.raw(),
        ..Default::default()
    }
}
