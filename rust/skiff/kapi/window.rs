// SPDX-License-Identifier: GPL-2.0

//! Windows of clients: one range of a device's addresses for the data of many requests.
//!
//! Behind a paging IOMMU of this node it is an [`Open`] range of bus addresses, into which pages are linked for each request.
//! Without one, or if the device is this node's own, it is memory; or, without one, all memory of this node, where it lies
//! ([`Direct`]).

use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::errno::Errno;
use skiff_model::{
    addr::PAGE,
    ntb::WindowClass, //
};

use super::{
    device::Device,
    direct::Direct,
    memory::{
        Dma,
        Reached, //
    },
};
use crate::{
    bus::Open,
    fabric::Adapter,
    lend::{
        Memory,
        Own, //
    },
    uapi::numbers, //
};

/// What a window consists of. The fields' order matters: what comes later is let go of later.
enum Content {
    /// Memory into and out of which the client copies.
    Memory(Dma),
    /// Pages that the client links.
    Linked {
        reached: Reached,
        _own: Own,
        open: Arc<Open>,
    },
    /// All memory.
    Direct(Pin<KBox<Direct>>),
}

/// A window.
pub(super) struct Window(Content);

impl Window {
    /// Makes a window of `chunks` chunks of `chunk_bytes` bytes each, whole pages.
    ///
    /// Errors: `EINVAL`, also when one slot cannot reach it all; `EDQUOT`, `ENODEV`, `ENOMEM`, `ENOSPC`, those of asking.
    pub(super) fn new(
        device: &Arc<Device>,
        chunks: u32,
        chunk_bytes: u32,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let timeout_ms = numbers::timeout(timeout_ms)?;
        let bytes = u64::from(chunks).checked_mul(chunk_bytes.into());
        let bytes = bytes.ok_or(EINVAL)?;

        if bytes == 0 || u64::from(chunk_bytes) % PAGE != 0 {
            return Err(EINVAL);
        }
        let adapter = match device.borrowed().adapter() {
            Some(id) => Some(device.node().fabric.adapter(id)?),
            None => None,
        };
        let content = match adapter {
            Some(adapter) => {
                let slot = adapter.geometry(WindowClass::Memory)?.slot_bytes();

                if bytes > slot.get() {
                    return Err(EINVAL);
                }
                if adapter.bus().paging() {
                    // CAST: It becomes wider.
                    let pages = (u64::from(chunk_bytes) / PAGE) as usize;

                    Self::linked(device, &adapter, chunks as usize, pages, timeout_ms)?
                } else {
                    Content::Memory(Dma::own(device, bytes, timeout_ms)?)
                }
            }
            None => Content::Memory(Dma::own(device, bytes, timeout_ms)?),
        };

        Ok(Arc::new(Self(content), GFP_KERNEL)?)
    }

    /// Makes one of all memory. Errors: `EINVAL`, those of [`Direct::new`].
    pub(super) fn direct(device: &Arc<Device>, timeout_ms: u32) -> Result<Arc<Self>> {
        let direct = Direct::new(device, numbers::timeout(timeout_ms)?)?;

        Ok(Arc::new(Self(Content::Direct(direct)), GFP_KERNEL)?)
    }

    /// A range for `chunks` chunks of `pages` pages each.
    fn linked(
        device: &Arc<Device>,
        adapter: &Adapter,
        chunks: usize,
        pages: usize,
        timeout_ms: u32,
    ) -> Result<Content> {
        let open = Open::new(adapter.bus(), chunks, pages)?;
        let memory = open.memory()?;
        let own = Own::whole(device.borrowed(), &memory, WindowClass::Memory)?;
        let memory = Memory::Local(own.local().clone());
        let reached = Reached::new(device, &memory, timeout_ms)?;

        Ok(Content::Linked {
            reached,
            _own: own,
            open,
        })
    }

    /// The address that the device has to use for chunk 0; 0 if it is all memory.
    pub(super) fn address(&self) -> u64 {
        match &self.0 {
            Content::Memory(memory) => memory.address(),
            Content::Linked { reached, .. } => reached.address(),
            Content::Direct(_) => 0,
        }
    }

    /// Where the client copies to and from for chunk 0; `None` when the device reaches the pages themselves.
    pub(super) fn memory(&self) -> Option<*mut c_void> {
        match &self.0 {
            Content::Memory(memory) => Some(memory.kernel().0),
            Content::Linked { .. } | Content::Direct(_) => None,
        }
    }

    /// Where pages are linked. Error: `EOPNOTSUPP` when the client has to copy, or all memory is reached.
    fn open(&self) -> Result<&Open> {
        match &self.0 {
            Content::Memory(_) | Content::Direct(_) => Err(Errno::NotSupported.into()),
            Content::Linked { open, .. } => Ok(open),
        }
    }

    /// Links `pages` pages from the physical address `start` on behind the `page` pages that are linked in chunk `chunk`. May be
    /// called in any context but NMIs, as what follows.
    ///
    /// Errors: `EINVAL`, `ENODEV`, `ENOMEM`, `EOPNOTSUPP`.
    pub(super) fn link(&self, chunk: u32, page: u32, start: u64, pages: u32) -> Result {
        if start % PAGE != 0 {
            return Err(EINVAL);
        }
        // CAST: They become wider.
        let (chunk, page, pages) = (chunk as usize, page as usize, pages as usize);

        self.open()?.link(chunk, page, start / PAGE, pages)
    }

    /// Lets the device reach the `pages` pages that are linked in a chunk.
    ///
    /// Errors: `EINVAL`, `ENODEV`, `EOPNOTSUPP`, those of the IOMMU.
    pub(super) fn commit(&self, chunk: u32, pages: u32) -> Result {
        // CAST: They become wider.
        self.open()?.commit(chunk as usize, pages as usize)
    }

    /// Unlinks what is linked in a chunk; nobody reaches it when this returns.
    pub(super) fn unlink(&self, chunk: u32, pages: u32) {
        if let Ok(open) = self.open() {
            // CAST: They become wider.
            let (linked, pages) = (open.unlink(chunk as usize), pages as usize);

            if linked != 0 && linked != pages {
                pr_warn!("a client unlinks {pages} pages of a chunk that has {linked}\n");
            }
        }
    }

    /// What the device uses for the page at the physical address `start`, if all memory is reached. May be called in any context.
    ///
    /// Errors: `EINVAL`, `ENXIO`, `EOPNOTSUPP`.
    pub(super) fn page(&self, start: u64) -> Result<u64> {
        match &self.0 {
            Content::Direct(direct) => direct.page(start),
            Content::Memory(_) | Content::Linked { .. } => Err(Errno::NotSupported.into()),
        }
    }

    /// If all memory is reached, the device does so no more when this returns. Process context.
    ///
    /// Errors: `EAGAIN` when nobody knows, `EINVAL`, `EOPNOTSUPP`.
    pub(super) fn shut(&self, timeout_ms: u32) -> Result {
        let timeout_ms = numbers::timeout(timeout_ms)?;

        match &self.0 {
            Content::Direct(direct) => direct.shut(timeout_ms),
            Content::Memory(_) | Content::Linked { .. } => Err(Errno::NotSupported.into()),
        }
    }
}
