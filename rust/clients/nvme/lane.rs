// SPDX-License-Identifier: GPL-2.0

//! A hardware queue as the block layer has it, and what is called for when its requests are late.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use skiff_client::Worker;

use crate::{
    attachment::Attachment,
    queue::Queue,
    role::Role, //
};

/// Calls for the worker.
pub(crate) struct Calls {
    /// Look for completions, as an interrupt may have been lost.
    pub(crate) look: Atomic<bool>,
    /// Reset the controller, or have it reset.
    pub(crate) reset: Atomic<bool>,
    /// The device is lost.
    pub(crate) lost: Atomic<bool>,
    /// The start of the controller that the queues are of.
    pub(crate) start: Atomic<u32>,
    pub(crate) worker: Arc<Worker<Attachment>>,
}

impl Calls {
    pub(crate) fn call(&self, what: &Atomic<bool>) {
        what.store(true, Relaxed);
        self.worker.kick();
    }
}

/// A hardware queue as the block layer has it.
pub(crate) struct Lane {
    pub(crate) queue: Arc<Queue>,
    pub(crate) role: Arc<Role>,
    pub(crate) calls: Arc<Calls>,
}

impl Lane {
    /// A request took too long for the first time (`late` is 0), or for longer.
    pub(crate) fn late(&self, tag: u16, late: u32) {
        self.calls.call(&self.calls.look);
        if late > 0 {
            pr_warn!("command {} was not aborted, the controller is reset\n", tag);
            self.calls.call(&self.calls.reset);
        } else if let Some(number) = self.queue.number() {
            pr_warn!(
                "command {} of queue {} takes long, it is aborted\n",
                tag,
                number
            );
            match self.role.abort(number, tag, self.calls.start.load(Relaxed)) {
                Ok(()) => {}
                // The controller was reset, which takes the command, too.
                Err(error) if error == EAGAIN => {}
                Err(error) => {
                    pr_warn!("command {} cannot be aborted: {:?}\n", tag, error);
                    self.calls.call(&self.calls.reset);
                }
            }
        }
    }
}
