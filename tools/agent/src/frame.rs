// SPDX-License-Identifier: GPL-2.0
//! Packets on a byte stream that may lose its tail at any time.
//!
//! A node can be reset in the middle of a packet, after which a new agent writes to the same stream. So a frame is
//! found by its magic, and both its header and its payload are checked; what does not check is skipped byte by byte.
//! Pure: a [`Decoder`] owns the bytes that it was given and not yet decoded.

use serde::de::DeserializeOwned;
use serde::Serialize;

/// First bytes of every frame.
const MAGIC: [u8; 4] = *b"SkF1";

/// Magic, payload length, payload CRC, CRC of the two numbers before it.
const HEADER: usize = 16;

/// Longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 80 * 1024;

/// So many zero bytes complete any frame that was cut, so a new agent writes them first.
pub const PREAMBLE: usize = HEADER + MAX_PAYLOAD;

/// Why a value could not be framed.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The value has no encoding.
    #[error("cannot encode: {0}")]
    Codec(#[from] postcard::Error),
    /// The encoding is longer than [`MAX_PAYLOAD`].
    #[error("a payload of {0} bytes is longer than a frame may be")]
    TooLong(usize),
}

/// The frame of one value.
///
/// # Errors
/// [`EncodeError`]; the size of a value is the caller's responsibility.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = postcard::to_extend(value, vec![0; HEADER])?;
    let payload = out.len().saturating_sub(HEADER);
    let length = u32::try_from(payload)
        .ok()
        .filter(|_| payload <= MAX_PAYLOAD)
        .ok_or(EncodeError::TooLong(payload))?;
    let mut header = [0_u8; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..12].copy_from_slice(&crc32fast::hash(&out[HEADER..]).to_le_bytes());
    let check = crc32fast::hash(&header[4..12]);
    header[12..].copy_from_slice(&check.to_le_bytes());
    out[..HEADER].copy_from_slice(&header);
    Ok(out)
}

/// Takes bytes as they come and gives out what they frame.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Bytes before this are used up.
    start: usize,
    /// Bytes that were no part of a valid frame.
    skipped: u64,
}

/// What the front of the buffer is.
enum Front {
    /// A valid header.
    Header { length: usize, crc: u32 },
    /// May become one.
    Short,
    /// Not a header.
    Noise,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Decoder::default()
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && (self.start == self.bytes.len() || self.start > MAX_PAYLOAD) {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes so far that were no part of a valid frame.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next value, if the bytes so far hold one. Frames whose payload is no `T` are skipped.
    pub fn next_value<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            match self.front() {
                Front::Short => return None,
                Front::Noise => self.skip(),
                Front::Header { length, crc } => {
                    let payload = self
                        .bytes
                        .get(self.start + HEADER..self.start + HEADER + length)?;
                    if crc32fast::hash(payload) != crc {
                        self.skip();
                        continue;
                    }
                    let value = postcard::from_bytes(payload).ok();
                    self.start += HEADER + length;
                    match value {
                        Some(value) => return Some(value),
                        None => self.skipped += (HEADER + length) as u64,
                    }
                }
            }
        }
    }

    fn front(&self) -> Front {
        let bytes = &self.bytes[self.start..];
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Front::Noise;
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Front::Short;
        };
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = number(4) as usize;
        if number(12) != crc32fast::hash(&header[4..12]) || length > MAX_PAYLOAD {
            return Front::Noise;
        }
        Front::Header {
            length,
            crc: number(8),
        }
    }

    /// Goes on to the next byte that could start a frame.
    fn skip(&mut self) {
        let rest = &self.bytes[self.start + 1..];
        let step = 1 + rest
            .iter()
            .position(|byte| *byte == MAGIC[0])
            .unwrap_or(rest.len());
        self.start += step;
        self.skipped += step as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Packet, Reply, Stream};

    fn data(bytes: Vec<u8>) -> Packet<Reply> {
        Packet {
            session: 7,
            stream: 3,
            body: Reply::Data {
                from: Stream::Stdout,
                bytes,
            },
        }
    }

    fn all(decoder: &mut Decoder) -> Vec<Packet<Reply>> {
        std::iter::from_fn(|| decoder.next_value()).collect()
    }

    #[test]
    fn a_frame_may_come_byte_by_byte() {
        let packet = data(b"hello".to_vec());
        let frame = encode(&packet).unwrap();
        let mut decoder = Decoder::new();
        for byte in &frame[..frame.len() - 1] {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next_value::<Packet<Reply>>(), None);
        }
        decoder.push(&frame[frame.len() - 1..]);
        assert_eq!(decoder.next_value(), Some(packet));
        assert_eq!(decoder.skipped(), 0);
    }

    #[test]
    fn too_long_is_refused() {
        assert!(matches!(
            encode(&data(vec![0; MAX_PAYLOAD])),
            Err(EncodeError::TooLong(_))
        ));
    }

    #[test]
    fn the_preamble_ends_any_cut_frame() {
        let lost = encode(&data(vec![b'S'; 70_000])).unwrap();
        let next = data(b"after".to_vec());
        for cut in [1, 3, 4, 15, 16, 17, 1000, lost.len() - 1] {
            let mut decoder = Decoder::new();
            decoder.push(&lost[..cut]);
            assert_eq!(all(&mut decoder), []);
            decoder.push(&vec![0; PREAMBLE]);
            decoder.push(&encode(&next).unwrap());
            assert_eq!(
                all(&mut decoder),
                std::slice::from_ref(&next),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_frame_of_another_type_is_skipped() {
        let mut decoder = Decoder::new();
        decoder.push(&encode(&0xffff_ffff_ffff_u64).unwrap());
        decoder.push(&encode(&data(vec![1])).unwrap());
        assert_eq!(all(&mut decoder), [data(vec![1])]);
        assert!(decoder.skipped() > 0);
    }

    proptest! {
        #[test]
        fn frames_survive_noise_between_them(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6),
            noise in prop::collection::vec(any::<u8>(), 0..100),
            step in 1_usize..97,
        ) {
            let packets: Vec<_> = payloads.into_iter().map(data).collect();
            let mut stream = Vec::new();
            for packet in &packets {
                // No byte of the noise may look like the start of a frame, else it may swallow the next one.
                stream.extend(noise.iter().filter(|byte| **byte != MAGIC[0]));
                stream.extend(encode(packet).unwrap());
            }
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            for piece in stream.chunks(step) {
                decoder.push(piece);
                got.extend(all(&mut decoder));
            }
            prop_assert_eq!(got, packets);
        }

        #[test]
        fn random_bytes_never_panic_and_are_never_kept(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            prop_assert_eq!(all(&mut decoder), []);
            prop_assert!(decoder.bytes.len() - decoder.start < HEADER);
        }

        #[test]
        fn a_flipped_bit_costs_one_frame_at_most(
            payload in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0_u32..8,
        ) {
            let mut frame = encode(&data(payload)).unwrap();
            let at = at.index(frame.len());
            frame[at] ^= 1_u8 << bit;
            let mut decoder = Decoder::new();
            decoder.push(&frame);
            prop_assert_eq!(all(&mut decoder), []);
            decoder.push(&vec![0; PREAMBLE]);
            decoder.push(&encode(&data(vec![5])).unwrap());
            prop_assert_eq!(all(&mut decoder), [data(vec![5])]);
        }

        #[test]
        fn random_payloads_in_valid_frames_never_panic(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = postcard::from_bytes::<Packet<Reply>>(&payload);
            let _ = postcard::from_bytes::<Packet<crate::message::Request>>(&payload);
        }
    }
}
