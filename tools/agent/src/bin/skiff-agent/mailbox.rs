// SPDX-License-Identifier: GPL-2.0
//! What a stream's thread waits for: a queue with an eventfd beside it, so that poll(2) sees it too.
//!
//! The sender is cloned freely; the one receiver belongs to the stream's thread.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};
use skiff_agent::message::{Exit, Size};

/// Something for a stream's thread.
#[derive(Debug)]
pub enum Mail {
    /// Data from the host.
    Data(Vec<u8>),
    /// No more data.
    Eof,
    /// More may be sent.
    Credit(u32),
    /// A signal for the command.
    Signal(i32),
    /// A new terminal size.
    Resize(Size),
    /// The host has lost interest.
    Close,
    /// The command ended (from the reaper).
    Ended(Exit),
    /// Say on this stream that the kernel log has been sent.
    SyncLog(u32),
}

/// The sending end.
#[derive(Debug, Clone)]
pub struct Mailbox {
    queue: Sender<Mail>,
    bell: Arc<EventFd>,
}

impl Mailbox {
    /// Leaves something; after the thread's end it is dropped.
    pub fn leave(&self, mail: Mail) {
        if self.queue.send(mail).is_ok() {
            // Only a counter at its maximum could fail, and then the bell rings anyway.
            let _ = self.bell.write(1);
        }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<Mail>,
    bell: Arc<EventFd>,
}

impl Inbox {
    /// Waits for the next thing; `None` once no sender is left.
    pub fn wait(&self) -> Option<Mail> {
        self.queue.recv().ok()
    }

    /// Takes the next thing if there is one.
    pub fn take(&self) -> Option<Mail> {
        self.queue.try_recv().ok()
    }

    /// Readable when something was left since [`Inbox::silence`].
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Stops the bell; to be called before emptying the queue.
    pub fn silence(&self) {
        // EAGAIN: it does not ring.
        let _ = self.bell.read();
    }
}

/// A new mailbox.
///
/// # Errors
/// eventfd's.
pub fn pair() -> nix::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(EventFd::from_flags(
        EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
    )?);
    let (sender, receiver) = mpsc::channel();
    Ok((
        Mailbox {
            queue: sender,
            bell: Arc::clone(&bell),
        },
        Inbox {
            queue: receiver,
            bell,
        },
    ))
}
