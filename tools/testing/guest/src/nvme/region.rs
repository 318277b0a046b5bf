// SPDX-License-Identifier: GPL-2.0
//! Memory that this process sees and that a device reaches too. Shared by reference; the device must have been stopped
//! before the last reference goes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use anyhow::Context as _;
use anyhow::Result;
use skiff::Memory;

/// Mapped memory that somebody else makes and takes away.
pub type View = Arc<dyn Deref<Target = Memory> + Send + Sync>;

/// A range of a view, and the address that a device has to use for it.
#[derive(Clone)]
pub struct Region {
    view: View,
    offset: usize,
    bytes: usize,
    address: u64,
}

impl Region {
    /// A whole view.
    pub fn new(view: View, address: u64) -> Self {
        let bytes = view.len();
        Self {
            view,
            offset: 0,
            bytes,
            address,
        }
    }

    /// A part of it.
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Self> {
        let end = offset
            .checked_add(bytes)
            .filter(|end| *end <= self.bytes)
            .with_context(|| format!("{bytes:#x} bytes at {offset:#x} are not within {self:?}"))?;
        Ok(Self {
            view: Arc::clone(&self.view),
            offset: self.offset + end - bytes,
            bytes,
            address: self.address + offset as u64,
        })
    }

    /// The first bytes of it, and what is left.
    pub fn split(&self, bytes: usize) -> Result<(Self, Self)> {
        let rest = self.bytes.saturating_sub(bytes);
        Ok((self.part(0, bytes)?, self.part(self.bytes - rest, rest)?))
    }

    /// What the device has to use.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn at(&self, offset: usize, bytes: usize) -> Result<usize> {
        offset
            .checked_add(bytes)
            .filter(|end| *end <= self.bytes)
            .with_context(|| format!("{offset:#x} is not within {self:?}"))?;
        Ok(self.offset + offset)
    }

    /// Loads a word.
    pub fn load(&self, offset: usize) -> Result<u32> {
        Ok(self.view.load_u32(self.at(offset, 4)?)?)
    }

    /// Copies out of it.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        Ok(self.view.read(self.at(offset, to.len())?, to)?)
    }

    /// Copies into it.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        Ok(self.view.write(self.at(offset, from.len())?, from)?)
    }

    /// Makes it zeros.
    pub fn clear(&self) -> Result<()> {
        self.view.fill(self.offset, self.bytes, 0)?;
        self.flush();
        Ok(())
    }

    /// What was stored is on its way before what is stored next, wherever that is.
    pub fn flush(&self) {
        self.view.flush();
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} bytes at {:#x}", self.bytes, self.address)
    }
}
