// SPDX-License-Identifier: GPL-2.0
//! A client of the control socket, for tools, tests and benchmarks.
//!
//! Each [`ControlClient`] owns one connection behind a lock that is held from a request to its answer.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{
    Counters, LinkState, MessageFaultKind, Request, Response, SpacePiece, Status, ViewPiece,
    MAX_TRANSFER,
};

/// Why a control request failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The switch cannot be reached or went away.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// The switch answered with something that is no answer.
    #[error("control protocol: {0}")]
    Protocol(String),
    /// The switch refused the request.
    #[error("switch: {0}")]
    Refused(String),
}

/// A connection to the control socket of a switch.
///
/// May be shared: requests of several threads take turns.
#[derive(Debug)]
pub struct ControlClient {
    stream: Mutex<BufReader<UnixStream>>,
}

impl ControlClient {
    /// Connects to the socket at `path` (`control.sock` in the switch's run folder).
    ///
    /// # Errors
    ///
    /// [`ControlError::Io`] if nobody listens there.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ControlError> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream: Mutex::new(BufReader::new(stream)),
        })
    }

    /// Sends one request and gives its answer as JSON.
    ///
    /// # Errors
    ///
    /// [`ControlError::Refused`] with the switch's words if it did not carry the request out; the other kinds if it
    /// could not be asked.
    pub fn request(&self, request: &Request) -> Result<serde_json::Value, ControlError> {
        let mut line =
            serde_json::to_string(request).map_err(|e| ControlError::Protocol(e.to_string()))?;
        line.push('\n');
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        if stream.read_line(&mut answer)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_str(&answer).map_err(|e| ControlError::Protocol(e.to_string()))? {
            Response::Ok(value) => Ok(value),
            Response::Error(why) => Err(ControlError::Refused(why)),
        }
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ControlError> {
        serde_json::from_value(self.request(request)?)
            .map_err(|e| ControlError::Protocol(e.to_string()))
    }

    fn tell(&self, request: &Request) -> Result<(), ControlError> {
        self.request(request).map(drop)
    }

    /// The state of every port.
    ///
    /// # Errors
    ///
    /// As [`ControlClient::request`]; so for every other method.
    pub fn status(&self) -> Result<Status, ControlError> {
        self.ask(&Request::Status)
    }

    /// The counters of one port.
    pub fn counters(&self, port: u8) -> Result<Counters, ControlError> {
        let mut all: BTreeMap<u8, Counters> = self.ask(&Request::Counters { port: Some(port) })?;
        all.remove(&port).ok_or_else(|| {
            ControlError::Protocol(format!("no counters of port {port} in the answer"))
        })
    }

    /// The counters of all ports.
    pub fn all_counters(&self) -> Result<BTreeMap<u8, Counters>, ControlError> {
        self.ask(&Request::Counters { port: None })
    }

    /// Starts all counters at zero again.
    pub fn reset_counters(&self) -> Result<(), ControlError> {
        self.tell(&Request::CountersReset)
    }

    /// Takes a port's link down or lets it up again.
    pub fn set_link(&self, port: u8, state: LinkState) -> Result<(), ControlError> {
        self.tell(&Request::Link { port, state })
    }

    /// Closes a port's connection and lets nobody attach.
    pub fn unplug(&self, port: u8) -> Result<(), ControlError> {
        self.tell(&Request::Unplug { port })
    }

    /// Lets a node attach to the port again.
    pub fn plug(&self, port: u8) -> Result<(), ControlError> {
        self.tell(&Request::Plug { port })
    }

    /// Makes every access through a slot fail, or heals it.
    pub fn poison(&self, port: u8, bar: u8, slot: u8, on: bool) -> Result<(), ControlError> {
        self.tell(&Request::Poison {
            port,
            bar,
            slot,
            on,
        })
    }

    /// Loses or delays the next `count` messages from one port to another.
    pub fn message_fault(
        &self,
        from: u8,
        to: u8,
        fault: MessageFaultKind,
        count: u32,
    ) -> Result<(), ControlError> {
        self.tell(&Request::MessageFault {
            from,
            to,
            fault,
            count,
        })
    }

    /// Reads `len` bytes of a node's memory at a bus address.
    pub fn memory_read(&self, port: u8, addr: u64, len: u64) -> Result<Vec<u8>, ControlError> {
        let mut data = Vec::new();
        let mut at = 0;
        while at < len {
            let part = (len - at).min(MAX_TRANSFER);
            let addr = addr
                .checked_add(at)
                .ok_or_else(|| ControlError::Refused("address range wraps".into()))?;
            let text: String = self.ask(&Request::MemoryRead {
                port,
                addr,
                len: part,
            })?;
            let bytes = hex::decode(text).map_err(|e| ControlError::Protocol(e.to_string()))?;
            if bytes.len() as u64 != part {
                return Err(ControlError::Protocol(format!(
                    "{} bytes instead of {part}",
                    bytes.len()
                )));
            }
            data.extend_from_slice(&bytes);
            at += part;
        }
        Ok(data)
    }

    /// Writes a node's memory at a bus address.
    pub fn memory_write(&self, port: u8, addr: u64, data: &[u8]) -> Result<(), ControlError> {
        let mut at = addr;
        for part in data.chunks(MAX_TRANSFER as usize) {
            self.tell(&Request::MemoryWrite {
                port,
                addr: at,
                data: hex::encode(part),
            })?;
            at = at.wrapping_add(part.len() as u64);
        }
        Ok(())
    }

    /// The SHA-256 of `len` bytes of a node's memory, in hexadecimal.
    pub fn memory_digest(&self, port: u8, addr: u64, len: u64) -> Result<String, ControlError> {
        self.ask(&Request::MemoryDigest { port, addr, len })
    }

    /// Reads a register of a port as its node would, side effects and all.
    pub fn register_read(&self, port: u8, offset: u32) -> Result<u32, ControlError> {
        self.ask(&Request::RegisterRead { port, offset })
    }

    /// Writes a register of a port as its node would.
    pub fn register_write(&self, port: u8, offset: u32, value: u32) -> Result<(), ControlError> {
        self.tell(&Request::RegisterWrite {
            port,
            offset,
            value,
        })
    }

    /// The memory that a node made known for device access, by rising address.
    pub fn space(&self, port: u8) -> Result<Vec<SpacePiece>, ControlError> {
        self.ask(&Request::Space { port })
    }

    /// The memory that a window of a port shows, by rising offset.
    pub fn view(&self, port: u8, bar: u8) -> Result<Vec<ViewPiece>, ControlError> {
        self.ask(&Request::View { port, bar })
    }

    /// Ends the switch.
    pub fn shutdown(&self) -> Result<(), ControlError> {
        self.tell(&Request::Shutdown)
    }
}
