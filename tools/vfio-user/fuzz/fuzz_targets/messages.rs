// SPDX-License-Identifier: GPL-2.0
//! Any bytes as messages of a client; the code under test is that of tests/hostile.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| skiff_vfio_user::fuzz::feed(bytes));
