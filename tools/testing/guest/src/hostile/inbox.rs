// SPDX-License-Identifier: GPL-2.0
//! The two ends of the rings: the own inbox in memory that nobody else uses, the victim's through a slot.
//!
//! Inboxes lie in physical memory that the kernel was told to leave alone (`memmap=4M$0x8000000`) and that is mapped through
//! `/dev/mem`: victims may write there as long as they like, also after this process is gone.

use anyhow::Context;
use anyhow::Result;
use skiff_model::ids;
use skiff_model::ids::PORTS_MAX;
use skiff_model::ring;
use skiff_model::ring::Place;
use skiff_model::ring::Word;
use skiff_model::ring::INBOX_BYTES;
use skiff_model::wire::Entry;
use skiff_model::wire::ENTRY_BYTES;

use crate::pci::Mapping;

/// Where the memory begins: physical address, which is the bus address of a node without an IOMMU.
pub const MEMORY: u64 = 0x800_0000;
/// How much there is.
const MEMORY_BYTES: usize = 4 << 20;

/// Where in there segments may be: above all inboxes.
pub const SEGMENTS: usize = 2 << 20;
/// Bytes that they have.
pub const SEGMENTS_BYTES: usize = MEMORY_BYTES - SEGMENTS;

/// Bytes from one inbox to the next.
const STRIDE: usize = 0x8000;
/// Inboxes may begin at so many pages.
const PLACES: u64 = (SEGMENTS / 4096 - PORTS_MAX as usize * STRIDE / 4096) as u64;

/// The memory.
pub fn memory() -> Result<Mapping> {
    Mapping::device("/dev/mem".into(), MEMORY, MEMORY_BYTES)
        .context("is the kernel's command line without memmap=4M$0x8000000 or iomem=relaxed?")
}

/// The own inbox for one victim.
#[derive(Clone, Copy, Debug)]
pub struct Near<'a> {
    memory: &'a Mapping,
    offset: usize,
}

impl<'a> Near<'a> {
    /// The inbox for the victim behind `port`. Inboxes that are known by different numbers are elsewhere, mostly: a victim that
    /// is up must see that this is not the one that it knows.
    pub fn of(memory: &'a Mapping, port: ids::Port, number: u64) -> Self {
        // CAST: It is below PLACES.
        let first = (number % PLACES) as usize * 4096;
        Self {
            memory,
            offset: first + STRIDE * port.index(),
        }
    }

    /// Page of the bus where it starts.
    pub fn frame(&self) -> u64 {
        (MEMORY + self.offset as u64) / 4096
    }

    /// Zeroes it.
    pub fn empty(&self) {
        for at in (0..INBOX_BYTES).step_by(4) {
            // Inside: STRIDE is larger than an inbox.
            let _ = self.memory.write::<u32>(self.offset + at, 0);
        }
    }

    fn word(&self, at: usize) -> u32 {
        self.memory.read(self.offset + at).unwrap_or(0)
    }
}

impl ring::Inbox for Near<'_> {
    fn load(&self, word: Word) -> u32 {
        // x86 does not reorder loads with later loads.
        self.word(word.offset())
    }

    fn read_entry(&self, place: Place) -> Entry {
        let mut entry = [0; ENTRY_BYTES];
        for (at, bytes) in (place.offset()..).step_by(4).zip(entry.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&self.word(at).to_le_bytes());
        }
        entry
    }
}

/// The victim's inbox.
#[derive(Clone, Copy, Debug)]
pub struct Far<'a> {
    window: &'a Mapping,
    offset: usize,
}

impl<'a> Far<'a> {
    /// The inbox that is at `offset` of the window.
    pub fn at(window: &'a Mapping, offset: usize) -> Self {
        Self { window, offset }
    }

    /// Stores a word anywhere in it.
    pub fn poke(&self, at: usize, value: u32) {
        // What is outside of the window is no attack.
        let _ = self.window.write(self.offset + at, value);
    }

    /// Writes an entry.
    pub fn put(&self, place: Place, entry: &Entry) {
        for (at, bytes) in (place.offset()..).step_by(4).zip(entry.chunks_exact(4)) {
            let mut word = [0; 4];
            word.copy_from_slice(bytes);
            self.poke(at, u32::from_le_bytes(word));
        }
    }
}

impl ring::Outbox for Far<'_> {
    fn write_entry(&self, place: Place, entry: &Entry, _: usize) {
        self.put(place, entry);
    }

    fn store(&self, word: Word, value: u32) {
        // The window is uncached, so that stores stay in order.
        self.poke(word.offset(), value);
    }
}

/// An outbox that writes what it is told instead of what the writer wants: the writer's books stay right.
#[derive(Debug)]
pub struct Forged<'a> {
    far: Far<'a>,
    entry: Entry,
}

impl<'a> Forged<'a> {
    /// Writes `entry` in place of the next one.
    pub fn new(far: Far<'a>, entry: Entry) -> Self {
        Self { far, entry }
    }
}

impl ring::Outbox for Forged<'_> {
    fn write_entry(&self, place: Place, _: &Entry, _: usize) {
        self.far.put(place, &self.entry);
    }

    fn store(&self, word: Word, value: u32) {
        self.far.store(word, value);
    }
}
