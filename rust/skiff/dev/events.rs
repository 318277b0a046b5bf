// SPDX-License-Identifier: GPL-2.0

//! read(2) and poll(2) of any object: its events.

use core::mem::size_of;
use kernel::{
    iov::IovIterDest,
    prelude::*, //
};
use skiff_ext::fops::Blocking;
use zerocopy::IntoBytes;

use super::{
    arguments::adapter_number,
    uapi::{
        self,
        numbers::event_type, //
    },
};
use crate::segment::{
    Event,
    EventQueue, //
};

/// An event as programs get it.
fn encode(event: &Event) -> uapi::skiff_event {
    uapi::skiff_event {
        type_: event_type(event.kind),
        node: event.node.map_or(uapi::SKIFF_NODE_LOCAL, |node| node.get()),
        count: event.count,
        adapter: adapter_number(event.adapter),
    }
}

/// Copies as many events as fit, and waits for the first one if that is allowed.
///
/// Errors: `EINVAL` for a buffer that none fits in, `EAGAIN`, `EINTR`, `EFAULT`, `ECONNRESET` from an object that is gone.
pub(super) fn read(
    events: &EventQueue,
    blocking: Blocking,
    iov: &mut IovIterDest<'_>,
) -> Result<usize> {
    let size = size_of::<uapi::skiff_event>();
    if iov.len() < size {
        return Err(EINVAL);
    }
    let mut copied = 0usize;
    while iov.len() >= size {
        let blocking = if copied == 0 {
            blocking
        } else {
            Blocking::Never
        };
        let event = match events.take(blocking) {
            Ok(event) => event,
            Err(error) if copied == 0 => return Err(error),
            Err(_) => break,
        };
        if iov.copy_to_iter(encode(&event).as_bytes()) != size {
            events.give_back(event);
            if copied == 0 {
                return Err(EFAULT);
            }
            break;
        }
        // PANIC: Not more than the length of the buffer.
        copied += size;
    }
    Ok(copied)
}

/// What a [`FileObject`](skiff_ext::fops::FileObject) says that tells of events: `this => ` where they are.
macro_rules! tells {
    ($this:ident => $events:expr) => {
        fn read(
            this: ::kernel::sync::ArcBorrow<'_, Self>,
            blocking: ::skiff_ext::fops::Blocking,
            iov: &mut ::kernel::iov::IovIterDest<'_>,
        ) -> Result<usize> {
            let $this = &*this;

            $crate::dev::events::read($events, blocking, iov)
        }

        fn queue(&self) -> &::skiff_ext::wait::WaitQueue {
            let $this = self;

            $events.queue()
        }

        fn ready(&self) -> ::skiff_ext::fops::Ready {
            let $this = self;

            $events.ready()
        }
    };
}

pub(super) use tells;
