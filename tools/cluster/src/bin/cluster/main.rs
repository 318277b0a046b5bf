// SPDX-License-Identifier: GPL-2.0
//! Starts a cluster.
fn main() {}
