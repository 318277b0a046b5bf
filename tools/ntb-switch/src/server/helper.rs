// SPDX-License-Identifier: GPL-2.0
//! Connections of the re-mapping helper: what each mapping of a window shows, and how it is changed.
//!
//! Helpers belong to the switch's locked state, and are talked to under that lock: a change is over when the helper has
//! confirmed it. All helpers that a change concerns work at the same time, so that one that does not answer costs its
//! time-out once. A helper that fails in any way is not to be used again: what its window shows is unknown.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{recv, recvmsg, sendmsg, shutdown, ControlMessage, MsgFlags, Shutdown};
use ntb_remap::wire::{Done, Hello, Piece, Target, Update, WireError, MAX_PACKET, MAX_PIECES};

use super::memory::Files;
use crate::space::FileId;
use crate::view::{self, View};

/// Why a helper cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelperError {
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Its connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(Errno),
    /// It sent something else than the answer to the update.
    #[error("protocol: {0}")]
    Wire(#[from] WireError),
    /// It answered another update.
    #[error("an answer to an update that was not under way")]
    WrongUpdate,
    /// It could not change its mapping.
    #[error("it could not re-map: {0}")]
    Failed(Errno),
    /// The view names a file that the switch does not have.
    #[error("a file of the view is not known")]
    NoFile,
}

impl From<Errno> for HelperError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => Self::Closed,
            other => Self::Socket(other),
        }
    }
}

/// The helper of one mapping of a window.
#[derive(Debug)]
pub(super) struct Helper {
    /// Tells helpers of one switch apart.
    pub(super) id: u64,
    /// The process that it lives in.
    pub(super) process: i32,
    socket: OwnedFd,
    offset: u64,
    len: u64,
    view: View,
    updates: u64,
    dead_accesses: u64,
}

impl Helper {
    /// A helper that has said hello on `socket`; its window, of `size` bytes, shows nothing.
    pub(super) fn new(id: u64, process: i32, socket: OwnedFd, hello: &Hello, size: u64) -> Self {
        Self {
            id,
            process,
            socket,
            offset: hello.offset,
            len: hello.len,
            view: View::dead(size),
            updates: 0,
            dead_accesses: 0,
        }
    }

    /// The part of the window that it maps: first byte and the one behind the last.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.offset, self.offset.saturating_add(self.len))
    }

    /// Brings what it shows up to date by `update`, which changes the view and gives the changes; the work that this
    /// makes, if any.
    pub(super) fn change(
        &mut self,
        update: impl FnOnce(&mut View) -> Vec<view::Piece>,
    ) -> Option<Work<'_>> {
        let (start, end) = self.range();
        let mut changes: Vec<view::Piece> = update(&mut self.view)
            .into_iter()
            .filter_map(|piece| view::clip(piece, start..end))
            .collect();
        if changes.is_empty() {
            return None;
        }
        // What must not be seen any more goes first; then one file after the other.
        changes.sort_by_key(|piece| piece.shown.map(|shown| shown.file));
        Some(Work::new(self, &changes))
    }

    /// Work that changes nothing but brings the count of dead accesses up to date.
    pub(super) fn ask_dead_accesses(&mut self) -> Option<Work<'_>> {
        let (start, end) = self.range();
        let dead = self
            .view
            .pieces()
            .iter()
            .filter(|piece| piece.shown.is_none())
            .find_map(|piece| view::clip(*piece, start..end))?;
        Some(Work::new(self, &[dead]))
    }

    fn send(&mut self, packet: &Packet, files: &Files) -> Result<(), HelperError> {
        let file = match packet.file {
            Some(file) => Some(files.fd(file).ok_or(HelperError::NoFile)?.as_raw_fd()),
            None => None,
        };
        self.updates += 1;
        let update = Update {
            id: self.updates,
            pieces: packet.pieces.clone(),
        };
        let bytes = update.encode()?;
        let fds: Vec<_> = file.into_iter().collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            rights,
            flags,
            None,
        )?;
        Ok(())
    }

    /// Waits for the answer to the last update; gives the dead accesses since the one before.
    fn confirm(&mut self, deadline: Instant) -> Result<u64, HelperError> {
        if !wait(self.socket.as_fd(), PollFlags::POLLIN, Some(deadline))? {
            return Err(HelperError::Timeout);
        }
        let mut packet = [0; MAX_PACKET];
        let len = recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT)?;
        if len == 0 {
            return Err(HelperError::Closed);
        }
        let done = Done::decode(&packet[..len])?;
        if done.id != self.updates {
            return Err(HelperError::WrongUpdate);
        }
        if done.status != 0 {
            let errno = i32::try_from(done.status).map_or(Errno::EIO, Errno::from_raw);
            return Err(HelperError::Failed(errno));
        }
        let new = done.dead_accesses.saturating_sub(self.dead_accesses);
        self.dead_accesses = done.dead_accesses;
        Ok(new)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Ends the thread that watches a duplicate of the socket, and tells the helper to let everything go.
        if let Err(errno) = shutdown(self.socket.as_raw_fd(), Shutdown::Both) {
            tracing::debug!(%errno, helper = self.id, "shutdown");
        }
    }
}

