// SPDX-License-Identifier: GPL-2.0

//! A borrowed device whose user is a kernel module: how that is called.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};
use skiff_model::wire::DeviceOp;

use super::Borrowed;
use crate::segment::EventKind;

/// A kernel module that uses a borrowed device. It is called one thing at a time, on threads of this module that it must not keep
/// waiting: all peers of an adapter are heard by one, and the own node by another.
pub(crate) trait Client: Send + Sync {
    /// The device has raised interrupts: bit n by vector n. Only those that were asked for.
    fn interrupt(&self, vectors: u64);

    /// Something has happened to the borrow.
    fn event(&self, kind: EventKind);
}

/// Whether a kernel module knows of the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// There is nothing to tell, or it was told.
    Yes,
    /// It was not; the thread that hears the own node does that.
    NotYet,
}

/// How a kernel module is called, as long as it wants to be.
#[pin_data]
pub(crate) struct Caller {
    /// The module.
    #[pin]
    client: Mutex<Option<Arc<dyn Client>>>,
    /// Bit n: it hears of vector n.
    heeded: Atomic<u64>,
}

impl Caller {
    /// Calls `client`, if there is one, and of no vector yet.
    pub(super) fn new(client: Option<Arc<dyn Client>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                client <- new_mutex!(client, "Caller::client"),
                heeded: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Calls it.
    fn call(&self, call: impl FnOnce(&dyn Client)) {
        if let Some(client) = &*self.client.lock() {
            call(&**client);
        }
    }

    /// Calls it for those of these vectors that it wants to hear of.
    pub(crate) fn interrupt(&self, vectors: u64) {
        let heeded = vectors & self.heeded.load(Relaxed);

        if heeded != 0 {
            self.call(|client| client.interrupt(heeded));
        }
    }

    /// It hears of no vector any more, but for what is under way.
    pub(super) fn hush(&self) {
        self.heeded.store(0, Relaxed);
    }

    /// It is not called any more when this returns.
    fn leave(&self) {
        let client = self.client.lock().take();

        drop(client);
    }
}

impl Borrowed {
    /// Gives it back on behalf of a kernel module, which is not called any more when this returns; without the lender's answer
    /// if that has none.
    pub(crate) fn leave(&self, timeout_ms: u32) {
        self.caller.leave();
        if self.give_back(timeout_ms).is_err() {
            self.close();
        }
    }

    /// How the kernel module is called that uses it.
    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// The same on the thread of somebody who has asked for something. A kernel module is told on a thread of ours: the one that
    /// asks may hold what it needs to hear of it.
    pub(super) fn ended_unheard(&self) {
        if self.over() {
            self.post(EventKind::Ended);
            self.events.hang_up();
            self.state.lock().told = Told::NotYet;
            self.lend.net().worker().kick();
        }
    }

    /// Whether a kernel module is still to be told of the end; it is up to the caller from now on.
    pub(in crate::lend) fn take_untold(&self) -> bool {
        let mut state = self.state.lock();

        core::mem::replace(&mut state.told, Told::Yes) == Told::NotYet
    }

    /// Calls the kernel module, if one uses it.
    pub(in crate::lend) fn call(&self, call: impl FnOnce(&dyn Client)) {
        self.caller.call(call);
    }

    /// Has a kernel module called for these vectors, and no others: bit n is vector n. The lender tells of them.
    ///
    /// Errors: ENOENT when one of them is not on; those of asking.
    pub(crate) fn heed(&self, vectors: u64, timeout_ms: u32) -> Result {
        let on = self.state.lock().vectors;

        if vectors.checked_shr(on).unwrap_or(0) != 0 {
            return Err(ENOENT);
        }
        // Before the lender knows: from then on they come.
        self.caller.heeded.store(vectors, Relaxed);
        self.order(DeviceOp::Listen { vectors }, timeout_ms)
    }
}
