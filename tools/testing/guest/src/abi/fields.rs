// SPDX-License-Identifier: GPL-2.0
//! Values of fields that are not allowed: one line of a table each.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

use super::expect;
use super::format::plausible;
use super::layout;
use super::layout::Command;
use super::layout::Role;
use super::objects;
use super::objects::Objects;
use super::raw::Pages;
use super::raw::PAGE;
use crate::ktap::Report;

/// Values of a field that every command refuses, and the errors.
fn refused(role: Role) -> (Vec<u64>, &'static [Errno]) {
    match role {
        Role::Flags(known) => (
            (0..32)
                .map(|bit| 1 << bit)
                .filter(|bit| known & bit == 0)
                .collect(),
            &[Errno::EINVAL],
        ),
        Role::Reserved => (vec![1, 1 << 31, 0xffff_ffff], &[Errno::EINVAL]),
        Role::Adapter => (vec![1, 3, 4, 64, 0xffff_fffe], &[Errno::ENODEV]),
        Role::Node => (vec![63, 64, 0x7fff_ffff, 0xffff_fffe], &[Errno::ENXIO]),
        Role::Holder => (vec![64, 0x7fff_ffff, 0xffff_fffe], &[Errno::EINVAL]),
        Role::Mode => (vec![0o1000, 0o4000, 0xffff_ffff], &[Errno::EINVAL]),
        Role::Timeout => (vec![60_001, 0x7fff_ffff, 0xffff_ffff], &[Errno::EINVAL]),
        Role::Size
        | Role::Id
        | Role::Bytes
        | Role::Address
        | Role::Nodes
        | Role::Out
        | Role::Descriptor
        | Role::From
        | Role::Value => (vec![], &[]),
        Role::Device => (
            vec![0, 1, 0x3_ffff, 0x4_ffff, 0x5_0000, 0xffff_ffff],
            &[Errno::ENOENT],
        ),
        Role::Domain => (vec![0x77, 0xffff, 0xffff_ffff], &[Errno::ENODEV]),
        Role::Function => (vec![0x1_0000, 0xffff_ffff], &[Errno::EINVAL]),
        Role::Peer => (vec![64, 0x7fff_ffff, 0xffff_fffe], &[Errno::ENXIO]),
        Role::Memory => (vec![0, 3, 5, 6, 8, 0xffff_ffff], &[Errno::EINVAL]),
        Role::Segment => (vec![9999, 0x7fff_ffff, 0xffff_ffff], &[Errno::EBADF]),
        Role::Page => (
            vec![1, 0x800, 0xfff, 0x1001, u64::MAX],
            &[Errno::EINVAL, Errno::EOVERFLOW],
        ),
        Role::Mapping => (vec![77, 0xffff_ffff], &[Errno::ENOENT]),
        Role::Register => (
            vec![4096, 0x1_0000, 0x1_003c, 0xffff_fffc],
            &[Errno::EINVAL],
        ),
        Role::Width => (vec![0, 3, 5, 8, 0x104, 0xffff_ffff], &[Errno::EINVAL]),
        Role::Count => (vec![0, 65, 0xffff_ffff], &[Errno::EINVAL]),
        Role::Vector => (vec![63, 64, 0x7fff_ffff, 0xffff_ffff], &[Errno::ENOENT]),
        Role::EventFd => (vec![9999, 0x7fff_ffff, 0xffff_fffe], &[Errno::EBADF]),
    }
}

/// Where a line of the table is called.
#[derive(Clone, Copy, Debug)]
enum On {
    Context,
    Local,
    Bare,
    Private,
}

impl On {
    fn fd(self, objects: &Objects) -> BorrowedFd<'_> {
        match self {
            Self::Context => objects.context.as_fd(),
            Self::Local => objects.local.as_fd(),
            Self::Bare => objects.bare.as_fd(),
            Self::Private => objects.private.as_fd(),
        }
    }
}

/// A call that must fail.
struct Refusal {
    what: &'static str,
    on: On,
    command: Command,
    fields: &'static [(&'static str, u64)],
    errors: &'static [Errno],
}

/// Pages of user memory that the table names by address, filled in when it runs.
const USER_MEMORY: u64 = 0x5eed_0000;
/// Behind the end of that memory is nothing.
const USER_END: u64 = 0x5eed_0001;
/// Memory that may only be read.
const USER_READ_ONLY: u64 = 0x5eed_0002;
/// In the middle of a page of that memory.
const USER_UNALIGNED: u64 = 0x5eed_0003;

const HUGE: &[Errno] = &[
    Errno::EINVAL,
    Errno::ENOMEM,
    Errno::EDQUOT,
    Errno::ENOSPC,
    Errno::EOVERFLOW,
];

