// SPDX-License-Identifier: GPL-2.0
//! The objects against a kernel that is faked: what they ask it for, and what they make of its answers.

mod devices;
mod errors;
mod events;
mod maps;
mod memory;
mod os;
mod segments;

use crate::sys::fake::Fake;
use crate::Context;

/// A context on a kernel of its own.
fn context() -> (Context, &'static Fake) {
    let fake = Fake::new();
    let context = Context::open_on(fake).expect("a fake can be opened");
    (context, fake)
}
