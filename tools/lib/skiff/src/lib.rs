// SPDX-License-Identifier: GPL-2.0
//! Memory that nodes joined by PCI Express Non-Transparent Bridges share: the objects of `/dev/skiff` in safe Rust.
//!
//! A [`Context`] makes objects, and each object is a file descriptor of its own that closes
//! itself, can be passed to another process and outlives the context:
//!
//! - a [`LocalSegment`] is memory of this node that others may connect to;
//! - a [`RemoteSegment`] is a connection to a segment of some node, the own one included;
//! - a [`Map`] is the memory of either in this process;
//! - a [`Borrowed`] is a PCI function that some node lends.
//!
//! One node offers memory:
//!
//! ```no_run
//! use skiff::{Adapter, Context, MapOptions, SegmentOptions};
//!
//! let context = Context::open()?;
//! let segment = context.create(&SegmentOptions::new(1 << 20).id(7).mode(0o600))?;
//! segment.map(&MapOptions::new())?.write(0, b"ahoy")?;
//! segment.prepare(Adapter::Any)?;
//! segment.set_available(Adapter::Any)?;
//! while let Some(event) = segment.next_event(None)? {
//!     println!("{:?}: node {}", event.kind, event.node);
//! }
//! # Ok::<(), skiff::Error>(())
//! ```
//!
//! Another one reads and writes it:
//!
//! ```no_run
//! use skiff::{ConnectOptions, Context, MapOptions};
//!
//! let context = Context::open()?;
//! let segment = context.connect(0, 7, &ConnectOptions::new())?;
//! let map = segment.map(&MapOptions::new())?;
//! let mut word = [0; 4];
//! map.read(0, &mut word)?;
//! map.store_u64(64, 1)?;
//! map.flush();
//! # Ok::<(), skiff::Error>(())
//! ```
//!
//! # Devices
//!
//! A node lends functions ([`Context::lend_add`], [`Context::lend_available`]) to the nodes that it
//! shows its pool ([`Context::lend_connect`]). They find and borrow them ([`Context::devices`],
//! [`Context::borrow`]); [`Borrowed`] shows how a driver goes on.
//!
//! # Mapped memory
//!
//! What is mapped changes by itself: other nodes write it. It is therefore never lent out
//! as a slice, but copied and accessed with volatile loads and stores ([`Memory`]).
//! Stores to another node are posted and may be combined and reordered on their way;
//! [`Memory::flush`] orders them. A load from another node waits for the round trip.
//!
//! When the peer is lost, an access raises SIGBUS, which ends the process, unless
//! the map was made with [`MapOptions::all_ones`].

pub mod raw;
pub mod uapi;

mod buffer;
mod context;
mod device;
mod error;
mod event;
mod info;
mod local;
mod map;
mod memory;
mod names;
mod options;
mod remote;
mod sys;

#[cfg(test)]
mod tests;

pub use buffer::Buffer;
pub use context::Context;
pub use device::borrowed::Borrowed;
pub use device::borrowed::DeviceMap;
pub use device::borrowed::DeviceMemory;
pub use device::borrowed::Hints;
pub use device::borrowed::Mastering;
pub use device::borrowed::Width;
pub use device::name::BadName;
pub use device::name::Fdid;
pub use device::name::PciAddress;
pub use device::options::BorrowOptions;
pub use device::options::Filter;
pub use device::options::LendOptions;
pub use device::options::Protection;
pub use device::options::Withdrawal;
pub use device::state::BorrowInfo;
pub use device::state::DeviceInfo;
pub use device::state::DeviceState;
pub use device::state::Refusal;
pub use device::state::Share;
pub use error::Attempt;
pub use error::Error;
pub use error::Result;
pub use event::Event;
pub use event::EventKind;
pub use info::Access;
pub use info::AdapterInfo;
pub use info::Containment;
pub use info::Found;
pub use info::Info;
pub use info::Iommu;
pub use info::Layout;
pub use info::NodeInfo;
pub use info::NodeState;
pub use info::RemoteInfo;
pub use info::RemoteState;
pub use info::SegmentInfo;
pub use local::LocalSegment;
pub use local::Removal;
pub use local::Revoked;
pub use map::Map;
pub use memory::Memory;
pub use names::Adapter;
pub use names::Node;
pub use names::Set;
pub use options::ConnectOptions;
pub use options::MapOptions;
pub use options::SegmentOptions;
pub use remote::RemoteSegment;

/// The device node.
pub const DEVICE: &str = "/dev/skiff";

/// The size argument of an ABI struct.
fn size_of_abi<T>() -> u32 {
    // CAST: the structs of the ABI are shorter than a page.
    size_of::<T>() as u32
}
