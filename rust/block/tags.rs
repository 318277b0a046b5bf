// SPDX-License-Identifier: GPL-2.0

//! Hardware queues and their tags, shared by the disks of a controller.

use core::ptr::NonNull;

use kernel::{
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    sync::Arc,
    time::msecs_to_jiffies,
    types::Opaque, //
};

use crate::{
    driver::Operations,
    slot::Slot,
    Driver,
    Request, //
};

/// What a tag set is made of.
pub struct Setup<D: Driver> {
    /// What the driver keeps for each hardware queue: default ones first, then those that are polled.
    pub queues: KVec<D::Queue>,
    /// How many of them are polled; at least one is not.
    pub polled: usize,
    /// Requests at a time in each queue, 1 to 10240.
    pub depth: u16,
    /// How long a request may take, in milliseconds; 0 for the block layer's default (30 s).
    pub timeout_ms: u32,
}

/// Hardware queues with their tags.
///
/// # Invariants
///
/// `set` is allocated, with the operations of `D`; `slots` has `depth` elements for each of `queues`.
#[pin_data(PinnedDrop)]
pub struct TagSet<D: Driver> {
    queues: KVec<D::Queue>,
    polled: u32,
    depth: u16,
    slots: KVVec<Slot<D::Request>>,
    /// After what its initialisation looks at.
    #[pin]
    set: Opaque<bindings::blk_mq_tag_set>,
}

// SAFETY: The block layer's functions for tag sets may be called by any thread; the rest is `Send`.
unsafe impl<D: Driver> Send for TagSet<D> {}
// SAFETY: As above, and `Sync`.
unsafe impl<D: Driver> Sync for TagSet<D> {}

impl<D: Driver> TagSet<D> {
    /// Makes the queues; `data` is called for each queue and tag. `EINVAL` if there is no queue that is not polled, or no tag.
    /// Process context.
    pub fn new(
        setup: Setup<D>,
        mut data: impl FnMut(usize, u16) -> Result<D::Request>,
    ) -> Result<Arc<Self>> {
        let Setup {
            queues,
            polled,
            depth,
            timeout_ms,
        } = setup;
        let count = u32::try_from(queues.len())?;
        let polled = u32::try_from(polled)?;

        if polled >= count || depth == 0 {
            return Err(EINVAL);
        }

        let total = queues.len().checked_mul(usize::from(depth)).ok_or(EINVAL)?;
        let mut slots = KVVec::with_capacity(total, GFP_KERNEL)?;

        for queue in 0..queues.len() {
            for tag in 0..depth {
                slots.push(Slot::new(data(queue, tag)?), GFP_KERNEL)?;
            }
        }

        // Maps of default, read (empty: as default) and poll, or the first alone.
        let maps = if polled == 0 {
            1
        } else {
            bindings::hctx_type_HCTX_MAX_TYPES
        };
        // CAST: In jiffies as the block layer counts them; `u32::MAX` milliseconds are at most as many.
        let timeout = msecs_to_jiffies(timeout_ms) as c_uint;
        let queue_depth = c_uint::from(depth);

        Arc::pin_init(
            try_pin_init!(Self {
                queues,
                polled,
                depth,
                slots,
                set <- Opaque::try_ffi_init(move |place: *mut bindings::blk_mq_tag_set| {
                    let set = bindings::blk_mq_tag_set {
                        ops: &Operations::<D>::TABLE,
                        nr_hw_queues: count,
                        nr_maps: maps,
                        queue_depth,
                        timeout,
                        numa_node: bindings::NUMA_NO_NODE,
                        ..pin_init::zeroed()
                    };

                    // SAFETY:
                    // - The place is valid for writes, and pinned from here on.
                    unsafe { place.write(set) };
                    // SAFETY:
                    // - Just written; freed by drop(). map_queues() is called, which looks at `polled`, initialised before.
                    // INVARIANT: On success the set is allocated, with the operations of `D`.
                    to_result(unsafe { bindings::blk_mq_alloc_tag_set(place) })
                }),
            }? Error),
            GFP_KERNEL,
        )
    }

