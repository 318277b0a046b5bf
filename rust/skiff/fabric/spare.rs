// SPDX-License-Identifier: GPL-2.0

//! Spare interrupts: those of the bridge's vectors that the bridge has no use for, which peers, or their devices, raise by a
//! write of their own.
//!
//! Who claims one gets its [`Signal`], tells it to a peer and is called on a thread when the write comes; no CPU of the peer, no
//! doorbell and no message is in between. Where such writes are held back unless they are allowed, a claimed one is.
//!
//! None is to be had where that would open what is closed otherwise: a slot that leads to interrupt addresses is a way around
//! a paging IOMMU unless interrupts are remapped, too.
//!
//! # Locking
//!
//! [`Spares::given`] says which vectors are claimed, a lock of `Spares::taken` for each what is called; the latter is held while
//! a handler that runs is waited for. Handlers are called with none of them held; they neither claim nor drop a [`Spare`].
//! `given`, then one of `taken`, then `Adapter::hw`.

use super::Adapter;
use crate::hw::{
    self,
    Signal,
    SIGNALS, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use pin_init::pin_init_array_from_fn;
use skiff_ext::{
    errno::Errno,
    irq::{
        Called,
        Direct,
        Messages,
        Place, //
    },
};
use skiff_model::addr::BusAddr;

/// The vectors of a bridge, and who is called for those that are claimed.
#[pin_data]
pub(super) struct Spares {
    #[pin]
    given: Mutex<Given>,
    #[pin]
    taken: [Mutex<Option<Direct>>; SIGNALS],
}

/// Which of them are claimed.
struct Given {
    /// Empty when the adapter has gone.
    messages: Option<Arc<Messages>>,
    /// Bit n: spare n, which is vector n + 1, is claimed.
    claimed: u32,
}

impl Spares {
    /// All vectors but the first, which is the bridge's.
    pub(super) fn new(messages: Arc<Messages>) -> impl PinInit<Self> {
        pin_init!(Self {
            given <- new_mutex!(
                Given {
                    messages: Some(messages),
                    claimed: 0,
                },
                "Spares::given"
            ),
            taken <- pin_init_array_from_fn(|_| new_mutex!(None, "Spares::taken")),
        })
    }

    /// The vectors. Errors: ENODEV when the adapter has gone.
    pub(super) fn messages(&self) -> Result<Arc<Messages>> {
        self.given.lock().messages.clone().ok_or(ENODEV)
    }

    /// Nobody is called any more when this returns, and the function has no vectors. It waits for handlers that run.
    pub(super) fn close(&self) {
        let messages = self.given.lock().messages.take();

        for taken in &self.taken {
            let mut taken = taken.lock();

            // Under the lock, for a spare that is given back at this moment is to be waited for as well.
            *taken = None;
        }
        drop(messages);
    }
}

impl Given {
    /// How many spares there are.
    fn count(&self) -> Result<usize> {
        let vectors = self.messages.as_ref().ok_or(ENODEV)?.count();

        Ok(usize::try_from(vectors)?.saturating_sub(1).min(SIGNALS))
    }
}

/// A spare interrupt that is claimed. Dropping it waits for a handler that runs, so never do so in the handler, or under a lock
/// that it takes. An adapter that goes takes the interrupt with it: nobody is called any more, and that is all.
pub(crate) struct Spare {
    adapter: Arc<Adapter>,
    index: usize,
    signal: Signal,
}

impl Adapter {
    /// How many spare interrupts there are, and how many are claimed.
    pub(crate) fn spares(&self) -> (usize, usize) {
        let given = self.spares.given.lock();

        // CAST: At most 32.
        (
            given.count().unwrap_or(0),
            given.claimed.count_ones() as usize,
        )
    }

    /// Claims a spare interrupt, for each of which `handler` is called on a thread of its own. May sleep.
    ///
    /// Errors: EOPNOTSUPP when there are none, or peers are held to what is exported but not to their interrupts; ENOSPC when all
    /// are claimed; ENODEV.
    pub(crate) fn claim_interrupt(self: &Arc<Self>, handler: Arc<dyn Called>) -> Result<Spare> {
        let place = match (
            self.containment.interrupts_isolated(),
            self.containment.paging(),
        ) {
            (true, _) => Place::Remapped,
            (false, false) => Place::Fixed,
            (false, true) => return Err(Errno::NotSupported.into()),
        };
        let mut given = self.spares.given.lock();
        let count = given.count()?;

        if count == 0 {
            return Err(Errno::NotSupported.into());
        }
        // CAST: At most 32.
        let index = given.claimed.trailing_ones() as usize;
        let taken = self.spares.taken.get(index).ok_or(ENOSPC)?;

        if index >= count {
            return Err(ENOSPC);
        }
        let messages = given.messages.as_ref().ok_or(ENODEV)?;
        // The first vector is the bridge's.
        let vector = u32::try_from(index)?.checked_add(1).ok_or(ENOSPC)?;
        let direct = Direct::new(messages, vector, hw::DIRECT_NAME, place, handler)?;
        let message = direct.message();
        let signal = Signal {
            at: BusAddr::new(message.address),
            data: message.data,
        };

        self.with_hw(|hw| hw.allow(index, Some(signal)))?;
        *taken.lock() = Some(direct);
        given.claimed |= 1 << index;
        Ok(Spare {
            adapter: self.clone(),
            index,
            signal,
        })
    }
}

impl Spare {
    /// The write that raises it; it stays the same.
    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let spares = &self.adapter.spares;

        // Those that come now are held back, or find nobody. When the hardware is gone nothing comes.
        let _ = self.adapter.with_hw(|hw| hw.allow(self.index, None));
        *spares.taken[self.index].lock() = None;
        spares.given.lock().claimed &= !(1 << self.index);
    }
}
