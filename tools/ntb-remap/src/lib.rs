// SPDX-License-Identifier: GPL-2.0
//! What the switch and the re-mapping helper have in common: the packets of [`wire`].
//!
//! The helper itself is the package `ntb-remap-preload` beside this one. It cannot live here: it defines `mmap` and `munmap`, and a program
//! that links this crate would get them too.

pub mod wire;
