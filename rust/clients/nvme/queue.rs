// SPDX-License-Identifier: GPL-2.0

//! A pair of I/O queues: requests become commands, completions end requests.
//!
//! # Locking
//!
//! One spinlock for submissions and one for completions; neither is taken inside of the other, nothing is taken inside of
//! them, and requests are ended with neither held.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    }, //
};
use skiff_block::{
    Batch,
    Queued,
    Request,
    Status,
    TagSet, //
};
use skiff_client::{
    dma_rmb,
    wmb, //
};
use skiff_nvme_model::{
    command::{
        self,
        Command, //
    },
    completion::{
        self,
        Completion,
        Outcome, //
    },
    doorbell::Doorbell,
    protocol::Pair,
    queue::{
        Completions,
        Holders,
        Submissions, //
    }, //
};

use crate::{
    bells::Bells,
    disk::Nvme,
    memory::Part,
    transfer::{
        Not,
        Transfer, //
    }, //
};

/// Completions that are taken out of the queue before the first of them ends its request.
const FOUND: usize = 32;

/// How often a request that was aborted is done again, as by Linux's own driver.
const RETRIES: u32 = 5;

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They wait: the controller does not know the queue.
    Stopped,
    /// They become commands; the controller knows the queue by this number.
    Running(u16),
    /// They fail.
    Dead,
}

/// The pair.
#[pin_data]
pub(crate) struct Queue {
    /// Its place among the hardware queues.
    index: usize,
    entries: u16,
    polled: bool,
    bells: Arc<Bells>,
    transfer: Transfer,
    submission_memory: Part,
    completion_memory: Part,
    /// Bit of the vector that tells of completions; 0: none.
    vector: Atomic<u64>,
    #[pin]
    submitting: SpinLock<Submitting>,
    #[pin]
    completing: SpinLock<Completing>,
}

struct Submitting {
    mode: Mode,
    indices: Submissions,
    holders: Holders<KVVec<u16>>,
}

struct Completing {
    number: Option<u16>,
    indices: Completions,
}

/// What a queue is made of.
pub(crate) struct Memory {
    /// Its place among the hardware queues.
    pub(crate) index: usize,
    /// Entries of each of the two.
    pub(crate) entries: u16,
    /// Whether completions are looked for.
    pub(crate) polled: bool,
    /// Memory of the lender.
    pub(crate) submissions: Part,
    /// Memory of this node.
    pub(crate) completions: Part,
}

impl Queue {
    /// One that the controller does not know yet. Process context.
    pub(crate) fn new(memory: Memory, bells: Arc<Bells>, transfer: Transfer) -> Result<Arc<Self>> {
        let (submissions, completions) = indices(memory.entries)?;
        let table = || KVVec::from_elem(0, memory.entries.into(), GFP_KERNEL);
        let submitting = Submitting {
            mode: Mode::Stopped,
            indices: submissions,
            holders: Holders::new(table()?, table()?),
        };
        let completing = Completing {
            number: None,
            indices: completions,
        };

        Arc::pin_init(
            pin_init!(Self {
                index: memory.index,
                entries: memory.entries,
                polled: memory.polled,
                bells,
                transfer,
                submission_memory: memory.submissions,
                completion_memory: memory.completions,
                vector: Atomic::new(0),
                submitting <- new_spinlock!(submitting, "Queue::submitting"),
                completing <- new_spinlock!(completing, "Queue::completing"),
            }),
            GFP_KERNEL,
        )
    }

    /// What its owner has to know of it.
    pub(crate) fn pair(&self) -> Result<Pair> {
        let submissions = self.submission_memory.address();
        let completions = self.completion_memory.address();

        Pair::new(submissions, completions, self.entries, self.polled).map_err(|_| EINVAL)
    }

    /// Takes no more requests, and looks for no completions unless it is dead: what the controller still completes then is over. The
    /// controller may still know it.
    pub(crate) fn stop(&self, mode: Mode) {
        self.vector.store(0, Relaxed);

        let mut submitting = self.submitting.lock();

        // What is dead stays so.
        if submitting.mode != Mode::Dead {
            submitting.mode = mode;
        }
        drop(submitting);
        if mode != Mode::Dead {
            self.completing.lock().number = None;
        }
    }

