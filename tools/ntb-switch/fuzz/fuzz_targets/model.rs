// SPDX-License-Identifier: GPL-2.0
//! Random bytes as the accesses of hostile nodes; `make fuzz` runs it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ntb_switch::model::fuzz::fuzz_feed(bytes));
