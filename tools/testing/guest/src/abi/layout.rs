// SPDX-License-Identifier: GPL-2.0
//! The commands of /dev/skiff as numbers: what include/uapi/linux/skiff.h says, written down once more on purpose.
//!
//! A program that was built years ago knows these numbers and no header. A change of the ABI shows here.

pub mod lent;

use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

/// Type of the commands: bits 15:8 of a request without direction and size.
const TYPE: u64 = 0xb7;

/// Node number that means this node.
pub const NODE_LOCAL: u64 = 0xffff_ffff;
/// Adapter number that means any.
pub const ADAPTER_ANY: u64 = 0xffff_ffff;

/// Flags of SEGMENT_CREATE.
pub const USER: u64 = 1 << 0;
/// See [`USER`].
pub const PRIVATE: u64 = 1 << 1;
/// See [`USER`].
pub const ANY_ID: u64 = 1 << 2;
/// Flag of SEGMENT_CONNECT.
pub const READ_ONLY: u64 = 1 << 0;
/// Flag of SEGMENT_REMOVE.
pub const FORCE: u64 = 1 << 0;

/// In the offset of a map: uncached.
pub const UNCACHED: u64 = 1 << 62;
/// In the offset of a map: all ones instead of SIGBUS.
pub const ALL_ONES: u64 = 1 << 61;

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// /dev/skiff itself.
    Context,
    /// A local segment.
    Local,
    /// A remote segment.
    Remote,
    /// A borrowed device.
    Device,
}

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Length of the structure.
    Size,
    /// Flags, and which of them there are.
    Flags(u64),
    /// Must be 0.
    Reserved,
    /// An adapter that the command needs.
    Adapter,
    /// A node that must be there.
    Node,
    /// A node whose connections are meant; it need not be there.
    Holder,
    /// Id of a segment.
    Id,
    /// Mode bits.
    Mode,
    /// Length of a segment.
    Bytes,
    /// Address in the caller's memory.
    Address,
    /// Set of nodes.
    Nodes,
    /// Milliseconds.
    Timeout,
    /// A result.
    Out,
    /// A result that is a new descriptor.
    Descriptor,
    /// A lent device that must be there.
    Device,
    /// PCI domain of a function.
    Domain,
    /// Bus, device and function.
    Function,
    /// A node that may see the pool.
    Peer,
    /// The lowest fdid to look at.
    From,
    /// A kind of memory of a device.
    Memory,
    /// A descriptor of a segment.
    Segment,
    /// A multiple of the page size.
    Page,
    /// A mapping for a device.
    Mapping,
    /// An offset in the configuration space.
    Register,
    /// Bytes of an access.
    Width,
    /// What is written there.
    Value,
    /// A number of interrupt vectors.
    Count,
    /// An interrupt vector that the device has.
    Vector,
    /// A descriptor of an eventfd.
    EventFd,
}

/// A field of an argument.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in the header.
    pub name: &'static str,
    /// First byte.
    pub at: usize,
    /// Bytes.
    pub width: usize,
    /// What it is for.
    pub role: Role,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Name in the header without SKIFF_IOC_.
    pub name: &'static str,
    /// SKIFF_CMD_ number.
    pub number: u64,
    /// What it is called on.
    pub kind: Kind,
    /// Bytes of the first version's argument.
    pub size: usize,
    /// Fields.
    pub fields: &'static [Field],
    /// Errors that the header lists for it, besides those of the argument's format.
    pub errors: &'static [Errno],
}

impl Command {
    /// The ioctl's request.
    pub const fn request(&self) -> u64 {
        request(self.number)
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Result<&'static Field> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .with_context(|| format!("{} has no field {name}", self.name))
    }

    /// Whether the header allows this error for the command.
    pub fn documents(&self, error: Errno) -> bool {
        FORMAT.contains(&error) || self.errors.contains(&error)
    }
}

/// The ioctl request of a command number.
pub const fn request(number: u64) -> u64 {
    (TYPE << 8) | number
}

/// Errors of every command: of its format, and of an object that is gone.
const FORMAT: &[Errno] = &[
    Errno::E2BIG,
    Errno::EFAULT,
    Errno::EINVAL,
    Errno::ENOTTY,
    Errno::ECONNRESET,
];

const fn field(name: &'static str, at: usize, width: usize, role: Role) -> Field {
    Field {
        name,
        at,
        width,
        role,
    }
}

const SIZE: Field = field("size", 0, 4, Role::Size);

/// Errors of reaching a node.
const REACHING: &[Errno] = &[
    Errno::EACCES,
    Errno::ECONNRESET,
    Errno::EHOSTDOWN,
    Errno::EINTR,
    Errno::EINVAL,
    Errno::ENODEV,
    Errno::ENOENT,
    Errno::ENOLINK,
    Errno::ENOMEM,
    Errno::ENXIO,
    Errno::EPROTO,
    Errno::ETIMEDOUT,
];

