// SPDX-License-Identifier: GPL-2.0
//! Rules of lending: who may have a device, what may be written to its configuration space, where its memory is
//! made, and which devices a search finds.

mod borrowers;
mod config;
mod filter;
mod placement;

pub use borrowers::Borrowers;
pub use borrowers::Denied;
pub use borrowers::Remains;
pub use borrowers::BORROWS_MAX;
pub use config::ConfigSpace;
pub use filter::Filter;
pub use placement::Hints;
pub use placement::Side;
