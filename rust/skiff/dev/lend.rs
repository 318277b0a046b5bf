// SPDX-License-Identifier: GPL-2.0

//! What a context does with the pool: lending, finding and borrowing devices.

use kernel::{
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uaccess::UserPtr, //
};
use skiff_ext::{
    anon::create_file,
    cred::taint_by_user,
    errno::Errno,
    pci::Device,
    uaccess::Argument, //
};
use skiff_model::ids::{
    Fdid,
    NodeId, //
};

use super::{
    arguments::zero,
    command,
    device::BorrowedFile,
    device_arguments,
    exchange,
    exchange_file,
    exchange_made,
    obey,
    uapi,
    Node, //
};
use crate::lend::{
    Containment,
    NotAvailable,
    TakeFrom, //
};

const ADD: u32 = command(uapi::SKIFF_CMD_LEND_ADD);
const REMOVE: u32 = command(uapi::SKIFF_CMD_LEND_REMOVE);
const AVAILABLE: u32 = command(uapi::SKIFF_CMD_LEND_AVAILABLE);
const UNAVAILABLE: u32 = command(uapi::SKIFF_CMD_LEND_UNAVAILABLE);
const CONNECT: u32 = command(uapi::SKIFF_CMD_LEND_CONNECT);
const DISCONNECT: u32 = command(uapi::SKIFF_CMD_LEND_DISCONNECT);
const QUERY: u32 = command(uapi::SKIFF_CMD_DEVICE_QUERY);
const BORROW: u32 = command(uapi::SKIFF_CMD_DEVICE_BORROW);

/// Executes a command of the pool. Error: `ENOTTY` when it is none.
pub(super) fn ioctl(node: &Arc<Node>, command: u32, argument: UserPtr) -> Result {
    match command {
        ADD => exchange_made(
            argument,
            |value| add(node, value),
            |fdid| {
                // It can fail only if somebody else has made it available, or has removed it.
                let _ = node.lend.remove(fdid, TakeFrom::Nobody);
            },
        ),
        REMOVE => obey(argument, |value: &uapi::skiff_lend_device| {
            device_arguments::may_lend()?;
            zero(&[value.refusal])?;
            let from = device_arguments::take_from(value)?;
            node.lend.remove(Fdid::new(value.fdid), from)
        }),
        AVAILABLE => make_available(node, argument),
        UNAVAILABLE => obey(argument, |value: &uapi::skiff_lend_device| {
            device_arguments::may_lend()?;
            zero(&[value.refusal])?;
            let from = device_arguments::take_from(value)?;
            node.lend.make_unavailable(Fdid::new(value.fdid), from)
        }),
        CONNECT => obey(argument, |value| node.lend.connect(peer(value)?)),
        DISCONNECT => obey(argument, |value| node.lend.disconnect(peer(value)?)),
        QUERY => exchange(argument, |value| query(node, value)),
        BORROW => exchange_file(argument, |value, number| borrow(node, value, number)),
        _ => Err(ENOTTY),
    }
}

/// `SKIFF_IOC_LEND_ADD`.
fn add(node: &Node, value: &mut uapi::skiff_lend_add) -> Result<Fdid> {
    device_arguments::may_lend()?;
    let rights = device_arguments::rights(value)?;
    let (domain, bus, devfn) = device_arguments::place(value)?;
    let dev = Device::find(domain, bus, devfn).ok_or(ENODEV)?;
    if node.fabric.has(&dev) {
        return Err(EBUSY);
    }
    let fdid = node.lend.add(dev, rights)?;
    value.fdid = fdid.get();
    Ok(fdid)
}

/// `SKIFF_IOC_LEND_AVAILABLE`: its result is told when it fails, too.
fn make_available(node: &Node, pointer: UserPtr) -> Result {
    let (argument, mut value) = Argument::read::<uapi::skiff_lend_device>(pointer)?;
    device_arguments::may_lend()?;
    let containment = device_arguments::containment(&value)?;
    value.refusal = uapi::skiff_lend_refusal_SKIFF_REFUSAL_NONE;
    argument.write(&value)?;
    match node.lend.make_available(Fdid::new(value.fdid), containment) {
        Ok(()) => {
            if containment == Containment::Waived {
                taint_by_user();
            }
            Ok(())
        }
        Err(NotAvailable::Failed(error)) => Err(error),
        Err(NotAvailable::Refused(refusal)) => {
            value.refusal = device_arguments::refusal(refusal);
            argument.write(&value)?;
            Err(Errno::NotSupported.into())
        }
    }
}

/// The node that is to see the pool, or not. Errors: `EINVAL`, `ENXIO`, `EPERM`.
fn peer(value: &uapi::skiff_lend_peer) -> Result<NodeId> {
    device_arguments::may_lend()?;
    zero(&[value.flags, value.__reserved])?;
    NodeId::new(value.node).ok_or(ENXIO)
}

/// `SKIFF_IOC_DEVICE_QUERY`.
fn query(node: &Node, value: &mut uapi::skiff_device_query) -> Result {
    let (from, filter) = uapi::devices::query(value)?;
    let (fdid, info) = node.lend.find(from, &filter)?;
    value.device = uapi::devices::describe(fdid, &info);
    Ok(())
}

/// `SKIFF_IOC_DEVICE_BORROW`.
fn borrow(
    node: &Arc<Node>,
    value: &mut uapi::skiff_device_borrow,
    number: i32,
) -> Result<ARef<File>> {
    let what = device_arguments::borrow(value)?;
    let borrowed = node.lend.borrow(&what, None)?;
    value.fd = number;
    let object = BorrowedFile::new(node.clone(), borrowed)?;
    create_file(c"[skiff-device]", object)
}
