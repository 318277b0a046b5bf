// SPDX-License-Identifier: GPL-2.0
//! Where doorbells are (PCIe transport, 3.1.2).

/// Where doorbells start in BAR 0.
pub const FIRST: u32 = 0x1000;

/// Bytes between doorbells.
///
/// # Invariants
///
/// A power of two, 4 to 128 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stride(u32);

/// The doorbells of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// The tail of the submission queue.
    Tail(u16),
    /// The head of the completion queue.
    Head(u16),
}

impl Stride {
    /// Of CAP.DSTRD, of which four bits count.
    pub const fn of(power: u8) -> Self {
        // INVARIANT: Fifteen at most.
        Self(4 << (power & 0xf))
    }

    /// As it is in CAP.
    pub const fn power(self) -> u8 {
        // CAST: Fifteen at most.
        (self.0.trailing_zeros() - 2) as u8
    }

    /// Where a doorbell is among the doorbells.
    pub fn offset(self, doorbell: Doorbell) -> u64 {
        let index = match doorbell {
            Doorbell::Tail(queue) => 2 * u64::from(queue),
            Doorbell::Head(queue) => 2 * u64::from(queue) + 1,
        };
        // By the invariant this is below 2^35.
        index * u64::from(self.0)
    }

    /// Where a doorbell is in BAR 0.
    pub fn register(self, doorbell: Doorbell) -> u64 {
        u64::from(FIRST) + self.offset(doorbell)
    }

    /// Bytes of BAR 0 that hold registers and all doorbells of the queues up to `last`.
    pub fn span(self, last: u16) -> u64 {
        self.register(Doorbell::Head(last)) + u64::from(self.0)
    }
}
