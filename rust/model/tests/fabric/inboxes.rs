// SPDX-License-Identifier: GPL-2.0
//! The inboxes of the tests, as the rings use them.

use skiff_model::ring::Inbox;
use skiff_model::ring::Outbox;
use skiff_model::ring::Place;
use skiff_model::ring::Word;
use skiff_model::wire::Entry;

use super::Board;
use super::RAM_BASE;

/// Bus address of every node's inbox.
pub const INBOX: u64 = RAM_BASE + 3 * 4096;

/// The own inbox.
pub struct Near<'a>(pub &'a Board);

impl Inbox for Near<'_> {
    fn load(&self, word: Word) -> u32 {
        let bytes = self.0.load(INBOX + word.offset() as u64, 4);
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    fn read_entry(&self, place: Place) -> Entry {
        let bytes = self.0.load(INBOX + place.offset() as u64, 256);
        bytes.try_into().unwrap()
    }
}

/// The peer's, `offset` bytes into the window.
pub struct Far<'a> {
    /// The adapter.
    pub board: &'a Board,
    /// Where the inbox is in its window.
    pub offset: u64,
}

impl Outbox for Far<'_> {
    fn write_entry(&self, place: Place, entry: &Entry, bytes: usize) {
        // In pieces, so that an entry can be half there.
        for (at, piece) in entry[..bytes].chunks(64).enumerate() {
            let offset = self.offset + (place.offset() + at * 64) as u64;
            self.board.store(offset, piece);
        }
    }

    fn store(&self, word: Word, value: u32) {
        self.board
            .store(self.offset + word.offset() as u64, &value.to_le_bytes());
    }
}
