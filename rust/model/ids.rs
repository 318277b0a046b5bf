// SPDX-License-Identifier: GPL-2.0
//! Names of nodes, ports, adapters and of what they hand out to each other.

use core::fmt;
use core::num::NonZeroU32;
use core::num::NonZeroU64;

/// Nodes that one fabric may have: `SKIFF_NODES_MAX` of the ABI.
pub const NODES_MAX: u32 = 64;

/// Ports that a switch may have: partitions of an IDT switch.
pub const PORTS_MAX: u8 = 8;

/// Adapters that a node may have: `SKIFF_ADAPTERS_MAX` of the ABI.
pub const ADAPTERS_MAX: u8 = 4;

/// A number from outside names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number is out of range")
    }
}

impl core::error::Error for OutOfRange {}

/// An id that is less than a limit.
macro_rules! below {
    ($(#[$doc:meta])* $name:ident($int:ty) < $limit:ident) => {
        $(#[$doc])*
        ///
        /// # Invariants
        ///
        #[doc = concat!("Less than [`", stringify!($limit), "`].")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// The id of this number, if there is one.
            pub const fn new(number: $int) -> Option<Self> {
                if number < $limit {
                    // INVARIANT: Just checked.
                    Some(Self(number))
                } else {
                    None
                }
            }

            /// Its number.
            pub const fn get(self) -> $int {
                self.0
            }

            /// Its number as an index of an array with a place for each.
            pub const fn index(self) -> usize {
                // CAST: The limit is far below `usize::MAX`.
                self.0 as usize
            }
        }

        impl TryFrom<u64> for $name {
            type Error = OutOfRange;

            fn try_from(number: u64) -> Result<Self, OutOfRange> {
                <$int>::try_from(number)
                    .ok()
                    .and_then(Self::new)
                    .ok_or(OutOfRange)
            }
        }

        impl TryFrom<u32> for $name {
            type Error = OutOfRange;

            fn try_from(number: u32) -> Result<Self, OutOfRange> {
                Self::try_from(u64::from(number))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

below! {
    /// A node of the fabric: the port of its adapter 0.
    NodeId(u32) < NODES_MAX
}

below! {
    /// A port of the switch.
    Port(u8) < PORTS_MAX
}

below! {
    /// An adapter of this node, in the order in which they were found.
    AdapterId(u8) < ADAPTERS_MAX
}

impl Port {
    /// All ports, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PORTS_MAX).map(Self)
    }
}

impl AdapterId {
    /// All adapters, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ADAPTERS_MAX).map(Self)
    }
}

/// A set of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortSet(u8);

impl PortSet {
    /// No port.
    pub const EMPTY: Self = Self(0);

    /// The ports whose bits are set: bit n is port n.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Bit n is port n.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `port` is one of them.
    pub const fn contains(self, port: Port) -> bool {
        self.0 & Self::bit(port) != 0
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: Port) {
        self.0 |= Self::bit(port);
    }

    /// Takes `port` out.
    pub fn remove(&mut self, port: Port) {
        self.0 &= !Self::bit(port);
    }

    /// Those that are in this set and not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The ports, in order.
    pub fn iter(self) -> impl Iterator<Item = Port> {
        Port::all().filter(move |&port| self.contains(port))
    }

    const fn bit(port: Port) -> u8 {
        // By the invariant of `Port` no bit is shifted out.
        1 << port.0
    }
}

/// An id that may be any number.
macro_rules! any {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// The id of this number.
            pub const fn new(number: $int) -> Self {
                Self(number)
            }

            /// Its number.
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

any! {
    /// A segment of a node: what its owner called it.
    SegmentId(u32)
}

any! {
    /// A right to reach a segment: the owner's name for one connection, never a peer's to choose.
    LeaseId(u32)
}

any! {
    /// A question that waits for its answer: the asking node's name for it.
    RequestId(u32)
}

any! {
    /// A user of a node, in that node's initial user namespace.
    Uid(u32)
}

any! {
    /// A group of a node, in that node's initial user namespace.
    Gid(u32)
}

any! {
    /// A PCI function that sends through the bridge: bus, device and function, as the mapping table of the bridge lists it.
    RequesterId(u16)
}

any! {
    /// A device of a node's pool: its place there.
    DeviceIndex(u16)
}

any! {
    /// The fabric device id: the same device on every node. Any number; what it names says [`Fdid::node`].
    Fdid(u32)
}

any! {
    /// A borrow of a device: the lender's name for it, never a peer's to choose.
    BorrowId(u32)
}

any! {
    /// What is mapped for a device: the lender's name for it, meaningful only with the borrow that it belongs to.
    MapId(u32)
}

any! {
    /// A channel between modules: what its users on all nodes call it.
    ChannelId(u32)
}

impl Fdid {
    /// The id of a device of `node`: bits 31:16 are 4 * (node + 1), bits 15:0 its index.
    pub const fn of(node: NodeId, index: DeviceIndex) -> Self {
        // By the invariant of `NodeId` the upper half is 256 at most. CAST: It becomes wider.
        Self(((node.0 + 1) << 18) | index.0 as u32)
    }

    /// The lender, if this can be the id of a device.
    pub const fn node(self) -> Option<NodeId> {
        let upper = self.0 >> 16;
        if upper % 4 != 0 {
            return None;
        }
        match (upper / 4).checked_sub(1) {
            Some(node) => NodeId::new(node),
            None => None,
        }
    }

    /// The device's place in its lender's pool.
    pub const fn index(self) -> DeviceIndex {
        // CAST: The lower half is meant.
        DeviceIndex(self.0 as u16)
    }
}

/// An id whose 0 means "none".
macro_rules! nonzero {
    ($(#[$doc:meta])* $name:ident($nonzero:ty, $int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name($nonzero);

        impl $name {
            /// The id of this number; `None` for 0.
            pub const fn new(number: $int) -> Option<Self> {
                match <$nonzero>::new(number) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// Its number.
            pub const fn get(self) -> $int {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }
    };
}

nonzero! {
    /// One life of a node: a random number that it takes when the module is loaded. A node that has booted anew has another.
    Generation(NonZeroU64, u64)
}

nonzero! {
    /// One session of a pair, as the reader of a ring calls it: entries that do not carry it are of another time.
    SessionId(NonZeroU32, u32)
}

impl BorrowId {
    /// The id of a device's borrow `number`.
    pub const fn of(index: DeviceIndex, number: u16) -> Self {
        // CAST: They become wider.
        Self(((index.0 as u32) << 16) | number as u32)
    }

    /// The device.
    pub const fn index(self) -> DeviceIndex {
        // CAST: Sixteen bits are left.
        DeviceIndex((self.0 >> 16) as u16)
    }
}
