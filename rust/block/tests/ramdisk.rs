// SPDX-License-Identifier: GPL-2.0

//! A disk in memory, /dev/skifframN, that does by parameters all that goes wrong with real ones: the test of the crate.
//!
//! Data are copied when a request is queued; then it flies until the work of its queue, or who polls, finds it done. Every
//! `lose`-th request is never found, so that it must time out; every `refuse`-th is not taken when it comes first. Every
//! `reset_ms` the device forgets all that flies, to be queued again. After `die_ms` it is lost, with all that flies.
//!
//! When it is unloaded it says how often which of that has happened.

use core::sync::atomic::AtomicU8;

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue::{
        self,
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
};

use skiff_block::{
    copy,
    Batch,
    Discard,
    Disk,
    Driver,
    Flying,
    Limits,
    Op,
    Queued,
    Request,
    Setup,
    Status,
    TagSet,
    TimeoutAction,
    SECTOR, //
};

module! {
    type: RamModule,
    name: "skiff_block_test",
    authors: ["The Skiff authors"],
    description: "A disk in memory that fails on request",
    license: "GPL",
    params: {
        size_mib: u32 {
            default: 16,
            description: "Size of each disk",
        },
        disks: u32 {
            default: 1,
            description: "Disks that share the queues, 1 to 4",
        },
        queues: u32 {
            default: 2,
            description: "Queues that are not polled",
        },
        polled: u32 {
            default: 1,
            description: "Queues that are polled",
        },
        depth: u16 {
            default: 32,
            description: "Requests at a time in a queue",
        },
        timeout_ms: u32 {
            default: 1000,
            description: "How long a request may take",
        },
        lose: u32 {
            default: 0,
            description: "Every so many-th request is lost; 0: none",
        },
        refuse: u32 {
            default: 0,
            description: "Every so many-th request is refused once; 0: none",
        },
        reset_ms: u32 {
            default: 0,
            description: "Milliseconds between two resets; 0: none",
        },
        die_ms: u32 {
            default: 0,
            description: "Milliseconds until the device is lost; 0: never",
        },
    },
}

/// What a parameter says; Linux 7.2 gives a reference.
macro_rules! parameter {
    ($name:ident) => {{
        #[cfg(skiff_v7_2)]
        let value = *module_parameters::$name.value();
        #[cfg(not(skiff_v7_2))]
        let value = module_parameters::$name.value();
        value
    }};
}

/// How often what happened.
struct Counts {
    queued: Atomic<u32>,
    flushes: Atomic<u32>,
    zeroed: Atomic<u32>,
    polled: Atomic<u32>,
    lost: Atomic<u32>,
    timeouts: Atomic<u32>,
    refused: Atomic<u32>,
    requeued: Atomic<u32>,
    failed: Atomic<u32>,
}

fn count(counter: &Atomic<u32>) -> u32 {
    counter.fetch_add(1, Relaxed)
}

static COUNTS: Counts = Counts {
    queued: Atomic::new(0),
    flushes: Atomic::new(0),
    zeroed: Atomic::new(0),
    polled: Atomic::new(0),
    lost: Atomic::new(0),
    timeouts: Atomic::new(0),
    refused: Atomic::new(0),
    requeued: Atomic::new(0),
    failed: Atomic::new(0),
};

/// The device is lost: what comes is failed.
static DEAD: Atomic<bool> = Atomic::new(false);

/// Whether this is one of those that a parameter picks.
fn picks(every: u32, number: u32) -> bool {
    every != 0 && number % every == every - 1
}

/// The memory of a disk.
struct Store(KVVec<AtomicU8>);

impl Store {
    fn new(bytes: usize) -> Result<Self> {
        let mut store = KVVec::with_capacity(bytes, GFP_KERNEL)?;

        for _ in 0..bytes {
            store.push_within_capacity(AtomicU8::new(0))?;
        }
        Ok(Self(store))
    }

    /// The bytes from a sector on.
    fn part(&self, sector: u64, bytes: u32) -> Option<&[AtomicU8]> {
        let start = usize::try_from(sector.checked_mul(u64::from(SECTOR))?).ok()?;

        self.0
            .get(start..start.checked_add(usize::try_from(bytes).ok()?)?)
    }

    /// Does what a request asks for.
    fn perform(&self, request: &Request<Ram>) -> Option<()> {
        match request.op() {
            Op::Flush => {
                count(&COUNTS.flushes);
            }
            Op::WriteZeroes => self.zero(request.sector(), request.bytes())?,
            Op::Discard => {
                for range in request.ranges() {
                    self.zero(range.sector, range.bytes)?;
                }
            }
            Op::Read => {
                let store = self.part(request.sector(), request.bytes())?;

                request.for_each_bytes(|at, page| {
                    if let Some(from) = store.get(at..) {
                        copy(from, page);
                    }
                });
            }
            Op::Write => {
                let store = self.part(request.sector(), request.bytes())?;

                request.for_each_bytes(|at, page| {
                    if let Some(to) = store.get(at..) {
                        copy(page, to);
                    }
                });
            }
        }
        Some(())
    }

