// SPDX-License-Identifier: GPL-2.0
//! What the kernel tells of nodes, adapters, segments and connections: snapshots, without any tie to the object.

use crate::names::Set;
use crate::uapi;
use crate::Adapter;
use crate::Node;

/// The own node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number.
    pub node: u32,
    /// Version of the ABI of `/dev/skiff`.
    pub abi_version: u32,
    /// Whether peers can reach nothing but what is exported, enforced by hardware.
    pub containment: Containment,
    /// Adapters that are there.
    pub adapters: Set,
    /// Nodes that are up, the own one included.
    pub nodes: Set,
    /// Its generation: another one after each start.
    pub generation: u64,
}

/// Whether hardware holds peers to what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containment {
    /// A paging IOMMU domain, interrupt remapping and protected switch registers are in force on all adapters.
    Contained,
    /// Something of that is missing; the kernel's log says what.
    NotContained,
}

impl From<uapi::skiff_info> for Info {
    fn from(raw: uapi::skiff_info) -> Self {
        Self {
            node: raw.node,
            abi_version: raw.abi_version,
            containment: if raw.flags & uapi::SKIFF_INFO_CONTAINED != 0 {
                Containment::Contained
            } else {
                Containment::NotContained
            },
            adapters: Set::from_bits(raw.adapters.into()),
            nodes: Set::from_bits(raw.nodes),
            generation: raw.generation,
        }
    }
}

/// An adapter of the own node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Its number on this node.
    pub adapter: u32,
    /// Port of the switch that it is.
    pub port: u32,
    /// How the bus addresses of this node are protected.
    pub iommu: Iommu,
    /// Where the memory window is.
    pub layout: Layout,
    /// Slots of the memory window.
    pub slots: u32,
    /// How many of them live maps and rings use.
    pub slots_pinned: u32,
    /// Bytes that one slot reaches.
    pub slot_bytes: u64,
    /// Bytes of exported memory that the bus windows have room for.
    pub window_bytes: u64,
    /// Bytes that peers may reach at the moment.
    pub exported_bytes: u64,
    /// Bytes that are held back because a peer might still write them.
    pub quarantined_bytes: u64,
    /// Ports behind which a node answers.
    pub ports_up: Set,
}

/// How the bus addresses behind an adapter are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iommu {
    /// A paging IOMMU domain: peers reach what is exported only.
    Paging,
    /// None: peers reach all memory.
    Absent,
}

/// Where an adapter's memory window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In the bridge function.
    Bridge,
    /// In a companion function.
    Companion,
}

impl From<uapi::skiff_adapter_info> for AdapterInfo {
    fn from(raw: uapi::skiff_adapter_info) -> Self {
        Self {
            adapter: raw.adapter,
            port: raw.port,
            iommu: if raw.flags & uapi::SKIFF_ADAPTER_IOMMU != 0 {
                Iommu::Paging
            } else {
                Iommu::Absent
            },
            layout: if raw.flags & uapi::SKIFF_ADAPTER_COMPANION != 0 {
                Layout::Companion
            } else {
                Layout::Bridge
            },
            slots: raw.slots,
            slots_pinned: raw.slots_pinned,
            slot_bytes: raw.slot_bytes,
            window_bytes: raw.window_bytes,
            exported_bytes: raw.exported_bytes,
            quarantined_bytes: raw.quarantined_bytes,
            ports_up: Set::from_bits(raw.ports_up),
        }
    }
}

/// A node, as this one knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number.
    pub node: u32,
    /// What is known of it.
    pub state: NodeState,
    /// Adapters of this node that reach it.
    pub adapters: Set,
    /// Its generation, 0 if it was never up.
    pub generation: u64,
    /// Segments of it that this node is connected to.
    pub connections_out: u64,
    /// Its connections to segments of this node.
    pub connections_in: u64,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It was up once; no link leads to it now.
    Down,
    /// A link is up, hellos are under way.
    Greeting,
    /// It can be connected to.
    Up,
    /// One that this version does not know.
    Other(u32),
}

