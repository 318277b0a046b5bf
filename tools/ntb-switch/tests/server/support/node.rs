// SPDX-License-Identifier: GPL-2.0
//! A machine as QEMU is one: while it waits for an answer it holds its big lock and serves nobody.
//!
//! A reader thread takes all messages; answers go to whoever waits, requests to the main loop thread, which serves them
//! under the big lock. Requests of the test hold that lock until they are answered.

use std::collections::HashMap;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags};
use nix::unistd::ftruncate;
use skiff_vfio_user::device::{IRQ_MSI, REGION_BAR0, REGION_CONFIG};
use skiff_vfio_user::wire::{
    Capabilities, Command, DmaData, DmaMapMessage, DmaRange, DmaUnmapMessage, Header, IrqDataKind,
    Kind, RegionData, RegionInfoMessage, RegionRange, Reply, SetIrqsMessage, Version, HEADER_SIZE,
};
use skiff_vfio_user::{DmaAccess, DmaMap, DmaUnmap, IrqAction};

/// Bytes of a node's memory, which starts at bus address 0.
pub const RAM: u64 = 4 << 20;
/// Bus address of a page of device registers of every node.
pub const DEVICE: u64 = 0xd000_0000;
const DEVICE_SIZE: usize = 0x1000;
const INTERRUPTS: u64 = 0xfee0_0000;

const ENODEV: u32 = 19;

type Answer = Result<Vec<u8>, u32>;

/// What the threads of a node share.
struct Machine {
    stream: UnixStream,
    sending: Mutex<()>,
    waiting: Mutex<HashMap<u16, Sender<Answer>>>,
    next: AtomicU16,
    big_lock: Mutex<()>,
    stopped: Mutex<bool>,
    goes_on: Condvar,
    device: Mutex<Vec<u8>>,
    device_reads: AtomicUsize,
    interrupts: Mutex<Vec<(u64, u32)>>,
}

/// A machine at a port; goes away when dropped.
pub struct Node {
    machine: Arc<Machine>,
    pub ram: std::fs::File,
    pub msi: EventFd,
}

impl Node {
    /// A machine that has done the handshake, made its memory known and taken its MSI.
    pub fn attach(socket: &Path) -> Self {
        let node = Self::connect(socket);
        node.map(0, RAM, 0, &node.ram).unwrap();
        node.take_msi();
        node
    }

    /// A machine that has done the handshake only.
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        let machine = Arc::new(Machine {
            stream: stream.try_clone().unwrap(),
            sending: Mutex::new(()),
            waiting: Mutex::default(),
            next: AtomicU16::new(1),
            big_lock: Mutex::new(()),
            stopped: Mutex::new(false),
            goes_on: Condvar::new(),
            device: Mutex::new((0..DEVICE_SIZE).map(|at| (at % 251) as u8).collect()),
            device_reads: AtomicUsize::new(0),
            interrupts: Mutex::default(),
        });
        let (requests, main_loop) = mpsc::channel();
        let reader = Arc::clone(&machine);
        thread::spawn(move || reader.read(stream, &requests));
        let server = Arc::clone(&machine);
        thread::spawn(move || server.serve(&main_loop));

