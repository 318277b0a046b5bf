// SPDX-License-Identifier: GPL-2.0

//! The exported functions, the only code of this room that is unsafe.
//!
//! C sees an object as a pointer to a type of which it knows the name only: an [`Arc`](kernel::sync::Arc) that was
//! [given](handle::give) to it, until it is [taken](handle::take) back.

mod callbacks;
mod channel;
mod device;
mod global;
mod handle;
mod map;
mod memory;
mod node;
mod segment;
mod window;

pub(crate) use self::global::Serving;

use kernel::prelude::*;

/// Fails to compile unless functions of this room have the types that the header declares.
macro_rules! declared {
    ($($name:ident),* $(,)?) => {
        $(
            const _: () = {
                let _ = if true { $crate::kapi::header::$name } else { $name };
            };
        )*
    };
}

use declared;

/// 0, or the negative errno.
fn status(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
