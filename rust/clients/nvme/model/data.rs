// SPDX-License-Identifier: GPL-2.0
//! Where the data of commands is: pointers to pages (base specification, 4.1.1) and ranges to discard (NVM command set, 3.2.3).
//!
//! Where each command has a piece of a window of contiguous addresses its list of pages never changes: [`list`] is written
//! once, and [`Pointers::within`] is all that is left to do per command. Where its pages are anywhere, [`Scattered`] collects them.

use crate::PAGE;

/// Where the data of a command is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pointers {
    /// Its first byte.
    pub first: u64,
    /// Its second page, or the list of all pages but the first.
    pub second: u64,
}

/// Entries of the list of pages that a command may have, at most; lists of so many never cross a page when each lies at a
/// multiple of [`LIST_BYTES`].
pub const LIST_ENTRIES: u32 = 32;

/// Bytes of a list.
pub const LIST_BYTES: u32 = LIST_ENTRIES * 8;

/// Pages of a piece of the window: those of the list, and the first.
pub const PIECE_PAGES: u32 = LIST_ENTRIES + 1;

/// Bytes that a command moves at most, wherever in its first page it starts.
pub const MOST: u32 = LIST_ENTRIES * PAGE;

impl Pointers {
    /// No data.
    pub const NONE: Self = Self {
        first: 0,
        second: 0,
    };

    /// Data that does not leave its page, or is in one piece by nature.
    pub const fn one(at: u64) -> Self {
        Self {
            first: at,
            second: 0,
        }
    }

    /// `bytes` from `offset` on in a piece of the window at `piece`, whose list is at `list`. Nothing if it does not fit into
    /// the piece, or does not start in its first page.
    pub fn within(piece: u64, list: u64, offset: u32, bytes: u32) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        if offset >= PAGE || bytes == 0 || end > PIECE_PAGES * PAGE {
            return None;
        }
        let first = piece.checked_add(offset.into())?;
        let second = match end.div_ceil(PAGE) {
            1 => 0,
            2 => piece.checked_add(PAGE.into())?,
            _ => list,
        };
        Some(Self { first, second })
    }
}

/// The list of pages of the piece at `piece`, little endian: all but the first.
pub fn list(piece: u64) -> [u8; LIST_BYTES as usize] {
    let mut list = [0; LIST_BYTES as usize];
    let mut page = piece;
    for place in list.chunks_exact_mut(8) {
        page = page.wrapping_add(PAGE.into());
        place.copy_from_slice(&page.to_le_bytes());
    }
    list
}

/// The pages of a command that lie anywhere.
#[derive(Clone, Debug, Default)]
pub struct Scattered {
    /// Where the data begins, and the second page.
    pointers: Pointers,
    /// Pages so far.
    count: usize,
}

impl Scattered {
    /// Adds a page by where the data in it begins, and calls `write` for each entry of the list that is to be written for it;
    /// there are none before the third page. Nothing if that is not the start of the page, but for the first one, if there are too
    /// many, or what `write` gives.
    pub fn push(&mut self, at: u64, mut write: impl FnMut(usize, u64) -> Option<()>) -> Option<()> {
        match self.count.checked_sub(1) {
            None => self.pointers.first = at,
            Some(entry) if at % u64::from(PAGE) == 0 && entry < LIST_ENTRIES as usize => {
                match entry {
                    0 => self.pointers.second = at,
                    1 => write(0, self.pointers.second).and_then(|()| write(entry, at))?,
                    _ => write(entry, at)?,
                }
            }
            Some(_) => return None,
        }
        self.count += 1;
        Some(())
    }

    /// Where the data is, given that the list is at `list`. Nothing without a page.
    pub fn pointers(&self, list: u64) -> Option<Pointers> {
        match self.count {
            0 => None,
            1 | 2 => Some(self.pointers),
            _ => Some(Pointers {
                second: list,
                ..self.pointers
            }),
        }
    }
}

/// Bytes of a range to discard.
pub const RANGE: usize = 16;

/// Ranges of a command to discard, at most: as many bytes as a list has.
pub const RANGES: u32 = LIST_BYTES / RANGE as u32;

/// A range to discard as it lies in memory.
pub fn discard(first: u64, blocks: u32) -> [u8; RANGE] {
    let mut range = [0; RANGE];
    range[4..8].copy_from_slice(&blocks.to_le_bytes());
    range[8..].copy_from_slice(&first.to_le_bytes());
    range
}
