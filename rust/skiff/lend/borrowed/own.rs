// SPDX-License-Identifier: GPL-2.0

//! Memory of the borrower for its device: segments of this node's kernel that the lender connects to, so that their memory is
//! reused by the rules that segments have.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::errno::Errno;
use skiff_model::{
    addr::PAGE,
    ids::SegmentId,
    lend::{
        Hints,
        Side, //
    },
    ntb::WindowClass,
    wire::{
        DeviceMemory,
        DeviceOp, //
    },
};

use super::{
    Borrowed,
    Phase, //
};
use crate::{
    bus::Memory,
    lend::net::Net,
    segment::{
        Local,
        Removal, //
    },
};

/// Private segments of a borrow that are on this node.
const OWN_MAX: usize = 256;

/// A segment of this node for a device. Dropping it removes the segment; process context.
pub(crate) struct Own {
    net: Arc<Net>,
    local: Arc<Local>,
}

impl Own {
    /// Makes a segment of the first `bytes` bytes of `memory` that the lender of `borrowed` reaches through the window of `class`.
    ///
    /// Errors: `EINVAL` when the memory is not as long, in whole pages; `ENODEV`, `ENOMEM`, `ENOSPC`.
    fn new(
        borrowed: &Borrowed,
        memory: &Arc<Memory>,
        bytes: u64,
        class: WindowClass,
    ) -> Result<Self> {
        let net = borrowed.lend.net().clone();
        let local = net.segments.create_of(memory, bytes, class)?;
        // From here on dropping it removes the segment.
        let own = Self { net, local };

        if let Some(adapter) = borrowed.adapter() {
            own.local.prepare(&own.net.fabric, Some(adapter))?;
        }
        Ok(own)
    }

    /// The same of all of `memory`.
    pub(crate) fn whole(
        borrowed: &Borrowed,
        memory: &Arc<Memory>,
        class: WindowClass,
    ) -> Result<Self> {
        Self::new(borrowed, memory, memory.bytes(), class)
    }

    /// The segment.
    pub(crate) fn local(&self) -> &Arc<Local> {
        &self.local
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let (segments, local) = (&self.net.segments, &self.local);

        // Nobody is waited for, and it was not removed before. What a peer may still write is kept until it cannot.
        let _ = segments.revoke(local, None, self.net.fabric.node(), 0);
        let _ = segments.remove(local, Removal::Forced);
        local.close();
    }
}

/// A private segment of a borrow on this node.
pub(super) struct Private {
    id: SegmentId,
    own: Own,
}

/// Memory of a device to be made.
pub(crate) struct NewMemory {
    /// Whose it is.
    pub(crate) kind: DeviceMemory,
    /// Its name among those of that kind.
    pub(crate) id: SegmentId,
    /// Its length, at least 1.
    pub(crate) bytes: u64,
    /// Who reads and writes it.
    pub(crate) hints: Hints,
}

impl Borrowed {
    /// Makes memory of the device, on the node that the hints ask for.
    ///
    /// Errors: `EADDRINUSE`, `EDQUOT`, `ENOMEM`, `ENOSPC`, those of asking.
    pub(crate) fn create(&self, what: &NewMemory, timeout_ms: u32) -> Result {
        let NewMemory {
            kind, id, bytes, ..
        } = *what;

        if kind == DeviceMemory::Private && self.private(id).is_some() {
            return Err(Errno::AddrInUse.into());
        }
        match (what.hints.side(kind), self.adapter()) {
            (Side::Borrower, Some(_)) => self.create_own(id, bytes, timeout_ms),
            // The lender is the borrower.
            (Side::Lender, _) | (_, None) => {
                self.order(DeviceOp::CreateMemory { kind, id, bytes }, timeout_ms)
            }
        }
    }

    /// Makes a private segment on this node.
    fn create_own(&self, id: SegmentId, bytes: u64, timeout_ms: u32) -> Result {
        let kind = DeviceMemory::Private;

        // The lender may have made one of that name.
        match self.ask(DeviceOp::Memory { kind, id }, timeout_ms) {
            Err(error) if error == ENOENT => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(Errno::AddrInUse.into()),
        }
        let pages = usize::try_from(bytes.div_ceil(PAGE))?;
        let memory = Memory::kernel(self.lend.net().fabric.pool(), pages)?;
        let own = Own::new(self, &memory, bytes, WindowClass::Memory)?;

        self.keep(Private { id, own })
    }

    /// Keeps a segment as long as the device is borrowed.
    fn keep(&self, private: Private) -> Result {
        let mut state = self.state.lock();
        let result = if state.phase == Phase::Over {
            Err(Errno::ConnReset.into())
        } else if state.privates.iter().any(|other| other.id == private.id) {
            Err(Errno::AddrInUse.into())
        } else if state.privates.len() >= OWN_MAX {
            Err(ENOSPC)
        } else {
            state.privates.reserve(1, GFP_KERNEL).map_err(Error::from)
        };

        match result {
            Ok(()) => Ok(state.privates.push(private, GFP_KERNEL)?),
            Err(error) => {
                drop(state);
                // Not under the lock.
                drop(private);
                Err(error)
            }
        }
    }

    /// A private segment on this node.
    pub(super) fn private(&self, id: SegmentId) -> Option<Arc<Local>> {
        let state = self.state.lock();
        let mut privates = state.privates.iter();

        privates
            .find(|private| private.id == id)
            .map(|private| private.own.local().clone())
    }

    /// Whether somebody here is connected to private memory of this node.
    pub(super) fn privates_connected(&self) -> bool {
        let state = self.state.lock();
        let mut privates = state.privates.iter();

        privates.any(|private| private.own.local().connected_here())
    }

    /// Removes private memory of this node.
    pub(super) fn remove_privates(&self) {
        let privates = core::mem::take(&mut self.state.lock().privates);

        drop(privates);
    }
}
