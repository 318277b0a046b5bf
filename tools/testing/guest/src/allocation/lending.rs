// SPDX-License-Identifier: GPL-2.0
//! The calls on the pool and on borrowed devices whose allocations fail. The device is one that this node lends to itself.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

use super::operations::allocating;
use super::operations::command;
use super::operations::nothing;
use super::operations::Operation;
use super::operations::Stage;
use crate::abi::layout::lent;
use crate::abi::objects;
use crate::abi::objects::Lent;
use crate::abi::raw::Map;
use crate::abi::raw::PAGE;

/// Id of the memory that is made close to the device.
const ID: u64 = 75;

fn borrow(stage: &mut Stage) -> Result<()> {
    stage.device = Some(Lent::borrow(&stage.context, 0)?);
    Ok(())
}

fn with_memory(stage: &mut Stage) -> Result<()> {
    borrow(stage)?;
    stage.publish()
}

fn with_registers(stage: &mut Stage) -> Result<()> {
    borrow(stage)?;
    let device = stage.device.as_ref().context("no device")?;
    let fields = [("memory", lent::BAR)];
    stage.remote = Some(objects::make(
        device.as_fd(),
        &lent::SEGMENT_CONNECT,
        &fields,
    )?);
    Ok(())
}

fn lent_device(_: &Stage) -> Vec<(&'static str, u64)> {
    vec![("fdid", Lent::FDID)]
}

fn memory(_: &Stage) -> Vec<(&'static str, u64)> {
    vec![
        ("memory", lent::PRIVATE),
        ("id", ID),
        ("bytes", 16 * PAGE as u64),
    ]
}

fn own_segment(stage: &Stage) -> Vec<(&'static str, u64)> {
    // A descriptor is not negative; without a segment the call itself says EBADF.
    let fd = stage.local.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    vec![("fd", u64::try_from(fd).unwrap_or(u64::MAX))]
}

fn map(stage: &mut Stage) -> Result<(), Errno> {
    let fd = stage.remote.as_ref().ok_or(Errno::EBADF)?.as_fd();
    stage.map = Some(Map::shared(fd, PAGE, 0)?);
    Ok(())
}

fn unlend(stage: &mut Stage) -> Result<()> {
    Lent::make_unavailable(&stage.context)
}

/// The operation on a device that is not lent. It has it reset.
pub const UNLENT: &[Operation] = &[Operation {
    // A reset that fails is none that works; and whether a BAR is taken or there is no memory to take it, the kernel does
    // not say.
    errors: &[Errno::EOPNOTSUPP, Errno::EBUSY],
    ..allocating!("LEND_AVAILABLE", lent::AVAILABLE, unlend, |_| vec![
        ("flags", lent::UNSAFE),
        ("fdid", Lent::FDID)
    ])
}];

/// Every operation on one that is.
pub const ALL: &[Operation] = &[
    // The host bridge; nothing is done to it.
    allocating!("LEND_ADD", lent::ADD, super::operations::none, |_| vec![(
        "mode", 0o600
    )]),
    command!(
        "DEVICE_QUERY",
        lent::QUERY,
        super::operations::none,
        nothing
    ),
    allocating!(
        "DEVICE_BORROW",
        lent::BORROW,
        super::operations::none,
        lent_device
    ),
    command!("DEVICE_INFO", lent::INFO, borrow, nothing),
    allocating!(
        "DEVICE_SEGMENT_CREATE",
        lent::SEGMENT_CREATE,
        borrow,
        memory
    ),
    allocating!(
        "DEVICE_SEGMENT_CONNECT to registers",
        lent::SEGMENT_CONNECT,
        borrow,
        |_| vec![("memory", lent::BAR)]
    ),
    Operation {
        again: |stage| {
            let device = stage.device.as_ref().context("no device")?;
            let maps = objects::ask(device.as_fd(), &lent::INFO, &[], "maps")?;
            ensure!(maps == 0, "a failure left a mapping");
            Ok(stage.call(&lent::MAP)?)
        },
        ..allocating!("DEVICE_MAP", lent::MAP, with_memory, own_segment)
    },
    command!("DEVICE_CONFIG_READ", lent::CONFIG_READ, borrow, |_| vec![(
        "width", 4
    )]),
    command!("DEVICE_BUS_MASTER", lent::BUS_MASTER, borrow, nothing),
    command!("DEVICE_VECTORS", lent::VECTORS, borrow, |_| vec![(
        "count", 1
    )]),
    command!("DEVICE_RETURN", lent::RETURN, borrow, nothing),
    Operation {
        name: "mmap of registers",
        far: false,
        allocates: true,
        prepare: with_registers,
        call: map,
        again: |stage| Ok(map(stage)?),
        errors: &[Errno::ENOSPC],
    },
    Operation {
        name: "close of a device with registers",
        far: false,
        allocates: false,
        prepare: |stage| {
            with_registers(stage)?;
            Ok(map(stage)?)
        },
        call: |stage| {
            stage.device = None;
            stage.map = None;
            stage.remote = None;
            Ok(())
        },
        again: super::operations::none,
        errors: &[],
    },
];