/// Errors of the commands on a segment's adapters.
const ADAPTING: &[Errno] = &[
    Errno::EBUSY,
    Errno::EINVAL,
    Errno::ENODEV,
    Errno::ENOSPC,
    Errno::ENOMEM,
];

const ADAPTER: &[Field] = &[SIZE, field("adapter", 4, 4, Role::Adapter)];

/// SKIFF_IOC_INFO.
pub const INFO: Command = Command {
    name: "INFO",
    number: 0x00,
    kind: Kind::Context,
    size: 40,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Out),
        field("abi_version", 8, 4, Role::Out),
        field("node", 12, 4, Role::Out),
        field("adapters", 16, 4, Role::Out),
        field("__reserved", 20, 4, Role::Reserved),
        field("nodes", 24, 8, Role::Out),
        field("generation", 32, 8, Role::Out),
    ],
    errors: &[],
};

/// SKIFF_IOC_ADAPTER_INFO.
pub const ADAPTER_INFO: Command = Command {
    name: "ADAPTER_INFO",
    number: 0x01,
    kind: Kind::Context,
    size: 64,
    fields: &[
        SIZE,
        field("adapter", 4, 4, Role::Adapter),
        field("flags", 8, 4, Role::Out),
        field("port", 12, 4, Role::Out),
        field("slots", 16, 4, Role::Out),
        field("slots_pinned", 20, 4, Role::Out),
        field("slot_bytes", 24, 8, Role::Out),
        field("window_bytes", 32, 8, Role::Out),
        field("exported_bytes", 40, 8, Role::Out),
        field("quarantined_bytes", 48, 8, Role::Out),
        field("ports_up", 56, 8, Role::Out),
    ],
    errors: &[Errno::ENODEV],
};

/// SKIFF_IOC_NODE_INFO.
pub const NODE_INFO: Command = Command {
    name: "NODE_INFO",
    number: 0x02,
    kind: Kind::Context,
    size: 40,
    fields: &[
        SIZE,
        field("node", 4, 4, Role::Node),
        field("state", 8, 4, Role::Out),
        field("adapters", 12, 4, Role::Out),
        field("generation", 16, 8, Role::Out),
        field("connections_out", 24, 8, Role::Out),
        field("connections_in", 32, 8, Role::Out),
    ],
    errors: &[Errno::ENXIO],
};

/// SKIFF_IOC_SEGMENT_CREATE.
pub const CREATE: Command = Command {
    name: "SEGMENT_CREATE",
    number: 0x10,
    kind: Kind::Context,
    size: 48,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Flags(USER | PRIVATE | ANY_ID)),
        field("id", 8, 4, Role::Id),
        field("mode", 12, 4, Role::Mode),
        field("bytes", 16, 8, Role::Bytes),
        field("user_addr", 24, 8, Role::Address),
        field("nodes", 32, 8, Role::Nodes),
        field("fd", 40, 4, Role::Descriptor),
        field("__reserved", 44, 4, Role::Reserved),
    ],
    errors: &[
        Errno::EADDRINUSE,
        Errno::EDQUOT,
        Errno::ENOMEM,
        Errno::ENOSPC,
        Errno::EOVERFLOW,
    ],
};

/// SKIFF_IOC_SEGMENT_CONNECT.
pub const CONNECT: Command = Command {
    name: "SEGMENT_CONNECT",
    number: 0x11,
    kind: Kind::Context,
    size: 40,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Flags(READ_ONLY)),
        field("node", 8, 4, Role::Node),
        field("adapter", 12, 4, Role::Adapter),
        field("id", 16, 4, Role::Id),
        field("timeout_ms", 20, 4, Role::Timeout),
        field("bytes", 24, 8, Role::Out),
        field("fd", 32, 4, Role::Descriptor),
        field("__reserved", 36, 4, Role::Reserved),
    ],
    errors: REACHING,
};

/// SKIFF_IOC_SEGMENT_QUERY.
pub const QUERY: Command = Command {
    name: "SEGMENT_QUERY",
    number: 0x12,
    kind: Kind::Context,
    size: 40,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Flags(0)),
        field("node", 8, 4, Role::Node),
        field("adapter", 12, 4, Role::Adapter),
        field("id", 16, 4, Role::Id),
        field("timeout_ms", 20, 4, Role::Timeout),
        field("bytes", 24, 8, Role::Out),
        field("uid", 32, 4, Role::Out),
        field("mode", 36, 4, Role::Out),
    ],
    errors: REACHING,
};

/// SKIFF_IOC_SEGMENT_PREPARE.
pub const PREPARE: Command = Command {
    name: "SEGMENT_PREPARE",
    number: 0x20,
    kind: Kind::Local,
    size: 8,
    fields: ADAPTER,
    errors: ADAPTING,
};

