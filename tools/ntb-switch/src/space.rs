// SPDX-License-Identifier: GPL-2.0
//! A node's bus address space: which bus addresses are memory, and where that memory lies in files.
//!
//! Fed by the node's DMA_MAP and DMA_UNMAP messages. A plain value; whoever owns it serializes changes.

use std::collections::BTreeMap;

/// A file of node memory; the owner of the space gives the numbers their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// What peers may do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads only: a ROM, or memory that an IOMMU maps read-only.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// Where a range of bus addresses lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backing {
    /// The file.
    pub file: FileId,
    /// Byte offset in it.
    pub offset: u64,
    /// What peers may do.
    pub access: Access,
}

impl Backing {
    /// The backing `by` bytes further on.
    pub fn advanced(self, by: u64) -> Self {
        Self {
            offset: self.offset.wrapping_add(by),
            ..self
        }
    }
}

/// A range of a node's bus addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First bus address.
    pub addr: u64,
    /// Bytes, never 0.
    pub len: u64,
    /// What is there; `None` is not memory.
    pub backing: Option<Backing>,
}

/// A range that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// Empty, or beyond the end of the address space.
    #[error("no range of bus addresses: {len:#x} bytes from {addr:#x}")]
    Range {
        /// First bus address.
        addr: u64,
        /// Bytes.
        len: u64,
    },
    /// The file's offset overflows.
    #[error("no range of a file: {len:#x} bytes from {offset:#x}")]
    File {
        /// Byte offset in the file.
        offset: u64,
        /// Bytes.
        len: u64,
    },
}

/// The table: disjoint ranges by first address.
///
/// # Invariants
///
/// Ranges are not empty, do not overlap and end below 2^64; neighbours that continue each other are one.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// First address -> (last address, backing of the first address).
    ranges: BTreeMap<u64, (u64, Backing)>,
}

/// Last address of a range.
fn last_of(addr: u64, len: u64) -> Result<u64, SpaceError> {
    len.checked_sub(1)
        .and_then(|more| addr.checked_add(more))
        .filter(|last| *last != u64::MAX)
        .ok_or(SpaceError::Range { addr, len })
}

impl Space {
    /// An empty space.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps a range; what was mapped there before is replaced.
    pub fn insert(&mut self, addr: u64, len: u64, backing: Backing) -> Result<(), SpaceError> {
        let mut last = last_of(addr, len)?;
        if backing.offset.checked_add(len).is_none() {
            return Err(SpaceError::File {
                offset: backing.offset,
                len,
            });
        }
        self.cut(addr, last);
        let (mut addr, mut backing) = (addr, backing);
        if let Some((&before, &(end, old))) = self.ranges.range(..addr).next_back() {
            if end.checked_add(1) == Some(addr) && old.advanced(addr - before) == backing {
                (addr, backing) = (before, old);
            }
        }
        if let Some((&after, &(end, next))) = last
            .checked_add(1)
            .and_then(|next| self.ranges.get_key_value(&next))
        {
            if backing.advanced(after - addr) == next {
                self.ranges.remove(&after);
                last = end;
            }
        }
        self.ranges.insert(addr, (last, backing));
        Ok(())
    }

    /// Unmaps a range, whole mappings or parts of them.
    pub fn remove(&mut self, addr: u64, len: u64) -> Result<(), SpaceError> {
        let last = last_of(addr, len)?;
        self.cut(addr, last);
        Ok(())
    }

    /// Unmaps all.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// What is at `addr`: the extent starts there and runs to the next change.
    pub fn lookup(&self, addr: u64) -> Extent {
        if let Some((&first, &(last, backing))) = self.ranges.range(..=addr).next_back() {
            if addr <= last {
                let backing = Some(backing.advanced(addr - first));
                return Extent {
                    addr,
                    len: last - addr + 1,
                    backing,
                };
            }
        }
        // The hole runs to the next mapping; the very last address is never mapped.
        let len = match self.ranges.range(addr..).next() {
            Some((&next, _)) => next - addr,
            None => (u64::MAX - addr).max(1),
        };
        Extent {
            addr,
            len,
            backing: None,
        }
    }

    /// All that is mapped, ascending.
    pub fn mapped(&self) -> impl Iterator<Item = Extent> + '_ {
        self.ranges.iter().map(|(&addr, &(last, backing))| Extent {
            addr,
            len: last - addr + 1,
            backing: Some(backing),
        })
    }

    /// Mappings and holes that together are exactly the range; nothing for an impossible range.
    pub fn pieces(&self, addr: u64, len: u64) -> impl Iterator<Item = Extent> + '_ {
        let mut next = last_of(addr, len).ok().map(|last| (addr, last));
        std::iter::from_fn(move || {
            let (at, last) = next?;
            let mut extent = self.lookup(at);
            extent.len = extent.len.min(last - at + 1);
            next = at
                .checked_add(extent.len)
                .filter(|at| *at <= last)
                .map(|at| (at, last));
            Some(extent)
        })
    }

    /// Takes `first..=last` out, keeping what sticks out on both sides.
    fn cut(&mut self, first: u64, last: u64) {
        if let Some((&before, &(end, backing))) = self.ranges.range(..first).next_back() {
            if end >= first {
                self.ranges.insert(before, (first - 1, backing));
                if end > last {
                    self.ranges
                        .insert(last + 1, (end, backing.advanced(last + 1 - before)));
                }
            }
        }
        while let Some((&start, &(end, backing))) = self.ranges.range(first..=last).next() {
            self.ranges.remove(&start);
            if end > last {
                self.ranges
                    .insert(last + 1, (end, backing.advanced(last + 1 - start)));
            }
        }
    }
}
