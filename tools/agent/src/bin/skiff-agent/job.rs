// SPDX-License-Identifier: GPL-2.0
//! One command of the host, from start to end.
//!
//! The stream's thread owns the command's files and waits with poll(2) for them, for mail, and for the time limit.
//! The stream ends when the command has ended and what it wrote has been sent; processes that it left behind may keep
//! its files open and do not hold it up.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use skiff_agent::message::{Exec, Exit, Files, Reply, Stream, CHUNK, WINDOW};

use crate::mailbox::{Inbox, Mail, Mailbox};
use crate::port::Outbox;
use crate::reaper::Reaper;
use crate::terminal;

/// The control character that ends a terminal's input (VEOF, ^D).
const END_OF_INPUT: u8 = 4;

struct Job<'a> {
    outbox: &'a Outbox,
    stream: u32,
    inbox: Inbox,
    reaper: &'a Reaper,
    pid: i32,
    input: Option<File>,
    output: Option<File>,
    errors: Option<File>,
    is_terminal: bool,
    /// Input that the command has not taken yet.
    pending: Vec<u8>,
    /// No more input will come.
    input_ended: bool,
    credit: u32,
    deadline: Option<Instant>,
    limit_hit: bool,
    closed: bool,
    exit: Option<Exit>,
}

/// Runs the command and reports on it.
pub fn run(
    outbox: &Outbox,
    stream: u32,
    (mailbox, inbox): (Mailbox, Inbox),
    reaper: &Reaper,
    exec: &Exec,
) {
    match start(outbox, stream, (mailbox, inbox), reaper, exec).and_then(Job::serve) {
        Ok(Some(exit)) => outbox.send(stream, Reply::Exited(exit)),
        Ok(None) => {}
        Err(error) => {
            let name = exec.argv.first().map_or("(nothing)", String::as_str);
            outbox.send(
                stream,
                Reply::Failed {
                    message: format!("{name}: {error}"),
                },
            );
        }
    }
}

fn start<'a>(
    outbox: &'a Outbox,
    stream: u32,
    (mailbox, inbox): (Mailbox, Inbox),
    reaper: &'a Reaper,
    exec: &Exec,
) -> io::Result<Job<'a>> {
    let (program, arguments) = exec
        .argv
        .split_first()
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no command"))?;
    if !Path::new(&exec.cwd).is_dir() {
        return Err(io::Error::new(
            ErrorKind::NotFound,
            format!("no folder {}", exec.cwd),
        ));
    }
    let mut command = Command::new(OsStr::new(program));
    command
        .args(arguments)
        .envs(exec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&exec.cwd);
    let mut master = None;
    match exec.files {
        Files::Pipes => {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0);
        }
        Files::Terminal(size) => master = Some(terminal::attach(&mut command, size)?),
    }
    let (pid, mut child) = reaper.spawn(&mut command, mailbox)?;
    // Holds the terminal's other end open otherwise, and its hang-up would never be seen.
    drop(command);
    outbox.send(stream, Reply::Started { pid });
    let (input, output, errors) = match &master {
        Some(master) => (Some(master.try_clone()?), Some(master.try_clone()?), None),
        None => (
            child
                .stdin
                .take()
                .map(|file| File::from(OwnedFd::from(file))),
            child
                .stdout
                .take()
                .map(|file| File::from(OwnedFd::from(file))),
            child
                .stderr
                .take()
                .map(|file| File::from(OwnedFd::from(file))),
        ),
    };
    for file in [&input, &output, &errors].into_iter().flatten() {
        fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(Job {
        outbox,
        stream,
        inbox,
        reaper,
        pid,
        input,
        output,
        errors,
        is_terminal: master.is_some(),
        pending: Vec::new(),
        input_ended: false,
        credit: WINDOW,
        deadline: exec
            .limit_ms
            .and_then(|limit| Instant::now().checked_add(Duration::from_millis(limit))),
        limit_hit: false,
        closed: false,
        exit: None,
    })
}

