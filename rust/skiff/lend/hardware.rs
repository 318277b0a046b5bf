// SPDX-License-Identifier: GPL-2.0

//! A function while it is available: what it takes to let others use it, and to stop it.
//!
//! The [`Lent`](super::lent::Lent) device owns it from being made available until it is taken back, and so does each
//! mapping. It is stopped before it is let go of: see [`Hardware::quiet`].
//!
//! # Locking
//!
//! `space` and `vectors` are held while nothing else is; the latter while vectors are allocated or freed, which waits for
//! handlers that run.

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
    iommu::{
        self,
        Domain, //
    },
    iova::Target,
    irq::Vectors,
    page::Run,
    pci::{
        self,
        Device,
        Enabled,
        Region,
        SavedState, //
    },
};
use skiff_model::{
    addr::PAGE,
    ids::RequesterId,
    wire::Contained, //
};

use super::{
    bell::Bell,
    iova::Iovas, //
};
use crate::{
    bus::Memory,
    fabric::{
        Adapter,
        Fabric, //
    },
    hw::NAME, //
};

/// Why a function cannot be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing keeps it from the memory of this node.
    NoIommu,
    /// Its IOMMU group has other functions.
    Group,
    /// It has no reset that works.
    NoReset,
    /// Its requests do not get to a bridge.
    NoPath,
}

/// Why a function was not made available.
pub(crate) enum NotAvailable {
    /// It cannot be lent.
    Refused(Refusal),
    /// Something went wrong.
    Failed(Error),
}

impl From<Error> for NotAvailable {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether a function may be lent that reaches all memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Containment {
    /// Only behind an IOMMU.
    Wanted,
    /// Without one, too.
    Waived,
}

/// A BAR.
struct Bar {
    /// What can be mapped of it.
    memory: Arc<Memory>,
    _region: Region,
}

/// What a function reaches.
struct Space {
    domain: Domain,
    iovas: Iovas,
}

impl Space {
    /// Lets it reach `runs`, `bytes` bytes, one behind the other.
    fn map(&mut self, runs: &[Run], bytes: u64, target: Target) -> Result<u64> {
        let start = self.iovas.take(bytes)?;
        let mut done: u64 = 0;

        for run in runs {
            // CAST: Both are 64 bits wide; their sum was made before.
            let bytes = (run.pages as u64).saturating_mul(PAGE);
            let at = start.saturating_add(done);
            let physical = run.frame.saturating_mul(PAGE);

            if let Err(error) = self.domain.map(at, physical, bytes, target) {
                if done != 0 {
                    self.domain.unmap(start, done);
                }
                self.iovas.give(start);
                return Err(error);
            }
            done = done.saturating_add(bytes);
        }
        Ok(start)
    }
}

/// A function that is available.
#[pin_data]
pub(super) struct Hardware {
    dev: Device,
    #[pin]
    vectors: Mutex<Option<Vectors<Bell>>>,
    bell: Arc<Bell>,
    bars: [Option<Bar>; pci::BARS as usize],
    containment: Contained,
    /// What the function reaches, if an IOMMU has a say in that.
    #[pin]
    space: Mutex<Option<Space>>,
    /// The configuration space as it was before anybody had it.
    saved: SavedState,
    // Last: everything above needs it.
    _enabled: Enabled,
}

/// Bytes of a BAR that can be mapped, whole pages: up to its MSI-X table or pending bits, if these are in it.
pub(super) fn bar_bytes(dev: &Device, bar: u8) -> u64 {
    let Some((start, bytes)) = dev.bar(bar) else {
        return 0;
    };
    let bytes = dev.msix_pages(bar).map_or(bytes, |at| bytes.min(at));

    // What shares a page with something else is nobody's to have.
    if start % PAGE == 0 {
        bytes / PAGE * PAGE
    } else {
        0
    }
}

impl Hardware {
    /// Takes a function that our stub is bound to: resets it, keeps it from all memory, and claims its BARs.
    pub(super) fn new(
        dev: &Device,
        fabric: &Fabric,
        bell: &Arc<Bell>,
        containment: Containment,
    ) -> Result<Arc<Self>, NotAvailable> {
        if !pci::stub::holds(dev) {
            return Err(EBUSY.into());
        }
        if iommu::group_size(dev) > 1 {
            return Err(NotAvailable::Refused(Refusal::Group));
        }
        if !dev.can_reset() {
            return Err(NotAvailable::Refused(Refusal::NoReset));
        }
        if !fabric.adapters().any(|adapter| adapter.same_root(dev)) {
            return Err(NotAvailable::Refused(Refusal::NoPath));
        }
        let domain = Domain::attach(dev)?;

        if domain.is_none() && containment == Containment::Wanted {
            return Err(NotAvailable::Refused(Refusal::NoIommu));
        }
        let enabled = dev.enable()?;

        dev.clear_master();
        dev.try_reset().map_err(|error| {
            // Somebody is doing something to it right now.
            if error == EAGAIN {
                NotAvailable::Failed(EBUSY)
            } else {
                NotAvailable::Refused(Refusal::NoReset)
            }
        })?;
        // A borrower that has no vectors could pull a line for which nobody is here, and others of it would hear no more.
        dev.mask_line();
        let saved = dev.store_state()?;
        let mut bars = [const { None }; pci::BARS as usize];

        for (number, place) in (0..).zip(bars.iter_mut()) {
            let bytes = bar_bytes(dev, number);

            if bytes == 0 {
                continue;
            }
            let region = dev.request(number, NAME)?;
            let pages = usize::try_from(bytes / PAGE).map_err(|_| EOVERFLOW)?;

            *place = Some(Bar {
                memory: Memory::registers(region.start(), pages)?,
                _region: region,
            });
        }
        let space = match domain {
            Some(domain) => Some(Space {
                iovas: Iovas::new(domain.aperture())?,
                domain,
            }),
            None => None,
        };

        Arc::pin_init(
            pin_init!(Self {
                dev: dev.clone(),
                vectors <- new_mutex!(None, "Hardware::vectors"),
                bell: bell.clone(),
                bars,
                containment: match space {
                    Some(_) => Contained::Yes,
                    None => Contained::No,
                },
                space <- new_mutex!(space, "Hardware::space"),
                saved,
                _enabled: enabled,
            }),
            GFP_KERNEL,
        )
        .map_err(NotAvailable::Failed)
    }

