// SPDX-License-Identifier: GPL-2.0
//! The other end of a connection: a client that speaks the protocol by hand, and a device that remembers what it was asked.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use skiff_vfio_user::wire::{Capabilities, Command, Header, Kind, Reply, Version, HEADER_SIZE};
use skiff_vfio_user::{
    serve, Client, Connection, Device, DeviceInfo, DmaMap, DmaUnmap, Errno, IrqFlags, IrqInfo,
    MappableArea, RegionAccess, RegionInfo, RegionMapping, SetIrqs,
};

/// Longer than anything here takes; only a fault waits for it.
pub const LONG: Duration = Duration::from_secs(20);

/// A message as a client sees it.
#[derive(Debug)]
pub struct Received {
    pub header: Header,
    pub payload: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// The client's end of the socket.
pub struct Peer {
    pub socket: UnixStream,
    next: u16,
}

impl Peer {
    pub fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self { socket, next: 100 }
    }

    pub fn send(&mut self, header: Header, payload: &[u8], fds: &[&OwnedFd]) {
        let message = header.message(payload).unwrap();
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg(&self.socket, &[IoSlice::new(&message)], &mut control, flags).unwrap();
        std::io::Write::write_all(&mut self.socket, &message[sent..]).unwrap();
    }

    pub fn command(&mut self, command: u16, reply: Reply, payload: &[u8], fds: &[&OwnedFd]) -> u16 {
        let id = self.next;
        self.next += 1;
        let header = Header {
            id,
            command,
            size: 0,
            kind: Kind::Command(reply),
        };
        self.send(header, payload, fds);
        id
    }

    pub fn reply(&mut self, to: &Header, payload: &[u8]) {
        let header = Header {
            kind: Kind::Reply,
            ..*to
        };
        self.send(header, payload, &[]);
    }

    pub fn refuse(&mut self, to: &Header, errno: Errno) {
        let header = Header {
            kind: Kind::ErrorReply {
                errno: errno.raw_os_error() as u32,
            },
            ..*to
        };
        self.send(header, &[], &[]);
    }

    pub fn receive(&mut self) -> Received {
        let mut head = [0; HEADER_SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut head)];
        let flags = RecvFlags::WAITALL | RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.socket, &mut slices, &mut control, flags).unwrap();
        assert_eq!(received.bytes, HEADER_SIZE, "the server has gone");
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        let header = Header::decode(&head).unwrap();
        let mut payload = vec![0; header.size as usize - HEADER_SIZE];
        self.socket.read_exact(&mut payload).unwrap();
        Received {
            header,
            payload,
            fds,
        }
    }

    /// Sends a command and receives its answer; nothing else may come in between.
    pub fn ask(&mut self, command: Command, payload: &[u8]) -> Result<Received, u32> {
        self.ask_with(command as u16, payload, &[])
    }

    pub fn ask_with(
        &mut self,
        command: u16,
        payload: &[u8],
        fds: &[&OwnedFd],
    ) -> Result<Received, u32> {
        let id = self.command(command, Reply::Wanted, payload, fds);
        let answer = self.receive();
        assert_eq!((answer.header.id, answer.header.command), (id, command));
        match answer.header.kind {
            Kind::Reply => Ok(answer),
            Kind::ErrorReply { errno } => {
                assert!(answer.payload.is_empty());
                Err(errno)
            }
            Kind::Command(_) => panic!("a command instead of a reply"),
        }
    }

    pub fn shake_hands(&mut self, capabilities: Capabilities) -> Version {
        let version = Version {
            major: 0,
            minor: 0,
            capabilities,
        };
        let payload = version.encode().unwrap();
        let answer = self.ask(Command::Version, &payload).unwrap();
        Version::decode(&answer.payload).unwrap()
    }
}

/// What a [`Recorder`] was asked, but for questions about its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Read(u32, u64, usize),
    Write(u32, u64, Vec<u8>),
    /// A write that was done at once.
    Post(u32, u64, Vec<u8>),
    Irqs {
        fds: usize,
        text: String,
    },
    Map(DmaMap, bool),
    Unmap(DmaUnmap),
    Reset,
    Gone,
}

pub const REGISTERS: u64 = 4096;
/// An offset in BAR 0 at which every access fails.
pub const FAULTY: u64 = 0x800;
/// An offset in BAR 0 at which a write makes the device panic.
pub const PANIC: u64 = 0x900;
/// An offset in BAR 0 where a posted write can be done at once.
pub const AT_ONCE: u64 = 0xa00;
/// The same, where it makes the device panic.
pub const PANIC_AT_ONCE: u64 = 0xa04;
/// A region that cannot be written.
pub const READ_ONLY: u32 = 1;
/// A region with a mapping in two parts.
pub const MAPPED: u32 = 2;
/// A region that is mapped whole.
pub const WHOLE: u32 = 4;
pub const VECTORS: u32 = 4;

