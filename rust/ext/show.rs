// SPDX-License-Identifier: GPL-2.0

//! Values of crates that know `core` only, in messages of the kernel.
//!
//! The kernel crate's macros print what implements its own [`kernel::fmt::Display`], not `core`'s.

use core::fmt;

/// Prints its content as `core` does.
#[derive(Clone, Copy, Debug)]
pub struct Show<T>(pub T);

impl<T: fmt::Display> kernel::fmt::Display for Show<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
