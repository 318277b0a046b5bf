// SPDX-License-Identifier: GPL-2.0
//! Which operation comes when: every block is written once, in a mixed order, and from then on they are read and written
//! at random. Follows from the seed alone, so that what a block must hold after so many operations can be found out later.

use crate::random::Random;

/// A prime larger than any number of blocks: its multiples go through all of them.
const STRIDE: u64 = 0x1_0000_000f;

/// Of a hundred operations so many write.
const WRITES: u64 = 40;

/// An operation on a block of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which one, counted from the region's begin.
    pub block: usize,
    /// Its generation when this is done; what is read must have it too.
    pub generation: u64,
    /// Whether it is written.
    pub write: bool,
}

/// The operations of a seed, without end.
#[derive(Debug)]
pub struct Plan {
    random: Random,
    generations: Vec<u64>,
    done: u64,
}

impl Plan {
    /// For a region of so many blocks.
    pub fn new(seed: u64, blocks: usize) -> Self {
        Self {
            random: Random::new(seed),
            generations: vec![0; blocks],
            done: 0,
        }
    }

    /// The next one.
    pub fn next(&mut self) -> Operation {
        let blocks = self.generations.len();
        let (block, write) = if self.done < blocks as u64 {
            // CAST: Below the number of blocks.
            let turned = u128::from(self.done) * u128::from(STRIDE) % blocks as u128;
            (turned as usize, true)
        } else {
            (self.random.index(blocks), self.random.percent(WRITES))
        };
        self.done += 1;
        let generation = &mut self.generations[block];
        *generation += u64::from(write);
        Operation {
            block,
            generation: *generation,
            write,
        }
    }

    /// The generation of each block after so many operations.
    pub fn after(seed: u64, blocks: usize, operations: u64) -> Vec<u64> {
        let mut plan = Self::new(seed, blocks);
        for _ in 0..operations {
            plan.next();
        }
        plan.generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_written_before_it_is_read() {
        for blocks in [1, 2, 17, 4096] {
            assert!(Plan::after(3, blocks, blocks as u64)
                .iter()
                .all(|generation| *generation == 1));
        }
    }

    #[test]
    fn what_is_left_is_what_was_planned() {
        let mut plan = Plan::new(5, 64);
        let mut now = vec![0; 64];
        let (mut reads, mut writes) = (0, 0);
        for _ in 0..1000 {
            let Operation {
                block,
                generation,
                write,
            } = plan.next();
            if write {
                now[block] = generation;
                writes += 1;
            } else {
                assert_eq!(now[block], generation);
                reads += 1;
            }
        }
        assert!(reads > 400 && writes > 300, "{reads} {writes}");
        assert_eq!(now, Plan::after(5, 64, 1000));
        assert_ne!(now, Plan::after(6, 64, 1000));
    }
}
