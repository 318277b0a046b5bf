// SPDX-License-Identifier: GPL-2.0
//! The way to the host: a virtio-serial port. Reading is the main thread's; writing is behind a lock, frame by frame.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use skiff_agent::frame::{self, PREAMBLE};
use skiff_agent::message::{Packet, Reply, PORT_NAME};

/// Devices are there when process 1 starts unless the driver is a module that is loaded later, and are away for the
/// time of a sleep.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the port, waiting for it for a while. A port whose driver is being unbound refuses with ENXIO while sysfs still
/// has its name (`unplug_port`, drivers/char/virtio_console.c).
///
/// # Errors
/// The last reason why it could not be opened, or `NotFound`.
pub fn open() -> io::Result<File> {
    let start = Instant::now();
    loop {
        match try_open() {
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

fn try_open() -> io::Result<File> {
    let path = find()?.ok_or_else(|| {
        let what = format!("no virtio-serial port named {PORT_NAME}");
        io::Error::new(io::ErrorKind::NotFound, what)
    })?;
    OpenOptions::new().read(true).write(true).open(path)
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
    port: Mutex<Port>,
    reopened: Condvar,
}

#[derive(Debug)]
struct Port {
    file: File,
    /// How often the port has come back.
    returns: u32,
}

impl Outbox {
    /// An outbox of the session. Ends whatever frame an earlier agent may have left unfinished.
    ///
    /// # Errors
    /// The port's.
    pub fn new(session: u64, mut file: File) -> io::Result<Self> {
        file.write_all(&[0; PREAMBLE])?;
        Ok(Outbox {
            session,
            port: Mutex::new(Port { file, returns: 0 }),
            reopened: Condvar::new(),
        })
    }

    /// The number that every packet of this agent bears.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Sends one packet, waiting until the host has taken it, or the port has come back and then the host has.
    pub fn send(&self, stream: u32, body: Reply) {
        let packet = Packet {
            session: self.session,
            stream,
            body,
        };
        let result = frame::encode(&packet)
            .map_err(io::Error::other)
            .and_then(|bytes| self.write(&bytes));
        if let Err(error) = result {
            eprintln!("skiff-agent: cannot send: {error}");
        }
    }

    fn write(&self, frame: &[u8]) -> io::Result<()> {
        let mut port = self.port();
        loop {
            match port.file.write_all(frame) {
                Err(error) if is_gone(&error) => {
                    let returns = port.returns;
                    let (back, wait) = self
                        .reopened
                        .wait_timeout_while(port, PATIENCE, |port| port.returns == returns)
                        .unwrap_or_else(PoisonError::into_inner);
                    if wait.timed_out() {
                        return Err(error);
                    }
                    port = back;
                }
                other => return other,
            }
        }
    }

    /// Opens the port again after it has gone, ends the frame that it may have cut, and lets those go on who send. What
    /// is returned reads.
    ///
    /// # Errors
    /// Those of [`open`] and the port's.
    pub fn reopen(&self) -> io::Result<File> {
        let file = loop {
            let mut file = open()?;
            match file.write_all(&[0; PREAMBLE]) {
                Ok(()) => break file,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        };
        let reader = file.try_clone()?;
        let mut port = self.port();
        port.file = file;
        port.returns = port.returns.wrapping_add(1);
        drop(port);
        self.reopened.notify_all();
        Ok(reader)
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the port has gone with its device or its driver.
pub fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}
