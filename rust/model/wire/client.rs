// SPDX-License-Identifier: GPL-2.0
//! What modules of two nodes say to each other.

use core::fmt;

/// Bytes that a message of a client may have.
pub const CLIENT_BYTES: usize = 192;

/// The bytes of a client's message; what they mean is the clients' affair.
///
/// # Invariants
///
/// The first `length` bytes, [`CLIENT_BYTES`] at most, are the message, and the others are 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientBytes {
    bytes: [u8; CLIENT_BYTES],
    length: u8,
}

impl ClientBytes {
    /// These bytes; `None` if there are too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let length = u8::try_from(bytes.len()).ok()?;
        let mut all = [0; CLIENT_BYTES];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        // INVARIANT: So many were there room for, and the rest was not touched.
        Some(Self { bytes: all, length })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

impl fmt::Debug for ClientBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientBytes")
            .field(&self.as_slice())
            .finish()
    }
}
