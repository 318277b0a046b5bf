// SPDX-License-Identifier: GPL-2.0

//! What a driver does, and how the block layer calls it.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    prelude::*, //
};

use crate::{
    bindings as own,
    slot::Slot,
    Batch,
    Flying,
    Op,
    Request,
    Status,
    TagSet, //
};

/// What became of a request that [`Driver::queue`] was given.
pub enum Queued<D: Driver> {
    /// It flies, or is ended, or will be by somebody else.
    Taken,
    /// There was no room for it, which the block layer shall try again in a moment.
    Busy(Request<D>),
}

/// What shall become of a request that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It was taken and ended, or somebody else will do so.
    Done,
    /// It gets as much time again.
    Again,
}

/// A driver of disks.
pub trait Driver: Sync + Sized + 'static {
    /// What it keeps for each hardware queue.
    type Queue: Send + Sync + 'static;
    /// What it keeps for each disk.
    type Data: Send + Sync + 'static;
    /// What it keeps for each tag of each queue, made with the tag set.
    type Request: Send + Sync + 'static;

    /// Lets the device do `request`. The device need not be told before `last` is set or [`Driver::commit`] is called. Atomic
    /// context.
    fn queue(queue: &Self::Queue, request: Request<Self>, last: bool) -> Queued<Self>;

    /// Tells the device of what was queued, as no last one comes. Atomic context.
    fn commit(queue: &Self::Queue);

    /// Looks for what the device has done on a polled queue: how many requests were ended, or put into `batch`. Atomic context.
    fn poll(queue: &Self::Queue, tags: &TagSet<Self>, batch: &mut Batch) -> u32;

    /// A request takes too long. Process context, may sleep, but must not wait for other requests of its disk to end.
    fn timeout(queue: &Self::Queue, request: Flying<'_, Self>) -> TimeoutAction;
}

/// The operations of a driver as the block layer has them.
pub(crate) struct Operations<D>(PhantomData<D>);

