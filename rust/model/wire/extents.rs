// SPDX-License-Identifier: GPL-2.0
//! Ranges of bus addresses, as many as a message has room for.

use crate::addr::Extent;

use super::code;
use super::EXTENTS_A_MESSAGE;

/// Ranges in a message.
///
/// # Invariants
///
/// The first `count` places, [`EXTENTS_A_MESSAGE`] at most, are taken and the others are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    places: [Option<Extent>; EXTENTS_A_MESSAGE],
    count: usize,
}

impl Extents {
    /// None.
    pub const fn new() -> Self {
        Self {
            places: [None; EXTENTS_A_MESSAGE],
            count: 0,
        }
    }

    /// As many of `extents` as there is room for in a message with `room` places.
    fn take(extents: impl IntoIterator<Item = Extent>, room: usize) -> Self {
        let mut taken = Self::new();
        for extent in extents.into_iter().take(room) {
            taken.push(extent);
        }
        taken
    }

    /// Adds one, if there is a place left.
    pub(super) fn push(&mut self, extent: Extent) {
        if let Some(place) = self.places.get_mut(self.count) {
            *place = Some(extent);
            // INVARIANT: Places are taken in their order.
            self.count = self.count.saturating_add(1);
        }
    }

    /// The first ranges of a segment, as many as a [`ConnectReply`](super::ConnectReply) carries.
    pub fn of_reply(extents: impl IntoIterator<Item = Extent>) -> Self {
        Self::take(extents, code::EXTENTS_A_REPLY)
    }

    /// Further ranges of a segment, as many as [`Message::Extents`](super::Message::Extents) carries.
    pub fn of_message(extents: impl IntoIterator<Item = Extent>) -> Self {
        Self::take(extents, EXTENTS_A_MESSAGE)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Extent> + '_ {
        self.places.iter().flatten().copied()
    }
}
