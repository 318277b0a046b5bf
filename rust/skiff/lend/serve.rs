// SPDX-License-Identifier: GPL-2.0

//! What borrowers may ask of a lent device. Called on the device's worker.
//!
//! # Locking
//!
//! `Lent::state` is held for a look or a change; segments are connected, and memory is mapped, with nothing held. So a borrow
//! may end meanwhile, and what was made for it is kept only if it is found good again.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::{
    addr::{
        BusAddr,
        PAGE, //
    },
    ids::{
        BorrowId,
        Gid,
        MapId,
        NodeId,
        SegmentId,
        Uid, //
    },
    lend::ConfigSpace,
    slots::Lot,
    wire::{
        Access,
        DeviceAnswer,
        DeviceOp,
        MapWhat,
        Mastering,
        Space,
        Width, //
    },
};

use super::{
    aim::Aim,
    end::Why,
    hardware::Hardware,
    lent::Lent,
    mapping::Mapping,
    net::Way,
    parts::Which, //
};
use crate::{
    fabric::new_lot,
    mem::Need,
    segment::{
        Connect,
        Remote,
        Target, //
    },
};

/// How long an owner of memory may take to let the lender connect, in milliseconds.
const CONNECT_MS: u32 = 2_000;

/// What one borrow may have mapped at a time.
const MAPPINGS_MAX: usize = 1024;

impl Lent {
    /// Does what a borrower asks for. Errors: what [`refused`](super::net::refused) has a status for.
    pub(super) fn serve(
        self: &Arc<Self>,
        way: &Way,
        id: BorrowId,
        op: DeviceOp,
    ) -> Result<DeviceAnswer> {
        let hardware = self.state().lock().hardware()?;

        match op {
            DeviceOp::Return => self.give_back(id)?,
            DeviceOp::ReleaseExclusive => self.release_exclusive(id)?,
            DeviceOp::Reset => self.reset(id)?,
            DeviceOp::BusMaster(mastering) => self.master(id, &hardware, mastering)?,
            DeviceOp::Bar(bar) => return self.named(way, id, &hardware, Which::Bar(bar)),
            DeviceOp::Memory { kind, id: segment } => {
                return self.named(way, id, &hardware, Which::Memory(kind, segment));
            }
            DeviceOp::CreateMemory {
                kind,
                id: segment,
                bytes,
            } => self.create(way, id, kind, segment, bytes)?,
            DeviceOp::RemoveMemory(segment) => self.remove_memory(id, segment)?,
            DeviceOp::Map {
                what,
                offset,
                bytes,
            } => return self.map(way, id, &hardware, what, offset, bytes),
            DeviceOp::Unmap(map) => self.unmap(id, &hardware, map)?,
            DeviceOp::ConfigRead { offset, width } => {
                let value = hardware.dev().config_read(offset, width.bytes())?;

                return Ok(DeviceAnswer::Value(value));
            }
            DeviceOp::ConfigWrite {
                offset,
                width,
                value,
            } => self.config_write(&hardware, offset, width, value)?,
            DeviceOp::Vectors(count) => {
                return hardware.vectors(count).map(DeviceAnswer::Vectors);
            }
            DeviceOp::Listen { vectors } => self.listen(way, id, &hardware, vectors)?,
            DeviceOp::Aim {
                vector,
                map,
                offset,
                data,
            } => {
                let aim = Aim {
                    vector,
                    map,
                    offset,
                    data,
                };

                self.aim(id, &hardware, &aim)?;
            }
        }
        Ok(DeviceAnswer::Done)
    }

    /// The borrower gives it back. Error: EBUSY while it is connected to segments of the device.
    fn give_back(&self, id: BorrowId) -> Result {
        if self
            .state()
            .lock()
            .borrow(id)?
            .parts
            .iter()
            .any(|part| part.connected())
        {
            return Err(EBUSY);
        }
        self.end_those(Why::Returned, |borrow, _| borrow == id);
        Ok(())
    }

    /// Has the borrower told of these vectors. What somebody has aimed of them comes by here again.
    fn listen(&self, way: &Way, id: BorrowId, hardware: &Hardware, vectors: u64) -> Result {
        // Under the lock: the end of a borrow makes it be forgotten, after which it must stay so.
        let mut state = self.state().lock();

        state.borrow(id)?.recall(hardware, |_, _| true);
        state.recall(vectors);
        self.bell().listen(id, way, vectors)
    }

    /// Lets the device send requests, or not.
    fn master(&self, id: BorrowId, hardware: &Hardware, mastering: Mastering) -> Result {
        // Under the lock: the end of a borrow turns it off, after which it must stay so.
        let mut state = self.state().lock();

        state.borrow(id)?;
        match mastering {
            Mastering::On => hardware.dev().set_master(),
            Mastering::Off => hardware.dev().clear_master(),
        }
        Ok(())
    }

