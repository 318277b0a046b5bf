// SPDX-License-Identifier: GPL-2.0
//! One window's connection to the switch: made when the window is, served by a thread of its own, gone with the window.
//!
//! Whatever goes wrong, from a malformed packet to a switch that dies, leaves the window dead: a window that still shows what the switch believes
//! revoked would be worse than one that shows nothing. As long as there is the window, its thread then tries to connect again: a process that was
//! stopped for a while, and was given up by the switch, gets its window back when it goes on.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use libc::c_int;
use packets::wire::{Done, Hello, Piece, Target, Update, MAX_PACKET};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{
    connect, recvmsg, sendmsg, socket_with, AddressFamily, RecvAncillaryBuffer,
    RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use crate::fault;
use crate::window::Handle;

/// Longest that mmap waits for the switch to take the connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time between two tries to connect again.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the switch listens, and what it is told first.
struct Switch {
    path: Vec<u8>,
    hello: Vec<u8>,
}

impl Switch {
    /// Connects and introduces the window, which must be dead.
    fn connect(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        connect(&socket, &SocketAddrUnix::new(self.path.as_slice())?)?;
        send(&socket, &self.hello)?;
        Ok(socket)
    }
}

/// Connects, introduces the window and starts its thread.
pub(crate) fn start(window: Handle, path: &[u8], hello: &Hello) -> io::Result<()> {
    let switch = Switch {
        path: path.to_vec(),
        hello: hello.encode().map_err(io::Error::other)?,
    };
    let socket = switch.connect()?;
    fault::spawn("ntb-remap", move || run(&switch, socket, window))?;
    Ok(())
}

/// Serves the window until it is gone, over one connection after the other.
fn run(switch: &Switch, first: OwnedFd, window: Handle) {
    let mut socket = Some(first);
    loop {
        if let Some(socket) = socket.take() {
            serve(&socket, window);
        }
        thread::sleep(PAUSE);
        if window.len().is_none() {
            return;
        }
        socket = switch.connect().ok();
    }
}

fn serve(socket: &OwnedFd, window: Handle) {
    if !window.connected(socket.as_fd()) {
        return;
    }
    loop {
        match serve_one(socket, window) {
            Ok(Next::Update) => {}
            Ok(Next::End) => break,
            Err(error) => {
                eprintln!("ntb-remap: a window's connection fails: {error}");
                break;
            }
        }
    }
    // Before the socket is closed: its number may be another file's then.
    window.disconnected();
}

enum Next {
    Update,
    End,
}

fn serve_one(socket: &OwnedFd, window: Handle) -> io::Result<Next> {
    // One more than the longest packet, to tell a longer one.
    let mut packet = [0; MAX_PACKET + 1];
    let Some((len, files)) = receive(socket, &mut packet)? else {
        return Ok(Next::End);
    };
    if len > MAX_PACKET {
        return Err(io::Error::other("a packet is too long"));
    }
    let update = Update::decode(&packet[..len]).map_err(io::Error::other)?;
    let status = match apply(&update, &files, window) {
        Ok(()) => 0,
        Err(number) => {
            window.bury_all();
            u32::try_from(number).unwrap_or(1)
        }
    };
    // A window that is gone is the switch's to find out by the end of the connection.
    if window.len().is_none() {
        return Ok(Next::End);
    }
    let done = Done {
        id: update.id,
        status,
        dead_accesses: window.dead_accesses(),
    };
    send(socket, &done.encode())?;
    Ok(Next::Update)
}

/// Carries out an update; an error number if it cannot be.
fn apply(update: &Update, files: &[OwnedFd], window: Handle) -> Result<(), c_int> {
    let file = match (update.needs_file(), files) {
        (true, [file]) => Some(file),
        (false, []) => None,
        _ => return Err(libc::EINVAL),
    };
    let file_size = file.map(size_of).transpose()?.unwrap_or(0);
    let window_size = window.len().ok_or(libc::ENODEV)?;
    for piece in &update.pieces {
        check(piece, window_size, file_size)?;
    }
    for piece in &update.pieces {
        let offset = usize::try_from(piece.offset).map_err(|_| libc::EINVAL)?;
        let len = usize::try_from(piece.len).map_err(|_| libc::EINVAL)?;
        match (piece.target, file) {
            (Target::Dead, _) => window.bury(offset, len)?,
            (Target::File { offset: from }, Some(file)) => {
                let from = i64::try_from(from).map_err(|_| libc::EINVAL)?;
                window.show(offset, len, file.as_fd(), from)?;
            }
            (Target::File { .. }, None) => return Err(libc::EINVAL),
        }
    }
    Ok(())
}

/// Whether a piece lies in the window and in the file: an access behind the end of a file would be a SIGBUS.
fn check(piece: &Piece, window_size: u64, file_size: u64) -> Result<(), c_int> {
    let ends = |offset: u64| offset.checked_add(piece.len);
    let in_file = match piece.target {
        Target::Dead => true,
        Target::File { offset } => ends(offset).is_some_and(|end| end <= file_size),
    };
    if in_file && ends(piece.offset).is_some_and(|end| end <= window_size) {
        Ok(())
    } else {
        Err(libc::EINVAL)
    }
}

fn size_of(file: &OwnedFd) -> Result<u64, c_int> {
    let stat = rustix::fs::fstat(file).map_err(Errno::raw_os_error)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(libc::EINVAL);
    }
    u64::try_from(stat.st_size).map_err(|_| libc::EINVAL)
}

/// Receives one packet and its files; none when the switch has closed the connection.
fn receive(socket: &OwnedFd, packet: &mut [u8]) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut control, flags)
    });
    let received = match received {
        Err(Errno::CONNRESET) => return Ok(None),
        received => received?,
    };
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("too many files with a packet"));
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((received.bytes, files)))
}

fn send(socket: &OwnedFd, packet: &[u8]) -> io::Result<()> {
    let mut control = SendAncillaryBuffer::default();
    let flags = SendFlags::NOSIGNAL;
    // All or nothing: packets are not split.
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(packet)], &mut control, flags))?;
    Ok(())
}
