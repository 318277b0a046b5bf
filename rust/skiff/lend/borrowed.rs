// SPDX-License-Identifier: GPL-2.0

//! A device that this node has borrowed.
//!
//! The file that stands for it, or the kernel module that uses it, owns the [`Borrowed`], and so does the table of [`Lend`] until
//! the borrow has ended.
//!
//! A program hears of interrupts by eventfds and of events by its file; a kernel module is called ([`Client`]) on the thread that
//! has heard the lender, without another hop.
//!
//! # Locking
//!
//! `state` is held while an eventfd is signalled, and while nothing else is. `Caller::client` is held while the module is called, so that
//! it is not called any more once that was taken away; nothing of ours is held then.

mod client;
mod fence;
mod map;
mod own;

pub(crate) use self::{
    client::{
        Caller,
        Client, //
    },
    map::Memory,
    own::{
        NewMemory,
        Own, //
    }, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    eventfd::EventFd, //
};
use skiff_model::{
    ids::{
        AdapterId,
        BorrowId,
        Fdid,
        Gid,
        Uid, //
    },
    wire::{
        DeviceAnswer,
        DeviceOp,
        Message,
        Raw,
        Share, //
    },
};

use self::{
    client::Told,
    fence::Fence,
    own::Private, //
};
use super::{
    net::{
        Answer,
        End,
        Way, //
    },
    Lend, //
};
use crate::segment::{
    EventKind,
    EventQueue, //
};

/// Vectors of a device that can be listened to.
const VECTORS: usize = 64;

/// How a device is to be borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Borrow {
    /// Which one.
    pub(crate) fdid: Fdid,
    /// Alone or not.
    pub(crate) share: Share,
    /// Whether a device that reaches all memory of its lender will do.
    pub(crate) raw: Raw,
    /// The limit of the wait for the lender, in milliseconds.
    pub(crate) timeout_ms: u32,
    /// Who wants it.
    pub(crate) uid: Uid,
    /// Their group.
    pub(crate) gid: Gid,
}

/// Whether the device can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It can.
    Good,
    /// It was given back, or taken.
    Over,
}

/// What changes.
struct State {
    phase: Phase,
    fence: Fence,
    share: Share,
    maps: u32,
    vectors: u32,
    eventfds: [Option<EventFd>; VECTORS],
    told: Told,
    privates: KVec<Private>,
}

/// A borrowed device.
#[pin_data]
pub(crate) struct Borrowed {
    lend: Arc<Lend>,
    fdid: Fdid,
    way: Way,
    id: BorrowId,
    #[pin]
    events: EventQueue,
    /// The kernel module that uses it.
    caller: Arc<Caller>,
    #[pin]
    state: Mutex<State>,
}

/// A borrowed device as its user sees it.
pub(crate) struct BorrowedInfo {
    /// Which one.
    pub(crate) fdid: Fdid,
    /// Alone or not.
    pub(crate) share: Share,
    /// What is mapped for it.
    pub(crate) maps: u32,
    /// Vectors that are on, as far as this borrow knows.
    pub(crate) vectors: u32,
}