    /// What the borrower's kernel has to connect to.
    fn named(
        &self,
        way: &Way,
        id: BorrowId,
        hardware: &Hardware,
        which: Which,
    ) -> Result<DeviceAnswer> {
        let (segment, bytes) = self.part(way, id, hardware, which)?;

        Ok(DeviceAnswer::Segment { segment, bytes })
    }

    /// Finds memory that a borrower wants mapped.
    fn find(&self, way: &Way, what: MapWhat) -> Result<Arc<Remote>> {
        match (what, way) {
            (MapWhat::Lease(lease), Way::Peer(adapter, port, _)) => {
                let node = self.net().fabric.node().ok_or(ENODEV)?;

                self.net()
                    .segments
                    .connect_leased(node, adapter.id(), *port, lease)
            }
            // The own node has no leases, and its memory is behind no slot.
            (MapWhat::Lease(_) | MapWhat::Ram(_), Way::Own) => Err(EINVAL),
            (MapWhat::Published(segment) | MapWhat::Ram(segment), _) => {
                let (uid, gid) = (Uid::new(0), Gid::new(0));

                self.connect(way.node(), Space::Kernels, segment, uid, gid)
            }
            (
                MapWhat::Other {
                    node,
                    segment,
                    uid,
                    gid,
                },
                _,
            ) => self.connect(Some(node), Space::Programs, segment, uid, gid),
        }
    }

    fn connect(
        &self,
        node: Option<NodeId>,
        space: Space,
        segment: SegmentId,
        uid: Uid,
        gid: Gid,
    ) -> Result<Arc<Remote>> {
        let connect = Connect {
            target: Target {
                node,
                adapter: None,
                timeout_ms: CONNECT_MS,
                uid,
                gid,
            },
            segment,
            space,
            access: Access::ReadWrite,
        };

        self.net().segments.connect(&self.net().fabric, &connect)
    }

    /// Maps memory for the device.
    fn map(
        self: &Arc<Self>,
        way: &Way,
        id: BorrowId,
        hardware: &Arc<Hardware>,
        what: MapWhat,
        offset: u64,
        bytes: u64,
    ) -> Result<DeviceAnswer> {
        if offset % PAGE != 0 || bytes % PAGE != 0 || bytes == 0 {
            return Err(EINVAL);
        }
        if self.state().lock().borrow(id)?.mappings.len() >= MAPPINGS_MAX {
            return Err(ENOSPC);
        }
        let need = match what {
            // When the mapping goes the device must not reach it: the slot is nobody else's, or an IOMMU sees to it.
            MapWhat::Ram(_) if hardware.contained() => Need::Spare(Lot::SHARED),
            MapWhat::Ram(_) => Need::Spare(new_lot()),
            MapWhat::Published(_) | MapWhat::Lease(_) | MapWhat::Other { .. } => Need::Firm,
        };
        let remote = self.find(way, what)?;
        let (mapping, address) = Mapping::new(self, hardware, id, remote, (offset, bytes), need)?;
        let mut state = self.state().lock();
        let kept = state.borrow(id).and_then(|borrow| {
            borrow.mappings.reserve(1, GFP_KERNEL)?;
            borrow.last_map = borrow.last_map.checked_add(1).ok_or(ENOSPC)?;
            let map = MapId::new(borrow.last_map);

            borrow.mappings.push((map, mapping.clone()), GFP_KERNEL)?;
            Ok(map)
        });

        drop(state);
        match kept {
            Ok(map) => Ok(DeviceAnswer::Mapped {
                map,
                address: BusAddr::new(address),
            }),
            Err(error) => {
                mapping.tear_down();
                mapping.let_go();
                Err(error)
            }
        }
    }

    /// Takes a mapping away. Error: ENOENT.
    fn unmap(&self, id: BorrowId, hardware: &Hardware, map: MapId) -> Result {
        let mut state = self.state().lock();
        let borrow = state.borrow(id)?;
        let index = borrow.mappings.iter().position(|(known, _)| *known == map);
        let index = index.ok_or(ENOENT)?;

        borrow.recall(hardware, |_, aimed| aimed == map);
        let (_, mapping) = borrow.mappings.remove(index).map_err(|_| ENOENT)?;

        drop(state);
        mapping.tear_down();
        mapping.let_go();
        Ok(())
    }

    /// Writes the configuration space where that is harmless. Error: EPERM.
    fn config_write(&self, hardware: &Hardware, offset: u16, width: Width, value: u32) -> Result {
        let dev = hardware.dev();
        let space = ConfigSpace::read(|offset| dev.config_read(offset, 4).unwrap_or(u32::MAX));

        if !space.may_write(offset, width, value) {
            return Err(EPERM);
        }
        dev.config_write(offset, width.bytes(), value)
    }
}
