// SPDX-License-Identifier: GPL-2.0
//! What the steps of an actor tell, as values (`skiff-guest act`, tools/testing/guest/src/share/).

use serde::Deserialize;

/// What an adapter tells of itself: see `struct skiff_adapter_info`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AdapterStatus {
    /// Port of the switch.
    pub port: u32,
    /// Whether a paging IOMMU domain holds it.
    pub iommu: bool,
    /// Translation entries.
    pub slots: u32,
    /// Entries that live maps and rings use.
    pub slots_pinned: u32,
    /// What one entry reaches.
    pub slot_bytes: u64,
    /// Room for exported memory.
    pub window_bytes: u64,
    /// Memory that peers may reach.
    pub exported_bytes: u64,
    /// Memory that is held back.
    pub quarantined_bytes: u64,
    /// Ports behind which a node answers.
    pub ports_up: u64,
}

/// What a node tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Its number.
    pub node: u32,
    /// Its generation.
    pub generation: u64,
    /// Nodes that are up.
    pub nodes: u64,
    /// Whether peers reach only what is exported.
    pub contained: bool,
    /// Its adapters.
    pub adapters: Vec<AdapterStatus>,
}

/// What a node tells of another one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeStatus {
    /// `Down`, `Greeting` or `Up`.
    pub state: String,
    /// Its generation.
    pub generation: u64,
    /// Connections to it.
    pub connections_out: u64,
    /// Connections from it.
    pub connections_in: u64,
}

/// What was found by a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Verified {
    /// Bytes that differ.
    pub wrong: u64,
    /// The first of them.
    pub first: Option<u64>,
}

/// What loads of all pages gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Touched {
    /// Pages with a value.
    pub values: u64,
    /// Pages that read all ones.
    pub ones: u64,
    /// Pages that raised SIGBUS.
    pub refused: u64,
    /// The last value that came.
    pub last: Option<u32>,
}

/// What became of stores to all pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Scribbled {
    /// Stores that went well.
    pub taken: u64,
    /// Stores that raised SIGBUS.
    pub refused: u64,
}

/// What traffic saw until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Traffic {
    /// Accesses that went well.
    pub good: u64,
    /// Loads that gave something else.
    pub wrong: u64,
    /// Loads of all ones.
    pub ones: u64,
    /// Accesses that raised SIGBUS.
    pub refused: u64,
}

/// An event of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// Its name in the library.
    pub kind: String,
    /// Node that it is about.
    pub node: u32,
    /// When it was read, in nanoseconds of the node's clock.
    pub at: u64,
}

/// State of a remote segment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoteInfo {
    /// `Operational`, `NotOperational` or `Lost`.
    pub state: String,
    /// Length.
    pub bytes: u64,
    /// Live maps.
    pub maps: u32,
    /// Slots that they use.
    pub slots: u32,
}

/// State of a local segment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LocalInfo {
    /// Its id.
    pub id: u32,
    /// Length.
    pub bytes: u64,
    /// Connections at the moment.
    pub connections: u32,
    /// Ranges of bus addresses.
    pub extents: u32,
}

/// How many connections a revocation took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Revoked {
    /// All of them.
    pub revoked: u32,
    /// Those that no peer confirmed.
    pub unconfirmed: u32,
}

/// A copy out of a map.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Digested {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Time of the copy.
    pub micros: u64,
}

/// A segment that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Its id.
    pub id: u32,
    /// Its owner.
    pub uid: u32,
}
