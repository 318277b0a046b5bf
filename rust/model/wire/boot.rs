// SPDX-License-Identifier: GPL-2.0
//! Boot words: how two nodes that share nothing yet tell each other where their inboxes are.
//!
//! The chip's message path moves 32 bits, and the hardware says who sent them. Two words make a frame number: bits 31:28 say
//! which half it is, 27:24 hold the nonce of the attempt, 23:0 are data. A word that belongs to another attempt than the one
//! before starts anew.

use super::WireError;

/// Frame numbers are below this: they have 48 bits.
pub const FRAME_LIMIT: u64 = 1 << 48;

/// Bits of a frame number that one word carries.
const DATA_BITS: u32 = 24;
const DATA_MASK: u32 = (1 << DATA_BITS) - 1;
const NONCE_SHIFT: u32 = 24;
const KIND_SHIFT: u32 = 28;
const KIND_LOW: u32 = 1;
const KIND_HIGH: u32 = 2;

/// One attempt to boot, in the sender's count.
///
/// # Invariants
///
/// Less than 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(u8);

impl Nonce {
    /// The attempt whose number ends with the low four bits of `number`.
    pub const fn of(number: u8) -> Self {
        // INVARIANT: Four bits are left.
        Self(number & 0xf)
    }

    /// Its number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The attempt after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::of(self.0.wrapping_add(1))
    }
}

/// Where a peer's inbox is, in one of its attempts.
///
/// # Invariants
///
/// The frame number is below [`FRAME_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Boot {
    frame: u64,
    nonce: Nonce,
}

impl Boot {
    /// An inbox at page `frame` of the bus, if that can be told.
    pub const fn new(frame: u64, nonce: Nonce) -> Option<Self> {
        if frame < FRAME_LIMIT {
            // INVARIANT: Just checked.
            Some(Self { frame, nonce })
        } else {
            None
        }
    }

    /// Page of the bus where the inbox starts.
    pub const fn frame(self) -> u64 {
        self.frame
    }

    /// The attempt.
    pub const fn nonce(self) -> Nonce {
        self.nonce
    }

    /// The words to send, in this order.
    pub const fn words(self) -> [u32; 2] {
        let nonce = (self.nonce.0 as u32) << NONCE_SHIFT;
        // CAST: Each half is masked to its 24 bits.
        let low = (self.frame as u32) & DATA_MASK;
        let high = ((self.frame >> DATA_BITS) as u32) & DATA_MASK;
        [
            (KIND_LOW << KIND_SHIFT) | nonce | low,
            (KIND_HIGH << KIND_SHIFT) | nonce | high,
        ]
    }
}

/// A boot word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootWord {
    /// Bits 23:0 of a frame number.
    Low(Nonce, u32),
    /// Bits 47:24 of it.
    High(Nonce, u32),
}

impl BootWord {
    /// What `word` says.
    pub const fn decode(word: u32) -> Result<Self, WireError> {
        let nonce = Nonce::of((word >> NONCE_SHIFT) as u8);
        let data = word & DATA_MASK;
        match word >> KIND_SHIFT {
            KIND_LOW => Ok(Self::Low(nonce, data)),
            KIND_HIGH => Ok(Self::High(nonce, data)),
            _ => Err(WireError::Field("boot word")),
        }
    }
}

/// Puts the words of one peer together.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootAssembler {
    low: Option<(Nonce, u32)>,
}

impl BootAssembler {
    /// Nothing has come yet.
    pub const fn new() -> Self {
        Self { low: None }
    }

    /// Takes the next word; a pair of them is a boot. A high half without its low one says nothing: it will be sent again.
    pub fn push(&mut self, word: u32) -> Result<Option<Boot>, WireError> {
        match BootWord::decode(word)? {
            BootWord::Low(nonce, data) => {
                self.low = Some((nonce, data));
                Ok(None)
            }
            BootWord::High(nonce, data) => Ok(match self.low.take() {
                Some((low_nonce, low)) if low_nonce == nonce => {
                    Boot::new((u64::from(data) << DATA_BITS) | u64::from(low), nonce)
                }
                _ => None,
            }),
        }
    }
}