/// A device that remembers what it was asked. BAR 0 is plain memory.
pub struct Recorder {
    pub seen: Mutex<Vec<Seen>>,
    pub memory: Mutex<Vec<u8>>,
    pub client: OnceLock<Client>,
    pub file: Arc<OwnedFd>,
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        let file = rustix::fs::memfd_create("recorder", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 1 << 20).unwrap();
        Arc::new(Self {
            seen: Mutex::default(),
            memory: Mutex::new(vec![0; REGISTERS as usize]),
            client: OnceLock::new(),
            file: Arc::new(file),
        })
    }

    pub fn client(&self) -> Client {
        self.client.get().unwrap().clone()
    }

    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }
}

impl Device for Recorder {
    fn connected(&self, client: &Client) {
        assert!(self.client.set(client.clone()).is_ok());
    }

    fn disconnected(&self) {
        self.note(Seen::Gone);
    }

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo::PCI
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        let mapping = |areas| RegionMapping {
            fd: Arc::clone(&self.file),
            offset: 0x3000,
            areas,
        };
        Ok(match index {
            0 => RegionInfo::trapped(REGISTERS),
            READ_ONLY => RegionInfo {
                access: RegionAccess::READ,
                ..RegionInfo::trapped(16)
            },
            MAPPED => RegionInfo {
                mapping: Some(mapping(vec![
                    MappableArea {
                        offset: 0,
                        size: 0x1000,
                    },
                    MappableArea {
                        offset: 0x2000,
                        size: 0x6000,
                    },
                ])),
                ..RegionInfo::trapped(0x8000)
            },
            WHOLE => RegionInfo {
                mapping: Some(mapping(Vec::new())),
                ..RegionInfo::trapped(0x8000)
            },
            5 => return Err(Errno::NOMEM),
            _ => RegionInfo::ABSENT,
        })
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        Ok(match index {
            1 => IrqInfo {
                count: VECTORS,
                flags: IrqFlags::EVENTFD | IrqFlags::NORESIZE,
            },
            _ => IrqInfo::ABSENT,
        })
    }

    fn region_read(&self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.note(Seen::Read(index, offset, data.len()));
        if offset == FAULTY {
            return Err(Errno::NODEV);
        }
        let memory = self.memory.lock().unwrap();
        if index == 0 {
            data.copy_from_slice(&memory[offset as usize..][..data.len()]);
        }
        Ok(())
    }

    fn region_write(&self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        assert_ne!(offset, PANIC, "as the test wants it");
        self.note(Seen::Write(index, offset, data.to_vec()));
        if offset == FAULTY {
            return Err(Errno::NODEV);
        }
        self.memory.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn region_post(&self, index: u32, offset: u64, data: &[u8]) -> bool {
        assert_ne!(offset, PANIC_AT_ONCE, "as the test wants it");
        if offset == AT_ONCE {
            self.note(Seen::Post(index, offset, data.to_vec()));
        }
        offset == AT_ONCE
    }

    fn set_irqs(&self, set: SetIrqs) -> Result<(), Errno> {
        let fds = match &set.data {
            skiff_vfio_user::IrqData::Eventfds(fds) => {
                for fd in fds {
                    rustix::io::write(fd, &1_u64.to_ne_bytes()).unwrap();
                }
                fds.len()
            }
            _ => 0,
        };
        let kind = match &set.data {
            skiff_vfio_user::IrqData::Eventfds(_) => "eventfds".to_owned(),
            data => format!("{data:?}"),
        };
        let SetIrqs {
            index,
            start,
            count,
            action,
            ..
        } = set;
        let text = format!("{index}:{start}+{count} {action:?} {kind}");
        self.note(Seen::Irqs { fds, text });
        Ok(())
    }

    fn dma_map(&self, map: DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno> {
        self.note(Seen::Map(map, fd.is_some()));
        Ok(())
    }

    fn dma_unmap(&self, unmap: DmaUnmap) -> Result<(), Errno> {
        self.note(Seen::Unmap(unmap));
        Ok(())
    }

    fn reset(&self) -> Result<(), Errno> {
        self.note(Seen::Reset);
        Ok(())
    }
}

/// A served recorder and the client's end of its connection, before the handshake.
pub fn start() -> (Arc<Recorder>, Connection, Peer) {
    let (server, client) = UnixStream::pair().unwrap();
    let device = Recorder::new();
    let connection = serve(server, Arc::clone(&device) as Arc<dyn Device>).unwrap();
    (device, connection, Peer::new(client))
}

/// The same after the handshake.
pub fn start_shaken() -> (Arc<Recorder>, Connection, Peer) {
    let (device, connection, mut peer) = start();
    peer.shake_hands(Capabilities::default());
    (device, connection, peer)
}

/// Waits for something that other threads bring about.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}
