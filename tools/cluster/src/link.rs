// SPDX-License-Identifier: GPL-2.0
//! The host's end of the agent's port: many streams over one connection.
//!
//! A reader thread sorts packets into streams and never waits for anything but the connection; a writer thread sends
//! what is queued. So neither a node that takes nothing nor a stream that nobody reads holds up the others. All state
//! is in one table behind one lock; whoever waits for a stream waits on the table's condition variable.

mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use skiff_agent::frame::{self, Decoder};
use skiff_agent::message::{self, Packet, Reply, Request, CONTROL, VERSION, WINDOW};

use self::stream::StreamState;
pub(crate) use self::stream::{End, Flow, Stream};
use crate::klog::KernelLog;

/// A command that writes more than this (in bytes) without anybody taking it is ended.
const MOST_OUTPUT: usize = 256 << 20;

#[derive(Debug, Default)]
struct Table {
    session: Option<u64>,
    /// How many sessions there have been.
    sessions: u32,
    last_stream: u32,
    streams: HashMap<u32, StreamState>,
    lost: Option<String>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    changed: Condvar,
    out: Sender<Vec<u8>>,
    log: Arc<KernelLog>,
}

/// Why a wait ended without what was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// It took too long.
    Timeout,
    /// It cannot come any more; why.
    Lost(String),
}

/// The connection to one QEMU's agent, across resets.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
}

