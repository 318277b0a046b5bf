// SPDX-License-Identifier: GPL-2.0
//! A re-mapping helper as the switch sees one: it keeps what its window shows as data instead of mappings.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    connect, recvmsg, sendmsg, shutdown, socket, AddressFamily, ControlMessageOwned, MsgFlags,
    Shutdown, SockFlag, SockType, UnixAddr,
};
use ntb_remap::wire::{Done, Hello, Target, Update, MAX_PACKET, PAGE};

use super::APERTURE;

/// What a page of the window shows: a file by its inode, and an offset.
type Pages = BTreeMap<u64, (u64, u64)>;

/// How the helper behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// It answers later.
    Slow(Duration),
    /// It does not answer.
    Silent,
    /// It answers with this errno.
    Failing(u32),
}

struct State {
    pages: Pages,
    manner: Manner,
    updates: Vec<Update>,
    dead_accesses: u64,
    closed: bool,
}

/// A helper with one window; its connection closes when it is dropped.
pub struct Helper {
    state: Arc<Mutex<State>>,
    socket: OwnedFd,
}

impl Helper {
    /// The helper of the whole window of a port.
    pub fn new(remap: &Path, port: u8) -> Self {
        Self::part(remap, port, 0, APERTURE)
    }

    /// The helper of a part of it.
    pub fn part(remap: &Path, port: u8, offset: u64, len: u64) -> Self {
        let socket = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        connect(socket.as_raw_fd(), &UnixAddr::new(remap).unwrap()).unwrap();
        let hello = Hello {
            pid: std::process::id(),
            window: format!("ntbwin-port{port}"),
            offset,
            len,
        };
        send(&socket, &hello.encode().unwrap());
        let state = Arc::new(Mutex::new(State {
            pages: Pages::new(),
            manner: Manner::Good,
            updates: Vec::new(),
            dead_accesses: 0,
            closed: false,
        }));
        let helper = Self {
            state: Arc::clone(&state),
            socket: socket.try_clone().unwrap(),
        };
        thread::spawn(move || serve(&state, &socket));
        helper
    }

    /// What the byte at an offset of the window shows: inode and offset of a file, or nothing.
    pub fn shows(&self, offset: u64) -> Option<(u64, u64)> {
        let state = self.state.lock().unwrap();
        let page = state.pages.get(&(offset / PAGE))?;
        Some((page.0, page.1 + offset % PAGE))
    }

    /// How many pages show something.
    pub fn pages(&self) -> usize {
        self.state.lock().unwrap().pages.len()
    }

    /// How many updates have come.
    pub fn updates(&self) -> usize {
        self.state.lock().unwrap().updates.len()
    }

    /// The number of pieces of each update that has come.
    pub fn pieces(&self) -> Vec<usize> {
        self.state
            .lock()
            .unwrap()
            .updates
            .iter()
            .map(|update| update.pieces.len())
            .collect()
    }

    pub fn slow(&self, by: Duration) {
        self.set(Manner::Slow(by));
    }

    pub fn silent(&self) {
        self.set(Manner::Silent);
    }

    pub fn failing(&self, errno: u32) {
        self.set(Manner::Failing(errno));
    }

    pub fn dead_accesses(&self, count: u64) {
        self.state.lock().unwrap().dead_accesses = count;
    }

    /// Whether the switch has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.state.lock().unwrap().closed
    }

    fn set(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The switch may have closed it already.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

fn send(socket: &OwnedFd, packet: &[u8]) {
    let parts = [IoSlice::new(packet)];
    // The switch may have gone; the next receive tells.
    let _ = sendmsg::<()>(
        socket.as_raw_fd(),
        &parts,
        &[],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
}

fn serve(shared: &Mutex<State>, socket: &OwnedFd) {
    loop {
        let mut packet = [0; MAX_PACKET];
        let (len, files) = receive(socket, &mut packet);
        if len == 0 {
            shared.lock().unwrap().closed = true;
            return;
        }
        let update = Update::decode(&packet[..len]).unwrap();
        assert_eq!(files.len(), usize::from(update.needs_file()));
        let inode = files
            .into_iter()
            .next()
            .map(|file| std::fs::File::from(file).metadata().unwrap().ino());
        let mut state = shared.lock().unwrap();
        let manner = state.manner;
        if let Manner::Slow(by) = manner {
            drop(state);
            thread::sleep(by);
            state = shared.lock().unwrap();
        }
        let status = match manner {
            Manner::Silent => continue,
            Manner::Failing(errno) => {
                state.pages.clear();
                errno
            }
            Manner::Good | Manner::Slow(_) => {
                apply(&mut state.pages, &update, inode);
                0
            }
        };
        let done = Done {
            id: update.id,
            status,
            dead_accesses: state.dead_accesses,
        };
        state.updates.push(update);
        // Sent under the lock: who has the answer sees what it says.
        send(socket, &done.encode());
    }
}

fn apply(pages: &mut Pages, update: &Update, inode: Option<u64>) {
    for piece in &update.pieces {
        for page in 0..piece.len / PAGE {
            let at = piece.offset / PAGE + page;
            match piece.target {
                Target::Dead => pages.remove(&at),
                Target::File { offset } => pages.insert(at, (inode.unwrap(), offset + page * PAGE)),
            };
        }
    }
}

fn receive(socket: &OwnedFd, packet: &mut [u8]) -> (usize, Vec<OwnedFd>) {
    let mut room = nix::cmsg_space!([std::os::fd::RawFd; 4]);
    let mut parts = [IoSliceMut::new(packet)];
    let Ok(message) = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut room),
        MsgFlags::MSG_CMSG_CLOEXEC,
    ) else {
        return (0, Vec::new());
    };
    let mut files = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(raw) = control {
            files.extend(raw.into_iter().map(|fd| {
                // SAFETY: the kernel has just made this descriptor for this process, and nobody else knows it.
                unsafe { OwnedFd::from_raw_fd(fd) }
            }));
        }
    }
    (message.bytes, files)
}
