// SPDX-License-Identifier: GPL-2.0
//! One QEMU from its start to its end, with the host's connections to it.
//!
//! Owns the process; two kinds of threads feed on its sockets (console, and those of [`Qmp`] and [`Link`]) and end
//! with it. All state is in those parts, each behind its own lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::klog::KernelLog;
use crate::link::{Link, WaitError};
use crate::process::{describe, Process};
use crate::qemu::{self, Connections, Files};
use crate::qmp::{Qmp, QmpError};
use crate::spec::NodeSpec;
use crate::{places, tasks, Error, WindowMode};

/// How long QEMU may take for a monitor command.
const MONITOR_LIMIT: Duration = Duration::from_secs(20);

/// How long a machine may take to say what is wrong with it.
const ANSWER: Duration = Duration::from_secs(3);

/// What a kernel begins to tell of all its tasks with.
const SHOW_STATE: &str = "sysrq: Show State";

/// Console lines in error messages, and their columns.
const TAIL: usize = 20;
const COLUMNS: usize = 160;

/// What the kernel prints when it has said everything about a panic.
const LAST_WORDS: &str = "---[ end Kernel panic";

/// What a start takes besides the node's description.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) kernel_needs: String,
    pub(crate) initramfs: PathBuf,
    /// Of the cluster.
    pub(crate) run_dir: PathBuf,
    /// Of the node's logs.
    pub(crate) log_dir: PathBuf,
}

/// A running QEMU. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Machine {
    who: String,
    process: Process,
    pub(crate) qmp: Qmp,
    pub(crate) link: Link,
    log: Arc<KernelLog>,
    /// What is written here its console reads.
    keys: UnixStream,
    /// What QEMU itself says.
    messages: PathBuf,
    /// It is meant to end.
    dismissed: AtomicBool,
    started: Instant,
}

fn pair() -> Result<(UnixStream, OwnedFd), Error> {
    let (ours, theirs) = UnixStream::pair().map_err(|source| Error::Io {
        what: "make a socket pair".to_owned(),
        source,
    })?;
    Ok((ours, theirs.into()))
}

