// SPDX-License-Identifier: GPL-2.0

//! A thread of work: whoever kicks it, its function runs once after that, and never twice at a time.
//!
//! The kernel crate's work items cannot be cancelled, and its queues cannot be made. A [`Worker`] owns an ordered queue and two
//! items on it, one for [`Worker::kick`] and one with a timer for [`Worker::kick_after`], so that neither delays the other.
//!
//! The owner of the [`Work`] usually owns the worker too. The worker therefore holds its work only from [`Worker::start`] to
//! [`Worker::stop`], which its owner must call to break the circle.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        Arc,
        ArcBorrow,
        LockClassKey,
        Mutex, //
    },
    time::msecs_to_jiffies,
    types::Opaque, //
};

/// Milliseconds of the monotonic clock, which stands still while the machine sleeps.
pub fn now_ms() -> u64 {
    // SAFETY:
    // - The clock may be read in any context but NMIs.
    let ns = unsafe { bindings::ktime_get() };

    // PANIC: The divisor is not zero.
    u64::try_from(ns).unwrap_or(0) / 1_000_000
}

/// What a [`Worker`] does.
pub trait Work: Send + Sync + 'static {
    /// Does all that there is to do. May sleep; never called twice at a time.
    fn run(this: ArcBorrow<'_, Self>);
}

/// An ordered queue: its items run one after the other.
///
/// # Invariants
///
/// The pointer is to a queue that this object made.
struct Queue(NonNull<bindings::workqueue_struct>);

impl Queue {
    fn new(name: &CStr) -> Result<Self> {
        let flags = bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED;
        // SAFETY:
        // - The format takes one string, and the name is copied.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 1, name.as_char_ptr())
        };

        // INVARIANT: Just made.
        NonNull::new(queue).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant the queue is this object's own; its items were cancelled.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}

/// A thread of its own for a [`Work`].
///
/// # Invariants
///
/// `now` and `later` are initialised, and queued on `queue` only.
#[pin_data(PinnedDrop)]
pub struct Worker<W: Work> {
    queue: Queue,
    #[pin]
    now: Opaque<bindings::work_struct>,
    #[pin]
    later: Opaque<bindings::delayed_work>,
    /// What to do, while started. Held to look only, never while it is done.
    #[pin]
    work: Mutex<Option<Arc<W>>>,
}

// SAFETY: Queues and items may be used by any thread, and the work is `Send` and `Sync`.
unsafe impl<W: Work> Send for Worker<W> {}

// SAFETY: As above.
unsafe impl<W: Work> Sync for Worker<W> {}

impl<W: Work> Worker<W> {
    /// A worker that has nothing to do yet; `name` is what its thread is called, and `class` what lockdep calls waiting for it:
    /// each kind of worker has its own, as one may wait for the other.
    pub fn new(name: &CStr, class: Pin<&'static LockClassKey>) -> Result<Arc<Self>> {
        let queue = Queue::new(name)?;

        Arc::pin_init(
            pin_init!(Self {
                queue,
                now <- Opaque::ffi_init(|slot| {
                    // SAFETY:
                    // - `slot` is valid for writing, and pinned from here on; the function is that of `now`.
                    unsafe { init_work(slot, Self::run_now, class) }
                }),
                later <- Opaque::ffi_init(|slot: *mut bindings::delayed_work| {
                    // SAFETY:
                    // - `slot` is valid for writing, and pinned from here on; the function is that of `later`.
                    // - delayed_work_timer_fn() is what the timer of a delayed work has to call, with interrupts off.
                    unsafe {
                        init_work(
                            &raw mut (*slot).work,
                            Self::run_later,
                            class,
                        );
                        bindings::timer_init_key(
                            &raw mut (*slot).timer,
                            Some(bindings::delayed_work_timer_fn),
                            bindings::TIMER_IRQSAFE,
                            c"skiff_later".as_char_ptr(),
                            static_lock_class!().as_ptr(),
                        );
                    }
                }),
                work <- new_mutex!(None, "Worker::work"),
            }),
            GFP_KERNEL,
        )
    }

    /// From now on kicks have an effect.
    pub fn start(&self, work: Arc<W>) {
        let former = self.work.lock().replace(work);

        drop(former);
    }

    /// Lets the work run as soon as possible, and once more if it is running. May be called in any context but NMIs.
    pub fn kick(&self) {
        // SAFETY:
        // - By the type's invariant both are initialised; they live as long as `self`, whose drop() cancels.
        unsafe { bindings::queue_work_on(ANY_CPU, self.queue.0.as_ptr(), self.now.get()) };
    }

    /// Lets the work run in `ms` milliseconds, instead of when the last call of this method said. May be called in any context
    /// but NMIs.
    pub fn kick_after(&self, ms: u32) {
        // SAFETY:
        // - By the type's invariant both are initialised; they live as long as `self`, whose drop() cancels.
        unsafe {
            bindings::mod_delayed_work_on(
                ANY_CPU,
                self.queue.0.as_ptr(),
                self.later.get(),
                msecs_to_jiffies(ms),
            )
        };
    }

    /// Ends the work: it does not run any more when this returns, and kicks have no effect. Waits for a run that is under way,
    /// so the work itself must not call it.
    pub fn stop(&self) {
        let work = self.work.lock().take();

        self.cancel();
        drop(work);
    }

    fn cancel(&self) {
        // SAFETY:
        // - By the type's invariant both are initialised.
        unsafe {
            bindings::cancel_work_sync(self.now.get());
            bindings::cancel_delayed_work_sync(self.later.get());
        }
    }

    fn run(&self) {
        let work = self.work.lock().clone();

        if let Some(work) = work {
            W::run(work.as_arc_borrow());
        }
    }

    /// What C calls for `now`.
    ///
    /// # Safety
    ///
    /// - `work` is the `now` of a worker.
    unsafe extern "C" fn run_now(work: *mut bindings::work_struct) {
        // SAFETY:
        // - The queue calls with the item that was queued, which is `now` of a worker that waits for it in drop().
        let worker = unsafe { &*kernel::container_of!(Opaque::cast_from(work), Self, now) };

        worker.run();
    }

    /// What C calls for `later`.
    ///
    /// # Safety
    ///
    /// - `work` is in the `later` of a worker.
    unsafe extern "C" fn run_later(work: *mut bindings::work_struct) {
        // SAFETY:
        // - The queue calls with the item that was queued, which is in `later` of a worker that waits for it in drop().
        let worker = unsafe {
            let later = kernel::container_of!(work, bindings::delayed_work, work);

            &*kernel::container_of!(Opaque::cast_from(later), Self, later)
        };

        worker.run();
    }
}

#[pinned_drop]
impl<W: Work> PinnedDrop for Worker<W> {
    fn drop(self: Pin<&mut Self>) {
        self.cancel();
    }
}

/// Items of unbound queues run on any CPU.
// CAST: The number of CPUs is far below `c_int::MAX`.
const ANY_CPU: c_int = bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int;

/// Initialises a work item.
///
/// # Safety
///
/// - `slot` is valid for writing and stays where it is until the item is cancelled.
/// - `run` may be called with `slot`.
unsafe fn init_work(
    slot: *mut bindings::work_struct,
    run: unsafe extern "C" fn(*mut bindings::work_struct),
    class: Pin<&'static LockClassKey>,
) {
    // SAFETY:
    // - By this function's own conditions; name and class live for ever.
    unsafe {
        let name = c"skiff_work".as_char_ptr();

        bindings::init_work_with_key(slot, Some(run), false, name, class.as_ptr())
    }
}