/// One update with the file that goes with it.
#[derive(Debug)]
struct Packet {
    file: Option<FileId>,
    pieces: Vec<Piece>,
}

/// A change of one helper's window that has not been carried out yet.
#[derive(Debug)]
pub(super) struct Work<'a> {
    helper: &'a mut Helper,
    packets: VecDeque<Packet>,
    pieces: u64,
}

/// What came of a [`Work`].
#[derive(Debug)]
pub(super) struct Outcome {
    /// The helper's id.
    pub(super) helper: u64,
    /// How many pieces were sent.
    pub(super) pieces: u64,
    /// Accesses to dead pages that it has seen since it was last asked.
    pub(super) dead_accesses: u64,
    /// Whether all was confirmed.
    pub(super) result: Result<(), HelperError>,
}

impl<'a> Work<'a> {
    fn new(helper: &'a mut Helper, changes: &[view::Piece]) -> Self {
        let mut packets: VecDeque<Packet> = VecDeque::new();
        for change in changes {
            let file = change.shown.map(|shown| shown.file);
            let piece = Piece {
                offset: change.offset - helper.offset,
                len: change.len,
                target: change.shown.map_or(Target::Dead, |shown| Target::File {
                    offset: shown.offset,
                }),
            };
            match packets.back_mut() {
                Some(last)
                    if last.pieces.len() < MAX_PIECES
                        && (last.file.is_none() || last.file == file) =>
                {
                    last.file = last.file.or(file);
                    last.pieces.push(piece);
                }
                _ => packets.push_back(Packet {
                    file,
                    pieces: vec![piece],
                }),
            }
        }
        Self {
            helper,
            packets,
            pieces: changes.len() as u64,
        }
    }
}

/// Carries out all the work, waiting at most `timeout` for each update that is under way; updates of different helpers
/// are under way at the same time.
pub(super) fn carry_out(mut work: Vec<Work<'_>>, files: &Files, timeout: Duration) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = work
        .iter()
        .map(|work| Outcome {
            helper: work.helper.id,
            pieces: work.pieces,
            dead_accesses: 0,
            result: Ok(()),
        })
        .collect();
    loop {
        let deadline = Instant::now() + timeout;
        let mut under_way = Vec::new();
        for (work, outcome) in work.iter_mut().zip(&mut outcomes) {
            if let (Some(packet), Ok(())) = (work.packets.pop_front(), outcome.result) {
                outcome.result = work.helper.send(&packet, files);
                if outcome.result.is_ok() {
                    under_way.push((work, outcome));
                }
            }
        }
        if under_way.is_empty() {
            return outcomes;
        }
        for (work, outcome) in under_way {
            match work.helper.confirm(deadline) {
                Ok(dead) => outcome.dead_accesses += dead,
                Err(error) => outcome.result = Err(error),
            }
        }
    }
}

/// Waits until `fd` has one of `events` (or hangs up); false when the deadline has passed.
pub(super) fn wait(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    deadline: Option<Instant>,
) -> Result<bool, Errno> {
    loop {
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // Rounded up: the last fraction of a millisecond is not to be spent spinning.
                PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut [PollFd::new(fd, events)], timeout) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives the first packet of a new connection.
pub(super) fn receive_hello(
    socket: BorrowedFd<'_>,
    timeout: Duration,
) -> Result<Hello, HelperError> {
    if !wait(socket, PollFlags::POLLIN, Some(Instant::now() + timeout))? {
        return Err(HelperError::Timeout);
    }
    let mut packet = [0; MAX_PACKET];
    let mut parts = [IoSliceMut::new(&mut packet)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT)?;
    let len = message.bytes;
    if len == 0 {
        return Err(HelperError::Closed);
    }
    Ok(Hello::decode(&packet[..len])?)
}
