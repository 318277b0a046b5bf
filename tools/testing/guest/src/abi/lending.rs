// SPDX-License-Identifier: GPL-2.0
//! Lending and borrowing: values that are not allowed together, states that do not allow it, and who may not.
//!
//! All is done by one node with itself: what nodes do with each other has suites of its own.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::thread;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use super::expect;
use super::format::plausible;
use super::format::INTERRUPT_LINE;
use super::format::NO_FD;
use super::layout::lent;
use super::layout::Command;
use super::objects;
use super::objects::Lent;
use super::objects::Objects;
use super::raw;
use super::raw::PAGE;
use crate::ktap::Report;

/// A call that must fail.
struct Refusal {
    what: &'static str,
    command: Command,
    fields: &'static [(&'static str, u64)],
    errors: &'static [Errno],
}

/// Nobody has so much memory.
const HUGE: &[Errno] = &[
    Errno::EINVAL,
    Errno::ENOMEM,
    Errno::ENOSPC,
    Errno::EOVERFLOW,
];

/// Sums that do not fit, or lead out of the segment.
const OUTSIDE: &[Errno] = &[Errno::EINVAL, Errno::EOVERFLOW];

const TABLE: &[Refusal] = &[
    Refusal {
        what: "a function that is not there",
        command: lent::ADD,
        fields: &[("bdf", 0xffff), ("mode", 0o600)],
        errors: &[Errno::ENODEV],
    },
    Refusal {
        what: "available already",
        command: lent::AVAILABLE,
        fields: &[("flags", lent::UNSAFE), ("fdid", Lent::FDID)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "borrowed, without force",
        command: lent::UNAVAILABLE,
        fields: &[("fdid", Lent::FDID)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "available and borrowed, without force",
        command: lent::REMOVE,
        fields: &[("fdid", Lent::FDID)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "the own node",
        command: lent::CONNECT,
        fields: &[("node", 0)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "the own node",
        command: lent::DISCONNECT,
        fields: &[("node", 0)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "a node that does not see the pool",
        command: lent::DISCONNECT,
        fields: &[("node", 61)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "no device from there up",
        command: lent::QUERY,
        fields: &[("from", 0xffff_0000)],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "no device like that",
        command: lent::QUERY,
        fields: &[("match", 1 << 3), ("vendor", 0xfffe)],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "of a node that cannot be",
        command: lent::QUERY,
        fields: &[("match", lent::MATCH_NODE), ("node", 1 << 19)],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "a class of which no bit counts",
        command: lent::QUERY,
        fields: &[("match", lent::MATCH_CLASS)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "alone, while others have it",
        command: lent::BORROW,
        fields: &[("flags", lent::EXCLUSIVE), ("fdid", Lent::FDID)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "not borrowed alone",
        command: lent::RELEASE_EXCLUSIVE,
        fields: &[],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "not borrowed alone",
        command: lent::RESET,
        fields: &[],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "a BAR cannot be made",
        command: lent::SEGMENT_CREATE,
        fields: &[("memory", lent::BAR), ("bytes", 4096)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "a segment of no bytes",
        command: lent::SEGMENT_CREATE,
        fields: &[("memory", lent::SHARED), ("id", 70)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "a segment larger than all memory",
        command: lent::SEGMENT_CREATE,
        fields: &[("memory", lent::PRIVATE), ("id", 70), ("bytes", 1 << 45)],
        errors: HUGE,
    },
    Refusal {
        what: "a segment whose pages do not fit a number",
        command: lent::SEGMENT_CREATE,
        fields: &[("memory", lent::PRIVATE), ("id", 70), ("bytes", u64::MAX)],
        errors: HUGE,
    },
    Refusal {
        what: "a BAR that no device has",
        command: lent::SEGMENT_CONNECT,
        fields: &[("memory", lent::BAR), ("id", 6)],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "a BAR that this device does not have",
        command: lent::SEGMENT_CONNECT,
        fields: &[("memory", lent::BAR), ("id", 5)],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "memory that nobody has made",
        command: lent::SEGMENT_CONNECT,
        fields: &[("memory", lent::PRIVATE), ("id", 72)],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "an offset behind the end",
        command: lent::MAP,
        fields: &[("fd", Objects::LOCAL_FD), ("offset", 2 * 4096)],
        errors: OUTSIDE,
    },
    Refusal {
        what: "a length beyond the end",
        command: lent::MAP,
        fields: &[("fd", Objects::LOCAL_FD), ("bytes", 3 * 4096)],
        errors: OUTSIDE,
    },
    Refusal {
        what: "a range that wraps round",
        command: lent::MAP,
        fields: &[
            ("fd", Objects::LOCAL_FD),
            ("offset", u64::MAX - 4095),
            ("bytes", 2 * 4096),
        ],
        errors: OUTSIDE,
    },
    Refusal {
        what: "not aligned to the width",
        command: lent::CONFIG_READ,
        fields: &[("offset", 2), ("width", 4)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "a value wider than its width",
        command: lent::CONFIG_WRITE,
        fields: &[("offset", INTERRUPT_LINE), ("width", 1), ("value", 0x100)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "the command register",
        command: lent::CONFIG_WRITE,
        fields: &[("offset", 4), ("width", 2), ("value", 7)],
        errors: &[Errno::EPERM],
    },
    Refusal {
        what: "a base address",
        command: lent::CONFIG_WRITE,
        fields: &[("offset", 0x10), ("width", 4)],
        errors: &[Errno::EPERM],
    },
    Refusal {
        what: "what follows the interrupt line as well",
        command: lent::CONFIG_WRITE,
        fields: &[("offset", INTERRUPT_LINE), ("width", 4)],
        errors: &[Errno::EPERM],
    },
    Refusal {
        what: "a descriptor that is no eventfd",
        command: lent::VECTOR,
        fields: &[("fd", Objects::LOCAL_FD)],
        errors: &[Errno::EINVAL],
    },
];

/// Tests of states and rights.
pub fn run(report: &mut Report, objects: &Objects) {
    for line in TABLE {
        let command = line.command;
        let name = format!("abi: {}: {} is {:?}", command.name, line.what, line.errors);
        report.test(&name, || {
            let fd = objects.of(command.kind);
            let (_, result) = objects::attempt(fd, &command, line.fields)?;
            expect(result, line.errors)
        });
    }
    report.test(
        "abi: LEND_ADD: a function of the pool is EADDRINUSE",
        || added_twice(objects),
    );
    report.test("abi: LEND: without CAP_SYS_ADMIN it is EPERM", || {
        not_privileged(objects)
    });
    report.test("abi: DEVICE_BORROW: who may not is EACCES or EPERM", || {
        not_allowed(objects)
    });
    report.test("abi: DEVICE_MAP: what is no segment is EBADF", || {
        no_segment(objects)
    });
    report.test(
        "abi: DEVICE_SEGMENT_CREATE: an id that is taken is EADDRINUSE",
        || taken(objects),
    );
    report.test(
        "abi: DEVICE_RETURN: with a connected segment it is EBUSY",
        || connected(objects),
    );
    report.test("abi: DEVICE_UNMAP: a second time is ENOENT", || {
        unmapped_twice(objects)
    });
    report.test("abi: DEVICE_INFO tells what was done", || told(objects));
}

fn added_twice(objects: &Objects) -> Result<()> {
    let fields = [("bdf", objects.lent.bdf), ("mode", 0o600)];
    let (_, result) = objects::attempt(objects.context.as_fd(), &lent::ADD, &fields)?;
    expect(result, &[Errno::EADDRINUSE])
}

/// Somebody who is not root, as far as a thread of root can be that.
fn as_nobody(test: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    const NOBODY: libc::c_long = 65534;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the call takes numbers. It is the system call, which changes the thread and not the process, and
            // the thread ends here.
            let done = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            Errno::result(done)?;
            test()
        });
        thread.join().unwrap_or_else(|_| anyhow::bail!("a panic"))
    })
}

fn not_privileged(objects: &Objects) -> Result<()> {
    as_nobody(|| {
        for command in lent::ALL {
            if !command.name.starts_with("LEND_") {
                continue;
            }
            let fd = objects.context.as_fd();
            let (_, result) = objects::attempt(fd, command, &plausible(command))?;
            expect(result, &[Errno::EPERM]).context(command.name)?;
        }
        Ok(())
    })
}

/// Without an IOMMU the device reaches all memory, which its mode alone does not allow.
fn not_allowed(objects: &Objects) -> Result<()> {
    let contained = objects::ask(
        objects.lent.borrowed.as_fd(),
        &lent::INFO,
        &[],
        "device_flags",
    )? & 1;
    ensure!(contained == 0, "the test wants a node without an IOMMU");
    as_nobody(|| {
        let fields = [("fdid", Lent::FDID)];
        let (_, result) = objects::attempt(objects.context.as_fd(), &lent::BORROW, &fields)?;
        expect(result, &[Errno::EPERM])
    })
}

fn no_segment(objects: &Objects) -> Result<()> {
    let null: OwnedFd = std::fs::File::open("/dev/null")?.into();
    let device = objects.lent.borrowed.as_fd();
    for fd in [objects.context.as_fd(), device, null.as_fd()] {
        let fields = [("fd", u64::try_from(fd.as_raw_fd())?)];
        let (_, result) = objects::attempt(device, &lent::MAP, &fields)?;
        expect(result, &[Errno::EBADF])?;
    }
    Ok(())
}

fn taken(objects: &Objects) -> Result<()> {
    // Ends with this borrow, and what was made for it.
    let device = Lent::borrow(&objects.context, 0)?;
    for memory in [lent::PRIVATE, lent::SHARED] {
        let fields = [("memory", memory), ("id", 73), ("bytes", PAGE as u64)];
        objects::call(device.as_fd(), &lent::SEGMENT_CREATE, &fields)?;
        let (_, result) = objects::attempt(device.as_fd(), &lent::SEGMENT_CREATE, &fields)?;
        expect(result, &[Errno::EADDRINUSE])?;
    }
    Ok(())
}

fn connected(objects: &Objects) -> Result<()> {
    let device = Lent::borrow(&objects.context, 0)?;
    let bar = objects::make(
        device.as_fd(),
        &lent::SEGMENT_CONNECT,
        &[("memory", lent::BAR)],
    )?;
    let (_, result) = objects::attempt(device.as_fd(), &lent::RETURN, &[])?;
    expect(result, &[Errno::EBUSY])?;
    drop(bar);
    objects::call(device.as_fd(), &lent::RETURN, &[]).map(drop)
}

fn unmapped_twice(objects: &Objects) -> Result<()> {
    let device = objects.lent.borrowed.as_fd();
    let fields = [("fd", Objects::LOCAL_FD), ("bytes", PAGE as u64)];
    let map = objects::ask(device, &lent::MAP, &fields, "map")?;
    objects::call(device, &lent::UNMAP, &[("map", map)])?;
    let (_, result) = objects::attempt(device, &lent::UNMAP, &[("map", map)])?;
    expect(result, &[Errno::ENOENT])
}

fn told(objects: &Objects) -> Result<()> {
    let context = raw::open()?;
    let device = Lent::borrow(&context, 0)?;
    let device = device.as_fd();
    let tell = |name| objects::ask(device, &lent::INFO, &[], name);
    ensure!(tell("flags")? == 0, "it is not borrowed alone");
    ensure!(tell("fdid")? == Lent::FDID, "another device");
    ensure!(tell("bdf")? == objects.lent.bdf, "another function");
    ensure!(tell("borrowers")? == 2, "{} borrowers", tell("borrowers")?);
    ensure!(tell("maps")? == 0, "maps before the first one");
    let fields = [("fd", Objects::LOCAL_FD)];
    let map = objects::ask(device, &lent::MAP, &fields, "map")?;
    ensure!(tell("maps")? == 1, "{} maps", tell("maps")?);
    objects::call(device, &lent::UNMAP, &[("map", map)])?;
    ensure!(tell("maps")? == 0, "the map is still there");
    ensure!(
        tell("bar0")? > 0 && tell("bar0")? % PAGE as u64 == 0,
        "BAR 0 has {} bytes",
        tell("bar0")?
    );
    // A vector without an eventfd is one that nobody listens to.
    objects::call(device, &lent::VECTORS, &[("count", 1)])?;
    objects::call(device, &lent::VECTOR, &[("fd", NO_FD)])?;
    ensure!(tell("given")? == 1, "{} vectors", tell("given")?);
    Ok(())
}
