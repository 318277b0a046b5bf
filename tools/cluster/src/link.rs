// SPDX-License-Identifier: GPL-2.0
//! The host's end of the agent's port: many streams over one connection.
//!
//! A reader thread sorts packets into streams and never waits for anything but the connection; a writer thread sends
//! what is queued. So neither a node that takes nothing nor a stream that nobody reads holds up the others. All state
//! is in one table behind one lock; whoever waits for a stream waits on the table's condition variable.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use skiff_agent::frame::{self, Decoder};
use skiff_agent::message::{self, Exit, Packet, Reply, Request, CONTROL, VERSION, WINDOW};

use crate::klog::KernelLog;

/// A command that writes more than this (in bytes) without anybody taking it is ended.
const MOST_OUTPUT: usize = 256 << 20;

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Its command did.
    Exited(Exit),
    /// Its file has been transferred.
    Done,
    /// The agent refused.
    Failed(String),
    /// The node was reset or is gone.
    Lost(String),
}

/// Who lets the agent send more of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The reader, at once: everything is collected.
    Collect,
    /// The taker of the data, by taking it.
    Taken,
}

/// What is known about a stream.
#[derive(Debug)]
pub(crate) struct StreamState {
    flow: Flow,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Process id of its command once it runs.
    pub(crate) started: Option<i32>,
    /// Mode of its file once it is open.
    pub(crate) file_mode: Option<u32>,
    /// Bytes that may be sent to the agent.
    pub(crate) credit: u32,
    pub(crate) end: Option<End>,
}

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

/// One stream. Dropping it makes the agent end its command or forget its file.
#[derive(Debug)]
pub(crate) struct Stream {
    link: Link,
    session: u64,
    id: u32,
}

impl Stream {
    /// Sends something that takes no credit.
    pub(crate) fn send(&self, request: Request) {
        self.link.shared.send(self.session, self.id, request);
    }

