// SPDX-License-Identifier: GPL-2.0
//! mmap(2) as it must not be called, and what may not be done with a map afterwards.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use super::expect;
use super::layout;
use super::objects;
use super::objects::Objects;
use super::raw::Map;
use super::raw::Pipe;
use super::raw::PAGE;
use super::raw::RW;
use crate::ktap::Report;

/// Which object is mapped.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// Local segment and connection, one after the other.
    Both,
    Local,
    /// A connection to the own node.
    Remote,
}

/// A map that must be refused.
struct Refusal {
    what: &'static str,
    of: Of,
    bytes: usize,
    prot: i32,
    flags: i32,
    offset: u64,
    errors: &'static [Errno],
}

impl Refusal {
    /// One page that would be right.
    const GOOD: Self = Self {
        what: "",
        of: Of::Both,
        bytes: PAGE,
        prot: RW,
        flags: libc::MAP_SHARED,
        offset: 0,
        errors: &[Errno::EINVAL],
    };
}

/// The segments have two pages.
const TABLE: &[Refusal] = &[
    Refusal {
        what: "private and writable",
        flags: libc::MAP_PRIVATE,
        ..Refusal::GOOD
    },
    Refusal {
        what: "private and read-only",
        flags: libc::MAP_PRIVATE,
        prot: libc::PROT_READ,
        ..Refusal::GOOD
    },
    Refusal {
        what: "executable",
        prot: RW | libc::PROT_EXEC,
        errors: &[Errno::EPERM],
        ..Refusal::GOOD
    },
    Refusal {
        what: "executable only",
        prot: libc::PROT_EXEC,
        errors: &[Errno::EPERM],
        ..Refusal::GOOD
    },
    Refusal {
        what: "a page too long",
        bytes: 3 * PAGE,
        ..Refusal::GOOD
    },
    Refusal {
        what: "a byte too long",
        bytes: 2 * PAGE + 1,
        ..Refusal::GOOD
    },
    Refusal {
        what: "as long as an address space",
        bytes: 1 << 46,
        errors: &[Errno::EINVAL, Errno::ENOMEM],
        ..Refusal::GOOD
    },
    Refusal {
        what: "nothing",
        bytes: 0,
        ..Refusal::GOOD
    },
    Refusal {
        what: "misaligned",
        offset: 512,
        ..Refusal::GOOD
    },
    Refusal {
        what: "behind the end",
        offset: 2 * PAGE as u64,
        ..Refusal::GOOD
    },
    Refusal {
        what: "across the end",
        bytes: 2 * PAGE,
        offset: PAGE as u64,
        ..Refusal::GOOD
    },
    Refusal {
        what: "far behind the end",
        offset: 1 << 40,
        ..Refusal::GOOD
    },
    Refusal {
        what: "with an unknown word in the offset",
        offset: 1 << 60,
        ..Refusal::GOOD
    },
    Refusal {
        what: "with the highest bit of the offset",
        offset: 1 << 63,
        errors: &[Errno::EINVAL, Errno::EOVERFLOW],
        ..Refusal::GOOD
    },
    Refusal {
        what: "up to the end of all offsets",
        offset: !(PAGE as u64 - 1),
        errors: &[Errno::EINVAL, Errno::EOVERFLOW],
        ..Refusal::GOOD
    },
    Refusal {
        what: "uncached, but of the own node",
        offset: layout::UNCACHED,
        ..Refusal::GOOD
    },
    Refusal {
        what: "all ones, but a local segment",
        of: Of::Local,
        offset: layout::ALL_ONES,
        ..Refusal::GOOD
    },
    Refusal {
        what: "all ones, and behind the end",
        of: Of::Remote,
        offset: layout::ALL_ONES + 2 * PAGE as u64,
        ..Refusal::GOOD
    },
];

/// Tests of maps.
pub fn run(report: &mut Report, objects: &Objects) {
    for line in TABLE {
        let name = format!("abi: mmap: {} is {:?}", line.what, line.errors);
        report.test(&name, || refusal(objects, line));
    }
    report.test(
        "abi: mmap: a read-only connection cannot be written: EACCES",
        || read_only(objects),
    );
    report.test("abi: mmap: a map cannot be made executable or grow", || {
        later(objects)
    });
    report.test("abi: mmap: a map is not inherited", || inherited(objects));
    report.test(
        "abi: mmap: maps keep a segment from being removed without force",
        || removal(objects),
    );
}

