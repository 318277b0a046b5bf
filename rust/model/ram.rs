// SPDX-License-Identifier: GPL-2.0
//! All memory of a node, as a device of another node reaches it: which slots that takes, and where a page is.

use crate::addr::chunk_of;
use crate::addr::BusAddr;
use crate::addr::SlotBytes;
use crate::addr::PAGE;

/// Page frames, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub frame: u64,
    /// How many, at least one.
    pub pages: u64,
}

impl Span {
    /// The frame behind the last one.
    pub const fn end(&self) -> u64 {
        self.frame.saturating_add(self.pages)
    }
}

/// The parts of `spans`, which are in order and do not overlap, so cut that each lies in what one slot reaches; in order.
pub fn cut(spans: impl Iterator<Item = Span>, slot_bytes: SlotBytes) -> impl Iterator<Item = Span> {
    // A power of two.
    let mask = (slot_bytes.get() / PAGE).saturating_sub(1);
    spans.flat_map(move |span| {
        let mut frame = span.frame;
        core::iter::from_fn(move || {
            if frame >= span.end() {
                return None;
            }
            let next = (frame | mask).saturating_add(1).min(span.end());
            let pages = next.saturating_sub(frame);
            let part = Span { frame, pages };
            frame = next;
            Some(part)
        })
    })
}

/// Whether both lie in what one slot reaches; neither leaves that.
pub fn together(one: Span, other: Span, slot_bytes: SlotBytes) -> bool {
    let chunk = |span: Span| BusAddr::from_frame(span.frame).map(|bus| chunk_of(bus, slot_bytes));
    chunk(one) == chunk(other)
}

/// Memory, and where a device finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The memory.
    pub span: Span,
    /// What the device uses for its first byte.
    pub address: u64,
}

/// What a device uses for the page in `frame`, by a table that is in the order of frames; nothing if that does not have it.
pub fn locate(table: &[Placed], frame: u64) -> Option<u64> {
    let behind = table.partition_point(|placed| placed.span.frame <= frame);
    let placed = table.get(behind.checked_sub(1)?)?;
    let within = frame.checked_sub(placed.span.frame)?;
    if within >= placed.span.pages {
        return None;
    }
    placed.address.checked_add(within.checked_mul(PAGE)?)
}
