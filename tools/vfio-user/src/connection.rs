// SPDX-License-Identifier: GPL-2.0
//! One client's connection: its two threads and the state that they share with the [`Client`] handles.
//!
//! The reader thread receives, wakes those who wait for answers, and puts commands into the inbox; of the device it calls only what never
//! waits, for a posted write, and only while the worker has nothing to do. The worker thread takes commands from the inbox, calls the device
//! and sends the replies. Nobody holds one of the connection's locks while taking another,
//! and nobody holds any of them while the device runs.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::channel::{Channel, NoRoom, SendError};
use crate::client::{Client, DmaError};
use crate::device::Device;
use crate::inbox::{Inbox, Progress};
use crate::reader;
use crate::regions::Regions;
use crate::session;
use crate::waiting::{Waiting, POSTED_IDS};
use crate::wire::{Command, DmaData, DmaRange, Header, Kind, Reply, HEADER_SIZE};
use crate::Errno;

/// What the server tells the client about its limits during the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest piece of data in one message, in bytes, 4 KiB to 16 MiB; of both sides' the smaller one counts.
    pub max_data_xfer_size: u32,
    /// Most file descriptors in one message, 1 to 64.
    pub max_msg_fds: u32,
    /// Most pieces of memory that the client may map at a time; to enforce it is the device's matter.
    pub max_dma_maps: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_data_xfer_size: 1 << 20,
            max_msg_fds: 16,
            max_dma_maps: 65535,
        }
    }
}

impl Limits {
    fn check(&self) -> io::Result<()> {
        let fds = u32::try_from(crate::channel::FDS_PER_RECEIVE).unwrap_or(u32::MAX);
        if (4096..=16 << 20).contains(&self.max_data_xfer_size)
            && (1..=fds).contains(&self.max_msg_fds)
        {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "limits out of range",
            ))
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The client closed its end.
    ByClient,
    /// [`Client::close`] or [`Connection::close`] was called.
    Closed,
    /// The client broke the protocol.
    Protocol(&'static str),
    /// The socket failed.
    Socket(Errno),
    /// The device panicked.
    Device,
}

/// A connection being served; dropping it closes it and waits for its threads.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Connection {
    /// The way towards this connection's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the connection has ended and the device has seen `disconnected`.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Ends the connection. Does not wait for its threads.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Waits for the connection to end; the device has seen `disconnected` when this returns.
    pub fn join(mut self) -> Ended {
        self.join_threads();
        self.shared.ended()
    }

    fn join_threads(&mut self) {
        for thread in self.threads.drain(..) {
            // The last handle may be dropped by the device, on a thread of the connection itself.
            if thread.thread().id() != thread::current().id() {
                // A panic of the device has been noted by the worker itself.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
        self.join_threads();
    }
}

/// Serves one client until it goes away, with [`Limits::default`].
///
/// # Errors
/// The threads could not be started, or the socket could not be set up.
pub fn serve(stream: UnixStream, device: Arc<dyn Device>) -> io::Result<Connection> {
    serve_with(stream, device, Limits::default())
}

/// Serves one client until it goes away.
///
/// # Errors
/// The limits are out of range, the threads could not be started, or the socket could not be set up.
pub fn serve_with(
    stream: UnixStream,
    device: Arc<dyn Device>,
    limits: Limits,
) -> io::Result<Connection> {
    limits.check()?;
    let shared = Arc::new(Shared {
        channel: Channel::new(stream)?,
        waiting: Waiting::default(),
        inbox: Inbox::default(),
        reading: AtomicBool::new(true),
        transfer: AtomicU32::new(0),
        regions: OnceLock::new(),
        ended: OnceLock::new(),
    });
    let client = Client::new(Arc::clone(&shared));
    let mut connection = Connection {
        client,
        shared,
        threads: Vec::new(),
    };
    device.connected(&connection.client);

    // From here on a failure drops the connection, which closes it and joins what was started.
    let shared = Arc::clone(&connection.shared);
    let worker = thread::Builder::new().name("vfio-user-work".into());
    let served = Arc::clone(&device);
    let spawned = worker.spawn(move || session::run(&shared, &served, limits));
    connection.threads.push(spawned?);
    let shared = Arc::clone(&connection.shared);
    let reader = thread::Builder::new().name("vfio-user-read".into());
    let spawned = reader.spawn(move || reader::run(&shared, &*device, limits));
    if spawned.is_err() {
        connection.shared.end(Ended::Closed);
        connection.shared.inbox.discard();
    }
    connection.threads.push(spawned?);
    Ok(connection)
}

/// What the threads and handles of one connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channel: Channel,
    pub(crate) waiting: Waiting,
    pub(crate) inbox: Inbox,
    /// The reader may have received what it has not put into the inbox: it does not wait for the client.
    pub(crate) reading: AtomicBool,
    /// Agreed largest data of one message in bytes; 0 until the handshake is done.
    transfer: AtomicU32,
    /// What the client may do with the device; nothing until the handshake is done.
    pub(crate) regions: OnceLock<Arc<Regions>>,
    ended: OnceLock<Ended>,
}

impl Shared {
    /// The handshake is done: the bus can be reached, and so can the device without the worker.
    pub(crate) fn negotiated(&self, transfer: u32, regions: Arc<Regions>) {
        let _ = self.regions.set(regions);
        self.transfer.store(transfer, Ordering::Release);
    }

