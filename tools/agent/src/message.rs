// SPDX-License-Identifier: GPL-2.0
//! What host and agent say to each other.
//!
//! The host opens a stream with [`Request::Exec`], [`Request::Put`], [`Request::Get`] or [`Request::SyncLog`]; it ends with
//! [`Reply::Exited`], [`Reply::Done`] or [`Reply::Failed`]. Data flows in chunks of at most [`CHUNK`] bytes, and no
//! side sends more than [`WINDOW`] bytes of one stream and direction that the other has not credited, so that one
//! stream that is not read cannot hold up the others. Plain types without state.

use serde::{Deserialize, Serialize};

/// Version of this protocol; host and agent must agree.
pub const VERSION: u32 = 1;

/// Name of the virtio-serial port.
pub const PORT_NAME: &str = "org.skiff.agent";

/// Most data bytes in one packet.
pub const CHUNK: usize = 64 * 1024;

/// Data bytes that may be under way in one direction of one stream.
pub const WINDOW: u32 = 1024 * 1024;

/// The stream of packets that belong to no other: [`Request::Hello`], [`Request::Power`], [`Reply::Hello`], [`Reply::Log`].
pub const CONTROL: u32 = 0;

/// A message with its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet<Body> {
    /// The agent's session: a number it draws when it starts. Packets of another session are dropped by both sides,
    /// so nothing that was meant for a node before its reset reaches it afterwards.
    pub session: u64,
    /// The stream, numbered by the host; [`CONTROL`] is none.
    pub stream: u32,
    /// The message.
    pub body: Body,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// What a command's standard files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Files {
    /// Three pipes.
    Pipes,
    /// A terminal of its own; all output comes as [`Stream::Stdout`].
    Terminal(Size),
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program (looked up in PATH) and arguments; not empty.
    pub argv: Vec<String>,
    /// Environment variables added to the agent's own.
    pub env: Vec<(String, String)>,
    /// Working folder.
    pub cwd: String,
    /// Standard files.
    pub files: Files,
    /// Time limit in milliseconds, after which its process group is killed.
    pub limit_ms: Option<u64>,
}

/// What to do with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// Switch it off.
    Off,
    /// Start it anew.
    Reboot,
}

/// From the host to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Who are you? The session of this packet does not count.
    Hello,
    /// Runs a command.
    Exec(Exec),
    /// Writes a file from the data that follows, making missing folders.
    Put {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// Reads a file.
    Get {
        /// Absolute path.
        path: String,
    },
    /// Standard input of a command, or contents of a file.
    Data(#[serde(with = "serde_bytes")] Vec<u8>),
    /// No more data.
    Eof,
    /// So many more bytes of this stream may be sent to the host.
    Credit(u32),
    /// Sends a signal to the command's process group.
    Signal(i32),
    /// The command's terminal has another size.
    Resize(Size),
    /// Nobody listens to this stream any more: kills its command, drops its file.
    Close,
    /// Sends all kernel log records that exist by now, then [`Reply::Done`].
    SyncLog,
    /// Ends this session with the machine.
    Power(Power),
}

/// Which of its files a command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output, a terminal, or the contents of a file.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By its time limit.
    Limit,
}

/// From the agent to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Sent when the agent starts and when it is asked; the packet's session is the one to use.
    Hello {
        /// [`VERSION`] of the agent.
        version: u32,
    },
    /// The command runs.
    Started {
        /// Its process id, which is also that of its process group.
        pid: i32,
    },
    /// What a command wrote or a file holds.
    Data {
        /// Where it comes from.
        from: Stream,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// So many more bytes of this stream may be sent to the agent.
    Credit(u32),
    /// The command ended; all that it wrote itself has been sent before.
    Exited(Exit),
    /// The file of a [`Request::Get`] follows.
    File {
        /// Its permission bits.
        mode: u32,
    },
    /// The file has been transferred, the log sent.
    Done,
    /// The stream's request cannot be fulfilled.
    Failed {
        /// Why, for people.
        message: String,
    },
    /// Records of /dev/kmsg as they are, each ended by a zero byte.
    Log(#[serde(with = "serde_bytes")] Vec<u8>),
}