    fn zero(&self, sector: u64, bytes: u32) -> Option<()> {
        count(&COUNTS.zeroed);
        for byte in self.part(sector, bytes)? {
            byte.store(0, core::sync::atomic::Ordering::Relaxed);
        }
        Some(())
    }
}

/// A queue of the device.
#[pin_data]
struct Hardware {
    index: usize,
    polled: bool,
    /// What is done and not found yet, by tag.
    #[pin]
    done: SpinLock<KVec<u16>>,
    /// Where to find the requests; empty once the module goes.
    #[pin]
    tags: Mutex<Option<Arc<TagSet<Ram>>>>,
    #[pin]
    work: Work<Hardware>,
}

impl_has_work! {
    impl HasWork<Self> for Hardware { self.work }
}

impl Hardware {
    fn new(index: usize, polled: bool, depth: u16) -> Result<Arc<Self>> {
        // A tag may be done twice, when it was taken away in a reset.
        let done = KVec::with_capacity(2 * usize::from(depth), GFP_KERNEL)?;

        Arc::pin_init(
            pin_init!(Self {
                index,
                polled,
                done <- new_spinlock!(done, "Hardware::done"),
                tags <- new_mutex!(None, "Hardware::tags"),
                work <- new_work!("Hardware::work"),
            }),
            GFP_KERNEL,
        )
    }

    /// Finds one request that is done.
    fn reap(&self, tags: &TagSet<Ram>) -> Option<Request<Ram>> {
        loop {
            let tag = self.done.lock().pop()?;

            // Nobody flies there if the device was reset meanwhile.
            if let Some(request) = tags.take(self.index, tag) {
                return Some(request);
            }
        }
    }
}

impl WorkItem for Hardware {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let tags = this.tags.lock().clone();

        if let Some(tags) = tags {
            let mut batch = Batch::default();

            while let Some(request) = this.reap(&tags) {
                request.complete_in(Status::Ok, &mut batch);
            }
        }
    }
}

/// The driver.
struct Ram;

impl Driver for Ram {
    type Queue = Arc<Hardware>;
    type Data = Store;
    /// Whether the tag's last request was refused.
    type Request = Atomic<bool>;

    fn queue(queue: &Arc<Hardware>, request: Request<Self>, last: bool) -> Queued<Self> {
        let number = count(&COUNTS.queued);

        if DEAD.load(Relaxed) {
            count(&COUNTS.failed);
            request.end(Status::Io);
            return Queued::Taken;
        }
        if picks(parameter!(refuse), number)
            && !request.data().xchg(true, kernel::sync::atomic::Full)
        {
            count(&COUNTS.refused);
            return Queued::Busy(request);
        }
        request.data().store(false, Relaxed);
        if request.disk().perform(&request).is_none() {
            request.end(Status::Target);
            return Queued::Taken;
        }

        let tag = request.tag();

        request.send();
        if picks(parameter!(lose), number) || queue.done.lock().push_within_capacity(tag).is_err() {
            count(&COUNTS.lost);
        }
        if last {
            Self::commit(queue);
        }
        Queued::Taken
    }

    fn commit(queue: &Arc<Hardware>) {
        if !queue.polled {
            let _ = workqueue::system_highpri().enqueue(queue.clone());
        }
    }

    fn poll(queue: &Arc<Hardware>, tags: &TagSet<Self>, batch: &mut Batch) -> u32 {
        let mut found = 0;

        while let Some(request) = queue.reap(tags) {
            count(&COUNTS.polled);
            request.complete_in(Status::Ok, batch);
            found += 1;
        }
        found
    }

    fn timeout(queue: &Arc<Hardware>, request: Flying<'_, Self>) -> TimeoutAction {
        // Let it be found, rather than lost: as after an interrupt that did not come.
        if let Some(request) = request.take() {
            count(&COUNTS.timeouts);
            request.requeue();
        }
        Self::commit(queue);
        TimeoutAction::Done
    }
}

/// What resets the device, and lets it die.
#[pin_data]
struct Fate {
    tags: Arc<TagSet<Ram>>,
    #[pin]
    disks: Mutex<KVec<Disk<Ram>>>,
    over: Atomic<bool>,
    #[pin]
    work: Work<Fate>,
}

impl_has_work! {
    impl HasWork<Self> for Fate { self.work }
}

impl Fate {
    fn reset(&self) {
        let quiesced = self.tags.quiesce();

        self.tags.take_all(|request| {
            count(&COUNTS.requeued);
            request.requeue();
        });
        drop(quiesced);
    }

