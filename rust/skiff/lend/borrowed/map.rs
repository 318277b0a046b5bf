// SPDX-License-Identifier: GPL-2.0

//! What a borrower connects to of its device, and what it has mapped for it.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::errno::Errno;
use skiff_model::{
    addr::PAGE,
    ids::{
        Gid,
        MapId,
        NodeId,
        SegmentId,
        Uid, //
    },
    wire::{
        Access,
        DeviceAnswer,
        DeviceMemory,
        DeviceOp,
        MapWhat,
        Space, //
    },
};

use super::Borrowed;
use crate::{
    lend::net::End,
    segment::{
        Connect,
        Local,
        Owner,
        Remote,
        Target, //
    },
};

/// Memory that a program wants mapped for a device.
pub(crate) enum Memory {
    /// A segment of this node.
    Local(Arc<Local>),
    /// One of what others have on this node: memory, or where it takes interrupts.
    Foreign(Arc<Local>),
    /// A connection, and who wants it.
    Remote(Arc<Remote>, Uid, Gid),
}

impl Borrowed {
    /// Connects to a segment of the device.
    pub(crate) fn connect(&self, op: DeviceOp, timeout_ms: u32) -> Result<Arc<Remote>> {
        if let DeviceOp::Memory {
            kind: DeviceMemory::Private,
            id,
        } = op
        {
            if let Some(local) = self.private(id) {
                let net = self.lend.net();

                return net.segments.connect_kernel(&net.fabric, &local);
            }
        }
        let DeviceAnswer::Segment { segment, .. } = self.ask(op, timeout_ms)? else {
            return Err(Errno::Proto.into());
        };
        let connect = Connect {
            target: Target {
                node: self.way.node(),
                adapter: self.way.adapter(),
                timeout_ms,
                uid: Uid::new(0),
                gid: Gid::new(0),
            },
            segment,
            space: Space::Kernels,
            access: Access::ReadWrite,
        };
        let net = self.lend.net();

        net.segments.connect(&net.fabric, &connect)
    }

    /// Maps memory for the device; the address that it has to use.
    ///
    /// Errors: EACCES when it may only be read, EBUSY when a segment of this node is not prepared for the adapter that leads to
    /// the lender, EINVAL when the range is not in the segment, EOPNOTSUPP for a device's segment of another node; those of
    /// asking.
    pub(crate) fn map(
        &self,
        memory: &Memory,
        offset: u64,
        bytes: u64,
        timeout_ms: u32,
    ) -> Result<(MapId, u64)> {
        let total = match memory {
            Memory::Local(local) | Memory::Foreign(local) => local.bytes(),
            Memory::Remote(remote, ..) => remote.bytes(),
        };
        let total = total.checked_next_multiple_of(PAGE).ok_or(EINVAL)?;
        let bytes = match bytes {
            0 => total.checked_sub(offset).ok_or(EINVAL)?,
            bytes => bytes,
        };

        if offset % PAGE != 0
            || bytes % PAGE != 0
            || bytes == 0
            || offset.checked_add(bytes).is_none_or(|end| end > total)
        {
            return Err(EINVAL);
        }
        match memory {
            Memory::Local(local) => {
                self.map_own(local, MapWhat::Published, offset, bytes, timeout_ms)
            }
            Memory::Foreign(local) => self.map_own(local, MapWhat::Ram, offset, bytes, timeout_ms),
            // Devices read and write.
            Memory::Remote(remote, ..) if remote.info()?.access == Access::ReadOnly => Err(EACCES),
            Memory::Remote(remote, uid, gid) => match remote.owner() {
                Owner::Own(local) => {
                    self.map_own(&local, MapWhat::Published, offset, bytes, timeout_ms)
                }
                Owner::Peer {
                    adapter,
                    port,
                    lease,
                } => {
                    let what = if End::Peer(adapter.id(), port) == self.way.end() {
                        MapWhat::Lease(lease.ok_or(Errno::ConnReset)?)
                    } else if remote.space() == Space::Kernels {
                        return Err(Errno::NotSupported.into());
                    } else {
                        MapWhat::Other {
                            node: remote.node(),
                            segment: remote.segment(),
                            uid: *uid,
                            gid: *gid,
                        }
                    };

                    self.map_what(what, offset, bytes, timeout_ms)
                }
            },
        }
    }

    /// Maps memory of this node.
    fn map_own(
        &self,
        local: &Arc<Local>,
        what: fn(SegmentId) -> MapWhat,
        offset: u64,
        bytes: u64,
        timeout_ms: u32,
    ) -> Result<(MapId, u64)> {
        let net = self.lend.net();

        if let Some(adapter) = self.way.adapter() {
            if !local.prepared(adapter) {
                return Err(EBUSY);
            }
        }
        let node: Option<NodeId> = self.way.node().or_else(|| net.fabric.node());
        let publication = net.segments.publish(local, node.ok_or(ENODEV)?)?;

        // Once the lender has answered it is connected, or never will be.
        self.map_what(what(publication.id()), offset, bytes, timeout_ms)
    }

    fn map_what(
        &self,
        what: MapWhat,
        offset: u64,
        bytes: u64,
        timeout_ms: u32,
    ) -> Result<(MapId, u64)> {
        let op = DeviceOp::Map {
            what,
            offset,
            bytes,
        };

        match self.ask(op, timeout_ms)? {
            DeviceAnswer::Mapped { map, address } => {
                let mut state = self.state.lock();

                state.maps = state.maps.saturating_add(1);
                Ok((map, address.get()))
            }
            _ => Err(Errno::Proto.into()),
        }
    }

    /// Takes a mapping away. Errors: ENOENT, those of asking.
    pub(crate) fn unmap(&self, map: MapId, timeout_ms: u32) -> Result {
        self.order(DeviceOp::Unmap(map), timeout_ms)?;
        let mut state = self.state.lock();

        state.maps = state.maps.saturating_sub(1);
        Ok(())
    }
}
