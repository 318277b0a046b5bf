// SPDX-License-Identifier: GPL-2.0
//! The control protocol of the switch: its requests and answers as types, and a client.
//!
//! One JSON object per line in each direction; every request gets one answer, `{"ok": …}` or `{"error": "…"}`, in order.
//! A client may have one request under way at a time; a [`ControlClient`] takes care of that with a lock of its own.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use crate::counters::Counters;

/// Most bytes of node memory that one `memory-read` or `memory-write` moves; the client splits what is larger.
pub const MAX_TRANSFER: u64 = 4 << 20;

/// A state of a link that the control socket asks for or reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// The link is trained.
    Up,
    /// The link is down: nothing goes through.
    Down,
}

/// What happens to messages between two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageFaultKind {
    /// They are delivered.
    None,
    /// The sender sees them go, the receiver never gets them.
    Lose,
    /// They arrive that many milliseconds later.
    DelayMs(u64),
}

/// One request to the switch; ports are partition numbers 0 to 7, addresses are bus addresses of the node at the port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Request {
    /// The state of every port; answered with [`Status`].
    Status,
    /// The counters of one port or of all; answered with a map from port to [`Counters`].
    Counters {
        /// The port, or none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u8>,
    },
    /// Starts all counters at zero again.
    CountersReset,
    /// Takes a port's link down or lets it up again.
    Link {
        /// The port.
        port: u8,
        /// What its link shall be.
        state: LinkState,
    },
    /// The port is gone: its connection is closed, its link down, and nobody can attach.
    Unplug {
        /// The port.
        port: u8,
    },
    /// Undoes [`Request::Unplug`]: a node may attach again.
    Plug {
        /// The port.
        port: u8,
    },
    /// Makes every access through a slot fail, or heals it.
    Poison {
        /// The port that owns the window.
        port: u8,
        /// The window's BAR, 2 or 4.
        bar: u8,
        /// The slot of that window.
        slot: u8,
        /// Whether it shall be poisoned.
        on: bool,
    },
    /// Loses or delays the next messages between two ports.
    MessageFault {
        /// The sending port.
        from: u8,
        /// The receiving port.
        to: u8,
        /// What happens to them.
        fault: MessageFaultKind,
        /// How many messages it happens to.
        #[serde(default = "one_message")]
        count: u32,
    },
    /// Reads a node's memory; answered with the bytes in hexadecimal.
    MemoryRead {
        /// The node's port.
        port: u8,
        /// Where.
        addr: u64,
        /// How many bytes, at most [`MAX_TRANSFER`].
        len: u64,
    },
    /// Writes a node's memory.
    MemoryWrite {
        /// The node's port.
        port: u8,
        /// Where.
        addr: u64,
        /// The bytes in hexadecimal, at most [`MAX_TRANSFER`] of them.
        data: String,
    },
    /// The SHA-256 of a piece of a node's memory in hexadecimal; `len` has no limit.
    MemoryDigest {
        /// The node's port.
        port: u8,
        /// Where.
        addr: u64,
        /// How many bytes.
        len: u64,
    },
    /// Reads a 32-bit register of a port as its node would.
    RegisterRead {
        /// The port.
        port: u8,
        /// Offset in BAR0, a multiple of 4.
        offset: u32,
    },
    /// Writes a 32-bit register of a port as its node would.
    RegisterWrite {
        /// The port.
        port: u8,
        /// Offset in BAR0, a multiple of 4.
        offset: u32,
        /// What is written.
        value: u32,
    },
    /// The memory that a node made known for device access; answered with [`SpacePiece`]s.
    Space {
        /// The node's port.
        port: u8,
    },
    /// What a window of a port shows; answered with [`ViewPiece`]s.
    View {
        /// The port.
        port: u8,
        /// The window's BAR, 2 or 4.
        bar: u8,
    },
    /// Ends the switch.
    Shutdown,
}

fn one_message() -> u32 {
    1
}

/// How a port's memory window is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowState {
    /// Every access is trapped and carried out by the switch.
    Trapped,
    /// The window is mapped, and a helper keeps it in step with the routes.
    Mapped,
    /// The window is to be mapped, but no helper has come (back) yet; the port's link is down.
    WaitsForHelper,
}

