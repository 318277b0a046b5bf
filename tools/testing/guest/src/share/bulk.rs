// SPDX-License-Identifier: GPL-2.0
//! Steps that move bytes through a map, at any offset.

use std::fs;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use serde_json::json;
use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;

use super::objects::Objects;
use super::pages::PAGE;
use super::probe;
use super::step::Range;
use crate::window::word;

/// Bytes that are moved at a time.
const PIECE: usize = 64 << 10;

/// The bytes `from..` of the sequence that belongs to a seed, as many as `bytes` has room for.
pub fn sequence(seed: u64, from: u64, bytes: &mut [u8]) {
    let within = (from % 8) as usize;
    let head = bytes.len().min((8 - within) % 8);
    let (head, rest) = bytes.split_at_mut(head);
    if !head.is_empty() {
        let all = word(seed, from - from % 8).to_le_bytes();
        head.copy_from_slice(&all[within..within + head.len()]);
    }
    let mut at = from + head.len() as u64;
    for now in rest.chunks_mut(8) {
        let all = word(seed, at).to_le_bytes();
        match <&mut [u8; 8]>::try_from(&mut *now) {
            Ok(whole) => *whole = all,
            Err(_) => now.copy_from_slice(&all[..now.len()]),
        }
        at += 8;
    }
}

/// The pieces of a range: offset and length of each.
fn pieces(offset: u64, length: u64) -> Result<impl Iterator<Item = (usize, usize)>> {
    let (start, length) = (usize::try_from(offset)?, usize::try_from(length)?);
    Ok((0..length)
        .step_by(PIECE)
        .map(move |at| (start + at, PIECE.min(length - at))))
}

impl Objects {
    /// See [`super::step::Step::Fill`].
    pub fn fill(&self, range: &Range, seed: u64) -> Result<Value> {
        let map = self.map_of(&range.map)?;
        let mut bytes = vec![0; PIECE];
        for (at, length) in pieces(range.offset, range.length)? {
            sequence(seed, at as u64, &mut bytes[..length]);
            map.write(at, &bytes[..length])?;
        }
        map.flush();
        Ok(Value::Null)
    }

    /// See [`super::step::Step::Verify`].
    pub fn verify(&self, range: &Range, seed: u64, from: Option<u64>) -> Result<Value> {
        let map = self.map_of(&range.map)?;
        let (mut bytes, mut expected) = (vec![0; PIECE], vec![0; PIECE]);
        let mut wrong = 0;
        let mut first = None;
        for (at, length) in pieces(range.offset, range.length)? {
            let place = at as u64 - range.offset + from.unwrap_or(range.offset);
            sequence(seed, place, &mut expected[..length]);
            map.read(at, &mut bytes[..length])?;
            if bytes[..length] == expected[..length] {
                continue;
            }
            let differing = |i: &usize| bytes[*i] != expected[*i];
            wrong += (0..length).filter(differing).count();
            first = first.or((0..length).find(differing).map(|i| at + i));
        }
        Ok(json!({ "wrong": wrong, "first": first }))
    }

    /// See [`super::step::Step::Zeros`].
    pub fn zeros(&self, range: &Range) -> Result<Value> {
        let map = self.map_of(&range.map)?;
        let mut bytes = vec![0; PIECE];
        let mut wrong = 0;
        for (at, length) in pieces(range.offset, range.length)? {
            map.read(at, &mut bytes[..length])?;
            wrong += bytes[..length].iter().filter(|byte| **byte != 0).count();
        }
        Ok(json!({ "wrong": wrong }))
    }

    /// See [`super::step::Step::Load`].
    pub fn load(&self, map: &str, file: &str) -> Result<Value> {
        let map = self.map_of(map)?;
        let bytes = fs::read(file).with_context(|| format!("cannot read {file}"))?;
        let started = Instant::now();
        map.write(0, &bytes)?;
        map.flush();
        Ok(json!({ "bytes": bytes.len(), "micros": started.elapsed().as_micros() as u64 }))
    }

    /// See [`super::step::Step::Digest`].
    pub fn digest(&self, map: &str, length: u64) -> Result<Value> {
        let map = self.map_of(map)?;
        let mut bytes = vec![0; usize::try_from(length)?];
        let started = Instant::now();
        map.read(0, &mut bytes)?;
        let micros = started.elapsed().as_micros() as u64;
        Ok(json!({ "sha256": format!("{:x}", Sha256::digest(&bytes)), "micros": micros }))
    }

    /// See [`super::step::Step::Invert`].
    pub fn invert(&self, map: &str, length: u64) -> Result<Value> {
        let map = self.map_of(map)?;
        let mut bytes = vec![0; usize::try_from(length)?];
        let started = Instant::now();
        map.read(0, &mut bytes)?;
        let read = started.elapsed().as_micros() as u64;
        for byte in &mut bytes {
            *byte = !*byte;
        }
        let started = Instant::now();
        map.write(0, &bytes)?;
        map.flush();
        let written = started.elapsed().as_micros() as u64;
        Ok(json!({ "read_micros": read, "write_micros": written }))
    }

    /// See [`super::step::Step::Touch`].
    pub fn touch(&self, map: &str) -> Result<Value> {
        let map = self.map_of(map)?;
        let (mut values, mut ones, mut refused, mut last) = (0, 0, 0, None);
        for at in (0..map.len()).step_by(PAGE) {
            let place = map.as_ptr().wrapping_add(at).cast::<u32>();
            // SAFETY: The map is whole pages from a page's start on, and may be read.
            match unsafe { probe::load(place) } {
                Ok(u32::MAX) => ones += 1,
                Ok(value) => {
                    values += 1;
                    last = Some(value);
                }
                Err(probe::BusError) => refused += 1,
            }
        }
        Ok(json!({ "values": values, "ones": ones, "refused": refused, "last": last }))
    }

    /// See [`super::step::Step::Scribble`].
    pub fn scribble(&self, map: &str, value: u32) -> Result<Value> {
        let map = self.map_of(map)?;
        let (mut taken, mut refused) = (0, 0);
        for at in (0..map.len()).step_by(PAGE) {
            let place = map.as_ptr().wrapping_add(at).cast::<u32>();
            // SAFETY: As in `touch`; what the segment holds is the test's own.
            match unsafe { probe::store(place, value) } {
                Ok(()) => taken += 1,
                Err(probe::BusError) => refused += 1,
            }
        }
        map.flush();
        Ok(json!({ "taken": taken, "refused": refused }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_the_sequence_is_the_same_wherever_it_is_cut() {
        let mut whole = [0; 100];
        sequence(3, 0, &mut whole);
        for from in 0..20 {
            for length in 0..80 {
                let mut piece = vec![0; length];
                sequence(3, from as u64, &mut piece);
                assert_eq!(piece, whole[from..from + length]);
            }
        }
    }

    #[test]
    fn pieces_cover_a_range_once() {
        let length = 3 * PIECE as u64 + 5;
        let found: Vec<_> = pieces(7, length).unwrap().collect();
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], (7, PIECE));
        assert_eq!(found[3], (7 + 3 * PIECE, 5));
    }
}