    pub(crate) fn raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.set.get()
    }

    /// # Safety
    ///
    /// `set` is that of a `TagSet<D>` that lives for `'a`.
    pub(crate) unsafe fn from_raw<'a>(set: *mut bindings::blk_mq_tag_set) -> &'a Self {
        // SAFETY:
        // - By this function's own condition.
        unsafe { &*container_of!(Opaque::cast_from(set), Self, set) }
    }

    /// How many queues of it are polled.
    ///
    /// # Safety
    ///
    /// `set` is that of a `TagSet<D>` whose fields before `set` are initialised.
    pub(crate) unsafe fn polled_of(set: *mut bindings::blk_mq_tag_set) -> u32 {
        // SAFETY:
        // - By this function's own condition.
        unsafe { (*container_of!(Opaque::cast_from(set), Self, set)).polled }
    }

    /// What the driver keeps for a hardware queue.
    pub fn queue(&self, index: usize) -> Option<&D::Queue> {
        self.queues.get(index)
    }

    /// How many queues there are, and how many of them, the last ones, are polled.
    pub fn queues(&self) -> (usize, usize) {
        // CAST: It was made from a usize.
        (self.queues.len(), self.polled as usize)
    }

    /// Requests at a time in each queue.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// The slot of a tag.
    pub(crate) fn slot(&self, queue: usize, tag: u16) -> Option<&Slot<D::Request>> {
        if tag >= self.depth {
            return None;
        }
        self.slots.get(
            queue
                .checked_mul(usize::from(self.depth))?
                .checked_add(usize::from(tag))?,
        )
    }

    /// Takes the request back that the device has done, or was asked not to do any more. `None` if none flies there: what the
    /// device says need not be true. Any context.
    pub fn take(&self, queue: usize, tag: u16) -> Option<Request<D>> {
        self.take_slot(self.slot(queue, tag)?)
    }

    fn take_slot(&self, slot: &Slot<D::Request>) -> Option<Request<D>> {
        let raw = NonNull::new(slot.take()?)?;

        // SAFETY:
        // - take() has held the slot for this function; what flies was started.
        Some(unsafe { Request::new(raw, NonNull::from(slot), true) })
    }

    /// Takes all requests back that fly, to be ended or queued again. The device must not touch their memory any more. More may
    /// begin to fly meanwhile, unless the queues are quiesced. Any context.
    pub fn take_all(&self, mut each: impl FnMut(Request<D>)) {
        for slot in &self.slots {
            if let Some(request) = self.take_slot(slot) {
                each(request);
            }
        }
    }

    /// As [`TagSet::take_all`], of one queue.
    pub fn take_queue(&self, queue: usize, mut each: impl FnMut(Request<D>)) {
        for tag in 0..self.depth {
            if let Some(request) = self.take(queue, tag) {
                each(request);
            }
        }
    }

    /// How many requests fly.
    pub fn flying(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_flying()).count()
    }

    /// Makes the driver be called for no request until the result is dropped: none is being queued when this returns. No disk of
    /// the set may be added meanwhile. Sleeps.
    pub fn quiesce(self: &Arc<Self>) -> Quiesced<D> {
        // SAFETY:
        // - By the type's invariant; process context.
        unsafe { bindings::blk_mq_quiesce_tagset(self.raw()) };
        Quiesced(self.clone())
    }
}

#[pinned_drop]
impl<D: Driver> PinnedDrop for TagSet<D> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY:
        // - By the type's invariant; each disk holds the set, so there are none.
        unsafe { bindings::blk_mq_free_tag_set(self.set.get()) };
    }
}

/// As long as this lives the driver is called for no request of the set.
#[must_use]
pub struct Quiesced<D: Driver>(Arc<TagSet<D>>);

impl<D: Driver> Drop for Quiesced<D> {
    fn drop(&mut self) {
        // SAFETY:
        // - By the invariant of the set, which was quiesced once for this object.
        unsafe { bindings::blk_mq_unquiesce_tagset(self.0.raw()) };
    }
}
