// SPDX-License-Identifier: GPL-2.0
//! What programs try: each operation of this crate, in words that follow "cannot".

use std::fmt;

use crate::Adapter;
use crate::DeviceMemory;
use crate::Fdid;
use crate::Node;
use crate::PciAddress;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attempt {
    /// Opening `/dev/skiff`.
    Open,
    /// Asking for the state of the own node.
    Info,
    /// Asking for the state of an adapter.
    AdapterInfo {
        /// Its number.
        adapter: u32,
    },
    /// Asking for the state of a node.
    NodeInfo {
        /// Which one.
        node: Node,
    },
    /// Making a segment.
    Create {
        /// The id asked for, if one was.
        id: Option<u32>,
        /// Its length.
        bytes: u64,
    },
    /// Connecting to a segment.
    Connect {
        /// Its owner.
        node: Node,
        /// Its id on that node.
        id: u32,
    },
    /// Looking for a segment.
    Query {
        /// Where.
        node: Node,
        /// The lowest id that was to be looked at.
        from: u32,
    },
    /// Making a segment's memory reachable.
    Prepare {
        /// Through which adapter.
        adapter: Adapter,
    },
    /// Letting others connect.
    SetAvailable {
        /// Through which adapter.
        adapter: Adapter,
    },
    /// Letting no others connect.
    SetUnavailable {
        /// Through which adapter.
        adapter: Adapter,
    },
    /// Removing a segment.
    Remove,
    /// Taking connections away.
    Revoke {
        /// Whose.
        node: Node,
    },
    /// Asking for the state of a segment or of a connection.
    SegmentInfo,
    /// Ending a connection.
    Disconnect,
    /// Mapping a segment.
    Map {
        /// First byte.
        offset: u64,
        /// Length.
        bytes: u64,
    },
    /// Reading or writing mapped memory.
    Access {
        /// First byte.
        offset: usize,
        /// Length.
        bytes: usize,
    },
    /// Taking memory of the own process.
    Allocate {
        /// Length.
        bytes: usize,
    },
    /// Unmapping.
    Unmap,
    /// Waiting for an event.
    Wait,
    /// Adding a function to the pool of lent devices.
    LendAdd {
        /// Which one.
        function: PciAddress,
    },
    /// Taking a device out of the pool.
    LendRemove {
        /// Which one.
        fdid: Fdid,
    },
    /// Letting others borrow a device.
    LendAvailable {
        /// Which one.
        fdid: Fdid,
    },
    /// Letting nobody borrow a device.
    LendUnavailable {
        /// Which one.
        fdid: Fdid,
    },
    /// Showing the pool to a node.
    LendConnect {
        /// Which one.
        node: Node,
    },
    /// Hiding the pool from a node.
    LendDisconnect {
        /// Which one.
        node: Node,
    },
    /// Looking for devices.
    Devices,
    /// Borrowing a device.
    Borrow {
        /// Which one.
        fdid: Fdid,
    },
    /// Asking for the state of a borrowed device.
    BorrowInfo,
    /// Giving a borrowed device back.
    GiveBack,
    /// Letting others borrow a device as well.
    ReleaseExclusive,
    /// Resetting a borrowed device.
    ResetDevice,
    /// Making memory of a borrowed device.
    DeviceCreate {
        /// For whom.
        memory: DeviceMemory,
        /// Its id.
        id: u32,
        /// Its length.
        bytes: u64,
    },
    /// Connecting to memory of a borrowed device.
    DeviceConnect {
        /// For whom it was made.
        memory: DeviceMemory,
        /// Its id.
        id: u32,
    },
    /// Connecting to registers of a borrowed device.
    DeviceBar {
        /// Number of the BAR.
        bar: u32,
    },
    /// Mapping memory for a borrowed device.
    DeviceMap {
        /// First byte in the segment.
        offset: u64,
        /// Length; 0: up to the segment's end.
        bytes: u64,
    },
    /// Taking memory from a borrowed device.
    DeviceUnmap,
    /// Reading a device's configuration space.
    ConfigRead {
        /// Where.
        offset: u32,
    },
    /// Writing a device's configuration space.
    ConfigWrite {
        /// Where.
        offset: u32,
    },
    /// Turning bus mastering on or off.
    BusMaster,
    /// Asking for interrupt vectors.
    Vectors {
        /// How many.
        count: u32,
    },
    /// Having interrupts of one vector signalled.
    Vector {
        /// Its number.
        index: u32,
    },
    /// A command that is not known, or whose argument is too short to be looked at.
    Command {
        /// Its number.
        request: u32,
    },
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(f, "open {}", crate::DEVICE),
            Self::Info => write!(f, "ask for the state of this node"),
            Self::AdapterInfo { adapter } => write!(f, "ask for the state of adapter {adapter}"),
            Self::NodeInfo { node } => write!(f, "ask for the state of {node}"),
            Self::Create { id: None, bytes } => write!(f, "make a segment of {bytes} bytes"),
            Self::Create {
                id: Some(id),
                bytes,
            } => write!(f, "make segment {id} of {bytes} bytes"),
            Self::Connect { node, id } => write!(f, "connect to segment {id} of {node}"),
            Self::Query { node, from } => {
                write!(f, "look for segments of {node} from id {from} up")
            }
            Self::Prepare { adapter } => write!(f, "prepare the segment for {adapter}"),
            Self::SetAvailable { adapter } => {
                write!(f, "make the segment available through {adapter}")
            }
            Self::SetUnavailable { adapter } => {
                write!(f, "make the segment unavailable through {adapter}")
            }
            Self::Remove => write!(f, "remove the segment"),
            Self::Revoke { node: Node::Local } => write!(f, "revoke all connections"),
            Self::Revoke { node } => write!(f, "revoke the connections of {node}"),
            Self::SegmentInfo => write!(f, "ask for the state of the segment"),
            Self::Disconnect => write!(f, "disconnect from the segment"),
            Self::Map { offset, bytes } => write!(f, "map {bytes} bytes at offset {offset}"),
            Self::Access { offset, bytes } => write!(f, "reach {bytes} bytes at offset {offset}"),
            Self::Allocate { bytes } => write!(f, "take {bytes} bytes of memory"),
            Self::Unmap => write!(f, "unmap the segment"),
            Self::Wait => write!(f, "wait for an event"),
            Self::LendAdd { function } => write!(f, "add {function} to the pool"),
            Self::LendRemove { fdid } => write!(f, "take device {fdid} out of the pool"),
            Self::LendAvailable { fdid } => write!(f, "make device {fdid} available"),
            Self::LendUnavailable { fdid } => write!(f, "make device {fdid} unavailable"),
            Self::LendConnect { node } => write!(f, "show the pool to {node}"),
            Self::LendDisconnect { node } => write!(f, "hide the pool from {node}"),
            Self::Devices => write!(f, "look for devices"),
            Self::Borrow { fdid } => write!(f, "borrow device {fdid}"),
            Self::BorrowInfo => write!(f, "ask for the state of the borrowed device"),
            Self::GiveBack => write!(f, "give the device back"),
            Self::ReleaseExclusive => write!(f, "let others borrow the device"),
            Self::ResetDevice => write!(f, "reset the device"),
            Self::DeviceCreate { memory, id, bytes } => {
                write!(
                    f,
                    "make {memory} segment {id} of {bytes} bytes for the device"
                )
            }
            Self::DeviceConnect { memory, id } => {
                write!(f, "connect to {memory} segment {id} of the device")
            }
            Self::DeviceBar { bar } => write!(f, "connect to BAR {bar} of the device"),
            Self::DeviceMap { offset, bytes: 0 } => {
                write!(f, "map all from offset {offset} on for the device")
            }
            Self::DeviceMap { offset, bytes } => {
                write!(f, "map {bytes} bytes at offset {offset} for the device")
            }
            Self::DeviceUnmap => write!(f, "unmap memory of the device"),
            Self::ConfigRead { offset } => {
                write!(f, "read configuration space at {offset:#05x}")
            }
            Self::ConfigWrite { offset } => {
                write!(f, "write configuration space at {offset:#05x}")
            }
            Self::BusMaster => write!(f, "turn bus mastering on or off"),
            Self::Vectors { count } => write!(f, "get {count} interrupt vectors"),
            Self::Vector { index } => write!(f, "have interrupts of vector {index} signalled"),
            Self::Command { request } => write!(f, "do command {request:#x}"),
        }
    }
}
