// SPDX-License-Identifier: GPL-2.0
//! The protocol between a host and the agent inside an emulated node.
//!
//! Pure: bytes and plain types, no I/O, no threads. [`frame`] makes a byte stream carry packets and finds the next
//! packet after damage; [`message`] says what the packets mean. The agent itself is this package's binary.

pub mod frame;
pub mod message;
