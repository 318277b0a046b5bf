// SPDX-License-Identifier: GPL-2.0

//! What bindgen makes of a crate's helpers.h: functions without their prefix, and types that the kernel crate's bindings lack.
//!
//! This file is part of each crate that has such a header; Kbuild says for each where the generated file is.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_imports
)]

use kernel::{
    bindings::*,
    ffi, //
};

include!(env!("SKIFF_BINDINGS"));
