// SPDX-License-Identifier: GPL-2.0
//! The switch as a process, with nodes and helpers that are threads of the tests.

mod control;
mod devices;
mod lifecycle;
mod mapped;
mod support;
mod windows;
