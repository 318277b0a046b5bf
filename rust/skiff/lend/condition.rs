// SPDX-License-Identifier: GPL-2.0

//! Whether a device of the pool can be borrowed: the administrator's word, and that of the driver core.
//!
//! # Locking
//!
//! Administrators come one at a time (`Lend::control`). The driver core comes with the device's lock, under which that one is
//! never taken. A `Hardware` is made and dropped without `Lent::state`: making it takes the device's lock.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::wire::DeviceState;

use super::{
    end::Why,
    hardware::{
        Containment,
        Hardware,
        NotAvailable, //
    },
    lent::{
        Hold,
        Lent, //
    },
    net::denied,
};

/// How long a device may take to be given back by all of its borrowers, in milliseconds.
const IDLE_MS: u32 = 10_000;

/// From whom a device may be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakeFrom {
    /// It must not be borrowed.
    Nobody,
    /// From everybody who has borrowed it.
    Borrowers,
}

impl Lent {
    /// Whether it can be borrowed, or is.
    pub(super) fn is_available(&self) -> bool {
        !matches!(
            self.state().lock().borrowers.state(),
            DeviceState::Unavailable | DeviceState::Broken
        )
    }

    /// Lets others borrow it. Errors: EBUSY when they can already.
    pub(super) fn make_available(&self, containment: Containment) -> Result<(), NotAvailable> {
        if self.is_available() {
            return Err(EBUSY.into());
        }
        // One that has failed lets go of the function first.
        let former = self.state().lock().hardware.take();

        drop(former);
        let hardware = Hardware::new(self.dev(), &self.net().fabric, self.bell(), containment)?;
        let mut state = self.state().lock();

        state.borrowers.make_available().map_err(denied)?;
        state.hardware = Some(hardware);
        drop(state);
        self.announce();
        Ok(())
    }

    /// Takes that back, from those who have borrowed it too if that is wanted.
    ///
    /// Errors: EBUSY when it is borrowed, or not available; ETIMEDOUT when its reset takes too long, which goes on.
    pub(super) fn make_unavailable(&self, from: TakeFrom) -> Result {
        let state = self.state().lock();

        if state.hardware.is_none()
            || (from == TakeFrom::Nobody && state.borrowers.good().next().is_some())
        {
            return Err(EBUSY);
        }
        drop(state);
        self.end_all(Why::Taken);
        let gone = self.idle.wait_for(Some(IDLE_MS), || {
            let mut state = self.state().lock();

            if !state.borrows.is_empty() {
                return None;
            }
            // One that is broken stays so.
            let _ = state.borrowers.make_unavailable();

            Some(state.hardware.take())
        })?;

        drop(gone);
        self.announce();
        Ok(())
    }

    /// The function is taken from our stub: nothing of it is touched any more when this returns.
    pub(super) fn released(self: &Arc<Self>) {
        self.state().lock().hold = Hold::Loosening;
        self.end_all(Why::Taken);
        self.idle.wake_all();
        self.stop();
        while self.finish_one() {}
        let gone = self.state().lock().hardware.take();

        if let Some(hardware) = &gone {
            hardware.quiet();
            // Whoever gets it next resets it as well; without the bridge's lock it is left as it is.
            let _ = self.dev().reset_locked();
        }
        let mut state = self.state().lock();
        let jobs = core::mem::take(&mut state.jobs);

        if !self.dev().is_present() {
            state.borrowers.fail();
        } else if gone.is_some() {
            // One that is broken stays so.
            let _ = state.borrowers.make_unavailable();
        }
        state.hold = Hold::Firm;
        drop(state);
        drop(gone);
        drop(jobs);
        self.idle.wake_all();
        self.start();
        self.announce();
    }
}
