// SPDX-License-Identifier: GPL-2.0
//! What `cluster up` and its other terminals say to each other, on the agent's kind of frames.
//!
//! One connection carries one shell or one command. Blocking sockets, one reader and one writer an end.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skiff_agent::frame::{self, Decoder};

/// To `cluster up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A shell on a terminal of (rows, columns).
    Shell { node: usize, size: (u16, u16) },
    /// A shell line without terminal.
    Run { node: usize, line: String },
    /// Typed.
    Input(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The terminal has another size.
    Resize((u16, u16)),
}

/// From `cluster up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tell {
    /// Standard output, or the terminal's.
    Output(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Standard error.
    Errors(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It has ended with this exit code.
    Ended(i32),
    /// It could not be done.
    Refused(String),
}

/// Sends one message.
pub fn send(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&frame::encode(message).map_err(io::Error::other)?)
}

/// Receives messages.
#[derive(Debug)]
pub struct Receiver<'a> {
    stream: &'a UnixStream,
    decoder: Decoder,
}

impl<'a> Receiver<'a> {
    /// Of this connection.
    pub fn new(stream: &'a UnixStream) -> Self {
        Receiver {
            stream,
            decoder: Decoder::new(),
        }
    }

    /// A message that has come already.
    pub fn ready<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.decoder.next_value()
    }

    /// Reads once; false is the end.
    pub fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let length = self.stream.read(&mut buffer)?;
        self.decoder.push(&buffer[..length]);
        Ok(length > 0)
    }

    /// Waits for the next message; `None` is the end.
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.ready() {
                return Ok(Some(message));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }
}
