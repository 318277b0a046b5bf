// SPDX-License-Identifier: GPL-2.0
//! A command for a node, before and while it runs.

use std::time::Duration;

use crate::{Error, Output};

/// A program to run in a node; made by [`crate::Node::command`] and [`crate::Node::shell`].
#[derive(Debug, Clone)]
pub struct Command {}

impl Command {
    /// Adds an environment variable.
    #[must_use]
    pub fn env(self, _name: impl Into<String>, _value: impl Into<String>) -> Self {
        unimplemented!()
    }

    /// Runs in this folder of the node (default `/root`).
    #[must_use]
    pub fn cwd(self, _folder: impl Into<String>) -> Self {
        unimplemented!()
    }

    /// Feeds these bytes to its standard input, then closes it (default: empty).
    #[must_use]
    pub fn stdin(self, _bytes: impl Into<Vec<u8>>) -> Self {
        unimplemented!()
    }

    /// Kills it and its process group after this time (default 60 s); that is [`crate::Status::TimedOut`].
    #[must_use]
    pub fn timeout(self, _limit: Duration) -> Self {
        unimplemented!()
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// A failing command is not an error; an unreachable node or a program that cannot be started is.
    pub fn run(self) -> Result<Output, Error> {
        self.spawn()?.wait()
    }

    /// Starts it and returns while it runs.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn spawn(self) -> Result<Job, Error> {
        unimplemented!()
    }
}

/// A command that runs in a node. Dropping it kills the command.
#[derive(Debug)]
pub struct Job {}

impl Job {
    /// What it has written to standard output so far.
    pub fn stdout_so_far(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// Waits until its standard output holds `text`.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what it has written.
    pub fn wait_for_output(&self, _text: &str, _limit: Duration) -> Result<(), Error> {
        unimplemented!()
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        unimplemented!()
    }

    /// Sends a signal to its process group.
    ///
    /// # Errors
    /// An unreachable node.
    pub fn kill(&self, _signal: i32) -> Result<(), Error> {
        unimplemented!()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// An unreachable node.
    pub fn wait(self) -> Result<Output, Error> {
        unimplemented!()
    }
}
