// SPDX-License-Identifier: GPL-2.0

//! Peers, and devices that can be borrowed, as devices of the auxiliary bus.
//!
//! A worker compares what should be there with what is whenever something may have changed. What was gone for a moment
//! goes and comes again: its [`Spell`] is another one. Drivers are probed and removed on that worker, which nobody waits for but
//! the end of the module.
//!
//! # Locking
//!
//! `shown` is held for a look or a change of the list, never while a device is added or removed.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};
use skiff_ext::{
    auxiliary::{
        Device,
        Parent, //
    },
    work::Work, //
};
use skiff_model::ids::{
    Fdid,
    NodeId, //
};

use super::Clients;
use crate::lend::{
    Lend,
    Spell, //
};

/// The first half of the names of all devices.
const MODULE: &CStr = c"skiff";

/// How long to wait when a device could not be added, in milliseconds.
const AGAIN_MS: u32 = 1000;

/// How long to rest after each look, in milliseconds.
const REST_MS: i64 = 20;

/// What a device of the bus stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// A node that answers.
    Peer(NodeId),
    /// A device that can be borrowed.
    Device(Fdid),
}

/// A device of the bus.
struct Shown {
    what: What,
    since: Spell,
    _device: Device,
}

/// The work of keeping the bus right.
#[pin_data]
pub(crate) struct Presence {
    clients: Arc<Clients>,
    lend: Arc<Lend>,
    parent: Arc<Parent>,
    #[pin]
    shown: Mutex<KVVec<Shown>>,
}

impl Presence {
    /// Whether what was there when a spell began has been since.
    fn still(&self, what: What, since: Spell) -> bool {
        match what {
            What::Peer(node) => self.clients.peers().still(node, since),
            What::Device(fdid) => self.lend.still(fdid, since),
        }
    }

    /// Takes out one that should not be there.
    fn next_gone(&self) -> Option<Shown> {
        let mut shown = self.shown.lock();
        let gone = shown
            .iter()
            .position(|shown| !self.still(shown.what, shown.since))?;

        shown.remove(gone).ok()
    }

    fn is_shown(&self, what: What) -> bool {
        self.shown.lock().iter().any(|shown| shown.what == what)
    }

    /// Adds a device if it is not there. Error: `ENOMEM`, and what the driver core says.
    fn show(&self, what: What, since: Spell) -> Result {
        if self.is_shown(what) {
            return Ok(());
        }
        let (name, id) = match what {
            What::Peer(node) => (c"peer", node.get()),
            What::Device(fdid) => (c"device", fdid.get()),
        };
        // Allocated before: a device that was added must not be forgotten.
        self.shown.lock().reserve(1, GFP_KERNEL)?;
        let device = Device::new(&self.parent, MODULE, name, id)?;

        self.shown.lock().push(
            Shown {
                what,
                since,
                _device: device,
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// Adds all that should be there.
    fn show_all(&self) -> Result {
        let mut from = Some(0);

        while let Some((node, since)) = from.and_then(|from| self.clients.peers().next(from)) {
            self.show(What::Peer(node), since)?;
            from = node.get().checked_add(1);
        }
        let mut from = Some(0);

        while let Some((fdid, since)) = from.and_then(|from| self.lend.present(Fdid::new(from))) {
            self.show(What::Device(fdid), since)?;
            from = fdid.get().checked_add(1);
        }
        Ok(())
    }
}

impl Work for Presence {
    fn run(this: ArcBorrow<'_, Self>) {
        // Devices before the peers that they are of.
        while let Some(gone) = this.next_gone() {
            drop(gone);
        }
        if this.show_all().is_err() {
            this.clients.worker().kick_after(AGAIN_MS);
        }
        // A peer may make and break offers as fast as it likes.
        fsleep(Delta::from_millis(REST_MS));
    }
}

/// The bus is kept right until this is dropped; then nothing is on it.
pub(crate) struct Showing(Arc<Presence>);

impl Showing {
    /// Keeps the bus right from now on.
    pub(crate) fn new(clients: &Arc<Clients>, lend: &Arc<Lend>) -> Result<Self> {
        let (clients, lend) = (clients.clone(), lend.clone());
        let parent = Arc::new(Parent::new(MODULE)?, GFP_KERNEL)?;
        let presence = Arc::pin_init(
            pin_init!(Presence {
                clients,
                lend,
                parent,
                shown <- new_mutex!(KVVec::new(), "Presence::shown"),
            }),
            GFP_KERNEL,
        )?;
        let worker = presence.clients.worker();

        worker.start(presence.clone());
        worker.kick();
        Ok(Self(presence))
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.0.clients.worker().stop();
        let gone = core::mem::take(&mut *self.0.shown.lock());

        drop(gone);
    }
}
