// SPDX-License-Identifier: GPL-2.0
//! What a block holds: who wrote it, where it belongs, how often it was written, in each of its sectors. A block that was
//! not written, is that of another place, is older than it should be or is made of two can be told from a broken one.

use serde::Serialize;

/// Bytes of a block.
pub const BLOCK: usize = 4096;

/// Bytes that any disk writes as a whole.
const SECTOR: usize = 512;

/// Words of a sector that say what it is.
const HEAD: usize = 4;

/// First word of every sector, exclusive-or its seed.
const MAGIC: u64 = 0x534b_4946_4644_4953;

/// Multiplied by what differs between two words, gives words that differ a lot.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What makes the content of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Whose it is.
    pub seed: u64,
    /// Its number on the device.
    pub block: u64,
    /// How often it was written.
    pub generation: u64,
}

/// What was found in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Right,
    /// Zeros.
    Blank,
    /// Somebody else's, or nobody's.
    Foreign,
    /// That of another place.
    Misplaced,
    /// Written before or after what was expected.
    Stale,
    /// Sectors of different generations.
    Torn,
    /// Right heads with wrong bytes behind them.
    Broken,
}

/// How many blocks were how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub right: u64,
    pub blank: u64,
    pub foreign: u64,
    pub misplaced: u64,
    pub stale: u64,
    pub torn: u64,
    pub broken: u64,
    /// The first block that was not right.
    pub first: Option<u64>,
}

impl Tally {
    /// Counts a block.
    pub fn add(&mut self, block: u64, found: Found) {
        let count = match found {
            Found::Right => &mut self.right,
            Found::Blank => &mut self.blank,
            Found::Foreign => &mut self.foreign,
            Found::Misplaced => &mut self.misplaced,
            Found::Stale => &mut self.stale,
            Found::Torn => &mut self.torn,
            Found::Broken => &mut self.broken,
        };
        *count += 1;
        if found != Found::Right {
            self.first.get_or_insert(block);
        }
    }
}

impl Stamp {
    fn head(self, sector: usize) -> [u64; HEAD] {
        [
            MAGIC ^ self.seed,
            self.block,
            self.generation,
            sector as u64,
        ]
    }

    fn key(self, sector: usize) -> u64 {
        self.head(sector)
            .into_iter()
            .fold(0, |key, word| (key ^ word).wrapping_mul(SPREAD))
    }

    fn word(key: u64, index: usize) -> u64 {
        let mixed = (key ^ index as u64).wrapping_mul(SPREAD);
        mixed ^ (mixed >> 29)
    }

    /// Fills a block.
    pub fn fill(self, block: &mut [u8]) {
        for (sector, bytes) in block.chunks_exact_mut(SECTOR).enumerate() {
            let (head, key) = (self.head(sector), self.key(sector));
            for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
                let value = head
                    .get(index)
                    .copied()
                    .unwrap_or_else(|| Self::word(key, index));
                word.copy_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// What a block is that should be this one.
    pub fn judge(self, block: &[u8]) -> Found {
        if block.iter().all(|byte| *byte == 0) {
            return Found::Blank;
        }
        let mut generations = block
            .chunks_exact(SECTOR)
            .map(|sector| u64_at(sector, 2))
            .peekable();
        let first = generations.peek().copied();
        let whole = generations.all(|generation| Some(generation) == first);
        let mut worst = Found::Right;
        for (sector, bytes) in block.chunks_exact(SECTOR).enumerate() {
            let head = self.head(sector);
            if u64_at(bytes, 0) != head[0] {
                return Found::Foreign;
            }
            if u64_at(bytes, 1) != head[1] || u64_at(bytes, 3) != head[3] {
                return Found::Misplaced;
            }
            let generation = u64_at(bytes, 2);
            let key = Self { generation, ..self }.key(sector);
            let intact =
                (HEAD..SECTOR / 8).all(|index| u64_at(bytes, index) == Self::word(key, index));
            if !intact {
                return Found::Broken;
            }
            if generation != self.generation {
                worst = Found::Stale;
            }
        }
        if whole {
            worst
        } else {
            Found::Torn
        }
    }
}

fn u64_at(bytes: &[u8], word: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[word * 8..word * 8 + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        seed: 7,
        block: 9,
        generation: 3,
    };

    fn block(stamp: Stamp) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        stamp.fill(&mut block);
        block
    }

    #[test]
    fn every_kind_of_wrong_is_told() {
        assert_eq!(STAMP.judge(&block(STAMP)), Found::Right);
        assert_eq!(STAMP.judge(&[0; BLOCK]), Found::Blank);
        assert_eq!(STAMP.judge(&[0xff; BLOCK]), Found::Foreign);
        for (other, found) in [
            (Stamp { seed: 8, ..STAMP }, Found::Foreign),
            (Stamp { block: 8, ..STAMP }, Found::Misplaced),
            (
                Stamp {
                    generation: 2,
                    ..STAMP
                },
                Found::Stale,
            ),
        ] {
            assert_eq!(STAMP.judge(&block(other)), found);
        }
    }

    #[test]
    fn a_block_of_two_is_torn() {
        let older = block(Stamp {
            generation: 2,
            ..STAMP
        });
        for at in [512, 2048, 3584] {
            let mut mixed = block(STAMP);
            mixed[at..].copy_from_slice(&older[at..]);
            assert_eq!(STAMP.judge(&mixed), Found::Torn, "{at}");
        }
    }

    #[test]
    fn sectors_in_another_order_are_misplaced() {
        let mut swapped = block(STAMP);
        let (one, two) = swapped.split_at_mut(512);
        one.swap_with_slice(&mut two[..512]);
        assert_eq!(STAMP.judge(&swapped), Found::Misplaced);
    }

    #[test]
    fn any_byte_counts() {
        for at in (0..BLOCK).step_by(67) {
            let mut wrong = block(STAMP);
            wrong[at] ^= 1;
            assert_ne!(STAMP.judge(&wrong), Found::Right, "{at}");
        }
    }

    #[test]
    fn the_first_wrong_block_is_kept() {
        let mut tally = Tally::default();
        for (number, found) in [(1, Found::Right), (5, Found::Stale), (2, Found::Torn)] {
            tally.add(number, found);
        }
        assert_eq!((tally.right, tally.stale, tally.torn), (1, 1, 1));
        assert_eq!(tally.first, Some(5));
    }
}
