// SPDX-License-Identifier: GPL-2.0

//! Random numbers of the kernel.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use kernel::bindings;

/// Eight random bytes, good enough for a name that nobody shall guess or meet twice.
pub fn random_u64() -> u64 {
    // SAFETY:
    // - There are no conditions.
    unsafe { bindings::get_random_u64() }
}
