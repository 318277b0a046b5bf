// SPDX-License-Identifier: GPL-2.0

//! Segments of a lent device: its BARs, and memory that borrowers have made at the lender.
//!
//! A [`Part`] belongs to one borrow, and so do the connections to it: when the borrow ends they are revoked, and those of
//! other borrowers to the same memory are not.
//!
//! # Locking
//!
//! Parts are in `Lent::state`, and made and revoked without it: that locks segments.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::{
    addr::PAGE,
    ids::SegmentId,
    ntb::WindowClass,
    wire::DeviceMemory, //
};

use super::{
    hardware::Hardware,
    lent::{
        Lent,
        Shared, //
    },
    net::{
        Net,
        Way, //
    },
};
use crate::{
    bus::Memory,
    segment::{
        Local,
        Publication,
        Removal, //
    },
};
use skiff_ext::errno::Errno;
use skiff_model::ids::BorrowId;

/// Segments of a device that a borrow may have.
const PARTS_MAX: usize = 64;

/// Bytes of a segment that a borrower may make at the lender.
const BYTES_MAX: u64 = 64 << 20;

/// Which segment of a device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// A BAR.
    Bar(u8),
    /// Memory.
    Memory(DeviceMemory, SegmentId),
}

/// A segment of a device, for one borrow.
pub(super) struct Part {
    which: Which,
    bytes: u64,
    local: Arc<Local>,
    publication: Publication,
}

impl Part {
    /// Lets the borrower connect to `memory`.
    fn new(
        net: &Net,
        way: &Way,
        which: Which,
        memory: &Arc<Memory>,
        bytes: u64,
        class: WindowClass,
    ) -> Result<Self> {
        let local = net.segments.create_of(memory, bytes, class)?;

        match Self::publish(net, way, &local) {
            Ok(publication) => Ok(Self {
                which,
                bytes,
                local,
                publication,
            }),
            Err(error) => {
                // The register has it until it is removed, which it was not before.
                let _ = net.segments.remove(&local, Removal::Forced);
                Err(error)
            }
        }
    }

    /// Lets the borrower find `local`.
    fn publish(net: &Net, way: &Way, local: &Arc<Local>) -> Result<Publication> {
        if let Way::Peer(adapter, ..) = way {
            local.prepare(&net.fabric, Some(adapter.id()))?;
        }
        let node = match way.node() {
            Some(node) => node,
            None => net.fabric.node().ok_or(ENODEV)?,
        };

        net.segments.publish(local, node)
    }

    /// Name of the segment between kernels, and its length.
    fn name(&self) -> (SegmentId, u64) {
        (self.publication.id(), self.bytes)
    }

    /// Whether somebody is connected to it.
    pub(super) fn connected(&self) -> bool {
        self.local.info().is_ok_and(|info| info.connections > 0)
    }

    /// Whether a kernel module of this node has a map of it.
    pub(super) fn mapped(&self) -> bool {
        self.local.kernel_maps() != 0
    }

    /// Takes all connections to it away; peers confirm that later, and its memory stays until then where it must.
    pub(super) fn revoke(self, net: &Net) {
        let Self {
            local, publication, ..
        } = self;

        drop(publication);
        // Nobody is waited for, and it was not removed before.
        let _ = net.segments.revoke(&local, None, net.fabric.node(), 0);
        let _ = net.segments.remove(&local, Removal::Forced);
        local.close();
    }
}

