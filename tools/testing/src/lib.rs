// SPDX-License-Identifier: GPL-2.0
//! The test frame, the cluster tests and the demo; `skiff-test` is the program around them.
//!
//! Each test is an entry in a table ([`suites::ALL`]) that says on which kernel, how many nodes and with which IOMMU it
//! runs. The benchmarks use the same way into a node ([`guest`]).

pub mod demo;
pub mod disk;
pub mod frame;
pub mod guest;
pub mod host;
pub mod ktap;
pub mod lend;
pub mod log;
pub mod ntb_tool;
pub mod nvme;
pub mod report;
pub mod share;
pub mod suites;
