// SPDX-License-Identifier: GPL-2.0
//! The commands on lent and borrowed devices as numbers; see the module above.

use nix::errno::Errno;

use super::field;
use super::Command;
use super::Field;
use super::Kind;
use super::Role;
use super::SIZE;

/// Flag of LEND_AVAILABLE.
pub const UNSAFE: u64 = 1 << 0;
/// Flag of LEND_UNAVAILABLE and LEND_REMOVE.
pub const FORCE: u64 = 1 << 1;
/// Flag of DEVICE_BORROW.
pub const EXCLUSIVE: u64 = 1 << 0;
/// Flag of DEVICE_BUS_MASTER.
pub const ON: u64 = 1 << 0;
/// All of enum skiff_access_hints.
pub const HINTS: u64 = (1 << 6) - 1;
/// All that DEVICE_QUERY can look at.
pub const MATCH: u64 = 0x1ff;
/// Of [`MATCH`]: the node.
pub const MATCH_NODE: u64 = 1 << 0;
/// Of [`MATCH`]: the class.
pub const MATCH_CLASS: u64 = 1 << 2;

/// A BAR.
pub const BAR: u64 = 1;
/// Memory of one borrow.
pub const PRIVATE: u64 = 2;
/// Memory of all borrowers.
pub const SHARED: u64 = 4;

/// The fabric device id of a device of a node's pool.
pub const fn fdid(node: u64, index: u64) -> u64 {
    ((4 * (node + 1)) << 16) | index
}

const FLAGS: Field = field("flags", 4, 4, Role::Flags(0));

/// A structure that ends with a device, at byte 16.
macro_rules! with_device {
    ($($first:expr),+ $(,)?) => {
        &[
            $($first,)+
            field("fdid", 16, 4, Role::Out),
            field("node", 20, 4, Role::Out),
            field("state", 24, 4, Role::Out),
            field("device_flags", 28, 4, Role::Out),
            field("domain", 32, 4, Role::Out),
            field("bdf", 36, 4, Role::Out),
            field("class_code", 40, 4, Role::Out),
            field("revision", 44, 4, Role::Out),
            field("vendor", 48, 2, Role::Out),
            field("device", 50, 2, Role::Out),
            field("subvendor", 52, 2, Role::Out),
            field("subdevice", 54, 2, Role::Out),
            field("serial", 56, 8, Role::Out),
            field("bar0", 64, 8, Role::Out),
            field("bar1", 72, 8, Role::Out),
            field("bar2", 80, 8, Role::Out),
            field("bar3", 88, 8, Role::Out),
            field("bar4", 96, 8, Role::Out),
            field("bar5", 104, 8, Role::Out),
            field("vectors", 112, 4, Role::Out),
            field("borrowers", 116, 4, Role::Out),
        ]
    };
}

/// Errors of asking a lender.
const ASKING: &[Errno] = &[
    Errno::EBUSY,
    Errno::EINTR,
    Errno::EIO,
    Errno::ENOLINK,
    Errno::ETIMEDOUT,
];

/// Errors of changing a device of the own pool.
const CHANGING: &[Errno] = &[
    Errno::EBUSY,
    Errno::ENOENT,
    Errno::ENOMEM,
    Errno::EOPNOTSUPP,
    Errno::EPERM,
    Errno::ETIMEDOUT,
];

/// SKIFF_IOC_LEND_ADD.
pub const ADD: Command = Command {
    name: "LEND_ADD",
    number: 0x40,
    kind: Kind::Context,
    size: 32,
    fields: &[
        SIZE,
        FLAGS,
        field("domain", 8, 4, Role::Domain),
        field("bdf", 12, 4, Role::Function),
        field("mode", 16, 4, Role::Mode),
        field("fdid", 20, 4, Role::Out),
        field("nodes", 24, 8, Role::Nodes),
    ],
    errors: &[
        Errno::EADDRINUSE,
        Errno::EBUSY,
        Errno::ENODEV,
        Errno::ENOMEM,
        Errno::ENOSPC,
        Errno::EPERM,
    ],
};

/// The fields of what changes a device of the own pool.
const fn changing(flags: u64, refusal: Role) -> [Field; 4] {
    [
        SIZE,
        field("flags", 4, 4, Role::Flags(flags)),
        field("fdid", 8, 4, Role::Device),
        field("refusal", 12, 4, refusal),
    ]
}

/// SKIFF_IOC_LEND_REMOVE.
pub const REMOVE: Command = Command {
    name: "LEND_REMOVE",
    number: 0x41,
    kind: Kind::Context,
    size: 16,
    fields: &changing(FORCE, Role::Reserved),
    errors: CHANGING,
};

/// SKIFF_IOC_LEND_AVAILABLE.
pub const AVAILABLE: Command = Command {
    name: "LEND_AVAILABLE",
    number: 0x42,
    kind: Kind::Context,
    size: 16,
    fields: &changing(UNSAFE, Role::Out),
    errors: CHANGING,
};

