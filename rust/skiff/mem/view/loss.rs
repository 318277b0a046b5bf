// SPDX-License-Identifier: GPL-2.0

//! How the memory of a view is taken away, and comes back.

use super::{
    Slots,
    Source,
    State,
    View, //
};
use crate::fabric::SlotRef;
use kernel::prelude::*;
use skiff_ext::errno::Errno;

impl View {
    /// The peer is away: no access reaches it when this returns, and no slot is held.
    pub(crate) fn suspend(&self) {
        self.take_away(State::Suspended);
    }

    /// The memory is gone for good: no access reaches it when this returns, and nothing of it is held.
    pub(crate) fn lose(&self) {
        self.take_away(State::Lost);
    }

    /// No access reaches the memory when this returns.
    fn take_away(&self, state: State) {
        let mut inner = self.inner.lock();
        if inner.state == State::Lost {
            return;
        }
        inner.state = state;
        for slot in inner.kernel.values().flatten() {
            slot.empty();
        }
        drop(inner);
        self.zap();
        let mut inner = self.inner.lock();
        if inner.state == State::Live {
            // It has come back meanwhile, with slots of its own.
            return;
        }
        for entry in inner.maps.values_mut() {
            entry.slots = Slots::none();
        }
        let memory = match inner.state {
            State::Lost => inner.memory.take(),
            State::Live | State::Suspended => None,
        };
        drop(inner);
        drop(memory);
    }

    /// The peer is back, with its memory where it was: the maps have slots again and show it.
    ///
    /// Errors: ECONNRESET when it is lost, ENODEV, ENOLINK, ENOMEM, ENOSPC; it stays away then.
    pub(crate) fn resume(&self) -> Result {
        let mut inner = self.inner.lock();
        match inner.state {
            State::Live => return Ok(()),
            State::Suspended => {}
            State::Lost => return Err(Errno::ConnReset.into()),
        }
        if let Source::Remote(remote) = &self.source {
            let result = inner.maps.values_mut().try_for_each(|entry| {
                entry.slots = remote.acquire(entry.first, entry.pages, entry.mode)?;
                Ok(())
            });
            let refilled = || {
                let mut kernel = inner.kernel.values().flatten();
                kernel.try_for_each(SlotRef::refill)
            };
            let result = result.and_then(|()| refilled());
            if result.is_err() {
                for slot in inner.kernel.values().flatten() {
                    slot.empty();
                }
                for entry in inner.maps.values_mut() {
                    entry.slots = Slots::none();
                }
                return result;
            }
        }
        inner.state = State::Live;
        drop(inner);
        // What stood for the pages.
        self.zap();
        Ok(())
    }

    /// Takes all pages out of all page tables.
    fn zap(&self) {
        if let Some(space) = self.space.as_ref() {
            space.zap();
        }
    }
}
