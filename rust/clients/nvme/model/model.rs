// SPDX-License-Identifier: GPL-2.0
//! The logic of skiff_nvme that needs no kernel: what commands and completions look like, how queues run, where data is, and
//! what the owner of a controller and those who share it say to each other.
//!
//! Written from the NVM Express specifications (base 2.0, NVM command set 1.0, PCIe transport 1.0). `core` only, nothing
//! allocates, nothing locks, nothing is unsafe. Numbers of a controller or of a peer enter through the checks here.

// Kbuild adds `no_std` by itself, and compiles modules with `--cfg MODULE`.
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

mod bytes;
pub mod command;
pub mod completion;
pub mod data;
pub mod doorbell;
pub mod identify;
pub mod pairs;
pub mod protocol;
pub mod queue;
pub mod registers;
pub mod shadow;
pub mod starts;

use core::fmt;

/// Bytes of a page of the controller, and of ours.
pub const PAGE: u32 = 4096;

/// What a controller or a peer says makes no sense; names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(pub &'static str);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for Wrong {}
