// SPDX-License-Identifier: GPL-2.0

//! All memory of this node for a borrowed device, where no IOMMU of this node is in the way: slots of the lender are aimed at all of
//! it, once, and what the device has to use for a page is a matter of arithmetic.
//!
//! The pages belong to others, who want them back when their request is over. So before a request is ended that the device has
//! not, [`Direct::shut`] has to say that the device does not reach them any more.
//!
//! # Locking
//!
//! `parts` is held while the lender is asked to take a mapping away. The table never changes.

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
    page::Run,
    ram, //
};
use skiff_model::{
    addr::{
        SlotBytes,
        PAGE, //
    },
    ids::MapId,
    ntb::WindowClass,
    ram::{
        cut,
        locate,
        together,
        Placed,
        Span, //
    },
};

use super::device::Device;
use crate::{
    bus,
    lend::{
        Memory,
        Own, //
    }, //
};

/// What one slot of the lender reaches.
struct Part {
    map: MapId,
    _own: Own,
}

/// All memory of this node.
#[pin_data(PinnedDrop)]
pub(super) struct Direct {
    device: Arc<Device>,
    /// In the order of frames.
    table: KVVec<Placed>,
    /// What the device still reaches.
    #[pin]
    parts: Mutex<KVVec<Part>>,
}

/// The machine's memory, so cut that each part is behind one slot; in order.
fn memory(slot_bytes: SlotBytes) -> Result<KVVec<Span>> {
    let runs = ram::runs()?;
    let spans = runs.iter().map(|run| Span {
        frame: run.frame,
        // CAST: Both are 64 bits wide.
        pages: run.pages as u64,
    });
    let mut parts = KVVec::new();

    for part in cut(spans, slot_bytes) {
        parts.push(part, GFP_KERNEL)?;
    }
    Ok(parts)
}

/// From the first of `spans`, which are in order, to the end of the last.
fn hull(spans: &[Span]) -> Option<Span> {
    let (first, last) = (spans.first()?, spans.last()?);

    Some(Span {
        frame: first.frame,
        pages: last.end().checked_sub(first.frame)?,
    })
}

impl Direct {
    /// Has the lender of `device` aim slots at all memory.
    ///
    /// Errors: `EOPNOTSUPP` where it does not lie at bus addresses that are physical ones, or if the device is this node's own;
    /// `ENOSPC` when that takes more slots than are to spare; `ENODEV`, `ENOMEM`, those of asking.
    pub(super) fn new(device: &Arc<Device>, timeout_ms: u32) -> Result<Pin<KBox<Self>>> {
        let id = device.borrowed().adapter().ok_or(Errno::NotSupported)?;
        let adapter = device.node().fabric.adapter(id)?;
        let geometry = adapter.geometry(WindowClass::Memory)?;
        let slot_bytes = geometry.slot_bytes();

        if adapter.bus().paging() {
            return Err(Errno::NotSupported.into());
        }
        let spans = memory(slot_bytes)?;
        let groups = || spans.chunk_by(|one, next| together(*one, *next, slot_bytes));

        // The lender's bridge is as this one.
        if groups().count() > geometry.slots().into() {
            return Err(ENOSPC);
        }
        let direct = KBox::pin_init(
            pin_init!(Self {
                device: device.clone(),
                table: KVVec::new(),
                parts <- new_mutex!(KVVec::new(), "Direct::parts"),
            }),
            GFP_KERNEL,
        )?;
        let mut table = KVVec::with_capacity(spans.len(), GFP_KERNEL)?;

        // On failure the value is dropped, which takes back what there is.
        for group in groups() {
            direct.add(group, &mut table, timeout_ms)?;
        }
        Self::set(direct, table)
    }

    /// The same with its table.
    fn set(mut direct: Pin<KBox<Self>>, table: KVVec<Placed>) -> Result<Pin<KBox<Self>>> {
        *direct.as_mut().project().table = table;
        Ok(direct)
    }

    /// Lets the device reach what one slot does.
    fn add(&self, group: &[Span], table: &mut KVVec<Placed>, timeout_ms: u32) -> Result {
        let hull = hull(group).ok_or(EINVAL)?;
        let pages = usize::try_from(hull.pages)?;
        let memory = bus::Memory::ram(Run {
            frame: hull.frame,
            pages,
        })?;
        let own = Own::whole(self.device.borrowed(), &memory, WindowClass::Memory)?;

        self.parts.lock().reserve(1, GFP_KERNEL)?;
        let what = Memory::Foreign(own.local().clone());
        let (map, address) = self.device.borrowed().map(&what, 0, 0, timeout_ms)?;
        let part = Part { map, _own: own };

        self.parts.lock().push(part, GFP_KERNEL)?;
        for span in group {
            let pages = span.frame.checked_sub(hull.frame).ok_or(EINVAL)?;
            let address = pages
                .checked_mul(PAGE)
                .and_then(|offset| address.checked_add(offset))
                .ok_or(EOVERFLOW)?;

            table.push(
                Placed {
                    span: *span,
                    address,
                },
                GFP_KERNEL,
            )?;
        }
        Ok(())
    }

    /// What the device uses for the page at the physical address `start`. May be called in any context.
    ///
    /// Errors: `EINVAL`; `ENXIO` when there was no memory when this was made.
    pub(super) fn page(&self, start: u64) -> Result<u64> {
        if start % PAGE != 0 {
            return Err(EINVAL);
        }
        locate(&self.table, start / PAGE).ok_or(ENXIO)
    }

    /// The device reaches no memory by this any more when it returns.
    ///
    /// Error: `EAGAIN` when nobody knows whether it does.
    pub(super) fn shut(&self, timeout_ms: u32) -> Result {
        let borrowed = self.device.borrowed();
        let mut parts = self.parts.lock();

        while let Some(part) = parts.last() {
            if borrowed.harmless() {
                break;
            }
            match borrowed.unmap(part.map, timeout_ms) {
                Ok(()) => {}
                // The answer to the last time was lost.
                Err(error) if error == ENOENT => {}
                Err(_) if borrowed.harmless() => break,
                Err(_) => return Err(EAGAIN),
            }
            drop(parts.pop());
        }
        Ok(())
    }
}

#[pinned_drop]
impl PinnedDrop for Direct {
    fn drop(self: Pin<&mut Self>) {
        // If the lender cannot be asked it goes with the borrow; no request is under way.
        let _ = self.shut(self.device.default_ms());
    }
}
