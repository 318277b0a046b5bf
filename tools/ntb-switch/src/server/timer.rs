// SPDX-License-Identifier: GPL-2.0
//! Messages that fault injection holds back: one thread gives each to the switch when its time has come.
//!
//! The thread does not keep the fabric alive; it ends when the fabric, and with it the sending end, is gone.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::Weak;
use std::thread;
use std::time::Instant;

use super::fabric::Fabric;
use crate::model::Message;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Timer(Sender<(Instant, Message)>);

/// What the thread gets.
#[derive(Debug)]
pub(super) struct Held(Receiver<(Instant, Message)>);

impl Timer {
    /// A timer whose thread is not running yet.
    pub(super) fn new() -> (Self, Held) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), Held(receiver))
    }

    /// Has `message` delivered at `when`.
    pub(super) fn hold(&self, when: Instant, message: Message) {
        if self.0.send((when, message)).is_err() {
            tracing::warn!(
                ?message,
                "a message is lost: the thread that delays messages has ended"
            );
        }
    }
}

impl Held {
    /// Starts the thread.
    pub(super) fn start(self, fabric: Weak<Fabric>) -> io::Result<()> {
        thread::Builder::new()
            .name("timer".into())
            .spawn(move || self.run(&fabric))?;
        Ok(())
    }

    fn run(self, fabric: &Weak<Fabric>) {
        // By time, and among equals in the order in which they came.
        let mut held: BTreeMap<(Instant, u64), Message> = BTreeMap::new();
        let mut number = 0;
        loop {
            let now = Instant::now();
            while let Some(first) = held.first_entry().filter(|first| first.key().0 <= now) {
                let message = first.remove();
                match fabric.upgrade() {
                    Some(fabric) => fabric.deliver(message),
                    None => return,
                }
            }
            let next = match held.first_key_value() {
                Some((key, _)) => self.0.recv_timeout(key.0.saturating_duration_since(now)),
                None => self.0.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok((when, message)) => {
                    held.insert((when, number), message);
                    number += 1;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
