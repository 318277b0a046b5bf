// SPDX-License-Identifier: GPL-2.0
//! What a command in a node left behind. Plain values.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::Error;

/// How a command in a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It left with this exit code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It ran into its time limit and was killed with all its process group.
    TimedOut,
}

impl Status {
    /// Whether it left with exit code 0.
    pub fn success(self) -> bool {
        self == Status::Exited(0)
    }

    /// The exit code a shell would report: 128 + number for a signal, 124 (as timeout(1)) for a time limit.
    pub fn code(self) -> i32 {
        match self {
            Status::Exited(code) => code,
            Status::Signaled(signal) => 128_i32.saturating_add(signal),
            Status::TimedOut => 124,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exit code {code}"),
            Status::Signaled(signal) => write!(f, "signal {signal}"),
            Status::TimedOut => f.write_str("time limit"),
        }
    }
}

/// The end of a command and all that it wrote.
#[derive(Debug, Clone)]
pub struct Output {
    /// Index of the node it ran on.
    pub node: usize,
    /// The command as it was given, for messages.
    pub command: String,
    /// How it ended.
    pub status: Status,
    /// Its standard output (of a pty: everything).
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// From request to end, as the host saw it.
    pub elapsed: Duration,
}

impl Output {
    /// Standard output as text, invalid UTF-8 replaced.
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text, invalid UTF-8 replaced.
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }

    /// Itself if the command left with exit code 0.
    ///
    /// # Errors
    /// [`Error::Failed`] with the whole output otherwise.
    pub fn check(self) -> Result<Output, Error> {
        if self.status.success() {
            Ok(self)
        } else {
            Err(Error::Failed(Box::new(self)))
        }
    }
}