impl Link {
    /// Starts listening; kernel log records go to `log`.
    pub(crate) fn new(connection: UnixStream, log: Arc<KernelLog>) -> io::Result<Self> {
        let (out, queue) = mpsc::channel::<Vec<u8>>();
        let mut writer = connection.try_clone()?;
        thread::Builder::new()
            .name("agent-out".to_owned())
            .spawn(move || {
                for frame in queue {
                    if writer.write_all(&frame).is_err() {
                        // The reader sees the end, too.
                        return;
                    }
                }
            })?;
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            changed: Condvar::new(),
            out,
            log,
        });
        let reader = Arc::downgrade(&shared);
        thread::Builder::new()
            .name("agent-in".to_owned())
            .spawn(move || {
                let mut connection = connection;
                let mut decoder = Decoder::new();
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(length @ 1..) = connection.read(&mut buffer) {
                    let Some(shared) = reader.upgrade() else {
                        return;
                    };
                    decoder.push(&buffer[..length]);
                    while let Some(packet) = decoder.next_value() {
                        shared.handle(packet);
                    }
                }
                tracing::debug!(
                    skipped = decoder.skipped(),
                    "the agent\'s connection closed"
                );
                if let Some(shared) = reader.upgrade() {
                    shared.lose("its agent's connection closed");
                }
            })?;
        let link = Link { shared };
        link.shared.send(0, CONTROL, Request::Hello);
        Ok(link)
    }

    /// Ends every stream and every wait: nothing will come any more.
    pub(crate) fn lose(&self, why: &str) {
        self.shared.lose(why);
    }

    /// How many agents there have been; to be read before a reset is caused.
    pub(crate) fn sessions(&self) -> u32 {
        self.shared.table().sessions
    }

    /// Waits for an agent later than the first `before`.
    pub(crate) fn wait_session(&self, before: u32, limit: Duration) -> Result<(), WaitError> {
        self.shared
            .wait(limit, |table| (table.sessions > before).then_some(()))
    }

    /// Opens a stream to the current agent.
    pub(crate) fn open(&self, request: Request, flow: Flow) -> Result<Stream, WaitError> {
        let mut table = self.shared.table();
        if let Some(why) = &table.lost {
            return Err(WaitError::Lost(why.clone()));
        }
        let session = table
            .session
            .ok_or_else(|| WaitError::Lost("it has no agent yet".to_owned()))?;
        table.last_stream = table.last_stream.checked_add(1).unwrap_or(CONTROL + 1);
        let id = table.last_stream;
        let state = StreamState {
            flow,
            stdout: Vec::new(),
            stderr: Vec::new(),
            started: None,
            file_mode: None,
            credit: WINDOW,
            end: None,
        };
        table.streams.insert(id, state);
        drop(table);
        let stream = Stream {
            link: self.clone(),
            session,
            id,
        };
        stream.send(request);
        Ok(stream)
    }

    /// Tells the current agent something that belongs to no stream.
    pub(crate) fn tell(&self, request: Request) {
        let session = self.shared.table().session;
        if let Some(session) = session {
            self.shared.send(session, CONTROL, request);
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, session: u64, stream: u32, body: Request) {
        match frame::encode(&Packet {
            session,
            stream,
            body,
        }) {
            // A closed queue means a closed connection, which the reader reports.
            Ok(frame) => drop(self.out.send(frame)),
            Err(error) => self.end(stream, End::Failed(error.to_string())),
        }
    }

    fn end(&self, stream: u32, end: End) {
        if let Some(state) = self.table().streams.get_mut(&stream) {
            state.end.get_or_insert(end);
        }
        self.changed.notify_all();
    }

    fn lose(&self, why: &str) {
        let mut table = self.table();
        table.lost.get_or_insert_with(|| why.to_owned());
        for state in table.streams.values_mut() {
            state.end.get_or_insert_with(|| End::Lost(why.to_owned()));
        }
        drop(table);
        self.changed.notify_all();
    }

    fn handle(&self, packet: Packet<Reply>) {
        let Packet {
            session,
            stream,
            body,
        } = packet;
        if let Reply::Hello { version } = body {
            return self.greet(session, version);
        }
        if let Reply::Log(records) = &body {
            return self.log.add_records(session, records);
        }
        let mut table = self.table();
        if table.session != Some(session) {
            return;
        }
        let Some(state) = table.streams.get_mut(&stream) else {
            return;
        };
        match body {
            Reply::Hello { .. } | Reply::Log(_) => {}
            Reply::Started { pid } => state.started = Some(pid),
            Reply::File { mode } => state.file_mode = Some(mode),
            Reply::Credit(more) => state.credit = state.credit.saturating_add(more),
            Reply::Exited(exit) => state.end = Some(End::Exited(exit)),
            Reply::Done => state.end = Some(End::Done),
            Reply::Failed { message } => state.end = Some(End::Failed(message)),
            Reply::Data { from, bytes } => {
                match from {
                    message::Stream::Stdout => state.stdout.extend_from_slice(&bytes),
                    message::Stream::Stderr => state.stderr.extend_from_slice(&bytes),
                }
                if state.stdout.len().saturating_add(state.stderr.len()) > MOST_OUTPUT {
                    state.end = Some(End::Failed(format!(
                        "more than {MOST_OUTPUT} bytes of output"
                    )));
                    self.send(session, stream, Request::Close);
                } else if state.flow == Flow::Collect {
                    // A frame holds far less than 4 GiB.
                    self.send(
                        session,
                        stream,
                        Request::Credit(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
                    );
                }
            }
        }
        drop(table);
        self.changed.notify_all();
    }

    fn greet(&self, session: u64, version: u32) {
        if version != VERSION {
            return self.lose(&format!(
                "its agent speaks version {version} of the protocol, not {VERSION}"
            ));
        }
        let mut table = self.table();
        // The same agent answers once more when it was asked.
        if table.session == Some(session) {
            return;
        }
        for state in table.streams.values_mut() {
            state
                .end
                .get_or_insert_with(|| End::Lost("the node was reset".to_owned()));
        }
        table.session = Some(session);
        table.sessions = table.sessions.saturating_add(1);
        self.log.begin(session);
        drop(table);
        self.changed.notify_all();
    }

    fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&mut Table) -> Option<T>,
    ) -> Result<T, WaitError> {
        let start = Instant::now();
        let mut table = self.table();
        loop {
            if let Some(found) = look(&mut table) {
                return Ok(found);
            }
            if let Some(why) = &table.lost {
                return Err(WaitError::Lost(why.clone()));
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(WaitError::Timeout);
            }
            table = self
                .changed
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
