// SPDX-License-Identifier: GPL-2.0

//! A request of the block layer.

use core::{
    ptr::NonNull,
    sync::atomic::AtomicU8, //
};

use kernel::bindings;

use crate::{
    bindings as own,
    slot::Slot,
    Batch,
    Driver,
    Op,
    Pieces,
    Ranges,
    Status, //
};

/// A request that its owner has to end, or to let fly. Dropping it ends it with [`Status::Io`].
///
/// # Invariants
///
/// `raw` is a request of a disk of `D` which this object holds, that is, its slot is held; `slot` is the slot of its queue and tag.
pub struct Request<D: Driver> {
    raw: NonNull<bindings::request>,
    slot: NonNull<Slot<D::Request>>,
    /// The block layer measures its time since it flew first.
    started: bool,
}

// SAFETY: A request may be ended by another thread than the one that was given it; what is reached through it is `Sync`.
unsafe impl<D: Driver> Send for Request<D> {}
// SAFETY: Shared references only read what nobody changes while the request is held.
unsafe impl<D: Driver> Sync for Request<D> {}

impl<D: Driver> Request<D> {
    /// # Safety
    ///
    /// `raw` is a request of a disk of `D` whose slot is `slot`, and the caller holds that slot and hands it over.
    pub(crate) unsafe fn new(
        raw: NonNull<bindings::request>,
        slot: NonNull<Slot<D::Request>>,
        started: bool,
    ) -> Self {
        // INVARIANT: By this function's own conditions.
        Self { raw, slot, started }
    }

    fn raw(&self) -> &bindings::request {
        // SAFETY:
        // - By the type's invariant; the fields that are read do not change while the driver has the request.
        unsafe { self.raw.as_ref() }
    }

    fn slot(&self) -> &Slot<D::Request> {
        // SAFETY:
        // - By the type's invariant; slots live as long as the tag set, which outlives every request.
        unsafe { self.slot.as_ref() }
    }

    /// Forgets the object, not the request: who calls this does with it what the slot then says.
    fn into_parts(self) -> (NonNull<bindings::request>, NonNull<Slot<D::Request>>) {
        let parts = (self.raw, self.slot);

        core::mem::forget(self);
        parts
    }

    /// What it asks for.
    pub fn op(&self) -> Op {
        // PANIC: The driver is not given a request with another operation.
        Op::of(self.raw().cmd_flags).unwrap_or(Op::Flush)
    }

    /// Whether what it writes must outlive a loss of power once it is ended.
    pub fn fua(&self) -> bool {
        self.raw().cmd_flags & own::SKIFF_REQ_FUA != 0
    }

    /// Whether somebody polls for its end.
    pub fn polled(&self) -> bool {
        self.raw().cmd_flags & own::SKIFF_REQ_POLLED != 0
    }

    /// The first sector.
    pub fn sector(&self) -> u64 {
        self.raw().__sector
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u32 {
        self.raw().__data_len
    }

    /// Its tag, below the depth of its queue: no other request of the same queue that the driver has, of whichever disk, has
    /// it.
    pub fn tag(&self) -> u16 {
        // CAST: Tags of requests that were handed to the driver are from 0 to 10239.
        self.raw().tag as u16
    }

    /// The number of its hardware queue, default ones first.
    pub fn queue(&self) -> usize {
        // SAFETY:
        // - A request that was handed to the driver is on a hardware queue, which lives as long as the disk.
        unsafe { (*self.raw().mq_hctx).queue_num as usize }
    }

    /// What the driver keeps for the tag.
    pub fn data(&self) -> &D::Request {
        &self.slot().data
    }

    /// What the driver keeps for the disk.
    pub fn disk(&self) -> &D::Data {
        // SAFETY:
        // - A disk's queue points to its data, which outlive its requests.
        unsafe { &*(*self.raw().q).queuedata.cast::<D::Data>() }
    }

    /// How many pieces there are if neighbours count as one, as the limit of a disk does.
    pub fn piece_count(&self) -> u16 {
        self.raw().nr_phys_segments
    }

    /// The memory to read into or write from. Empty for what is neither [`Op::Read`] nor [`Op::Write`].
    pub fn pieces(&self) -> Pieces<'_> {
        let first = match self.op() {
            Op::Read | Op::Write => self.raw().bio,
            _ => core::ptr::null_mut(),
        };

        // SAFETY:
        // - Reads and writes have data; the request is not ended while `self` is borrowed.
        unsafe { Pieces::new(first) }
    }

    /// Calls `f` with each part of the memory that lies in one page, and where in the request it begins. `f` must not sleep
    /// where the caller must not.
    pub fn for_each_bytes(&self, f: impl FnMut(usize, &[AtomicU8])) {
        self.pieces().for_each_mapped(f)
    }

