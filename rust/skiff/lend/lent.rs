// SPDX-License-Identifier: GPL-2.0

//! A device of this node's pool, and who has borrowed it.
//!
//! What borrowers ask for is done by the device's own worker, one thing after the other, so that a device that takes its
//! time holds up no other. A borrow ends in two steps. The first one, [`Lent::end`], is done at once by whoever notices: the
//! device cannot reach anything any more when it returns, and if it was the last borrow cannot send at all. The second one
//! is the worker's: memory is let go of, maps of borrowers are revoked, the device is reset and offered again.
//!
//! # Locking
//!
//! `state` guards what changes; the device's page table, slots and vectors are changed under it, and nobody is waited for.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    new_wait_queue,
    pci::{
        self,
        Device, //
    },
    wait::WaitQueue,
    work::{
        Work,
        Worker, //
    },
};
use skiff_model::{
    access::{
        Rights,
        RootTrust, //
    },
    ids::{
        BorrowId,
        DeviceIndex,
        MapId,
        RequesterId,
        SegmentId, //
    },
    lend::Borrowers,
    wire::{
        Contained,
        DeviceInfo,
        DeviceState,
        CLASS_BITS,
        MSIX_MAX, //
    },
};

use super::{
    aim::Aimed,
    bell::Bell,
    end::Why,
    hardware::{
        bar_bytes,
        Admission,
        Hardware, //
    },
    jobs::Job,
    mapping::Mapping,
    net::{
        End,
        Net,
        Way, //
    },
    parts::Part,
    Spell, //
};
use crate::bus::Memory;

/// What a borrower has of the device.
pub(super) struct Borrow {
    pub(super) id: BorrowId,
    pub(super) way: Way,
    /// Once it is over.
    pub(super) ended: Option<Why>,
    pub(super) parts: KVVec<Part>,
    pub(super) mappings: KVVec<(MapId, Arc<Mapping>)>,
    /// Vectors that are stored in them.
    pub(super) aimed: KVec<Aimed>,
    pub(super) last_map: u32,
}

/// Memory that belongs to all borrowers.
pub(super) struct Shared {
    pub(super) id: SegmentId,
    pub(super) bytes: u64,
    pub(super) memory: Arc<Memory>,
}

/// What changes of a device.
pub(super) struct State {
    /// Who has it. On the heap, for it is too large for stacks.
    pub(super) borrowers: KBox<Borrowers<End>>,
    /// While it is available, or was until it broke.
    pub(super) hardware: Option<Arc<Hardware>>,
    /// What those have, in any order.
    pub(super) borrows: KVVec<Borrow>,
    pub(super) shared: KVVec<Shared>,
    pub(super) admission: Option<Admission>,
    pub(super) jobs: KVVec<Job>,
    pub(super) hold: Hold,
}

/// Whether our stub has the function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// As far as is known.
    Firm,
    /// It is about to be taken away by somebody who has the device lock.
    Loosening,
}

/// A device of this node's pool.
#[pin_data]
pub(super) struct Lent {
    /// What does not change of it.
    about: DeviceInfo,
    dev: Device,
    pub(super) rights: Rights,
    pub(super) trust: RootTrust,
    net: Arc<Net>,
    bell: Arc<Bell>,
    pub(super) worker: Arc<Worker<Self>>,
    /// Since when it can be borrowed, as was announced last.
    #[pin]
    spell: Mutex<Option<Spell>>,
    /// Woken when nobody has borrowed it any more.
    #[pin]
    pub(super) idle: WaitQueue,
    #[pin]
    state: Mutex<State>,
}

impl State {
    /// The borrow, if it is good. Error: ECONNRESET.
    pub(super) fn borrow(&mut self, id: BorrowId) -> Result<&mut Borrow> {
        let mut borrows = self.borrows.iter_mut();

        borrows
            .find(|borrow| borrow.id == id && borrow.ended.is_none())
            .ok_or_else(|| Errno::ConnReset.into())
    }

    /// What it takes to use the device. Errors: ECONNRESET once it was taken back.
    pub(super) fn hardware(&self) -> Result<Arc<Hardware>> {
        self.hardware.clone().ok_or_else(|| Errno::ConnReset.into())
    }

    /// Borrows that can be used.
    pub(super) fn good(&self) -> impl Iterator<Item = &Borrow> {
        self.borrows.iter().filter(|borrow| borrow.ended.is_none())
    }
}

