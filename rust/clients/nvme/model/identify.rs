// SPDX-License-Identifier: GPL-2.0
//! What a controller says of itself and of its namespaces (base specification, 5.17; NVM command set, 4.1.5).

use crate::bytes::u16_at;
use crate::bytes::u32_at;
use crate::bytes::u64_at;
use crate::bytes::u8_at;
use crate::Wrong;
use crate::PAGE;

/// Bytes of the answer to Identify.
pub const BYTES: usize = PAGE as usize;

/// What a controller says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Serial number, ASCII, filled up with spaces.
    pub serial: [u8; 20],
    /// Model, ASCII, filled up with spaces.
    pub model: [u8; 40],
    /// Bytes that a command may move, [`crate::data::MOST`] at most.
    pub most: u32,
    /// What it can do.
    pub abilities: Abilities,
    /// Whether it takes shadow doorbells.
    pub shadows: bool,
}

/// What a controller can do, in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities(pub u32);

impl Abilities {
    /// Its disk has a volatile write cache, which Flush empties.
    pub const CACHE: u32 = 1 << 0;
    /// Discard (Dataset Management).
    pub const DISCARD: u32 = 1 << 1;
    /// Write Zeroes.
    pub const ZEROES: u32 = 1 << 2;
    /// All bits that there are.
    pub const ALL: u32 = 0x7;

    /// Whether it can do that.
    pub fn has(self, ability: u32) -> bool {
        self.0 & ability != 0
    }
}

fn text<const N: usize>(bytes: &[u8; BYTES], at: usize) -> [u8; N] {
    let mut text = [b' '; N];
    for (to, from) in text.iter_mut().zip(bytes.iter().skip(at)) {
        if from.is_ascii_graphic() {
            *to = *from;
        }
    }
    text
}

impl Controller {
    /// Of the answer to Identify Controller.
    pub fn read(bytes: &[u8; BYTES]) -> Result<Self, Wrong> {
        let fits = |sizes: u8, power: u8| sizes & 0xf <= power && power <= sizes >> 4;
        if !fits(u8_at(bytes, 512), 6) {
            return Err(Wrong("its submission entries have not 64 bytes"));
        }
        if !fits(u8_at(bytes, 513), 4) {
            return Err(Wrong("its completion entries have not 16 bytes"));
        }
        let most = match u8_at(bytes, 77) {
            0 => crate::data::MOST,
            power => PAGE
                .checked_shl(power.into())
                .filter(|most| most >> power == PAGE)
                .unwrap_or(crate::data::MOST)
                .min(crate::data::MOST),
        };
        let mut abilities = 0;
        let mut set = |on: bool, bit: u32| {
            if on {
                abilities |= bit;
            }
        };
        let optional = u16_at(bytes, 520);
        set(u8_at(bytes, 525) & 1 != 0, Abilities::CACHE);
        set(optional & (1 << 2) != 0, Abilities::DISCARD);
        set(optional & (1 << 3) != 0, Abilities::ZEROES);
        Ok(Self {
            serial: text(bytes, 4),
            model: text(bytes, 24),
            most,
            abilities: Abilities(abilities),
            shadows: u16_at(bytes, 256) & (1 << 8) != 0,
        })
    }
}

/// A namespace that can be a disk.
///
/// # Invariants
///
/// `id` is not 0 nor all ones, `power` is 9 to 12, and `blocks << power` is below 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    id: u32,
    blocks: u64,
    power: u8,
}

impl Namespace {
    /// Of its number, its length in blocks, and the logarithm of the bytes of a block.
    pub fn new(id: u32, blocks: u64, power: u8) -> Result<Self, Wrong> {
        if !is_id(id) {
            return Err(Wrong("number of a namespace"));
        }
        if !(9..=12).contains(&power) {
            return Err(Wrong("its blocks have not 512 to 4096 bytes"));
        }
        if blocks >= 1 << (63 - power) {
            return Err(Wrong("it is too long"));
        }
        // INVARIANT: It is checked.
        Ok(Self { id, blocks, power })
    }

    /// Of the answer to Identify Namespace.
    pub fn read(id: u32, bytes: &[u8; BYTES]) -> Result<Self, Wrong> {
        let chosen = u8_at(bytes, 26);
        // Formats above the sixteenth have two more bits.
        let format = usize::from(chosen & 0xf) | (usize::from((chosen >> 5) & 3) << 4);
        let format = u32_at(bytes, 128 + 4 * format);
        if format & 0xffff != 0 {
            return Err(Wrong("its blocks have metadata"));
        }
        if u8_at(bytes, 29) & 7 != 0 {
            return Err(Wrong("it has end-to-end protection"));
        }
        // CAST: Eight bits are left.
        Self::new(id, u64_at(bytes, 0), (format >> 16) as u8)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its length in blocks; 0: it is not active.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Logarithm of the bytes of a block.
    pub fn power(&self) -> u8 {
        self.power
    }

    /// Bytes of a block.
    pub fn block(&self) -> u32 {
        1 << self.power
    }

    /// Its length in sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        // By the invariant nothing is shifted out.
        self.blocks << (self.power - 9)
    }

    /// The block that starts with a sector, if one does.
    pub fn block_of(&self, sector: u64) -> Option<u64> {
        let shift = u32::from(self.power) - 9;
        let block = sector >> shift;
        (block << shift == sector).then_some(block)
    }

    /// How many blocks so many bytes are, if they are whole ones.
    pub fn blocks_of(&self, bytes: u32) -> Option<u32> {
        let blocks = bytes >> self.power;
        (blocks << self.power == bytes).then_some(blocks)
    }
}

fn is_id(id: u32) -> bool {
    id != 0 && id != u32::MAX
}

/// The active namespaces above `after` of the answer to Identify with the list of them, in order: it ends with the first
/// number that is not above the last.
pub fn active(after: u32, bytes: &[u8; BYTES]) -> impl Iterator<Item = u32> + '_ {
    let mut last = after;
    bytes
        .chunks_exact(4)
        .map(|word| u32_at(word, 0))
        .take_while(move |id| {
            let good = is_id(*id) && *id > last;
            last = *id;
            good
        })
}

/// Pairs of I/O queues that a controller gives, of its answer to Set Features, Number of Queues; at least 1.
pub fn queues(result: u32) -> u32 {
    (result & 0xffff).min(result >> 16) + 1
}
