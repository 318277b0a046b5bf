// SPDX-License-Identifier: GPL-2.0
//! A command for a node, before and while it runs.
//!
//! A [`Job`] owns its stream to the agent, and holds on to the machine it runs in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use skiff_agent::message::{Exec, Exit, Files, Request, Size};

use crate::link::{End, Flow, Stream, WaitError};
use crate::machine::Machine;
use crate::{Error, Output, Status};

/// Limit of a command that has none of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// The agent ends a command in time if it can; this much later the node counts as hung.
const GRACE: Duration = Duration::from_secs(10);

/// A program to run in a node; made by [`crate::Node::command`] and [`crate::Node::shell`].
#[derive(Debug)]
#[must_use]
pub struct Command {
    node: usize,
    machine: Result<Arc<Machine>, Error>,
    title: String,
    exec: Exec,
    stdin: Vec<u8>,
    stdin_stays: bool,
    limit: Duration,
}

impl Command {
    pub(crate) fn new(
        node: usize,
        machine: Result<Arc<Machine>, Error>,
        argv: Vec<String>,
    ) -> Self {
        let title = argv.join(" ");
        let exec = Exec {
            argv,
            env: Vec::new(),
            cwd: "/root".to_owned(),
            files: Files::Pipes,
            limit_ms: None,
        };
        Command {
            node,
            machine,
            title,
            exec,
            stdin: Vec::new(),
            stdin_stays: false,
            limit: LIMIT,
        }
    }

    /// What it is called in messages.
    pub(crate) fn set_title(&mut self, title: &str) {
        self.title = title.to_owned();
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.exec.env.push((name.into(), value.into()));
        self
    }

    /// Runs in this folder of the node (default `/root`).
    pub fn cwd(mut self, folder: impl Into<String>) -> Self {
        self.exec.cwd = folder.into();
        self
    }

    /// Feeds these bytes to its standard input, then closes it (default: empty).
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Leaves its standard input open, for [`Job::write`].
    pub fn keep_stdin(mut self) -> Self {
        self.stdin_stays = true;
        self
    }

    /// Kills it and its process group after this time (default 60 s); that is [`Status::TimedOut`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// A failing command is not an error; an unreachable node or a program that cannot be started is.
    pub fn run(self) -> Result<Output, Error> {
        self.spawn()?.wait()
    }

    /// Starts it and returns as soon as it runs.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn spawn(mut self) -> Result<Job, Error> {
        let machine = self.machine?;
        self.exec.limit_ms = Some(u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX));
        let begun = Instant::now();
        let what = format!("end of `{}`", self.title);
        let lost = |error| machine.wait_error(&what, self.limit, error);
        let stream = machine
            .link
            .open(Request::Exec(self.exec), Flow::Collect)
            .map_err(lost)?;
        let job = Job {
            node: self.node,
            title: self.title,
            stream,
            begun,
            limit: self.limit,
            machine,
        };
        job.wait_started()?;
        job.stream
            .send_data(&self.stdin, self.limit.saturating_add(GRACE))
            .map_err(|error| job.lost(error))?;
        if !self.stdin_stays {
            job.stream.send(Request::Eof);
        }
        Ok(job)
    }

    /// Starts it on a terminal of this size (rows, columns), without time limit, for a person to talk to.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn interact(mut self, (rows, columns): (u16, u16)) -> Result<Conversation, Error> {
        let machine = self.machine?;
        self.exec.files = Files::Terminal(Size { rows, columns });
        let what = format!("start of `{}`", self.title);
        let lost = |error| machine.wait_error(&what, LIMIT, error);
        let stream = machine
            .link
            .open(Request::Exec(self.exec), Flow::Taken)
            .map_err(lost)?;
        Ok(Conversation {
            node: self.node,
            stream,
            machine,
            title: self.title,
        })
    }
}

/// The status that an end means; `None` for an end that is none of the command's own.
fn status(end: &End) -> Option<Status> {
    match end {
        End::Exited(Exit::Code(code)) => Some(Status::Exited(*code)),
        End::Exited(Exit::Signal(signal)) => Some(Status::Signaled(*signal)),
        End::Exited(Exit::Limit) => Some(Status::TimedOut),
        End::Done | End::Failed(_) | End::Lost(_) => None,
    }
}

/// The error that such an end is.
fn error(machine: &Machine, node: usize, title: &str, end: End) -> Error {
    match end {
        End::Lost(why) => machine.gone(&format!("end of `{title}`"), &why),
        End::Failed(message) => Error::Agent {
            who: format!("node {node}"),
            what: format!("run `{title}`"),
            message,
        },
        other => Error::Agent {
            who: format!("node {node}"),
            what: format!("run `{title}`"),
            message: format!("unexpected answer {other:?}"),
        },
    }
}

/// A command that runs in a node. Dropping it kills the command.
#[derive(Debug)]
pub struct Job {
    node: usize,
    title: String,
    stream: Stream,
    machine: Arc<Machine>,
    begun: Instant,
    limit: Duration,
}

impl Job {
    fn lost(&self, error: WaitError) -> Error {
        self.machine.wait_error(
            &format!("end of `{}`", self.title),
            self.limit.saturating_add(GRACE),
            error,
        )
    }