    /// Ends the connection for this reason, unless it has ended for another one.
    pub(crate) fn end(&self, why: Ended) {
        let _ = self.ended.set(why);
        self.channel.close();
        self.waiting.close();
    }

    pub(crate) fn ended(&self) -> Ended {
        self.ended.get().cloned().unwrap_or(Ended::Closed)
    }

    pub(crate) fn close(&self) {
        self.end(Ended::Closed);
    }

    /// Whether all is done that the client has sent until now.
    pub(crate) fn is_settled(&self) -> bool {
        // In this order: what has left the socket is being read, then in the inbox, then done.
        self.channel.unread() == 0
            && !self.reading.load(Ordering::SeqCst)
            && self.inbox.progress().left == 0
    }

    /// Waits until all is done that the client has sent until now, or for `limit`.
    pub(crate) fn settle(&self, limit: Duration) {
        /// No command is shorter.
        const SHORTEST: u64 = HEADER_SIZE as u64;
        /// What comes to an end without the worker is looked for so often.
        const STEP: Duration = Duration::from_micros(100);
        let deadline = deadline(limit);
        // The one that is being read may be in none of both; more may have come since.
        let unread = self.channel.unread() / SHORTEST + 1;
        let Progress { done, left } = self.inbox.progress();
        let target = done + left + unread;
        loop {
            let Progress { done, .. } = self.inbox.progress();
            let late = Instant::now() >= deadline || self.channel.is_closed();
            if late || done >= target || self.is_settled() {
                return;
            }
            self.inbox.watch(done, STEP);
        }
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.waiting.is_stalled() || self.channel.is_full()
    }

    pub(crate) fn dma_read(
        &self,
        addr: u64,
        buf: &mut [u8],
        timeout: Duration,
    ) -> Result<(), DmaError> {
        let deadline = deadline(timeout);
        let step = self.step()?;
        let mut at = addr;
        for chunk in buf.chunks_mut(step) {
            let range = DmaRange {
                addr: at,
                count: length(chunk),
            };
            at = end_of(range)?;
            let answer = self.request(Command::DmaRead, &range.encode(), deadline)?;
            match DmaData::decode(&answer) {
                Ok(data) if data.range() == range => chunk.copy_from_slice(data.data),
                _ => return Err(DmaError::Fault(Errno::PROTO)),
            }
        }
        Ok(())
    }

    pub(crate) fn dma_write(
        &self,
        addr: u64,
        data: &[u8],
        timeout: Duration,
    ) -> Result<(), DmaError> {
        let deadline = deadline(timeout);
        let step = self.step()?;
        let mut at = addr;
        for chunk in data.chunks(step) {
            let message = DmaData {
                addr: at,
                data: chunk,
            };
            at = end_of(message.range())?;
            let answer = self.request(Command::DmaWrite, &message.encode(), deadline)?;
            if DmaRange::decode(&answer) != Ok(message.range()) {
                return Err(DmaError::Fault(Errno::PROTO));
            }
        }
        Ok(())
    }

    pub(crate) fn dma_write_posted(&self, addr: u64, data: &[u8]) -> Result<(), DmaError> {
        let step = self.step()?;
        let mut at = addr;
        for chunk in data.chunks(step) {
            if self.is_stalled() {
                return Err(DmaError::Stalled);
            }
            let message = DmaData {
                addr: at,
                data: chunk,
            };
            at = end_of(message.range())?;
            let kind = Kind::Command(Reply::Unwanted);
            self.send(POSTED_IDS, Command::DmaWrite, kind, &message.encode())?;
        }
        Ok(())
    }

    /// Largest data of one message.
    fn step(&self) -> Result<usize, DmaError> {
        match usize::try_from(self.transfer.load(Ordering::Acquire)) {
            Ok(step) if step > 0 && !self.channel.is_closed() => Ok(step),
            _ => Err(DmaError::Disconnected),
        }
    }

    fn request(
        &self,
        command: Command,
        payload: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, DmaError> {
        if self.channel.is_full() {
            return Err(DmaError::Stalled);
        }
        let ticket = self.waiting.begin(command)?;
        match self.send(ticket.id, command, Kind::Command(Reply::Wanted), payload) {
            Ok(()) => ticket.wait(deadline),
            Err(error) => {
                ticket.cancel();
                Err(error)
            }
        }
    }

    fn send(&self, id: u16, command: Command, kind: Kind, payload: &[u8]) -> Result<(), DmaError> {
        let header = Header {
            id,
            command: command as u16,
            size: 0,
            kind,
        };
        let message = header
            .message(payload)
            .map_err(|_| DmaError::Fault(Errno::MSGSIZE))?;
        match self.channel.send(message, None, NoRoom::Refuse) {
            Ok(()) => Ok(()),
            Err(SendError::NoRoom | SendError::QueueFull) => Err(DmaError::WouldBlock),
            Err(SendError::Gone) => Err(DmaError::Disconnected),
        }
    }
}

/// A time limit that cannot be told from none is a year.
fn deadline(timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.min(YEAR)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The address after a range; a range that wraps round the address space faults.
fn end_of(range: DmaRange) -> Result<u64, DmaError> {
    range
        .addr
        .checked_add(range.count)
        .ok_or(DmaError::Fault(Errno::FAULT))
}
