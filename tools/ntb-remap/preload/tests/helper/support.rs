// SPDX-License-Identifier: GPL-2.0
//! The program under the helper and a switch played by hand, for the tests beside this file.

use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use packets::wire::{Done, Hello, Piece, Target, Update, MAX_PACKET, PAGE};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{
    accept_with, bind, listen, recv, sendmsg, socket_with, AddressFamily, RecvFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tempfile::TempDir;

/// Longer than anything here takes; only a fault waits for it.
pub const LONG: Duration = Duration::from_secs(20);
pub const MIB: u64 = 1 << 20;
pub const ONES: u64 = u64::MAX;

/// The helper, built as this test was: cargo builds no library for a test that does not link it, and nothing may link this one.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let subject = Path::new(env!("CARGO_BIN_EXE_ntb-remap-subject"));
        let folder = subject.parent().unwrap();
        let target = folder.parent().unwrap();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            profile => profile,
        };
        let build = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--lib", "--profile", profile])
            .args([
                "--manifest-path",
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            ])
            .arg("--target-dir")
            .arg(target)
            .status()
            .unwrap();
        assert!(build.success());
        folder.join("libntb_remap.so")
    })
}

/// The program under the helper.
pub struct Subject {
    pub child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Subject {
    pub fn start(socket: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ntb-remap-subject"));
        command
            .env("LD_PRELOAD", library())
            .env_remove("NTB_REMAP_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(socket) = socket {
            command.env("NTB_REMAP_SOCKET", socket);
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    pub fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub fn answer(&mut self) -> Result<String, i32> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        match line.trim_end_matches('\n').split_once(' ') {
            Some(("ok", text)) => Ok(text.to_owned()),
            Some(("error", number)) => Err(number.parse().unwrap()),
            _ => panic!("the program said {line:?}"),
        }
    }

    pub fn ask(&mut self, line: &str) -> Result<String, i32> {
        self.send(line);
        self.answer()
    }

    pub fn read(&mut self, window: u64, offset: u64) -> u64 {
        let text = self.ask(&format!("read {window:x} {offset:x}")).unwrap();
        u64::from_str_radix(&text, 16).unwrap()
    }

    pub fn write(&mut self, window: u64, offset: u64, value: u64) {
        self.ask(&format!("write {window:x} {offset:x} {value:x}"))
            .unwrap();
    }

    pub fn number(&mut self, line: &str) -> u64 {
        self.ask(line).unwrap().parse().unwrap()
    }

    pub fn end(mut self) -> ExitStatus {
        drop(self.input);
        self.child.wait().unwrap()
    }
}

/// The switch's listening socket.
pub struct Switch {
    pub listener: OwnedFd,
    pub path: PathBuf,
    _folder: TempDir,
}

/// The switch's end of a window's connection.
pub struct Link {
    pub socket: OwnedFd,
    pub hello: Hello,
    next: u64,
}

impl Switch {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("remap.sock");
        let flags = SocketFlags::CLOEXEC;
        let listener =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 8).unwrap();
        set_socket_timeout(&listener, Timeout::Recv, Some(LONG)).unwrap();
        Self {
            listener,
            path,
            _folder: folder,
        }
    }

    pub fn accept(&self) -> Link {
        let socket = accept_with(&self.listener, SocketFlags::CLOEXEC).unwrap();
        set_socket_timeout(&socket, Timeout::Recv, Some(LONG)).unwrap();
        let packet = receive(&socket).unwrap();
        let hello = Hello::decode(&packet).unwrap();
        Link {
            socket,
            hello,
            next: 1000,
        }
    }

    /// A program with one window of this many bytes.
    pub fn one_window(&self, len: u64) -> (Subject, Link) {
        let mut subject = Subject::start(Some(&self.path));
        subject.send(&format!("map ntbwin-port3 0 {len:x}"));
        let link = self.accept();
        assert_eq!(subject.answer().unwrap(), "0");
        (subject, link)
    }
}

/// One packet; none at the end of the connection.
pub fn receive(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut packet = vec![0; MAX_PACKET];
    match recv(socket, &mut packet[..], RecvFlags::empty()) {
        Ok((_, 0)) | Err(Errno::CONNRESET) => None,
        Ok((_, len)) => {
            packet.truncate(len);
            Some(packet)
        }
        Err(errno) => panic!("nothing came: {errno}"),
    }
}

impl Link {
    pub fn send(&self, packet: &[u8], files: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(files)));
        }
        let packet = [IoSlice::new(packet)];
        sendmsg(&self.socket, &packet, &mut control, SendFlags::NOSIGNAL).unwrap();
    }

    pub fn update(&mut self, pieces: &[Piece], file: Option<&OwnedFd>) -> Done {
        self.next += 1;
        let id = self.next;
        let pieces = pieces.to_vec();
        let packet = Update { id, pieces }.encode().unwrap();
        let files: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
        self.send(&packet, &files);
        let done = Done::decode(&receive(&self.socket).unwrap()).unwrap();
        assert_eq!(done.id, id);
        done
    }

    /// The same, and it must work.
    pub fn show(&mut self, pieces: &[Piece], file: Option<&OwnedFd>) -> u64 {
        let done = self.update(pieces, file);
        assert_eq!(done.status, 0);
        done.dead_accesses
    }

    pub fn dead_accesses(&mut self) -> u64 {
        // A piece that is dead anyway.
        let last = self.hello.len - PAGE;
        self.show(&[dead(last, PAGE)], None)
    }

    pub fn is_closed(&self) -> bool {
        receive(&self.socket).is_none()
    }
}

pub fn dead(offset: u64, len: u64) -> Piece {
    let target = Target::Dead;
    Piece {
        offset,
        len,
        target,
    }
}

pub fn file(offset: u64, len: u64, from: u64) -> Piece {
    let target = Target::File { offset: from };
    Piece {
        offset,
        len,
        target,
    }
}

/// Another node's memory: the first two words of page n are `tag | n`.
pub fn memory(len: u64, tag: u64) -> OwnedFd {
    let memory = memfd_create("peer", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memory, len).unwrap();
    for page in 0..len / PAGE {
        let word = (tag | page).to_le_bytes();
        let bytes = [word, word].concat();
        assert_eq!(rustix::io::pwrite(&memory, &bytes, page * PAGE), Ok(16));
    }
    memory
}

pub fn word(memory: &OwnedFd, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    assert_eq!(rustix::io::preadv(memory, &mut slices, offset), Ok(8));
    u64::from_le_bytes(bytes)
}
