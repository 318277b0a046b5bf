// SPDX-License-Identifier: GPL-2.0

//! The types of `include/uapi/linux/skiff.h`, how they are copied, and what programs and kernel clients say alike.

#![allow(
    clippy::all,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    dead_code
)]

pub(crate) mod devices;
pub(crate) mod numbers;

use core::mem::size_of;
use kernel::ffi;
use skiff_ext::uaccess::Extensible;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

include!(concat!(env!("SKIFF_OBJ"), "/rust/skiff/uapi_generated.rs"));

/// Says how long the first version of a structure was; later ones may only add to it.
macro_rules! extensible {
    ($($name:ident: $first:literal,)*) => {
        $(
            impl Extensible for $name {
                const FIRST: usize = $first;
            }
            const _: () = assert!(size_of::<$name>() >= $first);
        )*
    };
}

extensible! {
    skiff_info: 40,
    skiff_adapter_info: 64,
    skiff_node_info: 40,
    skiff_segment_create: 48,
    skiff_segment_connect: 40,
    skiff_segment_query: 40,
    skiff_segment_adapter: 8,
    skiff_segment_remove: 8,
    skiff_segment_revoke: 24,
    skiff_segment_info: 48,
    skiff_remote_disconnect: 8,
    skiff_remote_info: 40,
    skiff_lend_add: 32,
    skiff_lend_device: 16,
    skiff_lend_peer: 16,
    skiff_device_query: 120,
    skiff_device_borrow: 24,
    skiff_device_info: 120,
    skiff_device_plain: 16,
    skiff_device_segment: 32,
    skiff_device_map: 48,
    skiff_device_unmap: 16,
    skiff_device_config: 24,
    skiff_device_bus_master: 16,
    skiff_device_vectors: 16,
    skiff_device_vector: 16,
}
