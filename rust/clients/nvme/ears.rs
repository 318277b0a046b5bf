// SPDX-License-Identifier: GPL-2.0

//! Who is told of interrupts and of the end of a borrow.
//!
//! The borrow is older than what it tells: [`Ears`] are lent to it first, and point to somebody later.
//!
//! # Locking
//!
//! The mutex is held to look only. Nothing is locked inside of it.

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
    }, //
};
use skiff_client::{
    BorrowEvent,
    BorrowHandler, //
};

use skiff_nvme_model::protocol::Event;

use crate::attachment::Attachment;

/// Ears.
#[pin_data]
pub(crate) struct Ears {
    #[pin]
    listener: Mutex<Option<Arc<Attachment>>>,
    ended: Atomic<bool>,
}

impl Ears {
    /// Of nobody yet.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                listener <- new_mutex!(None, "Ears::listener"),
                ended: Atomic::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// From now on this is told; whether the borrow has not ended before.
    pub(crate) fn listen(&self, listener: Option<Arc<Attachment>>) -> bool {
        let mut place = self.listener.lock();
        let former = core::mem::replace(&mut *place, listener);

        drop(place);
        drop(former);
        !self.ended()
    }

    /// Whether the borrow has ended, or is of no use any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// The owner of the controller has told something, in this start of it. That it has given the controller up is as good as the end
    /// of the borrow.
    pub(crate) fn told(&self, event: Event, start: u32) {
        if event == Event::Gone {
            self.ended.store(true, Relaxed);
        }
        if let Some(listener) = self.listener() {
            listener.told(event, start);
        }
    }

    fn listener(&self) -> Option<Arc<Attachment>> {
        self.listener.lock().clone()
    }
}

impl BorrowHandler for Ears {
    fn interrupt(&self, vectors: u64) {
        if let Some(listener) = self.listener() {
            listener.interrupt(vectors);
        }
    }

    fn event(&self, event: BorrowEvent) {
        if let BorrowEvent::Ended = event {
            self.ended.store(true, Relaxed);
        }
        if let Some(listener) = self.listener() {
            listener.event(event);
        }
    }
}
