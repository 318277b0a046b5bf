// SPDX-License-Identifier: GPL-2.0
//! The format that all commands share: size first, extensible, and pointers that lead nowhere.

use anyhow::ensure;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use super::expect;
use super::layout;
use super::layout::lent;
use super::layout::Command;
use super::layout::Kind;
use super::objects::Lent;
use super::objects::Objects;
use super::raw::ioctl;
use super::raw::Argument;
use super::raw::Pages;
use super::raw::PAGE;
use crate::ktap::Report;

/// Where borrowers may write in the configuration space.
pub const INTERRUPT_LINE: u64 = 0x3c;
/// No descriptor.
pub const NO_FD: u64 = 0xffff_ffff;
/// A mapping that is not there.
const NO_MAP: u64 = 77;

/// Fields that make a command right on the objects; `None` where it would use them up.
pub fn right(command: &Command) -> Option<Vec<(&'static str, u64)>> {
    Some(match command.name {
        "INFO" | "ADAPTER_INFO" | "SEGMENT_INFO" | "REMOTE_INFO" | "DEVICE_INFO"
        | "DEVICE_QUERY" => vec![],
        "NODE_INFO" => vec![("node", layout::NODE_LOCAL)],
        "SEGMENT_QUERY" => vec![
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
            ("id", Objects::LOCAL),
        ],
        // Nobody at node 63: nothing is revoked.
        "SEGMENT_REVOKE" => vec![("node", 63)],
        "DEVICE_CONFIG_READ" => vec![("width", 4)],
        "DEVICE_CONFIG_WRITE" => vec![("offset", INTERRUPT_LINE), ("width", 1)],
        "DEVICE_BUS_MASTER" => vec![],
        "DEVICE_VECTORS" => vec![("count", 1)],
        "DEVICE_VECTOR" => vec![("fd", NO_FD)],
        _ => return None,
    })
}

/// Fields with which a command would succeed, if its format were right.
pub fn plausible(command: &Command) -> Vec<(&'static str, u64)> {
    if let Some(fields) = right(command) {
        return fields;
    }
    match command.name {
        "SEGMENT_CREATE" => vec![("id", 7100), ("mode", 0o600), ("bytes", PAGE as u64)],
        "SEGMENT_CONNECT" => vec![
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
            ("id", Objects::LOCAL),
        ],
        "SEGMENT_REMOVE" => vec![("flags", layout::FORCE)],
        "REMOTE_DISCONNECT" | "DEVICE_RETURN" | "DEVICE_RELEASE_EXCLUSIVE" | "DEVICE_RESET" => {
            vec![]
        }
        // The host bridge; nothing is done to it.
        "LEND_ADD" => vec![("mode", 0o600)],
        "LEND_REMOVE" | "LEND_AVAILABLE" | "LEND_UNAVAILABLE" => vec![("fdid", Lent::FDID)],
        "DEVICE_BORROW" => vec![("fdid", Lent::FDID)],
        "LEND_CONNECT" | "LEND_DISCONNECT" => vec![("node", 62)],
        "DEVICE_SEGMENT_CREATE" => vec![
            ("memory", lent::PRIVATE),
            ("id", 71),
            ("bytes", PAGE as u64),
        ],
        "DEVICE_SEGMENT_CONNECT" => vec![("memory", lent::BAR)],
        "DEVICE_MAP" => vec![("fd", Objects::LOCAL_FD)],
        "DEVICE_UNMAP" => vec![("map", NO_MAP)],
        _ => vec![("adapter", layout::ADAPTER_ANY)],
    }
}

/// An argument of `len` bytes that says it has `size`; what does not fit is left away.
fn argument(command: &Command, len: usize, size: usize) -> Result<Argument> {
    let mut argument = Argument::new(len)?;
    for (name, value) in plausible(command) {
        argument.set(command.field(name)?, value);
    }
    argument.store(0, 4, size as u64);
    Ok(argument)
}

/// Tests of every command.
pub fn run(report: &mut Report, objects: &Objects) {
    for command in layout::every() {
        let name = command.name;
        report.test(&format!("abi: {name}: too short is EINVAL"), || {
            too_short(objects, command)
        });
        report.test(
            &format!("abi: {name}: a longer argument is taken if its tail is zero, else E2BIG"),
            || longer(objects, command),
        );
        report.test(&format!("abi: {name}: a bad pointer is EFAULT"), || {
            pointers(objects, command)
        });
    }
}

fn too_short(objects: &Objects, command: &Command) -> Result<()> {
    for size in 0..command.size {
        let mut argument = argument(command, command.size, size)?;
        let before = argument.bytes().to_vec();
        let result = argument.call(objects.of(command.kind), command);
        expect(result, &[Errno::EINVAL]).map_err(|cause| cause.context(format!("size {size}")))?;
        ensure!(
            argument.bytes() == before,
            "size {size}: a refused command wrote into its argument"
        );
    }
    Ok(())
}

fn longer(objects: &Objects, command: &Command) -> Result<()> {
    let fd = objects.of(command.kind);
    // One byte, one word, and more than a page behind the first version; the size need not be a multiple of anything.
    for extra in [1, 8, PAGE - command.size, PAGE + 24] {
        let size = command.size + extra;
        for dirty in [command.size, size - 1] {
            let mut argument = argument(command, size, size)?;
            argument.store(dirty, 1, 0x80);
            let result = argument.call(fd, command);
            // The kernel need not look at a page and more to refuse it.
            expect(result, &[Errno::E2BIG])
                .map_err(|cause| cause.context(format!("size {size}, byte {dirty} set")))?;
        }
        if right(command).is_some() && size <= PAGE {
            let mut argument = argument(command, size, size)?;
            let result = argument.call(fd, command);
            ensure!(result == Ok(0), "size {size}, zero tail: {result:?}");
            ensure!(
                argument.bytes()[command.size..]
                    .iter()
                    .all(|byte| *byte == 0),
                "size {size}: the tail was written"
            );
        }
    }
    // A size that no memory can back.
    for size in [0x7fff_ffff, 0xffff_ffff] {
        let mut argument = argument(command, command.size, size)?;
        expect(argument.call(fd, command), &[Errno::E2BIG, Errno::EFAULT])
            .map_err(|cause| cause.context(format!("size {size:#x}")))?;
    }
    Ok(())
}

fn pointers(objects: &Objects, command: &Command) -> Result<()> {
    let fd = objects.of(command.kind);
    let gone = Pages::new(1)?;
    gone.protect(0, libc::PROT_NONE)?;
    let addresses = [
        0,
        1,
        gone.address(),
        0x7fff_ffff_f000,
        0x8000_0000_0000,
        0xffff_8880_0000_0000,
        0xffff_ffff_8100_0000,
        u64::MAX - 3,
    ];
    for address in addresses {
        let result = ioctl(fd, command.request(), address);
        expect(result, &[Errno::EFAULT])
            .map_err(|cause| cause.context(format!("argument at {address:#x}")))?;
    }
    // The size can be read, what follows cannot.
    for len in [4, command.size - 1] {
        let mut cut = argument(command, len, command.size)?;
        expect(cut.call(fd, command), &[Errno::EFAULT])
            .map_err(|cause| cause.context(format!("only {len} bytes are there")))?;
    }
    // That the object is as before shows the information about it.
    let check = match command.kind {
        Kind::Context => layout::INFO,
        Kind::Local => layout::SEGMENT_INFO,
        Kind::Remote => layout::REMOTE_INFO,
        Kind::Device => lent::INFO,
    };
    super::objects::call(fd, &check, &[]).map(drop)
}