    /// The function.
    pub(super) fn dev(&self) -> &Device {
        &self.dev
    }

    /// What can be mapped of a BAR. Error: ENOENT.
    pub(super) fn bar(&self, bar: u8) -> Result<&Arc<Memory>> {
        let bar = self.bars.get(usize::from(bar)).ok_or(ENOENT)?;

        Ok(&bar.as_ref().ok_or(ENOENT)?.memory)
    }

    /// Whether an IOMMU keeps the function to what is mapped for it.
    pub(super) fn contained(&self) -> bool {
        self.containment == Contained::Yes
    }

    /// Resets the function, after which its configuration space is what it was before it was borrowed. Errors: EAGAIN when
    /// somebody has the device lock, EIO.
    pub(super) fn reset(&self) -> Result {
        match self.dev.try_reset() {
            Err(error) if error == EAGAIN => Err(error),
            Err(_) => Err(EIO),
            Ok(()) => self.dev.restore_state(&self.saved).map_err(|_| EIO),
        }
    }

    /// Lets the function send nothing any more: no request and no interrupt.
    pub(super) fn quiet(&self) {
        self.dev.clear_master();
        let vectors = self.vectors.lock().take();

        drop(vectors);
        self.dev.mask_line();
    }

    /// Turns vectors on, or says how many there are. Errors: ENOSPC, EOPNOTSUPP.
    pub(super) fn vectors(&self, count: u32) -> Result<u32> {
        let mut vectors = self.vectors.lock();

        if let Some(vectors) = &*vectors {
            return Ok(vectors.count());
        }
        if self.dev.vectors_max() == 0 {
            return Err(Errno::NotSupported.into());
        }
        let new = Vectors::new(&self.dev, NAME, count, &self.bell)?;
        let count = new.count();

        *vectors = Some(new);
        Ok(count)
    }

    /// Has a vector store `data` at an address of the function instead of interrupting this node. Errors: EINVAL, ENOENT,
    /// EOPNOTSUPP.
    pub(super) fn aim(&self, vector: u32, address: u64, data: u32) -> Result {
        match &mut *self.vectors.lock() {
            Some(vectors) => vectors.aim(vector, address, data),
            None => Err(ENOENT),
        }
    }

    /// Has it interrupt this node again; what it has stored elsewhere has arrived there.
    pub(super) fn recall(&self, vector: u32) {
        if let Some(vectors) = &mut *self.vectors.lock() {
            vectors.recall(vector);
        }
    }

    /// Lets the function reach `runs`, one behind the other, and says at which address, and how many bytes these are.
    ///
    /// Errors: ENOMEM, ENOSPC: no addresses, or no IOMMU and the memory is not in one piece.
    pub(super) fn map(&self, runs: &[Run], target: Target) -> Result<(u64, u64)> {
        let pages = runs.iter().try_fold(0u64, |pages, run| {
            // CAST: Both are 64 bits wide.
            pages.checked_add(run.pages as u64)
        });
        let bytes = pages.and_then(|pages| pages.checked_mul(PAGE));
        let bytes = bytes.ok_or(EOVERFLOW)?;
        let address = match &mut *self.space.lock() {
            Some(space) => space.map(runs, bytes, target)?,
            None => match runs {
                [run] => run.frame.checked_mul(PAGE).ok_or(EOVERFLOW)?,
                _ => return Err(ENOSPC),
            },
        };

        Ok((address, bytes))
    }

    /// Undoes [`map`](Self::map): behind an IOMMU the function reaches it no more when this returns; else it still could, and
    /// is kept from sending.
    pub(super) fn unmap(&self, address: u64, bytes: u64) {
        if let Some(space) = &mut *self.space.lock() {
            space.domain.unmap(address, bytes);
            space.iovas.give(address);
        }
    }

    /// Lets the function's requests through the bridges of `fabric`, or some of them.
    pub(super) fn admit(&self, fabric: &Fabric) -> Result<Admission> {
        let mut admission = Admission {
            requester: RequesterId::new(self.dev.requester()),
            adapters: KVec::new(),
        };

        for adapter in fabric.adapters() {
            adapter.admit(admission.requester)?;
            admission.adapters.push(adapter, GFP_KERNEL)?;
        }
        Ok(admission)
    }
}

/// A function whose requests get through bridges. Dropping it ends that.
pub(super) struct Admission {
    requester: RequesterId,
    adapters: KVec<Arc<Adapter>>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        for adapter in &self.adapters {
            // A bridge that is gone lets nothing through.
            let _ = adapter.withdraw(self.requester);
        }
    }
}
