// SPDX-License-Identifier: GPL-2.0

//! Interrupts of a lent device on their way to its borrowers.
//!
//! The hard handler notes the vector and wakes a worker, which tells those who listen, one message each for all vectors that
//! have come meanwhile.
//!
//! # Locking
//!
//! `listeners` is held while they are told.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
};
use skiff_ext::{
    irq::VectorHandler,
    work::{
        Work,
        Worker, //
    },
};
use skiff_model::{
    ids::BorrowId,
    wire::Message, //
};

use super::net::{
    Net,
    Way, //
};

/// Vectors that are told of.
const VECTORS: usize = 64;

/// Who listens to which vectors.
struct Listener {
    borrow: BorrowId,
    way: Way,
    /// Bit n: to vector n.
    vectors: u64,
}

/// Interrupts of one device.
#[pin_data]
pub(super) struct Bell {
    net: Arc<Net>,
    worker: Arc<Worker<Self>>,
    /// Not 0: the vector has come.
    pending: [Atomic<u32>; VECTORS],
    #[pin]
    listeners: Mutex<KVec<Listener>>,
}

impl Bell {
    /// Nobody listens. It rings from [`start`](Self::start) to [`stop`](Self::stop).
    pub(super) fn new(net: &Arc<Net>) -> Result<Arc<Self>> {
        let worker = Worker::new(c"skiff-bell", kernel::static_lock_class!())?;

        Arc::pin_init(
            pin_init!(Self {
                net: net.clone(),
                worker,
                pending: [const { Atomic::new(0) }; VECTORS],
                listeners <- new_mutex!(KVec::new(), "Bell::listeners"),
            }),
            GFP_KERNEL,
        )
    }

    /// Begins.
    pub(super) fn start(self: &Arc<Self>) {
        self.worker.start(self.clone());
    }

    /// Ends.
    pub(super) fn stop(&self) {
        self.worker.stop();
    }

    /// From now on `borrow` listens to these vectors.
    pub(super) fn listen(&self, borrow: BorrowId, way: &Way, vectors: u64) -> Result {
        let mut listeners = self.listeners.lock();

        listeners.retain(|listener| listener.borrow != borrow);
        if vectors != 0 {
            let way = way.clone();

            listeners.push(
                Listener {
                    borrow,
                    way,
                    vectors,
                },
                GFP_KERNEL,
            )?;
        }
        Ok(())
    }

    /// Whether `borrow` listens to these vectors, and nobody else does to any of them. Errors: ENOENT, EBUSY.
    pub(super) fn alone(&self, borrow: BorrowId, vectors: u64) -> Result {
        let listeners = self.listeners.lock();
        let heard = |listener: &Listener| listener.vectors & vectors;

        if !listeners
            .iter()
            .any(|listener| listener.borrow == borrow && heard(listener) == vectors)
        {
            return Err(ENOENT);
        }
        if listeners
            .iter()
            .any(|listener| listener.borrow != borrow && heard(listener) != 0)
        {
            return Err(EBUSY);
        }
        Ok(())
    }

    /// `borrow` has ended.
    pub(super) fn forget(&self, borrow: BorrowId) {
        self.listeners
            .lock()
            .retain(|listener| listener.borrow != borrow);
    }
}

impl VectorHandler for Bell {
    fn interrupt(&self, index: u32) {
        // CAST: A vector is far below that.
        if let Some(pending) = self.pending.get(index as usize) {
            pending.store(1, Relaxed);
            self.worker.kick();
        }
    }
}

impl Work for Bell {
    fn run(this: ArcBorrow<'_, Self>) {
        let come = (0..64u32)
            .zip(&this.pending)
            .filter(|(_, pending)| pending.xchg(0, Relaxed) != 0)
            .fold(0, |come, (index, _)| come | 1u64 << index);
        let listeners = this.listeners.lock();

        for listener in listeners.iter() {
            let vectors = come & listener.vectors;

            if vectors != 0 {
                let borrow = listener.borrow;

                this.net
                    .send(&listener.way, &Message::Interrupt { borrow, vectors });
            }
        }
    }
}