impl From<uapi::skiff_node_info> for NodeInfo {
    fn from(raw: uapi::skiff_node_info) -> Self {
        Self {
            node: raw.node,
            state: match raw.state {
                uapi::SKIFF_NODE_DOWN => NodeState::Down,
                uapi::SKIFF_NODE_GREETING => NodeState::Greeting,
                uapi::SKIFF_NODE_UP => NodeState::Up,
                other => NodeState::Other(other),
            },
            adapters: Set::from_bits(raw.adapters.into()),
            generation: raw.generation,
            connections_out: raw.connections_out,
            connections_in: raw.connections_in,
        }
    }
}

/// A segment that was found on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: u32,
    /// Its length.
    pub bytes: u64,
    /// Its owner on its node.
    pub uid: u32,
    /// Its mode.
    pub mode: u32,
}

impl From<uapi::skiff_segment_query> for Found {
    fn from(raw: uapi::skiff_segment_query) -> Self {
        Self {
            id: raw.id,
            bytes: raw.bytes,
            uid: raw.uid,
            mode: raw.mode,
        }
    }
}

/// A local segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its id; 0 for a private one.
    pub id: u32,
    /// Its mode.
    pub mode: u32,
    /// Its length.
    pub bytes: u64,
    /// Who may connect; empty: all nodes.
    pub nodes: Set,
    /// Adapters that it is prepared for.
    pub prepared: Set,
    /// Adapters through which it is available.
    pub available: Set,
    /// Connections at the moment, those of the own node included.
    pub connections: u32,
    /// Ranges of bus addresses on the first adapter that it is prepared for.
    pub extents: u32,
}

impl From<uapi::skiff_segment_info> for SegmentInfo {
    fn from(raw: uapi::skiff_segment_info) -> Self {
        Self {
            id: raw.id,
            mode: raw.mode,
            bytes: raw.bytes,
            nodes: Set::from_bits(raw.nodes),
            prepared: Set::from_bits(raw.prepared.into()),
            available: Set::from_bits(raw.available.into()),
            connections: raw.connections,
            extents: raw.extents,
        }
    }
}

/// A connection to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteInfo {
    /// The owner's node.
    pub node: Node,
    /// The adapter that reaches it; [`Adapter::Any`] for the own node.
    pub adapter: Adapter,
    /// The segment's id.
    pub id: u32,
    /// Its length.
    pub bytes: u64,
    /// Whether it can be used.
    pub state: RemoteState,
    /// What its maps may be used for.
    pub access: Access,
    /// Live maps.
    pub maps: u32,
    /// Slots that they use.
    pub slots: u32,
}

/// Whether a connection can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteState {
    /// It can.
    Operational,
    /// The link is down; it may come back.
    NotOperational,
    /// It will not come back.
    Lost,
    /// One that this version does not know.
    Other(u32),
}

/// What memory may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    ReadOnly,
    /// Reading and writing.
    #[default]
    ReadWrite,
}

impl From<uapi::skiff_remote_info> for RemoteInfo {
    fn from(raw: uapi::skiff_remote_info) -> Self {
        Self {
            node: raw.node.into(),
            adapter: raw.adapter.into(),
            id: raw.id,
            bytes: raw.bytes,
            state: match raw.state {
                uapi::SKIFF_REMOTE_OPERATIONAL => RemoteState::Operational,
                uapi::SKIFF_REMOTE_NOT_OPERATIONAL => RemoteState::NotOperational,
                uapi::SKIFF_REMOTE_LOST => RemoteState::Lost,
                other => RemoteState::Other(other),
            },
            access: if raw.flags & uapi::SKIFF_CONNECT_READ_ONLY != 0 {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            },
            maps: raw.maps,
            slots: raw.slots,
        }
    }
}
