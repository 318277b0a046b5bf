// SPDX-License-Identifier: GPL-2.0
//! The socket of a connection: whole messages out without ever blocking, bytes and file descriptors in.
//!
//! Any thread sends, under the lock of the outgoing queue; what the socket does not take at once stays in the queue and is sent by the reader
//! thread when the socket has room again. Only the reader thread receives. An eventfd wakes the reader from its wait.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags};
use rustix::io::{read, write, Errno};
use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tracing::warn;

/// Most bytes that wait to be taken by the client; replies beyond end the connection.
const QUEUE_BYTES: usize = 32 << 20;
/// Room for file descriptors in one receive call.
pub(crate) const FDS_PER_RECEIVE: usize = 64;

/// What to do with a message for which the socket has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Keep it and send it later.
    Queue,
    /// Give it up.
    Refuse,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The socket has no room.
    NoRoom,
    /// More than [`QUEUE_BYTES`] wait already.
    QueueFull,
    /// The connection is gone.
    Gone,
}

/// What woke the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Wait for bytes, and for room to send if something waits to be sent.
    Receive,
    /// Wait only for room to send and for [`Channel::wake`].
    Send,
}

#[derive(Debug)]
struct Leftover {
    bytes: Vec<u8>,
    sent: usize,
    fd: Option<Arc<OwnedFd>>,
}

#[derive(Debug, Default)]
struct Outgoing {
    queue: VecDeque<Leftover>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
    wake: OwnedFd,
    outgoing: Mutex<Outgoing>,
    /// A message was refused and the socket has had no room since. Written under the lock.
    full: AtomicBool,
    closed: AtomicBool,
}

impl Channel {
    pub(crate) fn new(socket: UnixStream) -> Result<Self, Errno> {
        Ok(Self {
            socket,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            outgoing: Mutex::default(),
            full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// Sends a whole message, or as much as fits and the rest later, or nothing.
    pub(crate) fn send(
        &self,
        bytes: Vec<u8>,
        fd: Option<Arc<OwnedFd>>,
        no_room: NoRoom,
    ) -> Result<(), SendError> {
        let mut message = Leftover { bytes, sent: 0, fd };
        let mut outgoing = self.lock();
        if self.is_closed() {
            return Err(SendError::Gone);
        }
        self.flush_locked(&mut outgoing)?;
        if outgoing.queue.is_empty() && self.send_some(&mut message)? {
            return Ok(());
        }
        if message.sent == 0 {
            match no_room {
                NoRoom::Refuse => {
                    self.full.store(true, Ordering::Relaxed);
                    drop(outgoing);
                    self.wake();
                    return Err(SendError::NoRoom);
                }
                NoRoom::Queue if outgoing.bytes > QUEUE_BYTES => return Err(SendError::QueueFull),
                NoRoom::Queue => {}
            }
        }
        outgoing.bytes += message.bytes.len() - message.sent;
        outgoing.queue.push_back(message);
        drop(outgoing);
        self.wake();
        Ok(())
    }

    /// Whether a message was refused for lack of room and there has been none since.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends both directions for good; the reader notices.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // The socket may be gone already, which is what is wanted.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.wake();
    }

    /// Ends the reader's current or next wait.
    pub(crate) fn wake(&self) {
        // Fails only when the counter is at its maximum, and then the reader wakes anyway.
        let _ = write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Receives what is there, at most `buf.len()` bytes, without waiting: `Ok(0)` is the end of the stream, `Errno::AGAIN` is nothing yet.
    pub(crate) fn receive(&self, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
        let mut space =
            [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_RECEIVE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(buf)],
                &mut control,
                flags,
            )
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::TOOMANYREFS);
        }
        Ok(received.bytes)
    }

    /// Bytes that the client has sent and nobody has received.
    pub(crate) fn unread(&self) -> u64 {
        // A socket that cannot tell is broken, which the reader notices.
        rustix::io::ioctl_fionread(&self.socket).unwrap_or(0)
    }

    /// Throws away what a closed socket still holds: file descriptors in it would stay open as long as somebody has a handle on the connection.
    pub(crate) fn drain(&self) {
        let mut buf = [0; 4096];
        let mut fds = Vec::new();
        // Ends: nobody can send to a socket that has been shut down.
        while matches!(
            self.receive(&mut buf, &mut fds),
            Ok(1..) | Err(Errno::TOOMANYREFS)
        ) {
            fds.clear();
        }
    }

    /// Waits without limit until there may be something to receive or [`wake`](Self::wake) was called, and sends what waits to be sent.
    pub(crate) fn wait(&self, interest: Interest) -> Result<(), Errno> {
        let to_send = !self.lock().queue.is_empty() || self.is_full();
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, interest == Interest::Receive);
        events.set(PollFlags::OUT, to_send);
        let mut fds = [
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(&self.socket, events),
        ];
        // A socket whose other end is gone is always ready: do not look at it unless something follows from that.
        let watched = if events.is_empty() { 1 } else { 2 };
        match poll(&mut fds[..watched], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = fds[1].revents();
        if !fds[0].revents().is_empty() {
            let mut count = [0; 8];
            // Nonblocking; nothing to read means that somebody else's wake-up was merged with this one.
            let _ = read(&self.wake, &mut count);
        }
        if ready.intersects(PollFlags::OUT | PollFlags::ERR | PollFlags::HUP) {
            let mut outgoing = self.lock();
            if self.flush_locked(&mut outgoing).is_err() {
                // Nobody takes it any more; what the client said before it left can still be received.
                *outgoing = Outgoing::default();
            }
            if outgoing.queue.is_empty() && ready.contains(PollFlags::OUT) {
                self.full.store(false, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        // Nothing in here panics half way through a change.
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush_locked(&self, outgoing: &mut Outgoing) -> Result<(), SendError> {
        while let Some(front) = outgoing.queue.front_mut() {
            let before = front.sent;
            let done = self.send_some(front);
            outgoing.bytes -= front.sent - before;
            if !done? {
                break;
            }
            outgoing.queue.pop_front();
        }
        Ok(())
    }

    /// Sends as much of a message as the socket takes; true when it is all sent.
    fn send_some(&self, message: &mut Leftover) -> Result<bool, SendError> {
        while message.sent < message.bytes.len() {
            match self.send_once(&message.bytes[message.sent..], message.fd.as_deref()) {
                Ok(sent) => {
                    message.sent += sent;
                    message.fd = None;
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(SendError::Gone),
                Err(errno) => {
                    // A hole in the stream cannot be mended.
                    warn!(%errno, "cannot send");
                    self.close();
                    return Err(SendError::Gone);
                }
            }
        }
        Ok(true)
    }

    fn send_once(&self, bytes: &[u8], fd: Option<&OwnedFd>) -> Result<usize, Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd.as_fd()]);
        if let Some(fds) = &fds {
            // The buffer has room for exactly this.
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        rustix::io::retry_on_intr(|| {
            sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags)
        })
    }
}
