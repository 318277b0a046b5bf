// SPDX-License-Identifier: GPL-2.0
//! The control protocol of the switch: its requests and answers as types, and a client.
//!
//! One JSON object per line in each direction; every request gets one answer, `{"ok": …}` or `{"error": "…"}`, in order.
//! A client may have one request under way at a time; a [`ControlClient`] takes care of that with a lock of its own.

use serde::{Deserialize, Serialize};

pub use crate::counters::Counters;
pub use client::{ControlClient, ControlError};

mod client;

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
#[serde(
    tag = "do",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_look_as_documented() {
        let lines = [
            (Request::Status, r#"{"do":"status"}"#),
            (Request::Counters { port: None }, r#"{"do":"counters"}"#),
            (
                Request::Counters { port: Some(3) },
                r#"{"do":"counters","port":3}"#,
            ),
            (
                Request::Link {
                    port: 1,
                    state: LinkState::Down,
                },
                r#"{"do":"link","port":1,"state":"down"}"#,
            ),
            (
                Request::MessageFault {
                    from: 0,
                    to: 2,
                    fault: MessageFaultKind::DelayMs(5),
                    count: 4,
                },
                r#"{"do":"message-fault","from":0,"to":2,"fault":{"delay_ms":5},"count":4}"#,
            ),
            (
                Request::MessageFault {
                    from: 0,
                    to: 2,
                    fault: MessageFaultKind::Lose,
                    count: 1,
                },
                r#"{"do":"message-fault","from":0,"to":2,"fault":"lose","count":1}"#,
            ),
            (
                Request::RegisterWrite {
                    port: 1,
                    offset: 0x420,
                    value: 1,
                },
                r#"{"do":"register-write","port":1,"offset":1056,"value":1}"#,
            ),
        ];
        for (request, text) in lines {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
        let short = r#"{"do":"message-fault","from":0,"to":2,"fault":"none"}"#;
        assert!(matches!(
            serde_json::from_str(short),
            Ok(Request::MessageFault { count: 1, .. })
        ));
        assert!(serde_json::from_str::<Request>(r#"{"do":"dance"}"#).is_err());
    }
}