impl<D: Driver> Operations<D> {
    pub(crate) const TABLE: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        commit_rqs: Some(Self::commit_rqs),
        poll: Some(Self::poll),
        timeout: Some(Self::timeout),
        complete: Some(Self::complete),
        init_hctx: Some(Self::init_hctx),
        map_queues: Some(Self::map_queues),
        queue_rqs: None,
        get_budget: None,
        put_budget: None,
        set_rq_budget_token: None,
        get_rq_budget_token: None,
        exit_hctx: None,
        init_request: None,
        exit_request: None,
        cleanup_rq: None,
        busy: None,
        #[cfg(CONFIG_BLK_DEBUG_FS)]
        show_rq: None,
    };

    /// The tag set of a hardware queue.
    ///
    /// # Safety
    ///
    /// `hctx` is a hardware queue of a disk of `D`, whose tag set is borrowed no longer than it lives.
    unsafe fn tags<'a>(hctx: *mut bindings::blk_mq_hw_ctx) -> &'a TagSet<D> {
        // SAFETY:
        // - By this function's own condition; a disk holds its tag set.
        unsafe { TagSet::from_raw((*(*hctx).queue).tag_set) }
    }

    /// What the driver keeps for a hardware queue.
    ///
    /// # Safety
    ///
    /// `hctx` is a hardware queue of a disk of `D` that init_hctx() has seen; the result is used no longer than its tag set lives.
    unsafe fn queue<'a>(hctx: *mut bindings::blk_mq_hw_ctx) -> &'a D::Queue {
        // SAFETY:
        // - init_hctx() has set it.
        unsafe { &*(*hctx).driver_data.cast::<D::Queue>() }
    }

    /// The slot of a request, and its queue and tag.
    ///
    /// # Safety
    ///
    /// `rq` is a request of a disk of `D` that is on a hardware queue; the result is used no longer than its tag set lives.
    unsafe fn slot<'a>(rq: *mut bindings::request) -> Option<(&'a Slot<D::Request>, usize, u16)> {
        // SAFETY:
        // - By this function's own condition.
        let (tags, queue, tag) = unsafe {
            let hctx = (*rq).mq_hctx;

            (Self::tags(hctx), (*hctx).queue_num as usize, (*rq).tag)
        };
        let tag = u16::try_from(tag).ok()?;

        Some((tags.slot(queue, tag)?, queue, tag))
    }

    /// # Safety
    ///
    /// Called by the block layer with a hardware queue of a disk of `D`, and a request that is the driver's from now on.
    unsafe extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        data: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY:
        // - The block layer's data are valid during the call.
        let (rq, last) = unsafe { ((*data).rq, (*data).last) };

        // SAFETY:
        // - The request is valid.
        if Op::of(unsafe { (*rq).cmd_flags }).is_none() {
            return Status::NotSupported.raw();
        }
        // SAFETY:
        // - The request is of a disk of `D` and has been given a queue and a tag.
        let Some((slot, ..)) = (unsafe { Self::slot(rq) }) else {
            return Status::Io.raw();
        };
        let Some(raw) = NonNull::new(rq) else {
            return Status::Io.raw();
        };

        // SAFETY:
        // - The block layer has just handed the request, which has this slot's queue and tag, to the driver.
        if !unsafe { slot.hold(rq) } {
            return Status::Io.raw();
        }
        // SAFETY:
        // - The slot has just been held for it; the request was not started.
        let request = unsafe { Request::new(raw, NonNull::from(slot), false) };

        // SAFETY:
        // - The hardware queue is one of a disk of `D`.
        match D::queue(unsafe { Self::queue(hctx) }, request, last) {
            Queued::Taken => Status::Ok.raw(),
            Queued::Busy(request) if request.is(raw) => {
                request.give_back();
                own::SKIFF_BLK_STS_RESOURCE
            }
            // One that the driver has got elsewhere; the given one is somewhere else by now.
            Queued::Busy(other) => {
                other.requeue();
                Status::Ok.raw()
            }
        }
    }

    /// # Safety
    ///
    /// Called by the block layer with a hardware queue of a disk of `D`.
    unsafe extern "C" fn commit_rqs(hctx: *mut bindings::blk_mq_hw_ctx) {
        // SAFETY:
        // - By this function's own condition.
        D::commit(unsafe { Self::queue(hctx) })
    }

    /// # Safety
    ///
    /// Called by the block layer with a hardware queue of a disk of `D`.
    unsafe extern "C" fn poll(
        hctx: *mut bindings::blk_mq_hw_ctx,
        batch: *mut bindings::io_comp_batch,
    ) -> c_int {
        // SAFETY:
        // - By this function's own condition.
        let (queue, tags) = unsafe { (Self::queue(hctx), Self::tags(hctx)) };
        let found = match NonNull::new(batch) {
            // SAFETY:
            // - The block layer's batch is this call's alone.
            Some(batch) => D::poll(queue, tags, unsafe { Batch::from_raw(batch) }),
            None => D::poll(queue, tags, &mut Batch::default()),
        };

        c_int::try_from(found).unwrap_or(c_int::MAX)
    }

    /// # Safety
    ///
    /// Called by the block layer with a request of a disk of `D` of which it holds a reference.
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY:
        // - By this function's own condition; a request that was started is on a hardware queue.
        let action = match unsafe { Self::slot(rq) } {
            Some((slot, queue, tag)) if slot.is_flying() => {
                // SAFETY:
                // - As above.
                let own = unsafe { Self::queue((*rq).mq_hctx) };

                D::timeout(own, Flying { slot, queue, tag })
            }
            // Somebody is just ending it.
            _ => TimeoutAction::Again,
        };

        match action {
            TimeoutAction::Done => bindings::blk_eh_timer_return_BLK_EH_DONE,
            TimeoutAction::Again => bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER,
        }
    }

    /// # Safety
    ///
    /// Called by the block layer once after [`Request::complete`], with the same request.
    unsafe extern "C" fn complete(rq: *mut bindings::request) {
        // SAFETY:
        // - By this function's own condition.
        let status = unsafe { Self::slot(rq) }.and_then(|(slot, ..)| slot.finish());

        if let Some(status) = status {
            // SAFETY:
            // - The request was done, that is the driver's and not ended, and is nobody's now.
            unsafe { bindings::blk_mq_end_request(rq, status) };
        }
    }

    /// # Safety
    ///
    /// Called by the block layer with a new hardware queue of a disk of `D`.
    unsafe extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        _data: *mut c_void,
        index: c_uint,
    ) -> c_int {
        // SAFETY:
        // - By this function's own condition; `queue` is set before.
        let tags = unsafe { Self::tags(hctx) };
        let Some(queue) = tags.queue(index as usize) else {
            return EINVAL.to_errno();
        };

        // SAFETY:
        // - The field is the driver's.
        unsafe { (*hctx).driver_data = core::ptr::from_ref(queue).cast_mut().cast() };
        0
    }

    /// Spreads the CPUs over the default queues, and once more over the polled ones.
    ///
    /// # Safety
    ///
    /// Called by the block layer with the tag set of a [`TagSet`] of `D`.
    unsafe extern "C" fn map_queues(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY:
        // - By this function's own condition. `polled` was initialised before the tag set.
        let polled = unsafe { TagSet::<D>::polled_of(set) };
        // SAFETY:
        // - The tag set is valid, and the block layer's alone during the call.
        let set = unsafe { &mut *set };
        let polled = if set.nr_maps > bindings::hctx_type_HCTX_TYPE_POLL {
            polled.min(set.nr_hw_queues.saturating_sub(1))
        } else {
            0
        };
        let default = set.nr_hw_queues - polled;

        for (kind, queues, offset) in [
            (bindings::hctx_type_HCTX_TYPE_DEFAULT, default, 0),
            (bindings::hctx_type_HCTX_TYPE_POLL, polled, default),
        ] {
            if queues == 0 {
                continue;
            }

            let map = &mut set.map[kind as usize];

            map.nr_queues = queues;
            map.queue_offset = offset;
            // SAFETY:
            // - The map is that of a tag set, with room for each CPU.
            unsafe { bindings::blk_mq_map_queues(map) };
        }
    }
}