/// The state of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortStatus {
    /// The port.
    pub port: u8,
    /// Whether a node is attached.
    pub attached: bool,
    /// Whether the port can be attached to at all.
    pub plugged: bool,
    /// Process id of the attached QEMU, if the kernel tells.
    pub pid: Option<i32>,
    /// The link as the other ports see it.
    pub link: LinkState,
    /// `chip` or `companion`.
    pub layout: String,
    /// `lut12` or `lut24-direct`.
    pub windows: String,
    /// How the memory window is made.
    pub window: WindowState,
    /// Bytes of the memory window.
    pub aperture: u64,
    /// Bytes of the device window.
    pub device_aperture: u64,
    /// Whether the node stopped answering the switch's requests.
    pub stalled: bool,
    /// How often a node has attached.
    pub attachments: u64,
}

/// The state of the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Process id of the switch.
    pub pid: u32,
    /// Every port.
    pub ports: Vec<PortStatus>,
}

/// A piece of a node's bus address space that is memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpacePiece {
    /// First bus address.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
    /// The switch's number of the file that holds them.
    pub file: u64,
    /// Where in that file they start.
    pub file_offset: u64,
}

/// A piece of a window that shows memory; what no piece covers reads all ones or is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ViewPiece {
    /// Where in the window it starts.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// The switch's number of the file that shows there.
    pub file: u64,
    /// Where in that file it starts.
    pub file_offset: u64,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The request was carried out; what it asked for.
    Ok(serde_json::Value),
    /// It was not; why.
    Error(String),
}

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
        let mut line = serde_json::to_string(request).map_err(|e| ControlError::Protocol(e.to_string()))?;
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
        serde_json::from_value(self.request(request)?).map_err(|e| ControlError::Protocol(e.to_string()))
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
        all.remove(&port)
            .ok_or_else(|| ControlError::Protocol(format!("no counters of port {port} in the answer")))
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
        self.tell(&Request::Poison { port, bar, slot, on })
    }

    /// Loses or delays the next `count` messages from one port to another.
    pub fn message_fault(&self, from: u8, to: u8, fault: MessageFaultKind, count: u32) -> Result<(), ControlError> {
        self.tell(&Request::MessageFault { from, to, fault, count })
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
            let text: String = self.ask(&Request::MemoryRead { port, addr, len: part })?;
            let bytes = hex::decode(text).map_err(|e| ControlError::Protocol(e.to_string()))?;
            if bytes.len() as u64 != part {
                return Err(ControlError::Protocol(format!("{} bytes instead of {part}", bytes.len())));
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
        self.tell(&Request::RegisterWrite { port, offset, value })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_look_as_documented() {
        let lines = [
            (Request::Status, r#"{"do":"status"}"#),
            (Request::Counters { port: None }, r#"{"do":"counters"}"#),
            (Request::Counters { port: Some(3) }, r#"{"do":"counters","port":3}"#),
            (
                Request::Link { port: 1, state: LinkState::Down },
                r#"{"do":"link","port":1,"state":"down"}"#,
            ),
            (
                Request::MessageFault { from: 0, to: 2, fault: MessageFaultKind::DelayMs(5), count: 4 },
                r#"{"do":"message-fault","from":0,"to":2,"fault":{"delay_ms":5},"count":4}"#,
            ),
            (
                Request::MessageFault { from: 0, to: 2, fault: MessageFaultKind::Lose, count: 1 },
                r#"{"do":"message-fault","from":0,"to":2,"fault":"lose","count":1}"#,
            ),
            (
                Request::RegisterWrite { port: 1, offset: 0x420, value: 1 },
                r#"{"do":"register-write","port":1,"offset":1056,"value":1}"#,
            ),
        ];
        for (request, text) in lines {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
        let short = r#"{"do":"message-fault","from":0,"to":2,"fault":"none"}"#;
        assert!(matches!(serde_json::from_str(short), Ok(Request::MessageFault { count: 1, .. })));
        assert!(serde_json::from_str::<Request>(r#"{"do":"dance"}"#).is_err());
    }
}