impl Job<'_> {
    /// How it ended, or nothing if the host does not want to know.
    fn serve(mut self) -> io::Result<Option<Exit>> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let ready = self.wait()?;
            self.inbox.silence();
            while let Some(mail) = self.inbox.take() {
                self.handle(mail);
            }
            if self
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                self.limit_hit = true;
                self.deadline = None;
                self.kill(libc::SIGKILL);
            }
            self.feed();
            let read = self.forward(Stream::Stdout, &mut buffer)
                | self.forward(Stream::Stderr, &mut buffer);
            if let Some(exit) = self.exit {
                // `ready`: this end may have come after a poll that saw nothing, look once more.
                let drained = !read && !ready && self.credit > 0;
                if self.closed {
                    return Ok(None);
                } else if drained || (self.output.is_none() && self.errors.is_none()) {
                    return Ok(Some(if self.limit_hit { Exit::Limit } else { exit }));
                }
            }
        }
    }

    /// Waits until there is something to do; true if a file or the mailbox is ready.
    fn wait(&self) -> io::Result<bool> {
        let mut files = vec![PollFd::new(self.inbox.bell(), PollFlags::POLLIN)];
        if self.credit > 0 {
            for file in [&self.output, &self.errors].into_iter().flatten() {
                files.push(PollFd::new(file.as_fd(), PollFlags::POLLIN));
            }
        }
        if !self.pending.is_empty() {
            files.extend(
                self.input
                    .as_ref()
                    .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLOUT)),
            );
        }
        let timeout = if self.exit.is_some() && self.credit > 0 {
            PollTimeout::ZERO
        } else if let Some(deadline) = self.deadline {
            let left =
                deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        } else {
            PollTimeout::NONE
        };
        match poll(&mut files, timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(nix::Error::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn handle(&mut self, mail: Mail) {
        match mail {
            Mail::Data(bytes) if self.input.is_some() => self.pending.extend(bytes),
            Mail::Data(bytes) => self.credit_host(bytes.len()),
            Mail::Eof => self.input_ended = true,
            Mail::Credit(more) => self.credit = self.credit.saturating_add(more),
            Mail::Signal(signal) => self.kill(signal),
            Mail::Resize(size) => {
                if let Some(master) = self.output.as_ref().filter(|_| self.is_terminal) {
                    if let Err(error) = terminal::resize(master.as_fd(), size) {
                        eprintln!("skiff-agent: cannot resize a terminal: {error}");
                    }
                }
            }
            Mail::Close => {
                self.closed = true;
                self.kill(libc::SIGKILL);
            }
            Mail::Ended(exit) => self.exit = Some(exit),
            Mail::SyncLog(_) => {}
        }
    }

    fn kill(&self, signal: i32) {
        if let Err(error) = self.reaper.kill(self.pid, signal) {
            eprintln!("skiff-agent: cannot send signal {signal}: {error}");
        }
    }

    fn credit_host(&self, bytes: usize) {
        if let Ok(bytes @ 1..) = u32::try_from(bytes) {
            self.outbox.send(self.stream, Reply::Credit(bytes));
        }
    }

    /// Gives pending input to the command as far as it takes it now.
    fn feed(&mut self) {
        let Some(input) = &mut self.input else {
            return;
        };
        while !self.pending.is_empty() {
            match input.write(&self.pending) {
                Ok(length) => {
                    self.pending.drain(..length);
                    self.outbox.send(
                        self.stream,
                        Reply::Credit(u32::try_from(length).unwrap_or(0)),
                    );
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // The command reads no more: what comes is credited and dropped.
                    let dropped = self.pending.len();
                    self.pending.clear();
                    self.input = None;
                    return self.credit_host(dropped);
                }
            }
        }
        if self.input_ended {
            if self.is_terminal {
                self.input_ended = false;
                self.pending.push(END_OF_INPUT);
            } else {
                self.input = None;
            }
        }
    }

    /// Sends what the command has written to one of its files; true if there was something.
    fn forward(&mut self, from: Stream, buffer: &mut [u8]) -> bool {
        let slot = match from {
            Stream::Stdout => &mut self.output,
            Stream::Stderr => &mut self.errors,
        };
        let most = buffer.len().min(self.credit as usize);
        let Some(file) = slot.as_mut().filter(|_| most > 0) else {
            return false;
        };
        match file.read(&mut buffer[..most]) {
            Ok(length @ 1..) => {
                // At most `credit`, so it fits.
                self.credit -= u32::try_from(length).unwrap_or(self.credit);
                self.outbox.send(
                    self.stream,
                    Reply::Data {
                        from,
                        bytes: buffer[..length].to_vec(),
                    },
                );
                true
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) =>
            {
                false
            }
            // End of file; a terminal says EIO when its last user is gone.
            Ok(0) | Err(_) => {
                *slot = None;
                false
            }
        }
    }
}
