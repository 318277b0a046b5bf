// SPDX-License-Identifier: GPL-2.0
//! Child processes that cannot outlive this one.
//!
//! A parent-death signal is sent when the *thread* that forked ends, so all children are forked by one thread that
//! lives as long as the process. Each [`Process`] owns its child; a table of all process ids, behind one lock, lets a
//! signal handler's thread kill them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// How often a child's end is looked for.
const POLL: Duration = Duration::from_millis(2);

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (orders, queue) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for mut order in queue {
            // Who asked may have gone; then the child is dropped, but it is still in the table.
            let _ = order.answer.send(order.command.spawn());
        }
    });
    Mutex::new(orders)
});

static CHILDREN: LazyLock<Mutex<HashSet<i32>>> = LazyLock::new(Mutex::default);

fn children() -> MutexGuard<'static, HashSet<i32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every child; they are collected by their owners or by the system.
pub(crate) fn kill_all() {
    for pid in children().iter() {
        // Those that have ended already do not matter.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    child: Mutex<Child>,
}

impl Process {
    /// Starts a child in a process group of its own; `inherited` descriptors stay open in it under their numbers.
    pub(crate) fn spawn(mut command: Command, inherited: &[OwnedFd]) -> io::Result<(Self, Pipes)> {
        let parent = nix::unistd::getpid();
        let files: Vec<RawFd> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
        command.process_group(0);
        let prepare = move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if nix::unistd::getppid() != parent {
                // The parent ended before the signal was set.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            for file in &files {
                // SAFETY: the caller of spawn holds these descriptors open until the child has been started.
                let file = unsafe { std::os::fd::BorrowedFd::borrow_raw(*file) };
                fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            Ok(())
        };
        // SAFETY: the closure makes only system calls; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(prepare) };
        let (answer, result) = mpsc::channel();
        let mut guard = children();
        SPAWNER
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(Order { command, answer })
            .map_err(io::Error::other)?;
        let mut child = result.recv().map_err(io::Error::other)??;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        guard.insert(pid);
        drop(guard);
        let pipes = Pipes {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
        };
        Ok((
            Process {
                pid: Pid::from_raw(pid),
                child: Mutex::new(child),
            },
            pipes,
        ))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        // The table is left before the process id is free again.
        let mut children = children();
        let status = child.try_wait().ok().flatten();
        if status.is_some() {
            children.remove(&self.pid.as_raw());
        }
        status
    }

    /// Sends a signal unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.ended().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the process has ended",
            ));
        }
        // Not collected, so the process id is still its own: only this owner collects it, and `signal` of another
        // thread can at worst find a zombie.
        Ok(kill(self.pid, signal)?)
    }

    /// Whether every thread of it stands still after a SIGSTOP (state T of /proc/PID/task/TID/stat, proc(5)).
    pub(crate) fn is_stopped(&self) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return false;
        };
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name before it is in parentheses and may hold anything.
            let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            state.starts_with('T')
        })
    }

    /// Waits for its end.
    pub(crate) fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.ended() {
                None if start.elapsed() < limit => thread::sleep(POLL),
                ended => return ended,
            }
        }
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&self) -> Option<ExitStatus> {
        let _ = self.signal(Signal::SIGKILL);
        self.wait(Duration::from_secs(10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The host's ends of a child's pipes, as far as the command asked for pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// Its standard input.
    pub(crate) stdin: Option<std::process::ChildStdin>,
    /// Its standard output.
    pub(crate) stdout: Option<std::process::ChildStdout>,
}

/// An exit status in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
