// SPDX-License-Identifier: GPL-2.0

//! What the kernel crate lacks: safe abstractions, each in a file named like the kernel crate's.
//!
//! With `rust/skiff/hw` the only place that may use `unsafe`. Nothing here knows of bridges.

use kernel::types::Opaque;

pub mod anon;
pub mod auxiliary;
pub mod bindings;
pub mod chardev;
pub mod cred;
pub mod debugfs;
pub mod errno;
pub mod eventfd;
pub mod fops;
pub mod iommu;
pub mod iova;
pub mod irq;
pub mod mmio;
pub mod page;
pub mod pci;
pub mod pin;
pub mod ram;
pub mod random;
pub mod show;
pub mod spin;
pub mod trace;
pub mod uaccess;
pub mod vma;
pub mod vmap;
pub mod wait;
pub mod wc;
pub mod work;

// A structure of the kernel without fields (`lock_class_key` without lockdep) is in it.
#[allow(improper_ctypes)]
extern "C" {
    /// The module that this crate is linked into, defined by the linker script's `.gnu.linkonce.this_module`.
    static __this_module: Opaque<kernel::bindings::module>;
}

/// The module that this crate is linked into: the owner of what it registers.
pub(crate) const THIS_MODULE: *mut kernel::bindings::module =
    (&raw const __this_module).cast_mut().cast();
