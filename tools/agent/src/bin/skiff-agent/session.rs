// SPDX-License-Identifier: GPL-2.0
//! Reads the port and hands every packet to its stream. Owns the table of streams, which streams' threads leave by
//! themselves.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::reboot::{reboot, RebootMode};
use skiff_agent::frame::Decoder;
use skiff_agent::message::{Packet, Power, Reply, Request, CONTROL, VERSION};

use crate::mailbox::{self, Inbox, Mail, Mailbox};
use crate::port::{self, Outbox};
use crate::reaper::Reaper;
use crate::{file, job, kmsg};

struct Session {
    outbox: Arc<Outbox>,
    reaper: Arc<Reaper>,
    streams: Arc<Mutex<HashMap<u32, Mailbox>>>,
    log: Mailbox,
}

/// Serves the host for as long as the machine runs.
///
/// # Errors
/// Without a port or threads nothing can be served.
pub fn serve() -> io::Result<()> {
    let mut port = port::open()?;
    let outbox = Arc::new(Outbox::new(draw_session()?, port.try_clone()?)?);
    let (log, log_inbox) = mailbox::pair()?;
    let session = Session {
        outbox,
        reaper: Reaper::start()?,
        streams: Arc::default(),
        log,
    };
    session.hello();
    let outbox = Arc::clone(&session.outbox);
    thread::Builder::new()
        .name("kmsg".to_owned())
        .spawn(move || {
            if let Err(error) = kmsg::follow(&outbox, &log_inbox) {
                eprintln!("skiff-agent: cannot follow the kernel log: {error}");
            }
        })?;
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match port.read(&mut buffer) {
            // The host's end is closed.
            Ok(0) => thread::sleep(Duration::from_millis(50)),
            Ok(length) => {
                decoder.push(&buffer[..length]);
                while let Some(packet) = decoder.next_value() {
                    session.handle(packet);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What the host began to say is lost with it.
            Err(error) if port::is_gone(&error) => {
                port = session.outbox.reopen()?;
                decoder = Decoder::new();
            }
            Err(error) => return Err(error),
        }
    }
}

/// A number that differs from boot to boot.
fn draw_session() -> io::Result<u64> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .collect();
    u64::from_str_radix(&digits, 16).map_err(io::Error::other)
}

impl Session {
    fn hello(&self) {
        self.outbox.send(CONTROL, Reply::Hello { version: VERSION });
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u32, Mailbox>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, packet: Packet<Request>) {
        let Packet {
            session,
            stream,
            body,
        } = packet;
        if body == Request::Hello {
            return self.hello();
        }
        if session != self.outbox.session() {
            return;
        }
        match body {
            Request::Hello => {}
            Request::Exec(exec) => {
                let reaper = Arc::clone(&self.reaper);
                self.open(stream, move |outbox, mailbox, inbox| {
                    job::run(outbox, stream, (mailbox, inbox), &reaper, &exec);
                });
            }
            Request::Put { path, mode } => {
                self.open(stream, move |outbox, _, inbox| {
                    file::put(outbox, stream, &inbox, &path, mode)
                });
            }
            Request::Get { path } => {
                self.open(stream, move |outbox, _, inbox| {
                    file::get(outbox, stream, &inbox, &path)
                });
            }
            Request::SyncLog => self.log.leave(Mail::SyncLog(stream)),
            Request::Power(what) => self.power(stream, what),
            Request::Data(bytes) => self.forward(stream, Mail::Data(bytes)),
            Request::Eof => self.forward(stream, Mail::Eof),
            Request::Credit(more) => self.forward(stream, Mail::Credit(more)),
            Request::Signal(signal) => self.forward(stream, Mail::Signal(signal)),
            Request::Resize(size) => self.forward(stream, Mail::Resize(size)),
            Request::Close => self.forward(stream, Mail::Close),
        }
    }

    /// Leaves it to the stream's thread; a stream that has ended meanwhile needs nothing.
    fn forward(&self, stream: u32, mail: Mail) {
        if let Some(mailbox) = self.streams().get(&stream) {
            mailbox.leave(mail);
        }
    }

    /// Runs a new stream on a thread of its own.
    fn open(&self, stream: u32, serve: impl FnOnce(&Outbox, Mailbox, Inbox) + Send + 'static) {
        let opened = mailbox::pair()
            .map_err(io::Error::from)
            .and_then(|(mailbox, inbox)| {
                // In the table before its first mail can come.
                self.streams().insert(stream, mailbox.clone());
                let outbox = Arc::clone(&self.outbox);
                let streams = Arc::clone(&self.streams);
                thread::Builder::new()
                    .name(format!("stream {stream}"))
                    .spawn(move || {
                        serve(&outbox, mailbox, inbox);
                        streams
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .remove(&stream);
                    })
            });
        if let Err(error) = opened {
            self.streams().remove(&stream);
            self.outbox.send(
                stream,
                Reply::Failed {
                    message: error.to_string(),
                },
            );
        }
    }

    /// Returns only if the kernel refuses.
    fn power(&self, stream: u32, what: Power) {
        nix::unistd::sync();
        let Err(error) = reboot(match what {
            Power::Off => RebootMode::RB_POWER_OFF,
            Power::Reboot => RebootMode::RB_AUTOBOOT,
        });
        self.outbox.send(
            stream,
            Reply::Failed {
                message: error.to_string(),
            },
        );
    }
}
