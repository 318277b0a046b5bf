// SPDX-License-Identifier: GPL-2.0

//! Who the current task acts as, and what it may do.
//!
//! Users and groups are numbers of the initial user namespace: they are compared across nodes, where no other
//! namespace means anything.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use crate::bindings as helpers;
use kernel::{
    bindings,
    prelude::*, //
};

/// Returns the effective user of the current task.
pub fn effective_uid() -> u32 {
    // SAFETY: Reads the credentials of the current task, which only that task changes.
    unsafe { helpers::current_euid_init_ns() }
}

/// Returns the effective group of the current task.
pub fn effective_gid() -> u32 {
    // SAFETY: Reads the credentials of the current task, which only that task changes.
    unsafe { helpers::current_egid_init_ns() }
}

/// A right that root has and others may have been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_SYS_ADMIN`: to administer the machine.
    SysAdmin,
    /// `CAP_SYS_RAWIO`: to do I/O that reaches all memory.
    SysRawio,
}

/// Whether the current task has `capability` in the initial user namespace. Tells the kernel that it is about to be used.
pub fn capable(capability: Capability) -> bool {
    let number = match capability {
        Capability::SysAdmin => bindings::CAP_SYS_ADMIN,
        Capability::SysRawio => bindings::CAP_SYS_RAWIO,
    };
    // SAFETY: There is no condition; the number is one of a capability.
    // CAST: There are fewer than 64.
    unsafe { bindings::capable(number as c_int) }
}

/// Marks the kernel as one whose user has asked for what may spoil it (`TAINT_USER`), as VFIO does when it hands out devices
/// without an IOMMU.
pub fn taint_by_user() {
    // SAFETY: There is no condition.
    unsafe { helpers::add_taint_user() };
}