    /// Begins anew, with empty queues: they are about to be made known to the controller.
    pub(crate) fn prepare(&self) -> Result {
        let (submissions, completions) = indices(self.entries)?;

        self.completion_memory.clear()?;
        if self.bells.pages().is_some() {
            // What was under way is submitted again elsewhere.
            self.submission_memory.clear()?;
        }

        let mut submitting = self.submitting.lock();

        submitting.indices = submissions;
        submitting.holders.clear();
        drop(submitting);
        self.completing.lock().indices = completions;
        Ok(())
    }

    /// The controller knows it by this number now, and tells of completions by this vector. It takes requests from here on.
    pub(crate) fn start(&self, number: u16, vector: u16) {
        let bit = match self.polled {
            true => 0,
            false => 1_u64.checked_shl(vector.into()).unwrap_or(0),
        };

        self.vector.store(bit, Relaxed);
        self.completing.lock().number = Some(number);

        let mut submitting = self.submitting.lock();

        if submitting.mode != Mode::Dead {
            submitting.mode = Mode::Running(number);
        }
    }

    /// The number by which the controller knows it.
    pub(crate) fn number(&self) -> Option<u16> {
        match self.submitting.lock().mode {
            Mode::Running(number) => Some(number),
            Mode::Stopped | Mode::Dead => None,
        }
    }

    /// The bit of its vector.
    pub(crate) fn vector(&self) -> u64 {
        self.vector.load(Relaxed)
    }

    /// Makes a command of a request. Atomic context.
    pub(crate) fn queue(&self, request: Request<Nvme>, last: bool) -> Queued<Nvme> {
        request.data().late.store(0, Relaxed);
        match self.transfer.command(&request) {
            Ok(command) => self.submit(request, &command, last),
            Err(Not::Now) => Queued::Busy(request),
            Err(Not::Ever) => {
                request.end(Status::Io);
                Queued::Taken
            }
        }
    }

    fn submit(&self, request: Request<Nvme>, command: &Command, last: bool) -> Queued<Nvme> {
        let entry = command.longs(request.tag());
        let mut submitting = self.submitting.lock();
        let number = match submitting.mode {
            Mode::Running(number) => number,
            Mode::Stopped => {
                drop(submitting);
                self.transfer.finish(&request, false);
                return Queued::Busy(request);
            }
            Mode::Dead => {
                drop(submitting);
                self.end(request, Status::Io);
                return Queued::Taken;
            }
        };
        let place = submitting.indices.push();
        let written = self.submission_memory.write_longs(offset(place), &entry);

        submitting.holders.put(place, request.tag());

        // It flies before the controller knows, and before anybody who stops the queue can look for it.
        request.send();
        if written.is_ok() && last {
            self.ring(&mut submitting, number);
        }
        Queued::Taken
    }

    /// Tells the controller of what was submitted. A failure is that of the device, whose end comes by another way.
    fn ring(&self, submitting: &mut Submitting, number: u16) {
        if let Some(tail) = submitting.indices.ring() {
            let _ = self.bells.tell(Doorbell::Tail(number), tail);
        }
    }

    /// Tells the controller of what was submitted. Atomic context.
    pub(crate) fn commit(&self) {
        let mut submitting = self.submitting.lock();

        if let Mode::Running(number) = submitting.mode {
            self.ring(&mut submitting, number);
        }
    }

    /// Ends the requests whose completions have come. Not in hard interrupts.
    pub(crate) fn reap(&self, tags: &TagSet<Nvme>) {
        self.reap_into(tags, &mut Batch::default());
    }

    /// The same, all that went well together with `batch`: how many. Not in hard interrupts.
    pub(crate) fn reap_into(&self, tags: &TagSet<Nvme>, batch: &mut Batch) -> u32 {
        let mut ended = 0_u32;
        let mut found = [(0, Status::Ok); FOUND];

        loop {
            let count = self.collect(&mut found);

            self.erase(found.get(..count).unwrap_or_default());
            for (id, status) in found.iter().take(count) {
                // One that nobody waits for is the controller's fault, or late.
                if let Some(request) = tags.take(self.index, *id) {
                    self.complete(request, *status, batch);
                    ended = ended.saturating_add(1);
                }
            }
            if count < FOUND {
                return ended;
            }
        }
    }

