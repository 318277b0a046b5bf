// SPDX-License-Identifier: GPL-2.0
//! A software IDT 89HPES32NT8AG2: several machines' non-transparent bridges joined by one switch.

pub mod control;
pub mod counters;
pub mod model;
pub mod server;
pub mod space;
pub mod view;
