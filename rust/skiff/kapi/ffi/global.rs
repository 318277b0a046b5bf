// SPDX-License-Identifier: GPL-2.0

//! The one [`Node`] that the exported functions serve clients from.
//!
//! # Locking
//!
//! `NODE` is held for a look only.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        global_lock,
        Arc, //
    },
};

use crate::kapi::Node;

/// `NODE` cannot be used.
const RAW: u32 = 0;
/// Somebody initialises it.
const BUSY: u32 = 1;
/// It can be used, for ever.
const READY: u32 = 2;

/// One of these.
static STATE: Atomic<u32> = Atomic::new(RAW);

global_lock! {
    // SAFETY: It is used by who has seen `READY` only, which `Serving::new` says when it has initialised it.
    unsafe(uninit) static NODE: Mutex<Option<Arc<Node>>> = None;
}

/// Clients are served until this is dropped; the module has one, and no client is left when that goes.
pub(crate) struct Serving(());

impl Serving {
    /// Serves clients from `node`. Error: `EBUSY` when there was another one before.
    pub(crate) fn new(node: Arc<Node>) -> Result<Self> {
        STATE.cmpxchg(RAW, BUSY, Full).map_err(|_| EBUSY)?;
        // SAFETY:
        // - Nobody comes here twice, for `STATE` never is `RAW` again.
        unsafe { NODE.init() };
        STATE.store(READY, Release);
        *NODE.lock() = Some(node);
        Ok(Self(()))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let node = NODE.lock().take();

        drop(node);
    }
}

/// What clients are served from. Error: `ENODEV` when the module is not there.
pub(super) fn node() -> Result<Arc<Node>> {
    if STATE.load(Acquire) != READY {
        return Err(ENODEV);
    }
    NODE.lock().clone().ok_or(ENODEV)
}