/// SKIFF_IOC_SEGMENT_SET_AVAILABLE.
pub const SET_AVAILABLE: Command = Command {
    name: "SEGMENT_SET_AVAILABLE",
    number: 0x21,
    kind: Kind::Local,
    size: 8,
    fields: ADAPTER,
    errors: ADAPTING,
};

/// SKIFF_IOC_SEGMENT_SET_UNAVAILABLE.
pub const SET_UNAVAILABLE: Command = Command {
    name: "SEGMENT_SET_UNAVAILABLE",
    number: 0x22,
    kind: Kind::Local,
    size: 8,
    fields: ADAPTER,
    errors: ADAPTING,
};

/// SKIFF_IOC_SEGMENT_REMOVE.
pub const REMOVE: Command = Command {
    name: "SEGMENT_REMOVE",
    number: 0x23,
    kind: Kind::Local,
    size: 8,
    fields: &[SIZE, field("flags", 4, 4, Role::Flags(FORCE))],
    errors: &[Errno::EBUSY],
};

/// SKIFF_IOC_SEGMENT_REVOKE.
pub const REVOKE: Command = Command {
    name: "SEGMENT_REVOKE",
    number: 0x24,
    kind: Kind::Local,
    size: 24,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Flags(0)),
        field("node", 8, 4, Role::Holder),
        field("timeout_ms", 12, 4, Role::Timeout),
        field("revoked", 16, 4, Role::Out),
        field("unconfirmed", 20, 4, Role::Out),
    ],
    errors: &[Errno::EINTR],
};

/// SKIFF_IOC_SEGMENT_INFO.
pub const SEGMENT_INFO: Command = Command {
    name: "SEGMENT_INFO",
    number: 0x25,
    kind: Kind::Local,
    size: 48,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Out),
        field("id", 8, 4, Role::Out),
        field("mode", 12, 4, Role::Out),
        field("bytes", 16, 8, Role::Out),
        field("nodes", 24, 8, Role::Out),
        field("prepared", 32, 4, Role::Out),
        field("available", 36, 4, Role::Out),
        field("connections", 40, 4, Role::Out),
        field("extents", 44, 4, Role::Out),
    ],
    errors: &[],
};

/// SKIFF_IOC_REMOTE_DISCONNECT.
pub const DISCONNECT: Command = Command {
    name: "REMOTE_DISCONNECT",
    number: 0x30,
    kind: Kind::Remote,
    size: 8,
    fields: &[SIZE, field("flags", 4, 4, Role::Flags(0))],
    errors: &[Errno::EBUSY],
};

/// SKIFF_IOC_REMOTE_INFO.
pub const REMOTE_INFO: Command = Command {
    name: "REMOTE_INFO",
    number: 0x31,
    kind: Kind::Remote,
    size: 40,
    fields: &[
        SIZE,
        field("flags", 4, 4, Role::Out),
        field("node", 8, 4, Role::Out),
        field("adapter", 12, 4, Role::Out),
        field("id", 16, 4, Role::Out),
        field("state", 20, 4, Role::Out),
        field("bytes", 24, 8, Role::Out),
        field("maps", 32, 4, Role::Out),
        field("slots", 36, 4, Role::Out),
    ],
    errors: &[],
};

/// Every command.
pub fn every() -> impl Iterator<Item = &'static Command> {
    ALL.iter().chain(lent::ALL)
}

/// Every command on segments.
pub const ALL: &[Command] = &[
    INFO,
    ADAPTER_INFO,
    NODE_INFO,
    CREATE,
    CONNECT,
    QUERY,
    PREPARE,
    SET_AVAILABLE,
    SET_UNAVAILABLE,
    REMOVE,
    REVOKE,
    SEGMENT_INFO,
    DISCONNECT,
    REMOTE_INFO,
];

/// Bytes of an event, as read(2) gives it: type, node, count, adapter.
pub const EVENT_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_fill_their_structures_without_gap() {
        for command in every() {
            let mut at = 0;
            for field in command.fields {
                assert_eq!(field.at, at, "{} {}", command.name, field.name);
                assert_eq!(field.at % field.width, 0, "{} {}", command.name, field.name);
                at += field.width;
            }
            assert_eq!(at, command.size, "{}", command.name);
        }
    }

    #[test]
    fn numbers_are_those_of_the_header() {
        let header = include_str!("../../../../../include/uapi/linux/skiff.h");
        for command in every() {
            let line = format!("SKIFF_CMD_{} = {:#04x},", command.name, command.number);
            assert!(header.contains(&line), "{line}");
        }
        assert_eq!(header.matches("\tSKIFF_CMD_").count(), every().count());
    }
}
