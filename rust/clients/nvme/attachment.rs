// SPDX-License-Identifier: GPL-2.0

//! What a node has of a controller: queues, the window for data, and disks.
//!
//! # Locking
//!
//! The mutex of the disks is held while disks are added, and while they are told that the device is lost. Requests are ended
//! without it, so that whoever holds it does not wait for long. That of the starts is held to look and to note; nothing is locked
//! inside of it. Queues are made known to the controller by one thread: who opens the attachment, then its worker.

use kernel::{
    device,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use skiff_block::{
    Disk,
    Setup,
    Status,
    TagSet, //
};
use skiff_client::{
    now_ms,
    BorrowEvent,
    Borrowed,
    Direct,
    Work,
    Worker,
    DEFAULT_TIMEOUT, //
};
use skiff_nvme_model::{
    protocol::{
        Event,
        Limits, //
    },
    starts::{
        Due,
        Starts, //
    }, //
};

use crate::{
    bells::Bells,
    disk::{
        self,
        Nvme, //
    },
    ears::Ears,
    lane::{
        Calls,
        Lane, //
    },
    number::Number,
    queue::Mode,
    remote::RESET_MS,
    role::{
        Reset,
        Role, //
    },
    room::{
        Room,
        FEW, //
    },
    transfer::{
        Reach,
        Tag, //
    }, //
};

/// Milliseconds from one look at the lender's end to the next.
const SHUT_MS: i64 = 100;

/// What the administrator wants.
#[derive(Clone, Copy)]
pub(crate) struct Wishes {
    /// Queues with interrupts.
    pub(crate) queues: u16,
    /// Queues that are polled.
    pub(crate) polled: u16,
    /// Entries of a queue.
    pub(crate) entries: u16,
    /// Milliseconds that a request may take.
    pub(crate) timeout_ms: u32,
    /// Shadow doorbells, where they can be.
    pub(crate) shadows: bool,
    /// Whether a controller may reach all memory of this node.
    pub(crate) direct: bool,
}

/// What a node has of a controller.
#[pin_data]
pub(crate) struct Attachment {
    device: Arc<Borrowed>,
    role: Arc<Role>,
    ears: Arc<Ears>,
    lanes: KVec<Arc<Lane>>,
    tags: Arc<TagSet<Nvme>>,
    calls: Arc<Calls>,
    lost: Atomic<bool>,
    limits: Limits,
    reach: Reach,
    parent: ARef<device::Device>,
    number: Number,
    #[pin]
    starts: Mutex<Starts>,
    #[pin]
    disks: Mutex<KVec<Disk<Nvme>>>,
}

impl Attachment {
    /// Takes queues of the controller and makes disks of its namespaces. Process context.
    pub(crate) fn start(
        device: &Arc<Borrowed>,
        ears: &Arc<Ears>,
        role: &Arc<Role>,
        bells: &Arc<Bells>,
        wishes: Wishes,
        parent: ARef<device::Device>,
    ) -> Result<Arc<Self>> {
        let limits = role.limits();
        // One queue has interrupts at least; those that are polled are as many as are left.
        let plain = wishes.queues.clamp(1, limits.queues);
        let polled = wishes.polled.min(limits.queues - plain);
        let entries = wishes.entries.clamp(FEW, limits.entries.max(FEW));
        let room = Room::new(device, plain + polled, entries, wishes.direct)?;
        let worker = Worker::new(c"skiff_nvme", kernel::static_lock_class!())?;
        let calls = Calls {
            look: Atomic::new(false),
            reset: Atomic::new(false),
            lost: Atomic::new(false),
            start: Atomic::new(0),
            worker,
        };
        let calls = Arc::new(calls, GFP_KERNEL)?;
        let mut lanes = KVec::with_capacity(room.count.into(), GFP_KERNEL)?;
        let mut queues = KVec::with_capacity(room.count.into(), GFP_KERNEL)?;

        for index in 0..room.count {
            let lane = Lane {
                queue: room.queue(index, index >= plain, bells)?,
                role: role.clone(),
                calls: calls.clone(),
            };
            let lane = Arc::new(lane, GFP_KERNEL)?;

            lanes.push(lane.clone(), GFP_KERNEL)?;
            queues.push(lane, GFP_KERNEL)?;
        }

        let setup = Setup {
            queues,
            polled: polled.into(),
            depth: room.entries - 1,
            timeout_ms: wishes.timeout_ms,
        };
        let tags = TagSet::new(setup, |_, _| Ok(Tag::new()))?;
        let number = Number::new()?;
        let reach = room.reach.clone();

        pr_info!(
            "skiffnvme{}: {} queues and {} that are polled, {} entries{}{}\n",
            number.get(),
            plain,
            polled,
            room.entries,
            match &reach {
                Reach::Direct(_) => "; it reaches all memory",
                Reach::Window(window) if window.copies() => "; data are copied",
                Reach::Window(_) => "",
            },
            match bells.shadowed() {
                true => "; shadow doorbells",
                false => "",
            }
        );

        let this = Arc::pin_init(
            pin_init!(Self {
                device: device.clone(),
                role: role.clone(),
                ears: ears.clone(),
                lanes,
                tags,
                calls,
                lost: Atomic::new(false),
                limits,
                reach,
                parent,
                number,
                starts <- new_mutex!(Starts::new(0), "Attachment::starts"),
                disks <- new_mutex!(KVec::new(), "Attachment::disks"),
            }),
            GFP_KERNEL,
        )?;

        if let Err(error) = this.open() {
            this.stop();
            return Err(error);
        }
        Ok(this)
    }

    /// Has the queues made known to the controller, and adds the disks.
    fn open(self: &Arc<Self>) -> Result {
        if !self.ears.listen(Some(self.clone())) {
            return Err(ENODEV);
        }

        let mut starts = self.starts.lock();
        // With the lock held: what is told from here on comes after it.
        let start = self.role.generation();

        *starts = Starts::new(start);
        drop(starts);
        self.connect(start)?;
        self.calls.worker.start(self.clone());
        // What came meanwhile has waited.
        self.calls.worker.kick();

        let mut after = 0;

        while let Some(namespace) = self.role.namespace(after)? {
            after = namespace.id();

            let limits = disk::limits(&namespace, &self.limits, self.reach.copies());
            let (number, id, sectors) = (self.number.get(), after, namespace.sectors());
            let disk = Disk::add(
                &self.tags,
                Some(&*self.parent),
                fmt!("skiffnvme{number}n{id}"),
                sectors,
                &limits,
                namespace,
            )?;

            self.disks.lock().push(disk, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Makes all queues known to the controller, in this start, in which it knows none of them. `EAGAIN` if that is over.
    fn connect(&self, start: u32) -> Result {
        let mut vectors = 0;

        self.calls.start.store(start, Relaxed);

        for lane in &self.lanes {
            lane.queue.prepare()?;

            let (number, vector) = self.role.create(&lane.queue.pair()?, start)?;

            lane.queue.start(number, vector);
            vectors |= lane.queue.vector();
        }
        self.device.listen(vectors)
    }

    /// Vectors were signalled. Does not sleep for long.
    pub(crate) fn interrupt(&self, vectors: u64) {
        for lane in &self.lanes {
            if lane.queue.vector() & vectors != 0 {
                lane.queue.reap(&self.tags);
            }
        }
    }

    /// Something has happened to the borrow. Does not sleep for long.
    pub(crate) fn event(&self, event: BorrowEvent) {
        match event {
            BorrowEvent::Ended => {
                self.fail();
                self.calls.call(&self.calls.lost);
            }
            BorrowEvent::SharerGone => self.role.sharer_gone(),
        }
    }

    /// Fails all requests, those that come as well; what the controller may still be at, if it reaches all memory, is for
    /// [`Attachment::lose`].
    fn fail(&self) {
        self.lost.store(true, Relaxed);
        for lane in &self.lanes {
            lane.queue.stop(Mode::Dead);
        }
        if let Reach::Window(_) = self.reach {
            self.end_all();
        }
    }

    /// Ends requests that the controller does not get at any more.
    fn end_all(&self) {
        self.tags.take_all(|request| {
            if let Some(lane) = self.lanes.get(request.queue()) {
                lane.queue.end(request, Status::Io);
            }
        });
    }

    /// The device is lost, for whatever reason.
    fn lose(&self) {
        self.fail();
        pr_warn!("skiffnvme{}: the controller is lost\n", self.number.get());
        for disk in self.disks.lock().iter() {
            disk.kill();
        }
        if let Reach::Direct(direct) = &self.reach {
            self.wait_shut(direct);
            self.end_all();
        }
    }

    /// Waits until the controller does not get at the pages of requests any more: it must not write into pages that are somebody
    /// else's by then.
    fn wait_shut(&self, direct: &Direct) {
        let mut told = false;

        while direct.shut(DEFAULT_TIMEOUT).is_err() {
            // What it completes is over.
            for lane in &self.lanes {
                lane.queue.reap(&self.tags);
            }
            if self.tags.flying() == 0 {
                return;
            }
            if !told {
                let number = self.number.get();

                pr_warn!("skiffnvme{number}: requests wait until the lender's end is known\n");
                told = true;
            }
            fsleep(Delta::from_millis(SHUT_MS));
        }
    }

    /// The owner of the controller has told something, in this start of it. Does not sleep for long.
    pub(crate) fn told(&self, event: Event, start: u32) {
        match event {
            Event::Stopped => {
                self.halt();
                self.wait_for_owner();
            }
            Event::Restarted => {
                self.starts.lock().heard(start);
                self.calls.worker.kick();
            }
            Event::Gone => {
                self.fail();
                self.calls.call(&self.calls.lost);
            }
            Event::Nothing => {}
        }
    }

    /// Requests wait from here on.
    fn halt(&self) {
        for lane in &self.lanes {
            lane.queue.stop(Mode::Stopped);
        }
    }

    /// The owner is to tell of the controller's next start. If that may get lost the owner is asked after a while.
    fn wait_for_owner(&self) {
        if self.role.is_far() {
            self.starts
                .lock()
                .wait(now_ms().saturating_add(RESET_MS.into()));
            self.calls.worker.kick_after(RESET_MS);
        }
    }

    /// Does what follows from what was heard of the controller's starts.
    fn follow(&self) {
        while !self.lost.load(Relaxed) {
            let due = self.starts.lock().due(now_ms());

            match due {
                Due::Make(start) => self.resume(start),
                Due::Ask(_) => {
                    let number = self.number.get();

                    pr_warn!("skiffnvme{number}: the owner says nothing, it is asked\n");
                    self.recover();
                }
                Due::Nothing => return,
            }
        }
    }

    /// The controller was reset, and runs in this start: what was under way is done again.
    fn resume(&self, start: u32) {
        self.halt();
        self.tags.take_all(|request| {
            if let Some(lane) = self.lanes.get(request.queue()) {
                lane.queue.requeue(request);
            }
        });
        match self.connect(start) {
            Ok(()) => {
                // What was late has been given up.
                self.calls.reset.store(false, Relaxed);
                pr_info!("skiffnvme{}: it goes on after a reset\n", self.number.get());
            }
            // It is being reset once more, or was, and the owner tells when that is over.
            Err(error) if error == EAGAIN || self.starts.lock().waits() => {
                self.halt();
                self.wait_for_owner();
            }
            Err(error) => {
                pr_err!("skiffnvme{}: no queues: {:?}\n", self.number.get(), error);
                self.lose();
            }
        }
    }

    /// Has the controller reset, unless it was.
    fn recover(&self) {
        self.halt();

        let start = self.starts.lock().made();

        match self.role.reset(start) {
            Ok(Reset::Done) => self.starts.lock().heard(self.role.generation()),
            Ok(Reset::Coming) => self.wait_for_owner(),
            // The answer got lost, or somebody else's reset was faster.
            Err(_) if self.starts.lock().is_over() => {}
            Err(error) => {
                pr_err!("skiffnvme{}: no reset: {:?}\n", self.number.get(), error);
                self.lose();
            }
        }
    }

    /// Removes the disks and gives the queues up. Process context; waits for requests.
    pub(crate) fn stop(&self) {
        let disks = core::mem::take(&mut *self.disks.lock());

        drop(disks);
        self.calls.worker.stop();
        self.halt();
        self.ears.listen(None);
    }
}

impl Work for Attachment {
    fn run(this: ArcBorrow<'_, Self>) {
        let called = |what: &Atomic<bool>| what.xchg(false, Relaxed);

        if called(&this.calls.lost) {
            this.lose();
        }
        if this.lost.load(Relaxed) {
            return;
        }
        if called(&this.calls.look) {
            for lane in &this.lanes {
                lane.queue.reap(&this.tags);
            }
        }
        this.follow();
        if called(&this.calls.reset) && this.tags.flying() != 0 {
            this.recover();
            this.follow();
        }
    }
}
