// SPDX-License-Identifier: GPL-2.0

//! Wait queues that poll(2) can watch and that tasks can wait on with a limit.
//!
//! The kernel crate's `PollCondVar` waits for an RCU grace period when it goes, because it may go before the files
//! that are polled. A [`WaitQueue`] that lives in a file's private data outlives every poll of that file: poll and
//! select hold the file, and epoll lets go of it before `release` runs. [`crate::fops`] registers no other.
//!
//! # Locking
//!
//! The condition of a wait is evaluated with nothing held and the task running, so it may take sleeping locks. What
//! makes it true must happen before [`WaitQueue::wake_all`].
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use core::{
    marker::PhantomPinned,
    ptr, //
};

use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    task::{
        MAX_SCHEDULE_TIMEOUT,
        TASK_INTERRUPTIBLE,
        TASK_NORMAL, //
    },
    time::msecs_to_jiffies,
    types::Opaque, //
};

/// Makes an initialiser of a [`WaitQueue`] with a lock class of its own.
#[macro_export]
macro_rules! new_wait_queue {
    () => {
        $crate::wait::WaitQueue::new(::kernel::optional_name!(), ::kernel::static_lock_class!())
    };
}

/// A wait queue.
///
/// # Invariants
///
/// `head` is initialised and every entry in it is either of a task in [`WaitQueue::wait_for`] or of a poll of the file
/// whose private data this queue is part of.
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,

    /// The head's list points to itself.
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A wait queue head may be used from any task; all its functions lock it.
unsafe impl Send for WaitQueue {}

// SAFETY: A wait queue head may be used by several tasks at once; all its functions lock it.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Makes an initialiser; use [`new_wait_queue!`](crate::new_wait_queue).
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes; name and key live for ever.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
            _pin: PhantomPinned,
        })
    }

    /// Returns the C structure.
    pub(crate) fn as_raw(&self) -> *mut bindings::wait_queue_head {
        self.head.get()
    }

    /// Wakes all tasks that wait, and all polls.
    pub fn wake_all(&self) {
        // SAFETY: The head is initialised by the type invariant. A null key stands for all events.
        unsafe { bindings::__wake_up(self.as_raw(), TASK_NORMAL, 0, ptr::null_mut()) };
    }

    /// Waits until `ready` gives a value, which is then returned.
    ///
    /// `limit_ms` is in milliseconds; without one only a signal ends the wait. Errors: `EINTR` when a signal is
    /// pending, `ETIMEDOUT` when the limit has passed and `ready` still gives none.
    pub fn wait_for<R>(
        &self,
        limit_ms: Option<u32>,
        mut ready: impl FnMut() -> Option<R>,
    ) -> Result<R> {
        let mut left = match limit_ms {
            Some(ms) => msecs_to_jiffies(ms)
                .try_into()
                .unwrap_or(MAX_SCHEDULE_TIMEOUT),
            None => MAX_SCHEDULE_TIMEOUT,
        };
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        let raw = entry.get();
        // SAFETY: `raw` is valid for writes. The list node points to itself, as `INIT_LIST_HEAD` leaves it; the wake
        // function asks for the task in `private`, and the current task stays alive while it runs this function.
        unsafe {
            let node = &raw mut (*raw).entry;
            raw.write(bindings::wait_queue_entry {
                flags: 0,
                private: bindings::get_current().cast(),
                func: Some(bindings::woken_wake_function),
                entry: bindings::list_head {
                    next: node,
                    prev: node,
                },
            });
        }
        // SAFETY: The head is initialised by the type invariant, the entry above; it is removed before it goes.
        unsafe { bindings::add_wait_queue(self.as_raw(), raw) };
        let result = loop {
            if let Some(value) = ready() {
                break Ok(value);
            }
            if kernel::current!().signal_pending() {
                break Err(EINTR);
            }
            if left == 0 {
                break Err(ETIMEDOUT);
            }
            // SAFETY: The entry has the wake function that `wait_woken` asks for and belongs to the current task.
            left = unsafe { bindings::wait_woken(raw, TASK_INTERRUPTIBLE as u32, left) };
        };
        // SAFETY: The entry was added to this head above.
        unsafe { bindings::remove_wait_queue(self.as_raw(), raw) };
        result
    }
}