    /// Makes the commands that are over ones that do nothing, where the controller takes shadows of doorbells: while the link to this
    /// node is down it may read ones as a tail, and do again whatever is in the queue, with data that it does not get. Before their
    /// tags are used again, for then their places may be.
    fn erase(&self, over: &[(u16, Status)]) {
        if over.is_empty() || !self.bells.shadowed() {
            return;
        }

        let mut submitting = self.submitting.lock();

        for (id, _) in over {
            if let Some(place) = submitting.holders.take(*id) {
                // A flush of no namespace. A failure is that of the device.
                let _ = self.submission_memory.write_longs(offset(place), &[0]);
            }
        }
        // Stores of another CPU to the same place come after these.
        wmb();
    }

    /// Takes completions out of the queue, and tells the controller, which finds what their tags are used for again no sooner: how
    /// many. If nothing follows from the doorbell nobody waits for it before the queue is full.
    fn collect(&self, found: &mut [(u16, Status); FOUND]) -> usize {
        let mut completing = self.completing.lock();
        let Some(number) = completing.number else {
            return 0;
        };
        let mut count = 0;

        for place in found.iter_mut() {
            let Some(completion) = self.look(&mut completing.indices) else {
                break;
            };

            *place = (completion.id, status(completion));
            count += 1;
        }
        if count == 0 {
            return 0;
        }

        let doorbell = Doorbell::Head(number);
        // A controller without shadows may raise no interrupt before it knows that the last one was heard.
        let head = match self.polled || self.bells.shadowed() {
            true => {
                // Failures as above.
                let _ = self.bells.note(doorbell, completing.indices.place());

                completing.indices.ring_late()
            }
            false => completing.indices.ring(),
        };

        if let Some(head) = head {
            let _ = self.bells.tell(doorbell, head);
        }
        count
    }

    fn look(&self, indices: &mut Completions) -> Option<Completion> {
        let place = usize::from(indices.place()) * completion::ENTRY;
        let last = self.completion_memory.read32(place + completion::LAST);
        let last = last.ok().filter(|last| indices.is_new(*last))?;
        // The rest of the entry, and the data, are not older than the last word.
        dma_rmb();

        let third = self.completion_memory.read32(place + 8).ok()?;

        indices.pop();
        // What an I/O command gives back is of no use here.
        Some(Completion::read(0, third, last))
    }

    fn complete(&self, request: Request<Nvme>, status: Status, batch: &mut Batch) {
        let good = self.transfer.finish(&request, status == Status::Ok);
        let aborted = &request.data().aborted;

        // It was late, which is no fault of its own.
        if status == Status::Timeout && aborted.fetch_add(1, Relaxed) < RETRIES {
            request.requeue();
            return;
        }
        aborted.store(0, Relaxed);
        let status = match (status, good) {
            (Status::Ok, false) => Status::Io,
            (status, _) => status,
        };

        request.complete_in(status, batch);
    }

    /// Ends a request that the controller will not complete: it does not know the queue any more, or is gone.
    pub(crate) fn end(&self, request: Request<Nvme>, status: Status) {
        self.transfer.finish(&request, false);
        request.data().aborted.store(0, Relaxed);
        request.complete(status);
    }

    /// Gives a request back to be queued again; conditions as of [`Queue::end`].
    pub(crate) fn requeue(&self, request: Request<Nvme>) {
        self.transfer.finish(&request, false);
        request.requeue();
    }
}

/// Where an entry of the submission queue is.
fn offset(place: u16) -> usize {
    usize::from(place) * command::ENTRY
}

/// How a request ends by what the controller says of it.
fn status(completion: Completion) -> Status {
    match completion.status.outcome() {
        Outcome::Good => Status::Ok,
        Outcome::NotSupported => Status::NotSupported,
        Outcome::NoSpace => Status::NoSpace,
        Outcome::Medium => Status::Medium,
        Outcome::Aborted => Status::Timeout,
        Outcome::NotReady | Outcome::Failed => Status::Io,
    }
}

fn indices(entries: u16) -> Result<(Submissions, Completions)> {
    let submissions = Submissions::new(entries).ok_or(EINVAL)?;

    Ok((submissions, Completions::new(entries).ok_or(EINVAL)?))
}
