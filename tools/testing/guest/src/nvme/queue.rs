// SPDX-License-Identifier: GPL-2.0
//! A submission queue with its completion queue: who uses it owns it.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::thread::yield_now;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use nix::errno::Errno;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use skiff_nvme_model::command;
use skiff_nvme_model::command::Command;
use skiff_nvme_model::completion;
use skiff_nvme_model::completion::Completion;
use skiff_nvme_model::doorbell::Doorbell;
use skiff_nvme_model::queue::Completions;

use super::region::Region;
use super::registers::Registers;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long nothing may come until the controller is looked at, which may be a few cables away.
const DOUBT: Duration = Duration::from_millis(200);

/// How completions are waited for.
#[derive(Debug)]
pub enum Wait {
    /// By looking.
    Poll,
    /// By an eventfd that counts interrupts.
    Interrupt(Counter),
}

/// An eventfd, and what it has counted.
#[derive(Debug)]
pub struct Counter {
    file: File,
    seen: u64,
    /// Nothing has to be looked for before the next interrupt.
    idle: bool,
}

impl Counter {
    /// Of an eventfd that does not block.
    pub fn new(file: File) -> Self {
        Self {
            file,
            seen: 0,
            idle: true,
        }
    }

    /// Waits for an interrupt for so long, unless there may be more completions of the last one.
    fn wait(&mut self, limit: Duration) -> Result<()> {
        if !self.idle {
            return Ok(());
        }
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(limit)?) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(other) => return Err(other.into()),
        }
        let mut count = [0; 8];
        self.file.read_exact(&mut count)?;
        self.seen += u64::from_ne_bytes(count);
        self.idle = false;
        Ok(())
    }
}

/// The pair.
#[derive(Debug)]
pub struct QueuePair {
    id: u16,
    entries: u16,
    submission: Region,
    completion: Region,
    tail: u16,
    completions: Completions,
    /// Which identifiers are under way.
    busy: Vec<bool>,
    wait: Wait,
}

impl QueuePair {
    /// Of memory that is all its own, which becomes zeros. The controller does not know it yet.
    pub fn new(id: u16, submission: Region, completion: Region, wait: Wait) -> Result<Self> {
        let entries =
            (submission.bytes() / command::ENTRY).min(completion.bytes() / completion::ENTRY);
        let entries = u16::try_from(entries)?;
        let completions = Completions::new(entries)
            .with_context(|| format!("a queue cannot have {entries} entries"))?;
        submission.clear()?;
        completion.clear()?;
        Ok(Self {
            id,
            entries,
            submission,
            completion,
            tail: 0,
            completions,
            // One entry always stays free: a full queue looks like an empty one else.
            busy: vec![false; usize::from(entries) - 1],
            wait,
        })
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Its length.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Where the controller finds submissions and puts completions.
    pub fn addresses(&self) -> (u64, u64) {
        (self.submission.address(), self.completion.address())
    }

    /// Interrupts that were waited for and came.
    pub fn interrupts(&self) -> u64 {
        match &self.wait {
            Wait::Poll => 0,
            Wait::Interrupt(counter) => counter.seen,
        }
    }

    /// Commands that may be under way at a time.
    pub fn room(&self) -> usize {
        self.busy.len()
    }

    /// Puts a command into the queue and tells the controller; gives its identifier.
    pub fn submit(&mut self, registers: &Registers, command: &Command) -> Result<u16> {
        let free = self.busy.iter().position(|busy| !busy);
        let id = free.context("the queue is full")?;
        let entry = command.entry(u16::try_from(id)?);
        let place = usize::from(self.tail) * command::ENTRY;
        self.submission.write(place, &entry)?;
        self.submission.flush();
        self.tail = (self.tail + 1) % self.entries;
        registers.ring(Doorbell::Tail(self.id), self.tail)?;
        self.busy[id] = true;
        Ok(u16::try_from(id)?)
    }

    /// A completion, if there is a new one.
    pub fn look(&mut self, registers: &Registers) -> Result<Option<Completion>> {
        let place = usize::from(self.completions.place()) * completion::ENTRY;
        let last = self.completion.load(place + completion::LAST)?;
        if !self.completions.is_new(last) {
            return Ok(None);
        }
        // Nothing behind this line is read before it.
        self.completion.flush();
        let first = self.completion.load(place)?;
        let completion = Completion::read(first, self.completion.load(place + 8)?, last);
        self.completions.pop();
        let busy = self.busy.get_mut(usize::from(completion.id));
        let busy = busy.filter(|busy| **busy);
        *busy.with_context(|| format!("nobody asked for {completion:?}"))? = false;
        registers.ring(Doorbell::Head(self.id), self.completions.place())?;
        Ok(Some(completion))
    }

    /// A completion, if there is one to be looked for: where interrupts are to come, nothing is found without one.
    fn next(&mut self, registers: &Registers) -> Result<Option<Completion>> {
        if let Wait::Interrupt(counter) = &mut self.wait {
            counter.wait(DOUBT)?;
            if counter.idle {
                return Ok(None);
            }
        }
        let found = self.look(registers)?;
        match (&found, &mut self.wait) {
            (None, Wait::Interrupt(counter)) => counter.idle = true,
            (None, Wait::Poll) => yield_now(),
            _ => {}
        }
        Ok(found)
    }

    /// Waits for the next completion.
    pub fn wait(&mut self, registers: &Registers) -> Result<Completion> {
        let started = Instant::now();
        let mut doubt = DOUBT;
        loop {
            if let Some(completion) = self.next(registers)? {
                return Ok(completion);
            }
            let waited = started.elapsed();
            if waited >= doubt {
                registers.alive()?;
                doubt += DOUBT;
            }
            ensure!(
                waited < PATIENCE,
                "neither completion nor interrupt came within {PATIENCE:?}"
            );
        }
    }

    /// Has one command done, and nothing else under way; fails unless it goes well.
    pub fn run(&mut self, registers: &Registers, command: &Command) -> Result<()> {
        let id = self.submit(registers, command)?;
        let done = self.wait(registers)?;
        ensure!(done.id == id, "{done:?} came for command {id}");
        ensure!(
            done.status.good(),
            "{command:x?} ended with {:x?}",
            done.status
        );
        Ok(())
    }
}
