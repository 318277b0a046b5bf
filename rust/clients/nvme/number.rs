// SPDX-License-Identifier: GPL-2.0

//! Numbers of controllers, which are in the names of their disks: the lowest that is free.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Bit n: number n is taken.
static TAKEN: Atomic<u64> = Atomic::new(0);

/// A number, until it is dropped.
pub(crate) struct Number(u32);

impl Number {
    /// The lowest that is free; `ENOSPC` if there is none.
    pub(crate) fn new() -> Result<Self> {
        let mut taken = TAKEN.load(Relaxed);

        loop {
            let number = taken.trailing_ones();
            let bit = 1_u64.checked_shl(number).ok_or(ENOSPC)?;

            match TAKEN.cmpxchg(taken, taken | bit, Relaxed) {
                Ok(_) => return Ok(Self(number)),
                Err(other) => taken = other,
            }
        }
    }

    /// The number.
    pub(crate) fn get(&self) -> u32 {
        self.0
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        let mut taken = TAKEN.load(Relaxed);

        while let Err(other) = TAKEN.cmpxchg(taken, taken & !(1 << self.0), Relaxed) {
            taken = other;
        }
    }
}
