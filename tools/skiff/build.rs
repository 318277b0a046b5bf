// SPDX-License-Identifier: GPL-2.0
//! Strips the command: the static one lies in the memory of nodes, and most of its size would be debug information.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
}