    fn wait_started(&self) -> Result<(), Error> {
        let state = self.stream.wait(self.limit.saturating_add(GRACE), |state| {
            (state.started.is_some() || state.end.is_some()).then(|| state.end.clone())
        });
        match state.map_err(|error| self.lost(error))? {
            Some(end) if status(&end).is_none() => {
                Err(error(&self.machine, self.node, &self.title, end))
            }
            _ => Ok(()),
        }
    }

    /// What it has written to standard output so far.
    pub fn stdout_so_far(&self) -> Vec<u8> {
        self.stream
            .look(|state| state.stdout.clone())
            .unwrap_or_default()
    }

    /// Waits until its standard output holds `text`.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what it has written, also when it has ended without writing `text`.
    pub fn wait_for_output(&self, text: &str, limit: Duration) -> Result<(), Error> {
        let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
        let waited = self.stream.wait(limit, |state| match holds(&state.stdout) {
            true => Some(true),
            false => state.end.is_some().then_some(false),
        });
        match waited {
            Ok(true) => Ok(()),
            Ok(false) | Err(WaitError::Timeout) => {
                let written = self
                    .stream
                    .look(|state| (state.stdout.clone(), state.stderr.clone()));
                let (stdout, stderr) = written.unwrap_or_default();
                let said = String::from_utf8_lossy(&stdout);
                let complained = String::from_utf8_lossy(&stderr);
                Err(Error::Timeout {
                    who: format!("node {}", self.node),
                    what: format!("{text:?} in the output of `{}`", self.title),
                    limit,
                    tail: format!("\n--- it has written:\n{said}{complained}"),
                })
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Feeds these bytes to its standard input, if that was kept open.
    ///
    /// # Errors
    /// An unreachable node, or a command that takes nothing for a minute.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.stream
            .send_data(bytes, LIMIT)
            .map_err(|error| self.lost(error))
    }

    /// Waits for the line of its standard output that starts with byte `from`, and gives it without its end. `None` if
    /// the command ends before the line does.
    ///
    /// # Errors
    /// [`Error::Timeout`], or an unreachable node.
    pub fn wait_for_line(&self, from: usize, limit: Duration) -> Result<Option<String>, Error> {
        let line = |bytes: &[u8]| {
            let rest = bytes.get(from..)?;
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            Some(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        let found = self.stream.wait(limit, |state| match line(&state.stdout) {
            Some(line) => Some(Some(line)),
            None => state.end.is_some().then_some(None),
        });
        found.map_err(|error| {
            let what = format!("answer of `{}`", self.title);
            self.machine.wait_error(&what, limit, error)
        })
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.stream
            .look(|state| state.end.is_some())
            .unwrap_or(true)
    }

    /// Process id in the node, which is also that of its process group.
    pub fn pid(&self) -> Option<i32> {
        self.stream.look(|state| state.started).flatten()
    }

    /// Sends a signal to its process group.
    pub fn kill(&self, signal: i32) {
        self.stream.send(Request::Signal(signal));
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// An unreachable node.
    pub fn wait(self) -> Result<Output, Error> {
        let left = self
            .limit
            .saturating_add(GRACE)
            .saturating_sub(self.begun.elapsed());
        let end = self
            .stream
            .wait(left, |state| state.end.clone())
            .map_err(|error| self.lost(error))?;
        let Some(status) = status(&end) else {
            return Err(error(&self.machine, self.node, &self.title, end));
        };
        let taken = self.stream.look(|state| {
            (
                std::mem::take(&mut state.stdout),
                std::mem::take(&mut state.stderr),
            )
        });
        let (stdout, stderr) = taken.unwrap_or_default();
        Ok(Output {
            node: self.node,
            command: self.title,
            status,
            stdout,
            stderr,
            elapsed: self.begun.elapsed(),
        })
    }
}

/// A command on a terminal in a node. Dropping it kills the command.
#[derive(Debug)]
pub struct Conversation {
    node: usize,
    stream: Stream,
    machine: Arc<Machine>,
    title: String,
}

impl Conversation {
    /// Waits for output of the command; `None` is its end, see [`Conversation::status`].
    ///
    /// # Errors
    /// An unreachable node, or a command that cannot be started.
    pub fn read(&self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match self.stream.take(LIMIT) {
                Ok((data, _)) if data.is_empty() => return Ok(None),
                Ok((data, _)) => return Ok(Some(data)),
                Err(WaitError::Timeout) => {}
                Err(error) => return Err(self.machine.wait_error(&self.title, LIMIT, error)),
            }
        }
    }

    /// How it ended, after [`Conversation::read`] said that it did.
    ///
    /// # Errors
    /// An unreachable node, or a command that cannot be started.
    pub fn status(&self) -> Result<Status, Error> {
        let end = self.stream.look(|state| state.end.clone()).flatten();
        let end = end.unwrap_or_else(|| End::Lost("its stream is gone".to_owned()));
        status(&end).ok_or_else(|| error(&self.machine, self.node, &self.title, end))
    }

    /// Types these bytes.
    ///
    /// # Errors
    /// A node that takes nothing for a minute.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.stream
            .send_data(bytes, LIMIT)
            .map_err(|error| self.machine.wait_error(&self.title, LIMIT, error))
    }

    /// Ends it as a closed terminal would.
    pub fn hang_up(&self) {
        self.stream.send(Request::Signal(Signal::SIGHUP as i32));
    }

    /// Tells the terminal's new size (rows, columns).
    pub fn resize(&self, (rows, columns): (u16, u16)) {
        self.stream.send(Request::Resize(Size { rows, columns }));
    }
}
