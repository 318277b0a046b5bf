// SPDX-License-Identifier: GPL-2.0
//! Starts commands and collects every child that ends: commands, and the orphans that process 1 inherits.
//!
//! One table of running commands behind one lock. The lock is held from before a fork until its child is in the table,
//! and while a child is reaped, so an end is never missed and a process id never used after its reuse.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{killpg, Signal};
use nix::sys::wait::{waitid, waitpid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use skiff_agent::message::Exit;

use crate::mailbox::{Mail, Mailbox};

/// How often to look for orphans when there is no child at all.
const PAUSE: Duration = Duration::from_millis(500);

/// The running commands.
#[derive(Debug, Default)]
pub struct Reaper {
    running: Mutex<HashMap<i32, Mailbox>>,
    started: Condvar,
}

impl Reaper {
    /// A reaper with its thread, which lives as long as the process.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start() -> io::Result<Arc<Self>> {
        let reaper = Arc::new(Reaper::default());
        let collector = Arc::clone(&reaper);
        thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(move || collector.collect())?;
        Ok(reaper)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<i32, Mailbox>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a command; its end is left in the mailbox. Nobody else may wait for the child.
    ///
    /// # Errors
    /// Those of fork and exec.
    pub fn spawn(&self, command: &mut Command, mailbox: Mailbox) -> io::Result<(i32, Child)> {
        let mut running = self.running();
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        running.insert(pid, mailbox);
        self.started.notify_one();
        Ok((pid, child))
    }

    /// Sends a signal to the process group of a command that still runs.
    ///
    /// # Errors
    /// `EINVAL` for an unknown signal.
    pub fn kill(&self, pid: i32, signal: i32) -> nix::Result<()> {
        let signal = Signal::try_from(signal)?;
        let running = self.running();
        if !running.contains_key(&pid) {
            return Ok(());
        }
        match killpg(Pid::from_raw(pid), signal) {
            // All of it has ended and is about to be collected.
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        }
    }

    fn collect(&self) {
        loop {
            // Leaves the child as it is: its process id must stay taken until the lock is held.
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(status) => {
                    if let Some(pid) = status.pid() {
                        self.reap(pid);
                    }
                }
                Err(Errno::ECHILD) => self.wait_for_children(),
                Err(_) => {}
            }
        }
    }

    /// Process 1 may inherit children at any time, so this waits with a limit.
    fn wait_for_children(&self) {
        let running = self.running();
        if running.is_empty() {
            drop(
                self.started
                    .wait_timeout(running, PAUSE)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }

    fn reap(&self, pid: Pid) {
        let mut running = self.running();
        // A child whose exec failed was reaped by its parent thread meanwhile: ECHILD.
        let exit = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Exit::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Exit::Signal(signal as i32),
            _ => return,
        };
        if let Some(mailbox) = running.remove(&pid.as_raw()) {
            mailbox.leave(Mail::Ended(exit));
        }
    }
}