    /// The ranges to discard. Empty for what is not [`Op::Discard`].
    pub fn ranges(&self) -> Ranges<'_> {
        let first = match self.op() {
            Op::Discard => self.raw().bio,
            _ => core::ptr::null_mut(),
        };

        // SAFETY:
        // - The request is not ended while `self` is borrowed.
        unsafe { Ranges::new(first) }
    }

    /// Whether it is this request of the block layer.
    pub(crate) fn is(&self, raw: NonNull<bindings::request>) -> bool {
        self.raw == raw
    }

    /// Lets it fly: from now on [`crate::TagSet::take`] finds it, and its timeout runs. To be called before the device is told of
    /// it, as the device may be quick. Any context.
    pub fn send(self) {
        let started = self.started;
        let (raw, slot) = self.into_parts();

        if !started {
            // SAFETY:
            // - The request is held, and was not started since it was handed to the driver.
            unsafe { bindings::blk_mq_start_request(raw.as_ptr()) };
        }
        // SAFETY:
        // - By the type's invariant it was held by the object that is no more; slots outlive requests.
        unsafe { slot.as_ref().fly() };
    }

    /// Ends it, here and now. Any context.
    pub fn end(self, status: Status) {
        let (raw, slot) = self.into_parts();

        // SAFETY:
        // - By the type's invariant it was held by the object that is no more, and goes back to the block layer.
        unsafe {
            slot.as_ref().free();
            bindings::blk_mq_end_request(raw.as_ptr(), status.raw());
        }
    }

    /// Ends it on the CPU that it came from, or one near to it: what an interrupt does. Any context.
    pub fn complete(self, status: Status) {
        if !self.started {
            // The block layer wants to have seen a start, before it hears of a completion.
            return self.end(status);
        }

        let (raw, slot) = self.into_parts();

        // SAFETY:
        // - By the type's invariant it was held by the object that is no more; the block layer calls complete() of the driver's
        //   operations once, which ends it.
        unsafe {
            slot.as_ref().done(status);
            bindings::blk_mq_complete_request(raw.as_ptr());
        }
    }

    /// As [`Request::complete`], but if it went well, and this is the CPU that it came from, or one near to it, it ends with
    /// `batch`. Any context.
    pub fn complete_in(self, status: Status, batch: &mut Batch) {
        if !self.started {
            return self.end(status);
        }

        let (raw, slot) = self.into_parts();

        // SAFETY:
        // - By the type's invariant it was held by the object that is no more. If the block layer does not call complete() of the
        //   driver's operations, this function does what that would.
        let finished = unsafe {
            slot.as_ref().done(status);
            if bindings::blk_mq_complete_request_remote(raw.as_ptr()) {
                return;
            }
            slot.as_ref().finish()
        };
        let Some(status) = finished else {
            return;
        };

        // SAFETY:
        // - The request was done, that is the driver's and not ended, and is nobody's now.
        unsafe {
            if !batch.add(raw, status == 0) {
                bindings::blk_mq_end_request(raw.as_ptr(), status);
            }
        }
    }

    /// Gives it back to be queued again. Any context.
    pub fn requeue(self) {
        let (raw, slot) = self.into_parts();

        // SAFETY:
        // - By the type's invariant it was held by the object that is no more, and goes back to the block layer.
        unsafe {
            slot.as_ref().free();
            bindings::blk_mq_requeue_request(raw.as_ptr(), true);
        }
    }

    /// Gives it back unheld, for the caller to return to the block layer as busy.
    pub(crate) fn give_back(self) {
        let (_, slot) = self.into_parts();

        // SAFETY:
        // - By the type's invariant it was held by the object that is no more, and goes back to the block layer.
        unsafe { slot.as_ref().free() };
    }
}

impl<D: Driver> Drop for Request<D> {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant it is held by this object, which is no more after this.
        unsafe {
            self.slot.as_ref().free();
            bindings::blk_mq_end_request(self.raw.as_ptr(), Status::Io.raw());
        }
    }
}

/// A request that took longer than it may, seen by [`Driver::timeout`]. It may be ended by others meanwhile.
pub struct Flying<'a, D: Driver> {
    pub(crate) slot: &'a Slot<D::Request>,
    pub(crate) queue: usize,
    pub(crate) tag: u16,
}

impl<D: Driver> Flying<'_, D> {
    /// The number of its hardware queue.
    pub fn queue(&self) -> usize {
        self.queue
    }

    /// Its tag.
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// What the driver keeps for the tag.
    pub fn data(&self) -> &D::Request {
        &self.slot.data
    }

    /// Takes it from the device, which must not touch its memory any more; `None` if somebody else was faster.
    pub fn take(&self) -> Option<Request<D>> {
        let raw = NonNull::new(self.slot.take()?)?;

        // SAFETY:
        // - take() has held the slot for this function, whose request is that of the same slot and started.
        Some(unsafe { Request::new(raw, NonNull::from(self.slot), true) })
    }
}
