// SPDX-License-Identifier: GPL-2.0
//! The logic of Skiff that needs no kernel: ids, addresses, the wire format, and the state machines of sessions, slots and
//! rings.
//!
//! `core` only, nothing allocates, nothing locks, nothing is unsafe: the same sources are a crate of skiff.ko, of the host
//! tests and of the hostile node. Numbers that come from a peer or a user enter through the checked constructors here.

// Kbuild adds `no_std` by itself, and compiles modules with `--cfg MODULE`.
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

pub mod access;
pub mod addr;
pub mod frames;
pub mod ids;
pub mod lend;
pub mod ntb;
pub mod ram;
pub mod ring;
pub mod session;
pub mod slots;
pub mod wire;
