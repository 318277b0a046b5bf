// SPDX-License-Identifier: GPL-2.0
//! Server side of vfio-user, the protocol by which QEMU's `vfio-user-pci` uses a PCI function that another process models.
//!
//! A model implements [`Device`]; [`serve`] answers one client's messages from it with two threads and hands out a [`Client`], by which the
//! model reaches the client's bus. The protocol is that of libvfio-user's docs/vfio-user.rst as QEMU 10.1 and later speak it
//! (hw/vfio-user/protocol.h there). Nothing here knows what the device is.

mod channel;
mod client;
mod connection;
pub mod device;
pub mod fuzz;
mod inbox;
mod reader;
mod regions;
mod session;
mod waiting;
pub mod wire;

pub use client::{Client, DmaError};
pub use connection::{serve, serve_with, Connection, Ended, Limits};
pub use device::{
    Device, DeviceFlags, DeviceInfo, DmaAccess, DmaMap, DmaUnmap, IrqAction, IrqData, IrqFlags,
    IrqInfo, MappableArea, RegionAccess, RegionInfo, RegionMapping, SetIrqs,
};
/// The error numbers that travel in replies.
pub use rustix::io::Errno;
