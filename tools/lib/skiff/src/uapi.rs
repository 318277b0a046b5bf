// SPDX-License-Identifier: GPL-2.0
//! The ABI of `/dev/skiff` as the kernel's header has it, made from that header when the crate is built.
//!
//! Programs seldom need it: the types beside it say the same with names and checks.
#![expect(missing_docs, non_camel_case_types)]

include!(concat!(env!("OUT_DIR"), "/uapi.rs"));
