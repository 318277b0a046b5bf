// SPDX-License-Identifier: GPL-2.0
//! Little-endian numbers in and out of a payload, bounds checked.

use super::WireError;
use super::PAYLOAD_BYTES;

/// Writes a payload from its start.
///
/// # Invariants
///
/// `at` is [`PAYLOAD_BYTES`] at most.
pub(super) struct Writer<'a> {
    payload: &'a mut [u8; PAYLOAD_BYTES],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(payload: &'a mut [u8; PAYLOAD_BYTES]) -> Self {
        Self { payload, at: 0 }
    }

    /// Bytes that have been written.
    pub(super) fn len(&self) -> u16 {
        // CAST: By the invariant it is small.
        self.at as u16
    }

    /// Appends `bytes`. What does not fit is not written; the messages are such that all of it does, which the round trips of
    /// the tests show for the longest of each kind.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let rest = self.payload.get_mut(self.at..).unwrap_or_default();
        if let Some(place) = rest.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            // INVARIANT: The range that was just written ends here.
            self.at = self.at.saturating_add(bytes.len());
        }
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes());
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes());
        self
    }
}

/// Reads a payload from its start.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Length)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_le_bytes)
    }

    /// A reserved word.
    pub(super) fn zero(&mut self) -> Result<(), WireError> {
        match self.u32()? {
            0 => Ok(()),
            _ => Err(WireError::Field("reserved")),
        }
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Whether all has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Length)
        }
    }
}