/// SKIFF_IOC_LEND_UNAVAILABLE.
pub const UNAVAILABLE: Command = Command {
    name: "LEND_UNAVAILABLE",
    number: 0x43,
    kind: Kind::Context,
    size: 16,
    fields: &changing(FORCE, Role::Reserved),
    errors: CHANGING,
};

const PEER: &[Field] = &[
    SIZE,
    FLAGS,
    field("node", 8, 4, Role::Peer),
    field("__reserved", 12, 4, Role::Reserved),
];

/// SKIFF_IOC_LEND_CONNECT.
pub const CONNECT: Command = Command {
    name: "LEND_CONNECT",
    number: 0x44,
    kind: Kind::Context,
    size: 16,
    fields: PEER,
    errors: &[Errno::EBUSY, Errno::ENXIO, Errno::EPERM],
};

/// SKIFF_IOC_LEND_DISCONNECT.
pub const DISCONNECT: Command = Command {
    name: "LEND_DISCONNECT",
    number: 0x45,
    kind: Kind::Context,
    size: 16,
    fields: PEER,
    errors: &[Errno::EBUSY, Errno::ENXIO, Errno::EPERM],
};

/// SKIFF_IOC_DEVICE_QUERY.
pub const QUERY: Command = Command {
    name: "DEVICE_QUERY",
    number: 0x48,
    kind: Kind::Context,
    size: 120,
    fields: with_device!(
        SIZE,
        field("match", 4, 4, Role::Flags(MATCH)),
        field("from", 8, 4, Role::From),
        field("class_mask", 12, 4, Role::Reserved),
    ),
    errors: &[Errno::ENOENT],
};

/// SKIFF_IOC_DEVICE_BORROW.
pub const BORROW: Command = Command {
    name: "DEVICE_BORROW",
    number: 0x49,
    kind: Kind::Context,
    size: 24,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Flags(EXCLUSIVE)),
        field("fdid", 8, 4, Role::Device),
        field("timeout_ms", 12, 4, Role::Timeout),
        field("fd", 16, 4, Role::Descriptor),
        field("__reserved", 20, 4, Role::Reserved),
    ],
    errors: &[
        Errno::EACCES,
        Errno::EBUSY,
        Errno::EHOSTDOWN,
        Errno::EINTR,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOENT,
        Errno::ENOLINK,
        Errno::ENOMEM,
        Errno::EPERM,
        Errno::EPROTO,
        Errno::ETIMEDOUT,
    ],
};

/// SKIFF_IOC_DEVICE_INFO.
pub const INFO: Command = Command {
    name: "DEVICE_INFO",
    number: 0x50,
    kind: Kind::Device,
    size: 120,
    fields: with_device!(
        SIZE,
        field("flags", 4, 4, Role::Out),
        field("maps", 8, 4, Role::Out),
        field("given", 12, 4, Role::Out),
    ),
    errors: &[],
};

const PLAIN: &[Field] = &[
    SIZE,
    FLAGS,
    field("timeout_ms", 8, 4, Role::Timeout),
    field("__reserved", 12, 4, Role::Reserved),
];

/// SKIFF_IOC_DEVICE_RETURN.
pub const RETURN: Command = Command {
    name: "DEVICE_RETURN",
    number: 0x51,
    kind: Kind::Device,
    size: 16,
    fields: PLAIN,
    errors: ASKING,
};

/// SKIFF_IOC_DEVICE_RELEASE_EXCLUSIVE.
pub const RELEASE_EXCLUSIVE: Command = Command {
    name: "DEVICE_RELEASE_EXCLUSIVE",
    number: 0x52,
    kind: Kind::Device,
    size: 16,
    fields: PLAIN,
    errors: ASKING,
};

/// Errors of segments of a device.
const SEGMENTS: &[Errno] = &[
    Errno::EADDRINUSE,
    Errno::EBUSY,
    Errno::EINTR,
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOENT,
    Errno::ENOLINK,
    Errno::ENOMEM,
    Errno::ENOSPC,
    Errno::EOPNOTSUPP,
    Errno::EPROTO,
    Errno::ETIMEDOUT,
];

/// SKIFF_IOC_DEVICE_SEGMENT_CREATE.
pub const SEGMENT_CREATE: Command = Command {
    name: "DEVICE_SEGMENT_CREATE",
    number: 0x53,
    kind: Kind::Device,
    size: 32,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Flags(HINTS)),
        field("memory", 8, 4, Role::Memory),
        field("id", 12, 4, Role::Id),
        field("bytes", 16, 8, Role::Bytes),
        field("timeout_ms", 24, 4, Role::Timeout),
        field("fd", 28, 4, Role::Reserved),
    ],
    errors: SEGMENTS,
};

/// SKIFF_IOC_DEVICE_SEGMENT_CONNECT.
pub const SEGMENT_CONNECT: Command = Command {
    name: "DEVICE_SEGMENT_CONNECT",
    number: 0x54,
    kind: Kind::Device,
    size: 32,
    fields: &[
        SIZE,
        FLAGS,
        field("memory", 8, 4, Role::Memory),
        field("id", 12, 4, Role::Id),
        field("bytes", 16, 8, Role::Out),
        field("timeout_ms", 24, 4, Role::Timeout),
        field("fd", 28, 4, Role::Descriptor),
    ],
    errors: SEGMENTS,
};

