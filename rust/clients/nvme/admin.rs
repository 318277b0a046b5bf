// SPDX-License-Identifier: GPL-2.0

//! The admin queue of a controller: one command at a time, waited for by looking.
//!
//! # Locking
//!
//! A mutex is held while a command is done, `LIMIT_MS` at most, and while the controller is reset. Nothing is locked inside of it.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        lock::mutex::MutexGuard,
        Arc,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};
use skiff_client::{
    dma_rmb,
    Borrowed,
    Place, //
};
use skiff_nvme_model::{
    command::{
        self,
        Command, //
    },
    completion::{
        self,
        Completion, //
    },
    doorbell::Doorbell,
    identify,
    queue::{
        Completions,
        Submissions, //
    },
    registers::State,
    PAGE, //
};

use crate::{
    bells::Bells,
    memory::Part, //
};

/// Entries of each queue: as many submissions as fit into a page.
pub(crate) const ENTRIES: u16 = 64;

/// Milliseconds that a command may take.
const LIMIT_MS: i64 = 5000;

/// Looks with short waits between them, until longer ones have to do.
const QUICK: u32 = 50;

/// The queue.
#[pin_data]
pub(crate) struct AdminQueue {
    submissions: Part,
    completions: Part,
    /// A page for what the controller tells.
    page: Part,
    #[pin]
    state: Mutex<Running>,
}

struct Running {
    submissions: Submissions,
    completions: Completions,
    next: u16,
    /// A command was not completed: the queue is of no use until the controller was reset.
    broken: bool,
}

impl Running {
    fn new() -> Result<Self> {
        Ok(Self {
            submissions: Submissions::new(ENTRIES).ok_or(EINVAL)?,
            completions: Completions::new(ENTRIES).ok_or(EINVAL)?,
            next: 0,
            broken: false,
        })
    }
}

impl AdminQueue {
    /// Memory of one that the controller does not know yet. Process context.
    pub(crate) fn new(device: &Arc<Borrowed>) -> Result<impl PinInit<Self, Error>> {
        let bytes = usize::from(ENTRIES) * command::ENTRY;
        let read = Part::new(device, 2 * PAGE as usize, Place::Cpu)?;
        let completions = read.part(0, PAGE as usize)?;
        let page = read.part(PAGE as usize, PAGE as usize)?;
        let submissions = Part::new(device, bytes, Place::Device)?;
        let running = Running::new()?;

        Ok(try_pin_init!(Self {
            submissions,
            completions,
            page,
            state <- new_mutex!(running, "AdminQueue::state"),
        }? Error))
    }

    /// Where the controller finds the queues.
    pub(crate) fn addresses(&self) -> (u64, u64) {
        (self.submissions.address(), self.completions.address())
    }

    /// Has it for the caller alone, for a reset of the controller: waits for a command that is under way, and those of others wait
    /// until the result is dropped. A command in between would find a controller that does not know the queue. Process context.
    pub(crate) fn take(&self) -> Taken<'_> {
        Taken {
            queue: self,
            state: self.state.lock(),
        }
    }

    /// Has a command done: what it gives back. `EIO` if the controller refuses it, `ETIMEDOUT` if it does not answer, `ENODEV`
    /// if it is gone. Process context.
    pub(crate) fn run(&self, bells: &Bells, command: &Command) -> Result<u32> {
        self.run_locked(&mut self.state.lock(), bells, command)
    }

    fn run_locked(&self, state: &mut Running, bells: &Bells, command: &Command) -> Result<u32> {
        if state.broken {
            return Err(EIO);
        }

        let id = state.next;
        let place = usize::from(state.submissions.push()) * command::ENTRY;

        state.next = id.wrapping_add(1);
        self.submissions.write_longs(place, &command.longs(id))?;
        if let Some(tail) = state.submissions.ring() {
            bells.ring(Doorbell::Tail(0), tail.to)?;
        }

        let done = self.wait(state, bells);

        // Not to be done again by a controller that cannot read its shadow doorbells, see `Queue::erase`: it has no queue 0 to delete.
        self.submissions.write_longs(place, &[0])?;
        state.broken = done.is_err();

        let done = done?;

        if done.id != id {
            state.broken = true;
            return Err(EIO);
        }
        if !done.status.good() {
            return Err(EIO);
        }
        Ok(done.result)
    }

    /// Waits for the next completion.
    fn wait(&self, state: &mut Running, bells: &Bells) -> Result<Completion> {
        let started = Instant::<Monotonic>::now();
        let mut looks = 0_u32;

        loop {
            if let Some(completion) = self.look(state)? {
                if let Some(head) = state.completions.ring() {
                    bells.ring(Doorbell::Head(0), head.to)?;
                }
                return Ok(completion);
            }
            if started.elapsed().as_millis() > LIMIT_MS {
                return match bells.registers().state() {
                    State::Gone => Err(ENODEV),
                    _ => Err(ETIMEDOUT),
                };
            }
            looks = looks.saturating_add(1);
            fsleep(Delta::from_micros(if looks < QUICK { 100 } else { 2000 }));
        }
    }

    fn look(&self, state: &mut Running) -> Result<Option<Completion>> {
        let place = usize::from(state.completions.place()) * completion::ENTRY;
        let last = self.completions.read32(place + completion::LAST)?;

        if !state.completions.is_new(last) {
            return Ok(None);
        }

        // The rest of the entry, and what it is about, are not older than the last word.
        dma_rmb();

        let first = self.completions.read32(place)?;
        let third = self.completions.read32(place + 8)?;

        state.completions.pop();
        Ok(Some(Completion::read(first, third, last)))
    }

    /// Has a command done that fills a page, whose address `command` is given. Errors as of [`AdminQueue::run`]. Process
    /// context.
    pub(crate) fn identify(
        &self,
        bells: &Bells,
        command: impl FnOnce(u64) -> Command,
    ) -> Result<KBox<[u8; identify::BYTES]>> {
        let mut answer = KBox::<[u8; identify::BYTES]>::init(pin_init::init_zeroed(), GFP_KERNEL)?;
        let mut state = self.state.lock();

        self.run_locked(&mut state, bells, &command(self.page.address()))?;
        for (index, bytes) in answer.chunks_exact_mut(4).enumerate() {
            bytes.copy_from_slice(&self.page.read32(4 * index)?.to_le_bytes());
        }
        Ok(answer)
    }
}

/// The queue while nobody else has commands done.
pub(crate) struct Taken<'a> {
    queue: &'a AdminQueue,
    state: MutexGuard<'a, Running>,
}

impl Taken<'_> {
    /// The controller is stopped: begins anew.
    pub(crate) fn restart(&mut self) -> Result {
        self.queue.completions.clear()?;
        *self.state = Running::new()?;
        Ok(())
    }

    /// As [`AdminQueue::run`].
    pub(crate) fn run(&mut self, bells: &Bells, command: &Command) -> Result<u32> {
        self.queue.run_locked(&mut self.state, bells, command)
    }
}