impl Machine {
    /// Starts QEMU; the agent is to be awaited.
    pub(crate) fn start(
        spec: &NodeSpec,
        image: &Image,
        log: Arc<KernelLog>,
    ) -> Result<Machine, Error> {
        let who = format!("node {}", spec.index);
        let failed = |what: &str| {
            let what = format!("{who}: {what}");
            move |source: io::Error| Error::Io { what, source }
        };
        fs::create_dir_all(&image.log_dir).map_err(failed("make its log folder"))?;
        let messages = image.log_dir.join("qemu.log");
        let said = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&messages)
            .map_err(failed("open qemu.log"))?;
        let (monitor, their_monitor) = pair()?;
        let (console, their_console) = pair()?;
        let (agent, their_agent) = pair()?;
        let connections = Connections {
            monitor: their_monitor.as_raw_fd(),
            console: their_console.as_raw_fd(),
            agent: their_agent.as_raw_fd(),
        };
        let files = Files {
            image: &image.kernel,
            initramfs: &image.initramfs,
            run_dir: &image.run_dir,
            own_dir: &image.log_dir,
        };
        for disk in &spec.disks {
            let made = File::options()
                .create(true)
                .append(true)
                .open(qemu::disk_file(&image.log_dir, &disk.name));
            // What an earlier machine wrote stays.
            made.and_then(|file| file.set_len(disk.bytes))
                .map_err(failed("make its disks"))?;
        }
        let mut command = Command::new(places::QEMU);
        command.args(qemu::arguments(
            spec,
            files,
            &image.kernel_needs,
            connections,
        ));
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(failed("share qemu.log"))?)
            .stderr(said);
        if spec.windows == WindowMode::Mapped && !spec.ports.is_empty() {
            command
                .env("LD_PRELOAD", places::remap()?)
                .env("NTB_REMAP_SOCKET", image.run_dir.join("remap.sock"));
        }
        tracing::debug!(?command, "starting QEMU");
        let started = Instant::now();
        let inherited = [their_monitor, their_console, their_agent];
        let (process, _) =
            Process::spawn(command, &inherited).map_err(failed("start qemu-system-x86_64"))?;
        drop(inherited);
        let link = Link::new(agent, Arc::clone(&log)).map_err(failed("listen to its agent"))?;
        let capture = File::options()
            .create(true)
            .append(true)
            .open(image.log_dir.join("console.log"));
        let capture = capture.map_err(failed("open console.log"))?;
        let keys = console.try_clone().map_err(failed("share its console"))?;
        let (to, watched) = (Arc::clone(&log), link.clone());
        thread::Builder::new()
            .name(format!("console {}", spec.index))
            .spawn(move || follow_console(console, capture, &to, &watched))
            .map_err(failed("listen to its console"))?;
        let qmp = Qmp::new(monitor).map_err(failed("listen to its monitor"))?;
        let machine = Machine {
            who,
            process,
            qmp,
            link,
            log,
            keys,
            messages,
            dismissed: AtomicBool::new(false),
            started,
        };
        machine
            .qmp
            .negotiate(MONITOR_LIMIT)
            .map_err(|error| machine.monitor_error("start", error))?;
        Ok(machine)
    }

    /// Waits for an agent later than the first `before`.
    pub(crate) fn wait_agent(&self, before: u32, limit: Duration) -> Result<(), Error> {
        self.link
            .wait_session(before, limit)
            .map_err(|error| self.wait_error("agent", limit, error))
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Its QEMU.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it; its end is no surprise then.
    pub(crate) fn kill(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.process.kill();
        self.link.lose("it was killed");
    }

    /// How it ended without having been told to.
    pub(crate) fn unexpected_end(&self) -> Option<String> {
        let status = self
            .process
            .ended()
            .filter(|_| !self.dismissed.load(Ordering::Relaxed))?;
        Some(format!(
            "QEMU ended with {}{}",
            describe(status),
            self.qemu_tail()
        ))
    }

    /// Runs a monitor command.
    pub(crate) fn monitor(&self, command: &str, arguments: Value) -> Result<Value, Error> {
        self.qmp
            .execute(command, arguments, MONITOR_LIMIT)
            .map_err(|error| self.monitor_error(command, error))
    }

    /// Waits for an event of QEMU.
    pub(crate) fn wait_event(&self, name: &str, limit: Duration) -> Result<(), Error> {
        self.qmp
            .wait_event(name, limit, |_| true)
            .map_err(|error| self.event_error(name, limit, error))
    }

    /// Waits until QEMU says that a device is gone.
    pub(crate) fn wait_deleted(&self, id: &str, limit: Duration) -> Result<(), Error> {
        let deleted = self
            .qmp
            .wait_event("DEVICE_DELETED", limit, |data| data["device"] == id);
        deleted.map_err(|error| self.event_error(&format!("DEVICE_DELETED of {id}"), limit, error))
    }

    fn event_error(&self, name: &str, limit: Duration, error: QmpError) -> Error {
        match error {
            QmpError::Timeout => self.timeout(&format!("event {name} of QEMU"), limit),
            other => self.monitor_error(name, other),
        }
    }

    /// The error for a failed wait for the agent.
    pub(crate) fn wait_error(&self, what: &str, limit: Duration, error: WaitError) -> Error {
        match error {
            WaitError::Timeout => Error::Timeout {
                who: self.who.clone(),
                what: what.to_owned(),
                limit,
                tail: self.waiting() + &self.tail(),
            },
            WaitError::Lost(why) => self.gone(what, &why),
        }
    }

    /// What the machine's programs wait in, and what blocked tasks do: what the kernel says to the "magic SysRq" of a serial line.
    /// A machine that stands still says nothing.
    fn waiting(&self) -> String {
        let pressed = self
            .qmp
            .execute("chardev-send-break", json!({ "id": "console" }), ANSWER)
            .is_ok();
        if !pressed {
            return "\n--- QEMU does not answer".to_owned();
        }
        if (&self.keys).write_all(b"t").is_err() {
            return String::new();
        }
        thread::sleep(ANSWER);
        let lines = self.log.console_tail(usize::MAX);
        let told = lines.iter().rposition(|line| line.contains(SHOW_STATE));
        match told.map(|told| tasks::waiting(&lines[told..])) {
            None => "\n--- its kernel does not answer".to_owned(),
            Some(tasks) => format!("\n--- its tasks wait in:\n{}", tasks.join("\n")),
        }
    }

    /// The error for something that did not come in time.
    pub(crate) fn timeout(&self, what: &str, limit: Duration) -> Error {
        Error::Timeout {
            who: self.who.clone(),
            what: what.to_owned(),
            limit,
            tail: self.tail(),
        }
    }

    /// The error for something that cannot come any more.
    pub(crate) fn gone(&self, what: &str, why: &str) -> Error {
        // A closed connection is seen before QEMU's end is.
        let end = self.process.wait(Duration::from_millis(200));
        let why = match end {
            Some(status) => format!("{why}; QEMU ended with {}", describe(status)),
            None => why.to_owned(),
        };
        Error::Gone {
            who: self.who.clone(),
            why,
            what: what.to_owned(),
            tail: self.tail(),
        }
    }

    fn monitor_error(&self, command: &str, error: QmpError) -> Error {
        match error {
            QmpError::Refused(message) => Error::Qmp {
                who: self.who.clone(),
                command: command.to_owned(),
                message,
            },
            QmpError::Closed => {
                self.gone(&format!("QEMU's answer to {command}"), "its monitor closed")
            }
            QmpError::Timeout => {
                self.timeout(&format!("answer of QEMU to {command}"), MONITOR_LIMIT)
            }
        }
    }

    fn qemu_tail(&self) -> String {
        let said = fs::read_to_string(&self.messages).unwrap_or_default();
        // The option that replaces it is not there yet in QEMU 10.
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("'-mon' is deprecated"))
            .collect();
        let tail = &lines[lines.len().saturating_sub(10)..];
        match tail.is_empty() {
            true => String::new(),
            false => format!("\n--- QEMU says:\n{}", tail.join("\n")),
        }
    }

    fn tail(&self) -> String {
        let cut = |line: &String| line.chars().take(COLUMNS).collect::<String>();
        let lines: Vec<String> = self.log.console_tail(TAIL).iter().map(cut).collect();
        let console = match lines.is_empty() {
            true => "\n--- its console is empty".to_owned(),
            false => format!("\n--- end of its console:\n{}", lines.join("\n")),
        };
        // It comes by the agent's own way: one that is behind the console says that nothing comes any more.
        let agent = match self.log.current().last() {
            Some(line) => format!("\n--- its agent has last said:\n{}", cut(line)),
            None => String::new(),
        };
        console + &agent + &self.qemu_tail()
    }
}

/// Keeps the console in a file and in the log; a panic ends all waits for the agent.
fn follow_console(mut console: UnixStream, mut capture: File, log: &KernelLog, link: &Link) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = console.read(&mut buffer) {
        // A full disk must not stop the node.
        let _ = capture.write_all(&buffer[..length]);
        for line in log.add_console(&buffer[..length]) {
            if line.contains(LAST_WORDS) {
                link.lose("its kernel panicked");
            }
        }
    }
}
