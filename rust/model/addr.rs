// SPDX-License-Identifier: GPL-2.0
//! Bus addresses: what a device of a node uses to reach that node's memory.

use core::fmt;

/// Bytes of a page, the unit in which memory is exported.
pub const PAGE: u64 = 4096;

/// Ranges that one segment may consist of: a gigabyte of single pages.
pub const EXTENTS_MAX: u32 = 1 << 18;

/// A bus address of some node; which one the context says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusAddr(u64);

impl BusAddr {
    /// The address of this number.
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` behind it, if there is one.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// How far it is behind `base`, if it is.
    pub fn offset_from(self, base: Self) -> Option<u64> {
        self.0.checked_sub(base.0)
    }

    /// Whether a page starts here.
    pub const fn is_page_aligned(self) -> bool {
        self.0 % PAGE == 0
    }

    /// The number of its page.
    pub const fn frame(self) -> u64 {
        self.0 / PAGE
    }

    /// The start of page `frame`, if it has an address.
    pub fn from_frame(frame: u64) -> Option<Self> {
        frame.checked_mul(PAGE).map(Self)
    }
}

impl fmt::Display for BusAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What is wrong with a range of bus addresses, or with a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadExtent {
    /// It does not consist of whole pages.
    Misaligned,
    /// There is nothing in it.
    Empty,
    /// It leads behind the last address.
    Overflow,
    /// There are more than [`EXTENTS_MAX`].
    TooMany,
    /// Together they are not as long as the segment, in whole pages.
    Length,
}

impl fmt::Display for BadExtent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "a range does not consist of whole pages",
            Self::Empty => "a range is empty",
            Self::Overflow => "a range leads behind the last bus address",
            Self::TooMany => "there are too many ranges",
            Self::Length => "the ranges are not as long as the segment",
        })
    }
}

impl core::error::Error for BadExtent {}

/// A range of bus addresses.
///
/// # Invariants
///
/// Whole pages, at least one, and the address behind its last byte exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    bus: BusAddr,
    bytes: u64,
}

impl Extent {
    /// The `bytes` from `bus` up.
    pub fn new(bus: BusAddr, bytes: u64) -> Result<Self, BadExtent> {
        if bytes == 0 {
            return Err(BadExtent::Empty);
        }
        if !bus.is_page_aligned() || bytes % PAGE != 0 {
            return Err(BadExtent::Misaligned);
        }
        bus.checked_add(bytes).ok_or(BadExtent::Overflow)?;
        // INVARIANT: Just checked, one after the other.
        Ok(Self { bus, bytes })
    }

    /// Its first address.
    pub const fn bus(&self) -> BusAddr {
        self.bus
    }

    /// Its length.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The address behind its last byte.
    pub fn end(&self) -> BusAddr {
        // By the invariant nothing saturates.
        BusAddr(self.bus.0.saturating_add(self.bytes))
    }

    /// Pages that it consists of.
    pub const fn pages(&self) -> u64 {
        self.bytes / PAGE
    }

    /// The address `offset` bytes into it, if that is inside.
    pub fn at(&self, offset: u64) -> Option<BusAddr> {
        if offset < self.bytes {
            self.bus.checked_add(offset)
        } else {
            None
        }
    }
}

/// Checks that `extents` are what a segment of `bytes` bytes consists of: few enough, and exactly as long.
pub fn check_extents(
    extents: impl IntoIterator<Item = Extent>,
    bytes: u64,
) -> Result<(), BadExtent> {
    let mut count: u32 = 0;
    let mut sum: u64 = 0;
    for extent in extents {
        count = count.saturating_add(1);
        if count > EXTENTS_MAX {
            return Err(BadExtent::TooMany);
        }
        sum = sum.checked_add(extent.bytes).ok_or(BadExtent::Overflow)?;
    }
    if bytes == 0 || bytes.checked_next_multiple_of(PAGE) != Some(sum) {
        return Err(BadExtent::Length);
    }
    Ok(())
}

/// A slot-aligned range of a peer's bus addresses, as long as a slot: what one slot can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk(BusAddr);

impl Chunk {
    /// Its first address.
    pub const fn base(self) -> BusAddr {
        self.0
    }
}

/// The chunk that `bus` is in, where slots reach `slot_bytes` each.
pub fn chunk_of(bus: BusAddr, slot_bytes: SlotBytes) -> Chunk {
    Chunk(BusAddr(bus.0 & !slot_bytes.mask()))
}

/// What one slot reaches.
///
/// # Invariants
///
/// A power of two, a page at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotBytes(u64);

impl SlotBytes {
    /// `bytes`, if a slot can be that large.
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= PAGE {
            // INVARIANT: Just checked.
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The bits of an address that say where in a slot it is.
    const fn mask(self) -> u64 {
        // By the invariant nothing wraps.
        self.0.wrapping_sub(1)
    }

    /// Where in its slot `bus` is.
    pub const fn offset_of(self, bus: BusAddr) -> u64 {
        bus.0 & self.mask()
    }
}