    /// Waits until `look` finds something in the stream's state.
    pub(crate) fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&mut StreamState) -> Option<T>,
    ) -> Result<T, WaitError> {
        self.link.shared.wait(limit, |table| {
            table.streams.get_mut(&self.id).and_then(&mut look)
        })
    }

    /// Looks at the stream's state as it is.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut StreamState) -> T) -> Option<T> {
        self.link.shared.table().streams.get_mut(&self.id).map(look)
    }

    /// Sends data as far as the agent takes it; waits at most `limit` for each chunk to be taken.
    ///
    /// Returns early, without an error, when the stream has ended.
    pub(crate) fn send_data(&self, mut bytes: &[u8], limit: Duration) -> Result<(), WaitError> {
        while !bytes.is_empty() {
            let room = self.wait(limit, |state| match state {
                StreamState { end: Some(_), .. } => Some(0),
                StreamState { credit: 0, .. } => None,
                state => {
                    let most = message::CHUNK.min(state.credit as usize).min(bytes.len());
                    // At most `credit`, so it fits.
                    state.credit -= u32::try_from(most).unwrap_or(state.credit);
                    Some(most)
                }
            })?;
            if room == 0 {
                return Ok(());
            }
            let (chunk, rest) = bytes.split_at(room);
            self.send(Request::Data(chunk.to_vec()));
            bytes = rest;
        }
        Ok(())
    }

    /// Waits for data or the end of a [`Flow::Taken`] stream; nothing means the end. Lets the agent send more.
    pub(crate) fn take(&self, limit: Duration) -> Result<(Vec<u8>, Vec<u8>), WaitError> {
        let (stdout, stderr) = self.wait(limit, |state| {
            let some = !state.stdout.is_empty() || !state.stderr.is_empty() || state.end.is_some();
            some.then(|| {
                (
                    std::mem::take(&mut state.stdout),
                    std::mem::take(&mut state.stderr),
                )
            })
        })?;
        if let Ok(taken @ 1..) = u32::try_from(stdout.len().saturating_add(stderr.len())) {
            self.send(Request::Credit(taken));
        }
        Ok((stdout, stderr))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let state = self.link.shared.table().streams.remove(&self.id);
        if state.is_some_and(|state| state.end.is_none()) {
            self.send(Request::Close);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// The agent's end of a connection.
    struct Agent {
        connection: UnixStream,
        decoder: Decoder,
        session: u64,
    }

    impl Agent {
        fn send(&mut self, stream: u32, body: Reply) {
            let frame = frame::encode(&Packet {
                session: self.session,
                stream,
                body,
            })
            .unwrap();
            self.connection.write_all(&frame).unwrap();
        }

        fn receive(&mut self) -> Packet<Request> {
            let mut buffer = [0; 4096];
            loop {
                if let Some(packet) = self.decoder.next_value() {
                    return packet;
                }
                let length = self.connection.read(&mut buffer).unwrap();
                assert_ne!(length, 0);
                self.decoder.push(&buffer[..length]);
            }
        }
    }

    fn connected() -> (Link, Agent) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours, Arc::default()).unwrap();
        let mut agent = Agent {
            connection: theirs,
            decoder: Decoder::new(),
            session: 5,
        };
        assert_eq!(agent.receive().body, Request::Hello);
        agent.send(CONTROL, Reply::Hello { version: VERSION });
        link.wait_session(0, LIMIT).unwrap();
        (link, agent)
    }

    fn get() -> Request {
        Request::Get {
            path: "/x".to_owned(),
        }
    }

    #[test]
    fn a_file_comes_in_pieces() {
        let (link, mut agent) = connected();
        let stream = link.open(get(), Flow::Taken).unwrap();
        let request = agent.receive();
        assert_eq!((request.session, &request.body), (5, &get()));
        agent.send(
            request.stream,
            Reply::Data {
                from: message::Stream::Stdout,
                bytes: vec![1; 10],
            },
        );
        assert_eq!(stream.take(LIMIT).unwrap().0, [1; 10]);
        assert_eq!(agent.receive().body, Request::Credit(10));
        agent.send(request.stream, Reply::Done);
        assert!(stream.take(LIMIT).unwrap().0.is_empty());
        assert_eq!(
            stream.look(|state| state.end.clone()),
            Some(Some(End::Done))
        );
    }

    #[test]
    fn data_waits_for_credit() {
        let (link, mut agent) = connected();
        let stream = link.open(get(), Flow::Taken).unwrap();
        let id = agent.receive().stream;
        let all = vec![7; WINDOW as usize];
        stream.send_data(&all, LIMIT).unwrap();
        assert_eq!(
            stream.send_data(&[8], Duration::from_millis(10)),
            Err(WaitError::Timeout)
        );
        agent.send(id, Reply::Credit(1));
        stream.send_data(&[9], LIMIT).unwrap();
        let mut got = Vec::new();
        while got.len() <= all.len() {
            match agent.receive().body {
                Request::Data(bytes) => got.extend(bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(got.split_last(), Some((&9, &all[..])));
    }

    #[test]
    fn a_new_agent_ends_the_streams_of_the_old_one() {
        let (link, mut agent) = connected();
        let stream = link.open(get(), Flow::Taken).unwrap();
        let id = agent.receive().stream;
        agent.session = 6;
        agent.send(CONTROL, Reply::Hello { version: VERSION });
        link.wait_session(1, LIMIT).unwrap();
        assert!(matches!(
            stream.look(|state| state.end.clone()),
            Some(Some(End::Lost(_)))
        ));
        // What the old one still had under way is dropped.
        agent.session = 5;
        agent.send(id, Reply::Done);
        drop(stream);
        let next = link.open(get(), Flow::Taken).unwrap();
        assert_eq!(agent.receive().session, 6);
        assert_eq!(next.look(|state| state.end.clone()), Some(None));
    }

    #[test]
    fn a_closed_connection_ends_every_wait() {
        let (link, agent) = connected();
        let stream = link.open(get(), Flow::Taken).unwrap();
        drop(agent);
        assert!(
            stream.take(LIMIT).is_ok_and(|(data, _)| data.is_empty())
                || stream.take(LIMIT).is_err()
        );
        assert!(matches!(
            link.wait_session(1, LIMIT),
            Err(WaitError::Lost(_))
        ));
        assert!(matches!(
            link.open(get(), Flow::Taken),
            Err(WaitError::Lost(_))
        ));
    }

    #[test]
    fn dropping_a_stream_tells_the_agent() {
        let (link, mut agent) = connected();
        drop(link.open(get(), Flow::Taken).unwrap());
        assert_eq!(agent.receive().body, get());
        assert_eq!(agent.receive().body, Request::Close);
    }

    #[test]
    fn another_protocol_version_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours, Arc::default()).unwrap();
        let mut agent = Agent {
            connection: theirs,
            decoder: Decoder::new(),
            session: 5,
        };
        agent.send(
            CONTROL,
            Reply::Hello {
                version: VERSION + 1,
            },
        );
        assert!(
            matches!(link.wait_session(0, LIMIT), Err(WaitError::Lost(why)) if why.contains("version"))
        );
    }
}
