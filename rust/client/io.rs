// SPDX-License-Identifier: GPL-2.0

//! Registers of a borrowed device, and segments of peers, as this CPU reaches them.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    memory::{
        accesses,
        Shared, //
    },
    Borrowed,
    Remote, //
};

/// How to reach memory of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapMode {
    /// Write-combining: stores are collected, so call [`crate::wmb`] where their order matters.
    Combining,
    /// Uncached.
    Uncached,
}

impl MapMode {
    pub(crate) fn raw(self) -> bindings::skiff_map_mode {
        match self {
            Self::Combining => bindings::skiff_map_mode_SKIFF_MAP_WC,
            Self::Uncached => bindings::skiff_map_mode_SKIFF_MAP_UC,
        }
    }
}

/// What a map is of.
pub(crate) enum Owner {
    Device { _borrowed: Arc<Borrowed> },
    Segment { _remote: Arc<Remote> },
}

/// A map of registers of a device, or of a part of a segment. Loads cross the fabric, stores do not wait. Once the peer is lost
/// loads give all ones and stores vanish. Any context.
///
/// # Invariants
///
/// `raw` is a map of `_owner`, and `shared` is what it maps.
pub struct IoMap {
    raw: NonNull<bindings::skiff_map>,
    shared: Shared,
    /// Last: it outlives its map.
    _owner: Owner,
}

// SAFETY: The functions for maps may be called by any thread.
unsafe impl Send for IoMap {}
// SAFETY: As above, at the same time.
unsafe impl Sync for IoMap {}

impl IoMap {
    /// Takes over a map that C has given.
    ///
    /// # Safety
    ///
    /// `raw` is an error or a map of `bytes` bytes of `owner`, and is handed over.
    pub(crate) unsafe fn new(
        raw: *mut bindings::skiff_map,
        bytes: usize,
        owner: Owner,
    ) -> Result<Self> {
        let raw = NonNull::new(from_err_ptr(raw)?).ok_or(ENOMEM)?;
        // SAFETY:
        // - By this function's own condition it is a map.
        let address = unsafe { bindings::skiff_map_address(raw.as_ptr()) };

        // INVARIANT: By this function's own condition.
        Ok(Self {
            raw,
            // SAFETY:
            // - The address stays mapped as long as the map, and nobody makes references to it.
            shared: unsafe { Shared::new(address, bytes) },
            _owner: owner,
        })
    }

    accesses! {
        /// Its length in bytes.
        bytes() -> usize;
        /// Reads at a multiple of 1; `EINVAL` outside.
        read8(offset: usize) -> Result<u8>;
        /// Reads at a multiple of 2; `EINVAL` elsewhere.
        read16(offset: usize) -> Result<u16>;
        /// Reads at a multiple of 4; `EINVAL` elsewhere.
        read32(offset: usize) -> Result<u32>;
        /// Reads at a multiple of 8; `EINVAL` elsewhere.
        read64(offset: usize) -> Result<u64>;
        /// Writes at a multiple of 1; `EINVAL` outside.
        write8(offset: usize, value: u8) -> Result;
        /// Writes at a multiple of 2; `EINVAL` elsewhere.
        write16(offset: usize, value: u16) -> Result;
        /// Writes at a multiple of 4; `EINVAL` elsewhere. What this CPU wrote to ordinary memory before comes before.
        write32(offset: usize, value: u32) -> Result;
        /// Writes at a multiple of 8; `EINVAL` elsewhere. What this CPU wrote to ordinary memory before comes before.
        write64(offset: usize, value: u64) -> Result;
        /// Copies out; `EINVAL` if it does not lie inside.
        read(offset: usize, to: &mut [u8]) -> Result;
        /// Copies in; `EINVAL` if it does not lie inside.
        write(offset: usize, from: &[u8]) -> Result;
    }
}

impl Drop for IoMap {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant; nobody uses it any more.
        unsafe { bindings::skiff_unmap(self.raw.as_ptr()) };
    }
}
