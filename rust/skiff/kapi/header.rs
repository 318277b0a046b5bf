// SPDX-License-Identifier: GPL-2.0

//! `include/linux/skiff.h`: its types, and its functions as it declares them.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    dead_code
)]

use crate::uapi::*;
use kernel::{
    bindings::*,
    ffi, //
};

include!(concat!(env!("SKIFF_OBJ"), "/rust/skiff/kapi_generated.rs"));
