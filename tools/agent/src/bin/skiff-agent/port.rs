// SPDX-License-Identifier: GPL-2.0
//! The way to the host: a virtio-serial port. Reading is the main thread's; writing is behind a lock, frame by frame.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use skiff_agent::frame::{self, PREAMBLE};
use skiff_agent::message::{Packet, Reply, PORT_NAME};

/// Devices are there when process 1 starts unless the driver is a module that is loaded later.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the port, waiting for it for a while.
///
/// # Errors
/// The reason why it cannot be opened, or `NotFound`.
pub fn open() -> io::Result<File> {
    let start = Instant::now();
    loop {
        if let Some(path) = find()? {
            match OpenOptions::new().read(true).write(true).open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no virtio-serial port named {PORT_NAME}"),
            ));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The port's device file, found by the name in sysfs because there is no udev.
fn find() -> io::Result<Option<PathBuf>> {
    let ports = match fs::read_dir("/sys/class/virtio-ports") {
        Ok(ports) => ports,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for port in ports {
        let port = port?;
        // A port without a name has no such attribute; a vanished one has nothing.
        if fs::read_to_string(port.path().join("name"))
            .is_ok_and(|name| name.trim_end() == PORT_NAME)
        {
            return Ok(Some(PathBuf::from("/dev").join(port.file_name())));
        }
    }
    Ok(None)
}

/// Sends packets to the host; every thread of the agent may.
#[derive(Debug)]
pub struct Outbox {
    session: u64,
    port: Mutex<File>,
}

impl Outbox {
    /// An outbox of the session. Ends whatever frame an earlier agent may have left unfinished.
    ///
    /// # Errors
    /// The port's.
    pub fn new(session: u64, mut port: File) -> io::Result<Self> {
        port.write_all(&[0; PREAMBLE])?;
        Ok(Outbox {
            session,
            port: Mutex::new(port),
        })
    }

    /// The number that every packet of this agent bears.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Sends one packet, waiting until the host has taken it.
    pub fn send(&self, stream: u32, body: Reply) {
        let packet = Packet {
            session: self.session,
            stream,
            body,
        };
        let result = frame::encode(&packet)
            .map_err(io::Error::other)
            .and_then(|bytes| {
                self.port
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .write_all(&bytes)
            });
        if let Err(error) = result {
            eprintln!("skiff-agent: cannot send: {error}");
        }
    }
}