const TABLE: &[Refusal] = &[
    Refusal {
        what: "a segment of no bytes",
        on: On::Context,
        command: layout::CREATE,
        fields: &[("id", 7200), ("mode", 0o600), ("bytes", 0)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "a segment larger than all memory",
        on: On::Context,
        command: layout::CREATE,
        fields: &[("id", 7200), ("mode", 0o600), ("bytes", 1 << 45)],
        errors: HUGE,
    },
    Refusal {
        what: "a segment whose pages do not fit a number",
        on: On::Context,
        command: layout::CREATE,
        fields: &[("id", 7200), ("mode", 0o600), ("bytes", u64::MAX)],
        errors: HUGE,
    },
    Refusal {
        what: "the largest multiple of the page size",
        on: On::Context,
        command: layout::CREATE,
        fields: &[("id", 7200), ("mode", 0o600), ("bytes", u64::MAX - 4095)],
        errors: HUGE,
    },
    Refusal {
        what: "a sign bit in the length",
        on: On::Context,
        command: layout::CREATE,
        fields: &[("id", 7200), ("mode", 0o600), ("bytes", 1 << 63)],
        errors: HUGE,
    },
    Refusal {
        what: "an address without the flag for user memory",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 4096),
            ("user_addr", USER_MEMORY),
        ],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "user memory that is not page-aligned",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 4096),
            ("user_addr", USER_UNALIGNED),
        ],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "user memory of half a page",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 2048),
            ("user_addr", USER_MEMORY),
        ],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "user memory of no bytes",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("user_addr", USER_MEMORY),
        ],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "user memory that is not there",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 4096),
            ("user_addr", USER_END),
        ],
        errors: &[Errno::EFAULT],
    },
    Refusal {
        what: "user memory that ends too early",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 8 * 4096),
            ("user_addr", USER_MEMORY),
        ],
        errors: &[Errno::EFAULT],
    },
    Refusal {
        what: "user memory that may only be read",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 4096),
            ("user_addr", USER_READ_ONLY),
        ],
        errors: &[Errno::EFAULT],
    },
    Refusal {
        what: "addresses of the kernel",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 4096),
            ("user_addr", 0xffff_8880_0000_0000),
        ],
        errors: &[Errno::EFAULT, Errno::EINVAL],
    },
    Refusal {
        what: "user memory that wraps round",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::USER),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 8192),
            ("user_addr", u64::MAX - 4095),
        ],
        errors: &[Errno::EFAULT, Errno::EINVAL, Errno::EOVERFLOW],
    },
    Refusal {
        what: "a private segment with an id",
        on: On::Context,
        command: layout::CREATE,
        fields: &[
            ("flags", layout::PRIVATE),
            ("id", 7200),
            ("mode", 0o600),
            ("bytes", 4096),
        ],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "an id that is taken",
        on: On::Context,
        command: layout::CREATE,
        fields: &[("id", Objects::LOCAL), ("mode", 0o600), ("bytes", 4096)],
        errors: &[Errno::EADDRINUSE],
    },
    Refusal {
        what: "an id that is taken by what is not available",
        on: On::Context,
        command: layout::CREATE,
        fields: &[("id", Objects::BARE), ("mode", 0o600), ("bytes", 4096)],
        errors: &[Errno::EADDRINUSE],
    },
    Refusal {
        what: "a segment that does not exist",
        on: On::Context,
        command: layout::CONNECT,
        fields: &[
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
            ("id", 7299),
        ],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "a segment that is not available",
        on: On::Context,
        command: layout::CONNECT,
        fields: &[
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
            ("id", Objects::BARE),
        ],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "id 0, which a private segment does not have",
        on: On::Context,
        command: layout::CONNECT,
        fields: &[
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
        ],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "no segment from there up",
        on: On::Context,
        command: layout::QUERY,
        fields: &[
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
            ("id", 0xffff_fff0),
        ],
        errors: &[Errno::ENOENT],
    },
    Refusal {
        what: "any adapter, where one must be named",
        on: On::Context,
        command: layout::ADAPTER_INFO,
        fields: &[("adapter", layout::ADAPTER_ANY)],
        errors: &[Errno::ENODEV],
    },
    Refusal {
        what: "prepared already",
        on: On::Local,
        command: layout::PREPARE,
        fields: &[("adapter", 0)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "available already",
        on: On::Local,
        command: layout::SET_AVAILABLE,
        fields: &[("adapter", 0)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "not prepared",
        on: On::Bare,
        command: layout::SET_AVAILABLE,
        fields: &[("adapter", 0)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "not available",
        on: On::Bare,
        command: layout::SET_UNAVAILABLE,
        fields: &[("adapter", 0)],
        errors: &[Errno::EBUSY],
    },
    Refusal {
        what: "a private segment",
        on: On::Private,
        command: layout::PREPARE,
        fields: &[("adapter", 0)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "a private segment",
        on: On::Private,
        command: layout::SET_AVAILABLE,
        fields: &[("adapter", 0)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "a private segment",
        on: On::Private,
        command: layout::SET_UNAVAILABLE,
        fields: &[("adapter", 0)],
        errors: &[Errno::EINVAL],
    },
    Refusal {
        what: "connected, without force",
        on: On::Local,
        command: layout::REMOVE,
        fields: &[],
        errors: &[Errno::EBUSY],
    },
];

/// Tests of every command.
pub fn run(report: &mut Report, objects: &Objects) {
    for command in layout::every() {
        for field in command.fields {
            let (values, errors) = refused(field.role);
            if values.is_empty() {
                continue;
            }
            let name = format!(
                "abi: {}: bad values of {} are {errors:?}",
                command.name, field.name
            );
            report.test(&name, || {
                for value in values {
                    let mut fields = plausible(command);
                    fields.push((field.name, value));
                    let (_, result) = objects::attempt(objects.of(command.kind), command, &fields)?;
                    expect(result, errors).with_context(|| format!("{value:#x}"))?;
                }
                Ok(())
            });
        }
    }
    for line in TABLE {
        let name = format!(
            "abi: {}: {} is {:?}",
            line.command.name, line.what, line.errors
        );
        report.test(&name, || refusal(objects, line));
    }
    report.test(
        "abi: SEGMENT_CREATE: the kernel chooses ids from 0x80000000 up",
        || chosen_ids(objects),
    );
    report.test("abi: SEGMENT_INFO tells what was said at creation", || {
        told(objects)
    });
    report.test("abi: REMOTE_DISCONNECT: mapped is EBUSY", || {
        mapped(objects)
    });
}

fn refusal(objects: &Objects, line: &Refusal) -> Result<()> {
    let memory = Pages::new(4)?;
    memory.protect(2, nix::libc::PROT_READ)?;
    memory.protect(3, nix::libc::PROT_NONE)?;
    let mut fields = line.fields.to_vec();
    for (_, value) in &mut fields {
        *value = match *value {
            USER_MEMORY => memory.address(),
            USER_END => memory.address() + 3 * PAGE as u64,
            USER_READ_ONLY => memory.address() + 2 * PAGE as u64,
            USER_UNALIGNED => memory.address() + 512,
            other => other,
        };
    }
    let (_, result) = objects::attempt(line.on.fd(objects), &line.command, &fields)?;
    expect(result, line.errors)
}

fn chosen_ids(objects: &Objects) -> Result<()> {
    let fields = [("flags", layout::ANY_ID), ("mode", 0o600), ("bytes", 1)];
    let mut seen = std::collections::BTreeSet::new();
    let mut held = Vec::new();
    for _ in 0..20 {
        let argument = objects::call(objects.context.as_fd(), &layout::CREATE, &fields)?;
        let id = argument.get(layout::CREATE.field("id")?);
        held.push(super::raw::adopt(
            argument.get(layout::CREATE.field("fd")?),
        )?);
        ensure!(id >= 0x8000_0000, "the kernel chose {id:#x}");
        ensure!(seen.insert(id), "the kernel chose {id:#x} twice");
    }
    Ok(())
}

fn told(objects: &Objects) -> Result<()> {
    let fields = [
        ("id", 7300),
        ("mode", 0o640),
        ("bytes", 4097),
        ("nodes", 0b1010),
    ];
    let segment = objects::make(objects.context.as_fd(), &layout::CREATE, &fields)?;
    let info = objects::call(segment.as_fd(), &layout::SEGMENT_INFO, &[])?;
    let mut expected = fields.to_vec();
    expected.extend([
        ("flags", 0),
        ("prepared", 0),
        ("available", 0),
        ("connections", 0),
    ]);
    for (name, value) in expected {
        let told = info.get(layout::SEGMENT_INFO.field(name)?);
        ensure!(told == value, "{name} is {told:#x}, not {value:#x}");
    }
    Ok(())
}

fn mapped(objects: &Objects) -> Result<()> {
    let map = super::raw::Map::shared(objects.remote.as_fd(), PAGE, 0)?;
    let (_, result) = objects::attempt(objects.remote.as_fd(), &layout::DISCONNECT, &[])?;
    expect(result, &[Errno::EBUSY])?;
    drop(map);
    objects::call(objects.remote.as_fd(), &layout::REMOTE_INFO, &[]).map(drop)
}