fn refusal(objects: &Objects, line: &Refusal) -> Result<()> {
    let each = |fd: BorrowedFd<'_>| {
        expect(
            Map::new(fd, line.bytes, line.prot, line.flags, line.offset),
            line.errors,
        )
    };
    if matches!(line.of, Of::Both | Of::Local) {
        each(objects.local.as_fd()).context("of a local segment")?;
    }
    if matches!(line.of, Of::Both | Of::Remote) {
        each(objects.remote.as_fd()).context("of a connection")?;
    }
    Ok(())
}

fn read_only(objects: &Objects) -> Result<()> {
    let connection = objects::make(
        objects.context.as_fd(),
        &layout::CONNECT,
        &[
            ("flags", layout::READ_ONLY),
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
            ("id", Objects::LOCAL),
        ],
    )?;
    let fd = connection.as_fd();
    for prot in [RW, libc::PROT_WRITE] {
        expect(
            Map::new(fd, PAGE, prot, libc::MAP_SHARED, 0),
            &[Errno::EACCES],
        )
        .with_context(|| format!("prot {prot}"))?;
    }
    let map = Map::new(fd, PAGE, libc::PROT_READ, libc::MAP_SHARED, 0)?;
    expect(map.protect(RW), &[Errno::EACCES]).context("mprotect")?;
    let pipe = Pipe::new()?;
    map.load(&pipe, 0)?;
    expect(map.store(&pipe, 0, 1), &[Errno::EFAULT]).context("a store")
}

fn later(objects: &Objects) -> Result<()> {
    for fd in [objects.local.as_fd(), objects.remote.as_fd()] {
        let mut map = Map::shared(fd, PAGE, 0)?;
        expect(
            map.protect(libc::PROT_READ | libc::PROT_EXEC),
            &[Errno::EACCES],
        )
        .context("mprotect")?;
        // VM_DONTEXPAND or VM_PFNMAP: mremap(2) says EFAULT.
        expect(map.resize(2 * PAGE), &[Errno::EFAULT]).context("mremap")?;
    }
    Ok(())
}

fn inherited(objects: &Objects) -> Result<()> {
    let map = Map::shared(objects.local.as_fd(), PAGE, 0)?;
    let pipe = Pipe::new()?;
    map.store(&pipe, 8, 0x77)?;
    // SAFETY: The child makes system calls only, and ends without running anything of this program's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = match map.load(&pipe, 8) {
            Err(Errno::EFAULT) => 0,
            _ => 1,
        };
        // SAFETY: Ends the child at once.
        unsafe { libc::_exit(code) };
    }
    ensure!(child > 0, "fork: {}", Errno::last());
    let mut status = 0;
    // SAFETY: The status is written to a local.
    Errno::result(unsafe { libc::waitpid(child, &mut status, 0) })?;
    ensure!(status == 0, "the child reaches the map: status {status:#x}");
    ensure!(map.load(&pipe, 8)? == 0x77, "the parent's map has changed");
    Ok(())
}

fn removal(objects: &Objects) -> Result<()> {
    let segment = objects::create(&objects.context, 7500, PAGE as u64)?;
    let pipe = Pipe::new()?;
    let map = Map::shared(segment.as_fd(), PAGE, 0)?;
    let (_, result) = objects::attempt(segment.as_fd(), &layout::REMOVE, &[])?;
    expect(result, &[Errno::EBUSY])?;
    objects::call(
        segment.as_fd(),
        &layout::REMOVE,
        &[("flags", layout::FORCE)],
    )?;
    // The own process's map stays until it is unmapped, closed or not.
    map.store(&pipe, 0, 0x1234)?;
    drop(segment);
    ensure!(map.load(&pipe, 0)? == 0x1234, "the map lost its memory");
    drop(map);
    let again = objects::create(&objects.context, 7500, PAGE as u64)?;
    let map = Map::shared(again.as_fd(), PAGE, 0)?;
    ensure!(map.load(&pipe, 0)? == 0, "new memory is not zeroed");
    Ok(())
}
