// SPDX-License-Identifier: GPL-2.0
//! Strips the agent: it lies in the memory of every node, and most of its size would be debug information.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
}
