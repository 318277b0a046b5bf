// SPDX-License-Identifier: GPL-2.0

//! What a task waits on that has asked a peer something, and somebody else answers.
//!
//! # Locking
//!
//! `outcome` is innermost.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    new_wait_queue,
    wait::WaitQueue, //
};

/// What became of a question.
enum Outcome<T> {
    /// Nothing yet.
    Open,
    /// The answer.
    Answered(Result<T>),
    /// The answer was taken, or nobody wants it any more.
    Over,
}

/// What the asking task waits on.
#[pin_data]
pub(crate) struct Waiter<T> {
    #[pin]
    queue: WaitQueue,
    #[pin]
    outcome: Mutex<Outcome<T>>,
}

impl<T: Unpin> Waiter<T> {
    /// A question without an answer.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                queue <- new_wait_queue!(),
                outcome <- new_mutex!(Outcome::Open, "Waiter::outcome"),
            }),
            GFP_KERNEL,
        )
    }

    /// Gives the answer; the first one counts. Whether it is that, and somebody waits for it.
    pub(crate) fn answer(&self, answer: Result<T>) -> bool {
        let mut outcome = self.outcome.lock();
        let first = matches!(*outcome, Outcome::Open);
        if first {
            *outcome = Outcome::Answered(answer);
        }
        drop(outcome);
        self.queue.wake_all();
        first
    }

    /// Waits for the answer, for `limit_ms` milliseconds at most. Errors: the peer's, `EINTR`, `ETIMEDOUT`; nobody may
    /// wait again.
    pub(crate) fn wait(&self, limit_ms: u32) -> Result<T> {
        let take = || {
            let mut outcome = self.outcome.lock();
            match core::mem::replace(&mut *outcome, Outcome::Over) {
                Outcome::Open => {
                    *outcome = Outcome::Open;
                    None
                }
                Outcome::Answered(answer) => Some(answer),
                Outcome::Over => Some(Err(EINVAL)),
            }
        };
        match self.queue.wait_for(Some(limit_ms), take) {
            Ok(answer) => answer,
            Err(error) => {
                let last = core::mem::replace(&mut *self.outcome.lock(), Outcome::Over);
                match last {
                    Outcome::Answered(answer) => answer,
                    Outcome::Open | Outcome::Over => Err(error),
                }
            }
        }
    }
}