/// Nobody has borrowed it; the stack that this is made on is given back.
#[inline(never)]
fn nobody(index: DeviceIndex) -> Result<KBox<Borrowers<End>>> {
    Ok(KBox::new(Borrowers::new(index), GFP_KERNEL)?)
}

/// A function as others are told of it while nobody can borrow it.
fn about(dev: &Device, index: DeviceIndex) -> DeviceInfo {
    let (id, subsystem) = (dev.id(), dev.subsystem());
    let mut bars = [0; pci::BARS as usize];

    for (number, bytes) in (0..).zip(bars.iter_mut()) {
        *bytes = bar_bytes(dev, number);
    }
    DeviceInfo {
        index,
        state: DeviceState::Unavailable,
        contained: Contained::No,
        domain: dev.domain(),
        bdf: RequesterId::new(dev.requester()),
        class: dev.class() & CLASS_BITS,
        revision: dev.revision(),
        vendor: id.vendor,
        device: id.device,
        subvendor: subsystem.vendor,
        subdevice: subsystem.device,
        serial: dev.serial().unwrap_or(0),
        bars,
        vectors: dev.vectors_max().min(MSIX_MAX),
        borrowers: 0,
    }
}

impl Lent {
    /// A device that was added to the pool; [`stop`](Self::stop) when it leaves it.
    pub(super) fn new(
        net: &Arc<Net>,
        index: DeviceIndex,
        dev: Device,
        rights: Rights,
        trust: RootTrust,
    ) -> Result<Arc<Self>> {
        let bell = Bell::new(net)?;
        let worker = Worker::new(c"skiff-lend", kernel::static_lock_class!())?;
        let borrowers = nobody(index)?;
        let lent = Arc::pin_init(
            pin_init!(Self {
                about: about(&dev, index),
                dev,
                rights,
                trust,
                net: net.clone(),
                bell,
                worker,
                spell <- new_mutex!(None, "Lent::spell"),
                idle <- new_wait_queue!(),
                state <- new_mutex!(
                    State {
                        borrowers,
                        hardware: None,
                        borrows: KVVec::new(),
                        shared: KVVec::new(),
                        admission: None,
                        jobs: KVVec::new(),
                        hold: Hold::Firm,
                    },
                    "Lent::state"
                ),
            }),
            GFP_KERNEL,
        )?;

        lent.start();
        Ok(lent)
    }

    /// Lets its threads work.
    pub(super) fn start(self: &Arc<Self>) {
        self.worker.start(self.clone());
        self.bell.start();
    }

    /// Ends its threads.
    pub(super) fn stop(&self) {
        self.bell.stop();
        self.worker.stop();
    }

    /// Its index in the pool.
    pub(super) fn index(&self) -> DeviceIndex {
        self.about.index
    }

    /// The function.
    pub(super) fn dev(&self) -> &Device {
        &self.dev
    }

    /// Where messages go out.
    pub(super) fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// Who is told of interrupts.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// What changes.
    pub(super) fn state(&self) -> &Mutex<State> {
        &self.state
    }

    /// The device as others are told of it.
    pub(super) fn info(&self) -> DeviceInfo {
        let state = self.state.lock();
        let contained = match &state.hardware {
            Some(hardware) if hardware.contained() => Contained::Yes,
            _ => Contained::No,
        };

        DeviceInfo {
            state: state.borrowers.state(),
            contained,
            // CAST: There are fewer than BORROWS_MAX.
            borrowers: state.borrowers.good().count() as u32,
            ..self.about
        }
    }

    /// Since when it can be borrowed; `None` if it cannot.
    pub(super) fn spell(&self) -> Option<Spell> {
        *self.spell.lock()
    }

    /// Tells the nodes that see the pool, and who watches it, what has become of it.
    pub(super) fn announce(&self) {
        let info = {
            let mut spell = self.spell.lock();
            let info = self.info();

            *spell = Spell::after(*spell, info.state);
            info
        };

        self.net.offer(&info);
        self.net.watcher().changed();
    }
}

impl Work for Lent {
    fn run(this: ArcBorrow<'_, Self>) {
        let lent: Arc<Self> = this.into();

        while lent.finish_one() || lent.work_one() {}
    }
}