impl Borrowed {
    /// A device that the lender has granted.
    pub(super) fn new(
        lend: &Arc<Lend>,
        fdid: Fdid,
        way: Way,
        id: BorrowId,
        share: Share,
        client: Option<Arc<dyn Client>>,
    ) -> Result<Arc<Self>> {
        let lend = lend.clone();
        let caller = Caller::new(client)?;

        Arc::pin_init(
            pin_init!(Self {
                lend,
                fdid,
                way,
                id,
                events <- EventQueue::new(),
                caller,
                state <- new_mutex!(
                    State {
                        phase: Phase::Good,
                        fence: Fence::Unknown,
                        share,
                        maps: 0,
                        vectors: 0,
                        eventfds: [const { None }; VECTORS],
                        told: Told::Yes,
                        privates: KVec::new(),
                    },
                    "Borrowed::state"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// What names it among the borrowed devices of this node.
    pub(super) fn key(&self) -> (End, BorrowId) {
        (self.way.end(), self.id)
    }

    /// The adapter that leads to the lender; `None` if that is this node.
    pub(crate) fn adapter(&self) -> Option<AdapterId> {
        self.way.adapter()
    }

    /// What happens to it.
    pub(crate) fn events(&self) -> &EventQueue {
        &self.events
    }

    /// What is known of it. Errors: ECONNRESET once the borrow has ended.
    pub(crate) fn info(&self) -> Result<BorrowedInfo> {
        let state = self.state.lock();

        if state.phase == Phase::Over {
            return Err(Errno::ConnReset.into());
        }
        Ok(BorrowedInfo {
            fdid: self.fdid,
            share: state.share,
            maps: state.maps,
            vectors: state.vectors,
        })
    }

    /// Asks something of the device.
    fn ask(&self, op: DeviceOp, timeout_ms: u32) -> Result<DeviceAnswer> {
        let borrow = self.id;

        self.info()?;
        let answer = self
            .lend
            .net()
            .ask(&self.way, timeout_ms, |request| Message::DeviceRequest {
                request,
                borrow,
                op,
            });

        match answer {
            Ok(Answer::Done(answer)) => Ok(answer),
            Ok(Answer::Borrowed(_)) => Err(Errno::Proto.into()),
            // The session that it was borrowed in is over: another one begins.
            Err(error) if error == Error::from(Errno::HostDown) => Err(Errno::ConnReset.into()),
            Err(error) => {
                // What the lender has said of the end may have come before anybody has known of the borrow.
                if error == Error::from(Errno::ConnReset) {
                    // Or what was to be mapped is gone.
                    if !matches!(op, DeviceOp::Map { .. }) {
                        self.said();
                    }
                    self.ended_unheard();
                }
                Err(error)
            }
        }
    }

    /// Asks for something that has no result.
    pub(crate) fn order(&self, op: DeviceOp, timeout_ms: u32) -> Result {
        match self.ask(op, timeout_ms)? {
            DeviceAnswer::Done => Ok(()),
            _ => Err(Errno::Proto.into()),
        }
    }

    /// Gives it back. Errors: EBUSY while segments of it are connected; those of asking.
    pub(crate) fn give_back(&self, timeout_ms: u32) -> Result {
        if self.privates_connected() {
            return Err(EBUSY);
        }
        self.order(DeviceOp::Return, timeout_ms)?;
        self.said();
        self.over();
        self.remove_privates();
        self.lend.forget(self.key());
        self.events.close();
        Ok(())
    }

    /// The file that stands for it is gone: gives it back, whatever is connected.
    pub(crate) fn close(&self) {
        if self.over() {
            let borrow = self.id;

            self.lend
                .net()
                .send(&self.way, &Message::GivenUp { borrow });
        }
        self.remove_privates();
        self.lend.forget(self.key());
        self.events.close();
    }

    /// Nothing can be asked of it any more; whether something could before.
    fn over(&self) -> bool {
        let mut state = self.state.lock();
        let before = core::mem::replace(&mut state.phase, Phase::Over);
        let eventfds = core::mem::replace(&mut state.eventfds, [const { None }; VECTORS]);

        drop(state);
        drop(eventfds);
        self.caller.hush();
        before == Phase::Good
    }

    /// The lender says that the borrow has ended; its user is told so.
    pub(super) fn ended_there(&self) {
        self.said();
        self.ended();
    }

    /// The borrow has ended, and its user is told so.
    fn ended(&self) {
        if self.over() {
            self.notice(EventKind::Ended);
            self.events.hang_up();
        } else if self.take_untold() {
            // It will not be found any more by the thread that was to do that.
            self.call(|client| client.event(EventKind::Ended));
        }
    }

    /// Tells its user something.
    pub(super) fn notice(&self, kind: EventKind) {
        self.post(kind);
        self.call(|client| client.event(kind));
    }

    /// Puts it where a program finds it.
    fn post(&self, kind: EventKind) {
        if let Some(node) = self.fdid.node() {
            self.events.post(kind, node, self.way.adapter());
        }
    }

    /// Others may borrow it as well. Errors: EBUSY when it was not exclusive, those of asking.
    pub(crate) fn release_exclusive(&self, timeout_ms: u32) -> Result {
        self.order(DeviceOp::ReleaseExclusive, timeout_ms)?;
        self.state.lock().share = Share::Shared;
        Ok(())
    }

    /// A value of the configuration space.
    pub(crate) fn config_read(&self, op: DeviceOp, timeout_ms: u32) -> Result<u32> {
        match self.ask(op, timeout_ms)? {
            DeviceAnswer::Value(value) => Ok(value),
            _ => Err(Errno::Proto.into()),
        }
    }

    /// Turns vectors on; how many there are.
    pub(crate) fn vectors(&self, count: u32, timeout_ms: u32) -> Result<u32> {
        match self.ask(DeviceOp::Vectors(count), timeout_ms)? {
            DeviceAnswer::Vectors(count) => {
                self.state.lock().vectors = count;
                Ok(count)
            }
            _ => Err(Errno::Proto.into()),
        }
    }

    /// Has an eventfd signalled by a vector, or none.
    ///
    /// Errors: ENOENT when the vector is not on; those of asking.
    pub(crate) fn listen(&self, index: u32, eventfd: Option<EventFd>, timeout_ms: u32) -> Result {
        let mut state = self.state.lock();

        if state.phase == Phase::Over {
            return Err(Errno::ConnReset.into());
        }
        if index >= state.vectors {
            return Err(ENOENT);
        }
        let place = usize::try_from(index)
            .ok()
            .and_then(|index| state.eventfds.get_mut(index))
            .ok_or(ENOENT)?;
        let former = core::mem::replace(place, eventfd);
        let vectors = (0..64u32)
            .zip(&state.eventfds)
            .filter(|(_, eventfd)| eventfd.is_some())
            .fold(0, |vectors, (index, _)| vectors | 1u64 << index);

        drop(state);
        drop(former);
        self.order(DeviceOp::Listen { vectors }, timeout_ms)
    }

    /// The device has raised interrupts: bit n by vector n.
    pub(super) fn interrupt(&self, vectors: u64) {
        let state = self.state.lock();

        if state.phase == Phase::Over {
            return;
        }
        for (index, eventfd) in (0..64u32).zip(&state.eventfds) {
            if let (Some(eventfd), true) = (eventfd, vectors & 1 << index != 0) {
                eventfd.signal();
            }
        }
        drop(state);
        self.caller.interrupt(vectors);
    }
}