impl Lent {
    /// The segment of a device, made on first use.
    ///
    /// Errors: ENOENT when there is no such BAR or memory, ENOMEM, ENOSPC.
    pub(super) fn part(
        &self,
        way: &Way,
        id: BorrowId,
        hardware: &Hardware,
        which: Which,
    ) -> Result<(SegmentId, u64)> {
        let mut state = self.state().lock();
        let borrow = state.borrow(id)?;

        if let Some(part) = borrow.parts.iter().find(|part| part.which == which) {
            return Ok(part.name());
        }
        if borrow.parts.len() >= PARTS_MAX {
            return Err(ENOSPC);
        }
        let (memory, bytes, class) = match which {
            Which::Bar(bar) => {
                let memory = hardware.bar(bar)?.clone();
                // CAST: Both are 64 bits wide.
                let bytes = (memory.pages() as u64).saturating_mul(PAGE);

                (memory, bytes, WindowClass::Registers)
            }
            Which::Memory(DeviceMemory::Private, _) => return Err(ENOENT),
            Which::Memory(DeviceMemory::Shared, segment) => {
                let mut shared = state.shared.iter();
                let found = shared.find(|shared| shared.id == segment).ok_or(ENOENT)?;

                (found.memory.clone(), found.bytes, WindowClass::Memory)
            }
        };

        drop(state);
        // The worker is the only one that makes parts.
        let part = Part::new(self.net(), way, which, &memory, bytes, class)?;

        self.keep(id, part)
    }

    /// Makes memory close to the device.
    ///
    /// Errors: EADDRINUSE, EINVAL when it is too long, ENOMEM, ENOSPC.
    pub(super) fn create(
        &self,
        way: &Way,
        id: BorrowId,
        kind: DeviceMemory,
        segment: SegmentId,
        bytes: u64,
    ) -> Result {
        let which = Which::Memory(kind, segment);
        let mut state = self.state().lock();
        let shared = state.shared.len();
        let taken = match kind {
            DeviceMemory::Private => {
                let mut parts = state.borrow(id)?.parts.iter();

                parts.any(|part| part.which == which)
            }
            DeviceMemory::Shared => {
                state.borrow(id)?;
                state.shared.iter().any(|shared| shared.id == segment)
            }
        };

        drop(state);
        if taken {
            return Err(Errno::AddrInUse.into());
        }
        if bytes > BYTES_MAX {
            return Err(EINVAL);
        }
        let pages = usize::try_from(bytes.div_ceil(PAGE))?;
        let memory = Memory::kernel(self.net().fabric.pool(), pages)?;

        match kind {
            DeviceMemory::Private => {
                let class = WindowClass::Memory;
                let part = Part::new(self.net(), way, which, &memory, bytes, class)?;

                self.keep(id, part).map(|_| ())
            }
            DeviceMemory::Shared if shared >= PARTS_MAX => Err(ENOSPC),
            DeviceMemory::Shared => {
                let id = segment;
                let mut state = self.state().lock();

                state
                    .shared
                    .push(Shared { id, bytes, memory }, GFP_KERNEL)?;
                Ok(())
            }
        }
    }

    /// Takes private memory of a borrow away, from the device and from who is connected to it. Error: ENOENT.
    pub(super) fn remove_memory(&self, id: BorrowId, segment: SegmentId) -> Result {
        let which = Which::Memory(DeviceMemory::Private, segment);
        let mut state = self.state().lock();
        let parts = &mut state.borrow(id)?.parts;
        let index = parts.iter().position(|part| part.which == which);
        let part = parts.remove(index.ok_or(ENOENT)?).map_err(|_| ENOENT)?;

        drop(state);
        part.revoke(self.net());
        Ok(())
    }

    /// Gives a part to its borrow, unless that has ended meanwhile.
    fn keep(&self, id: BorrowId, part: Part) -> Result<(SegmentId, u64)> {
        let name = part.name();
        let mut state = self.state().lock();
        let kept = state.borrow(id).and_then(|borrow| {
            borrow.parts.reserve(1, GFP_KERNEL)?;
            Ok(borrow)
        });

        match kept {
            Ok(borrow) => {
                borrow.parts.push(part, GFP_KERNEL)?;
                Ok(name)
            }
            Err(error) => {
                drop(state);
                part.revoke(self.net());
                Err(error)
            }
        }
    }
}