        let ram = memfd_create("ram", MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&ram, RAM as i64).unwrap();
        let msi = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .unwrap();
        let node = Self {
            machine,
            ram: ram.into(),
            msi,
        };
        let version = Version {
            major: 0,
            minor: 0,
            capabilities: Capabilities::default(),
        };
        node.request(Command::Version, &version.encode().unwrap(), &[])
            .unwrap();
        node
    }

    /// What a driver does first: memory space and bus mastering on, completions let through, anybody may request.
    pub fn open_gates(&self) {
        self.write(REGION_CONFIG, 4, &6u16.to_le_bytes());
        self.set_register(0x400, 3);
    }

    pub fn take_msi(&self) {
        self.signal_by(IRQ_MSI, 0, 1, &[self.msi.as_fd()]).unwrap();
        // The MSI capability is at 0xd0; its enable bit.
        self.write(REGION_CONFIG, 0xd2, &1u16.to_le_bytes());
    }

    /// Has vectors signalled by eventfds, or without any by nothing.
    pub fn signal_by(
        &self,
        index: u32,
        start: u32,
        count: u32,
        eventfds: &[BorrowedFd<'_>],
    ) -> Answer {
        let message = SetIrqsMessage {
            index,
            start,
            count,
            action: IrqAction::Trigger,
            data: IrqDataKind::Eventfds,
        };
        self.request(Command::DeviceSetIrqs, &message.encode().unwrap(), eventfds)
    }

    /// How often the MSI was signalled since this was last asked.
    pub fn interrupts(&self) -> u64 {
        self.msi.read().unwrap_or(0)
    }

    /// Makes a piece of a file known as bus addresses.
    pub fn map(&self, addr: u64, size: u64, offset: u64, file: &impl AsFd) -> Result<(), u32> {
        self.map_as(
            addr,
            size,
            offset,
            DmaAccess::READ | DmaAccess::WRITE,
            &[file.as_fd()],
        )
    }

    pub fn map_as(
        &self,
        addr: u64,
        size: u64,
        offset: u64,
        access: DmaAccess,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), u32> {
        let map = DmaMapMessage(DmaMap {
            addr,
            size,
            offset,
            access,
        });
        self.request(Command::DmaMap, &map.encode(), fds).map(drop)
    }

    pub fn unmap(&self, addr: u64, size: u64) {
        let unmap = DmaUnmapMessage(DmaUnmap::Range { addr, size });
        self.request(Command::DmaUnmap, &unmap.encode(), &[])
            .unwrap();
    }

    pub fn reset(&self) {
        self.request(Command::DeviceReset, &[], &[]).unwrap();
    }

    /// What the switch says about a region.
    pub fn region(&self, index: u32) -> RegionInfoMessage {
        let question = RegionInfoMessage {
            argsz: RegionInfoMessage::SIZE,
            flags: 0,
            index,
            size: 0,
            offset: 0,
            areas: Vec::new(),
        };
        let answer = self
            .request(Command::DeviceGetRegionInfo, &question.encode(), &[])
            .unwrap();
        RegionInfoMessage::decode(&answer).unwrap()
    }

    pub fn register(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.read(REGION_BAR0, offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn set_register(&self, offset: u64, value: u32) {
        self.write(REGION_BAR0, offset, &value.to_le_bytes());
    }

    /// Points a slot of a window (BAR 2 or 4) at another port, as ntb_hw_idt does.
    pub fn program(&self, bar: u32, slot: u32, target: u32, addr: u64) {
        self.set_entry(bar, slot, addr, (1 << 31) | target);
    }

    /// Empties a slot.
    pub fn clear(&self, bar: u32, slot: u32) {
        self.set_entry(bar, slot, 0, 0);
    }

    fn set_entry(&self, bar: u32, slot: u32, addr: u64, upper: u32) {
        self.set_register(0x4e0, (bar << 8) | slot);
        self.set_register(0x4e4, addr as u32);
        self.set_register(0x4e8, (addr >> 32) as u32);
        self.set_register(0x4ec, upper);
    }

    /// Lets peers write one interrupt message.
    pub fn allow_interrupt(&self, index: u32, addr: u32, data: u32) {
        self.set_register(0xf04, index);
        self.set_register(0xf08, addr);
        self.set_register(0xf0c, data);
        self.set_register(0xf10, 1);
    }

    /// Reads from a region.
    pub fn read(&self, region: u32, offset: u64, data: &mut [u8]) {
        let range = RegionRange {
            offset,
            region,
            count: data.len() as u32,
        };
        let answer = self
            .request(Command::RegionRead, &range.encode(), &[])
            .unwrap();
        data.copy_from_slice(RegionData::decode(&answer).unwrap().data);
    }

    pub fn read32(&self, region: u32, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.read(region, offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// Writes to a region and waits until that is done.
    pub fn write(&self, region: u32, offset: u64, data: &[u8]) {
        let write = RegionData {
            offset,
            region,
            data,
        };
        self.request(Command::RegionWrite, &write.encode().unwrap(), &[])
            .unwrap();
    }

    /// Writes to a region and does not wait.
    pub fn post(&self, region: u32, offset: u64, data: &[u8]) {
        let write = RegionData {
            offset,
            region,
            data,
        };
        let id = self.machine.next.fetch_add(1, Ordering::Relaxed);
        let kind = Kind::Command(Reply::Unwanted);
        self.machine.send(
            id,
            Command::RegionWrite as u16,
            kind,
            &write.encode().unwrap(),
            &[],
        );
    }

    /// What is in the node's memory.
    pub fn ram(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.ram.read_exact_at(&mut data, offset).unwrap();
        data
    }

    pub fn set_ram(&self, offset: u64, data: &[u8]) {
        self.ram.write_all_at(data, offset).unwrap();
    }

    /// The device's registers, from `offset`.
    pub fn device(&self, offset: usize, len: usize) -> Vec<u8> {
        self.machine.device.lock().unwrap()[offset..offset + len].to_vec()
    }

    /// How often somebody read the device's registers.
    pub fn device_reads(&self) -> usize {
        self.machine.device_reads.load(Ordering::Relaxed)
    }

    /// The interrupt messages that others wrote.
    pub fn messages(&self) -> Vec<(u64, u32)> {
        self.machine.interrupts.lock().unwrap().clone()
    }

    /// Stops the machine, as SIGSTOP does: it takes no more messages.
    pub fn stop(&self) {
        *self.machine.stopped.lock().unwrap() = true;
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        *self.machine.stopped.lock().unwrap() = false;
        self.machine.goes_on.notify_all();
    }

    /// Holds the machine's big lock, as something slow in it would.
    pub fn busy(&self) -> impl Drop + '_ {
        self.machine.big_lock.lock().unwrap()
    }

    /// Whether the switch has closed the connection.
    pub fn is_cut_off(&self) -> bool {
        let mut poll = [nix::poll::PollFd::new(
            self.machine.stream.as_fd(),
            nix::poll::PollFlags::empty(),
        )];
        nix::poll::poll(&mut poll, nix::poll::PollTimeout::ZERO).unwrap() == 1
    }

    fn request(&self, command: Command, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Answer {
        let _big_lock = self.machine.big_lock.lock().unwrap();
        let (sender, receiver) = mpsc::channel();
        let id = self.machine.next.fetch_add(1, Ordering::Relaxed);
        self.machine.waiting.lock().unwrap().insert(id, sender);
        self.machine.send(
            id,
            command as u16,
            Kind::Command(Reply::Wanted),
            payload,
            fds,
        );
        receiver
            .recv()
            .expect("the switch has closed the connection")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A machine that is killed says nothing more; its connection may be closed already.
        let _ = self.machine.stream.shutdown(std::net::Shutdown::Both);
        self.go_on();
    }
}

impl Machine {
    fn send(&self, id: u16, command: u16, kind: Kind, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        let header = Header {
            id,
            command,
            size: 0,
            kind,
        };
        let message = header.message(payload).unwrap();
        let _sending = self.sending.lock().unwrap();
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        // The switch may have ended; whoever waits for an answer notices by not getting one.
        let sent = sendmsg::<()>(
            self.stream.as_raw_fd(),
            &[IoSlice::new(&message)],
            rights,
            flags,
            None,
        );
        if let Ok(sent) = sent {
            let _ = (&self.stream).write_all(&message[sent..]);
        }
    }

    fn read(&self, mut stream: UnixStream, requests: &Sender<(Header, Vec<u8>)>) {
        loop {
            let mut head = [0; HEADER_SIZE];
            if stream.read_exact(&mut head).is_err() {
                self.waiting.lock().unwrap().clear();
                return;
            }
            let header = Header::decode(&head).unwrap();
            let mut payload = vec![0; header.size as usize - HEADER_SIZE];
            stream.read_exact(&mut payload).unwrap();
            let mut stopped = self.stopped.lock().unwrap();
            while *stopped {
                stopped = self.goes_on.wait(stopped).unwrap();
            }
            drop(stopped);
            let answer = match header.kind {
                Kind::Reply => Ok(payload),
                Kind::ErrorReply { errno } => Err(errno),
                Kind::Command(_) => {
                    requests.send((header, payload)).unwrap();
                    continue;
                }
            };
            let waiting = self.waiting.lock().unwrap().remove(&header.id);
            waiting
                .expect("an answer to no question")
                .send(answer)
                .unwrap();
        }
    }

    fn serve(&self, requests: &Receiver<(Header, Vec<u8>)>) {
        while let Ok((header, payload)) = requests.recv() {
            let _big_lock = self.big_lock.lock().unwrap();
            let answer = match Command::from_number(header.command) {
                Some(Command::DmaRead) => self.bus_read(&payload),
                Some(Command::DmaWrite) => self.bus_write(&payload),
                other => panic!("the switch asked for {other:?}"),
            };
            if header.kind == Kind::Command(Reply::Wanted) {
                match answer {
                    Ok(payload) => self.send(header.id, header.command, Kind::Reply, &payload, &[]),
                    Err(errno) => self.send(
                        header.id,
                        header.command,
                        Kind::ErrorReply { errno },
                        &[],
                        &[],
                    ),
                }
            }
        }
    }

    fn bus_read(&self, payload: &[u8]) -> Answer {
        self.device_reads.fetch_add(1, Ordering::Relaxed);
        let range = DmaRange::decode(payload).unwrap();
        let device = self.device.lock().unwrap();
        let data = within_device(range)
            .map(|range| &device[range])
            .ok_or(ENODEV)?;
        Ok(DmaData {
            addr: range.addr,
            data,
        }
        .encode())
    }

    fn bus_write(&self, payload: &[u8]) -> Answer {
        let write = DmaData::decode(payload).unwrap();
        if let (0xfee, Ok(data)) = (write.addr >> 20, <[u8; 4]>::try_from(write.data)) {
            assert!(write.addr >= INTERRUPTS);
            self.interrupts
                .lock()
                .unwrap()
                .push((write.addr, u32::from_le_bytes(data)));
        } else {
            let range = within_device(write.range()).ok_or(ENODEV)?;
            self.device.lock().unwrap()[range].copy_from_slice(write.data);
        }
        Ok(write.range().encode())
    }
}

fn within_device(range: DmaRange) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(range.addr.checked_sub(DEVICE)?).ok()?;
    let end = start.checked_add(usize::try_from(range.count).ok()?)?;
    (end <= DEVICE_SIZE).then_some(start..end)
}