    fn die(&self) {
        let disks = core::mem::take(&mut *self.disks.lock());

        DEAD.store(true, Relaxed);
        for disk in &disks {
            disk.kill();
        }
        // None is queued any more that has not seen that it is dead.
        drop(self.tags.quiesce());
        self.tags.take_all(|request| {
            count(&COUNTS.failed);
            request.end(Status::Io);
        });
        drop(disks);
    }
}

impl WorkItem for Fate {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        const STEP_MS: u32 = 10;
        let reset = parameter!(reset_ms).div_ceil(STEP_MS);
        let die = parameter!(die_ms).div_ceil(STEP_MS);
        let mut steps = 0_u32;

        while !this.over.load(Relaxed) {
            fsleep(Delta::from_millis(i64::from(STEP_MS)));
            if picks(reset, steps) {
                this.reset();
            }
            steps = steps.wrapping_add(1);
            if die != 0 && steps >= die {
                return this.die();
            }
        }
    }
}

struct RamModule {
    fate: Arc<Fate>,
}

impl kernel::Module for RamModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let (queues, polled) = (parameter!(queues), parameter!(polled));
        let depth = parameter!(depth);
        let bytes = usize::try_from(parameter!(size_mib))?
            .checked_mul(1 << 20)
            .ok_or(EINVAL)?;
        let mut all = KVec::new();

        for index in 0..queues.checked_add(polled).ok_or(EINVAL)? {
            all.push(
                Hardware::new(usize::try_from(index)?, index >= queues, depth)?,
                GFP_KERNEL,
            )?;
        }

        let tags = TagSet::new(
            Setup {
                queues: all,
                polled: usize::try_from(polled)?,
                depth,
                timeout_ms: parameter!(timeout_ms),
            },
            |_, _| Ok(Atomic::new(false)),
        )?;
        let limits = Limits {
            logical_block: SECTOR,
            physical_block: 4096,
            max_sectors: 256,
            max_write_zeroes_sectors: 1024,
            max_pieces: 33,
            virt_boundary: 4095,
            dma_alignment: 3,
            write_cache: true,
            fua: true,
            rotational: false,
            discard: Some(Discard {
                max_sectors: 1024,
                max_ranges: 8,
                granularity: 4096,
            }),
        };
        let shared = tags.clone();
        let fate = Arc::pin_init(
            pin_init!(Fate {
                tags: shared,
                disks <- new_mutex!(KVec::new(), "Fate::disks"),
                over: Atomic::new(false),
                work <- new_work!("Fate::work"),
            }),
            GFP_KERNEL,
        )?;
        // From here on its drop() undoes.
        let this = Self { fate };

        for index in 0..tags.queues().0 {
            if let Some(queue) = tags.queue(index) {
                *queue.tags.lock() = Some(tags.clone());
            }
        }
        for index in 0..parameter!(disks) {
            // Half of the size first, as if it grew.
            let sectors = u64::try_from(bytes)? / u64::from(SECTOR);
            let disk = Disk::add(
                &tags,
                None,
                fmt!("skiffram{index}"),
                sectors / 2,
                &limits,
                Store::new(bytes)?,
            )?;

            disk.set_capacity(sectors);
            disk.set_limits(&Limits {
                max_sectors: 128,
                ..limits
            })?;
            this.fate.disks.lock().push(disk, GFP_KERNEL)?;
        }
        let _ = workqueue::system_long().enqueue(this.fate.clone());
        Ok(this)
    }
}

impl Drop for RamModule {
    fn drop(&mut self) {
        self.fate.over.store(true, Relaxed);
        flush(&self.fate.work);

        let disks = core::mem::take(&mut *self.fate.disks.lock());

        drop(disks);
        for index in 0..self.fate.tags.queues().0 {
            if let Some(queue) = self.fate.tags.queue(index) {
                drop(queue.tags.lock().take());
                flush(&queue.work);
            }
        }
        pr_info!(
            "queued={} flushes={} zeroed={} polled={} lost={} timeouts={} refused={} requeued={} failed={} flying={}\n",
            COUNTS.queued.load(Relaxed),
            COUNTS.flushes.load(Relaxed),
            COUNTS.zeroed.load(Relaxed),
            COUNTS.polled.load(Relaxed),
            COUNTS.lost.load(Relaxed),
            COUNTS.timeouts.load(Relaxed),
            COUNTS.refused.load(Relaxed),
            COUNTS.requeued.load(Relaxed),
            COUNTS.failed.load(Relaxed),
            self.fate.tags.flying(),
        );
    }
}

/// Waits until a work that is not queued any more has run.
fn flush<T>(work: &Work<T>) {
    // SAFETY:
    // - The work is initialised, and lives during the call.
    unsafe { kernel::bindings::flush_work(Work::raw_get(work)) };
}