/// SKIFF_IOC_DEVICE_MAP.
pub const MAP: Command = Command {
    name: "DEVICE_MAP",
    number: 0x55,
    kind: Kind::Device,
    size: 48,
    fields: &[
        SIZE,
        FLAGS,
        field("fd", 8, 4, Role::Segment),
        field("timeout_ms", 12, 4, Role::Timeout),
        field("offset", 16, 8, Role::Page),
        field("bytes", 24, 8, Role::Page),
        field("address", 32, 8, Role::Out),
        field("map", 40, 4, Role::Out),
        field("__reserved", 44, 4, Role::Reserved),
    ],
    errors: &[
        Errno::EACCES,
        Errno::EBADF,
        Errno::EBUSY,
        Errno::EINTR,
        Errno::EIO,
        Errno::ENOENT,
        Errno::ENOLINK,
        Errno::ENOMEM,
        Errno::ENOSPC,
        Errno::EOPNOTSUPP,
        Errno::ETIMEDOUT,
    ],
};

/// SKIFF_IOC_DEVICE_UNMAP.
pub const UNMAP: Command = Command {
    name: "DEVICE_UNMAP",
    number: 0x56,
    kind: Kind::Device,
    size: 16,
    fields: &[
        SIZE,
        FLAGS,
        field("map", 8, 4, Role::Mapping),
        field("timeout_ms", 12, 4, Role::Timeout),
    ],
    errors: &[
        Errno::EINTR,
        Errno::ENOENT,
        Errno::ENOLINK,
        Errno::ETIMEDOUT,
    ],
};

const fn config(value: Role) -> [Field; 6] {
    [
        SIZE,
        FLAGS,
        field("offset", 8, 4, Role::Register),
        field("width", 12, 4, Role::Width),
        field("value", 16, 4, value),
        field("timeout_ms", 20, 4, Role::Timeout),
    ]
}

/// SKIFF_IOC_DEVICE_CONFIG_READ.
pub const CONFIG_READ: Command = Command {
    name: "DEVICE_CONFIG_READ",
    number: 0x57,
    kind: Kind::Device,
    size: 24,
    fields: &config(Role::Out),
    errors: ASKING,
};

/// SKIFF_IOC_DEVICE_CONFIG_WRITE.
pub const CONFIG_WRITE: Command = Command {
    name: "DEVICE_CONFIG_WRITE",
    number: 0x58,
    kind: Kind::Device,
    size: 24,
    fields: &config(Role::Value),
    errors: &[Errno::EINTR, Errno::ENOLINK, Errno::EPERM, Errno::ETIMEDOUT],
};

/// SKIFF_IOC_DEVICE_BUS_MASTER.
pub const BUS_MASTER: Command = Command {
    name: "DEVICE_BUS_MASTER",
    number: 0x59,
    kind: Kind::Device,
    size: 16,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Flags(ON)),
        field("timeout_ms", 8, 4, Role::Timeout),
        field("__reserved", 12, 4, Role::Reserved),
    ],
    errors: ASKING,
};

/// SKIFF_IOC_DEVICE_VECTORS.
pub const VECTORS: Command = Command {
    name: "DEVICE_VECTORS",
    number: 0x5a,
    kind: Kind::Device,
    size: 16,
    fields: &[
        SIZE,
        FLAGS,
        field("count", 8, 4, Role::Count),
        field("timeout_ms", 12, 4, Role::Timeout),
    ],
    errors: &[
        Errno::EINTR,
        Errno::ENOLINK,
        Errno::ENOSPC,
        Errno::EOPNOTSUPP,
        Errno::ETIMEDOUT,
    ],
};

/// SKIFF_IOC_DEVICE_VECTOR.
pub const VECTOR: Command = Command {
    name: "DEVICE_VECTOR",
    number: 0x5b,
    kind: Kind::Device,
    size: 16,
    fields: &[
        SIZE,
        FLAGS,
        field("index", 8, 4, Role::Vector),
        field("fd", 12, 4, Role::EventFd),
    ],
    errors: &[Errno::EBADF, Errno::ENOENT, Errno::ENOLINK],
};

/// SKIFF_IOC_DEVICE_RESET.
pub const RESET: Command = Command {
    name: "DEVICE_RESET",
    number: 0x5c,
    kind: Kind::Device,
    size: 16,
    fields: PLAIN,
    errors: ASKING,
};

/// Every one of them.
pub const ALL: &[Command] = &[
    ADD,
    REMOVE,
    AVAILABLE,
    UNAVAILABLE,
    CONNECT,
    DISCONNECT,
    QUERY,
    BORROW,
    INFO,
    RETURN,
    RELEASE_EXCLUSIVE,
    SEGMENT_CREATE,
    SEGMENT_CONNECT,
    MAP,
    UNMAP,
    CONFIG_READ,
    CONFIG_WRITE,
    BUS_MASTER,
    VECTORS,
    VECTOR,
    RESET,
];
