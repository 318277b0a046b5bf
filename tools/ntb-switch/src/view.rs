// SPDX-License-Identifier: GPL-2.0
//! What one window shows: the shortest list of pieces of node memory, and how it differs from another.
//!
//! Made from routes and spaces by [`View::build`]; a plain value without references to either.

use std::ops::Range;

use crate::model::Bar;
use crate::model::Port;
use crate::model::Route;
use crate::model::Switch;
use crate::space::Access;
use crate::space::FileId;
use crate::space::Space;

/// Bytes of a page: the granularity at which a window can be re-pointed.
pub const PAGE: u64 = 4096;

/// Part of a file that shows in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// The file.
    pub file: FileId,
    /// Byte offset in it, a multiple of [`PAGE`].
    pub offset: u64,
}

/// A range of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First byte of the window, a multiple of [`PAGE`].
    pub offset: u64,
    /// Bytes, a multiple of [`PAGE`], never 0.
    pub len: u64,
    /// What shows; `None` is dead: reads give all ones, writes are dropped.
    pub shown: Option<Shown>,
}

/// All that one window shows.
///
/// # Invariants
///
/// Pieces ascend, follow each other without gaps, and neighbours never continue each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pieces: Vec<Piece>,
}

/// Puts a piece behind others, as part of the last one where it continues it.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    if piece.len == 0 {
        return;
    }
    if let Some(last) = pieces.last_mut() {
        let continues = last.offset + last.len == piece.offset
            && match (last.shown, piece.shown) {
                (None, None) => true,
                (Some(a), Some(b)) => {
                    a.file == b.file && a.offset.checked_add(last.len) == Some(b.offset)
                }
                _ => false,
            };
        if continues {
            last.len += piece.len;
            return;
        }
    }
    pieces.push(piece);
}

impl View {
    /// A window of `size` bytes (a multiple of [`PAGE`]) that shows nothing.
    pub fn dead(size: u64) -> Self {
        let mut pieces = Vec::new();
        push(
            &mut pieces,
            Piece {
                offset: 0,
                len: size,
                shown: None,
            },
        );
        Self { pieces }
    }

    /// What the window `bar` of `port` shows now.
    ///
    /// `space` gives the bus address space of a node. Only writable memory shows, in whole pages that
    /// lie page-aligned in their file: the rest is dead.
    pub fn build<'a>(
        switch: &Switch,
        port: Port,
        bar: Bar,
        space: impl Fn(Port) -> &'a Space,
    ) -> Self {
        let size = switch.window_size(port, bar);
        Self {
            pieces: pieces_of(switch, port, bar, space, 0..size),
        }
    }

    /// Brings the pages of one part of the window up to date, as [`View::build`] would; gives what must
    /// be re-pointed. The work is that of the part, not of the window.
    pub fn update<'a>(
        &mut self,
        switch: &Switch,
        port: Port,
        bar: Bar,
        space: impl Fn(Port) -> &'a Space,
        part: Range<u64>,
    ) -> Vec<Piece> {
        let size = self.size();
        let start = part.start - part.start % PAGE;
        let end = page_up(part.end.min(size), size);
        if start >= end {
            return Vec::new();
        }
        let fresh = pieces_of(switch, port, bar, space, start..end);
        let first = self
            .pieces
            .partition_point(|old| old.offset + old.len <= start);
        let behind = self.pieces.partition_point(|old| old.offset < end);
        let changes = changes(&self.pieces[first..behind], &fresh);
        if !changes.is_empty() {
            // One piece more on each side, which the new ones may continue.
            let first = first.saturating_sub(1);
            let behind = (behind + 1).min(self.pieces.len());
            let mut merged = Vec::with_capacity(fresh.len() + 4);
            let old = &self.pieces[first..behind];
            let before = old.iter().filter_map(|piece| clip(*piece, 0..start));
            let after = old.iter().filter_map(|piece| clip(*piece, end..size));
            for piece in before.chain(fresh).chain(after) {
                push(&mut merged, piece);
            }
            self.pieces.splice(first..behind, merged);
        }
        changes
    }

    /// Leaves at most `most` (at least 2) pieces: all that follow are one dead piece.
    #[must_use]
    pub fn limited(mut self, most: usize) -> Self {
        if self.pieces.len() > most {
            let size = self.size();
            self.pieces.truncate(most.max(2) - 1);
            let offset = self.size();
            let rest = Piece {
                offset,
                len: size - offset,
                shown: None,
            };
            push(&mut self.pieces, rest);
        }
        self
    }

    /// The pieces, ascending.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes of the window.
    pub fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |last| last.offset + last.len)
    }

    /// What must be re-pointed to turn `self` into `new`: only ranges that differ, merged.
    pub fn changes(&self, new: &View) -> Vec<Piece> {
        changes(&self.pieces, &new.pieces)
    }
}

/// The pieces of a page-aligned part of a window.
fn pieces_of<'a>(
    switch: &Switch,
    port: Port,
    bar: Bar,
    space: impl Fn(Port) -> &'a Space,
    part: Range<u64>,
) -> Vec<Piece> {
    let size = part.end;
    let mut pieces = Vec::new();
    let mut at = part.start;
    while at < size {
        match switch.route(port, bar, at) {
            Route::Unsupported { len, .. } => {
                let end = at.saturating_add(len.max(1)).min(size);
                at = dead_until(&mut pieces, at, end, size);
            }
            Route::Memory {
                port: target,
                addr,
                len,
            } => {
                let end = at.saturating_add(len.max(1)).min(size);
                at = memory_until(&mut pieces, at, end, size, addr, space(target));
            }
        }
    }
    pieces
}

/// What of `new` differs from what `old`, which covers at least as much, shows there.
fn changes(old: &[Piece], new: &[Piece]) -> Vec<Piece> {
    let mut changes = Vec::new();
    let mut old = old.iter().copied().peekable();
    for piece in new {
        let end = piece.offset + piece.len;
        let mut at = piece.offset;
        while at < end {
            while old.peek().is_some_and(|old| old.offset + old.len <= at) {
                old.next();
            }
            let (stop, was) = match old.peek() {
                Some(old) => ((old.offset + old.len).min(end), Some(shown_at(old, at))),
                None => (end, None),
            };
            let now = shown_at(piece, at);
            if was != Some(now) {
                push(
                    &mut changes,
                    Piece {
                        offset: at,
                        len: stop - at,
                        shown: now,
                    },
                );
            }
            at = stop;
        }
    }
    changes
}

/// The part of a piece within a range.
pub(crate) fn clip(piece: Piece, range: Range<u64>) -> Option<Piece> {
    let from = piece.offset.max(range.start);
    let to = (piece.offset + piece.len).min(range.end);
    (from < to).then(|| Piece {
        offset: from,
        len: to - from,
        shown: shown_at(&piece, from),
    })
}

/// What a piece shows at one of its offsets.
fn shown_at(piece: &Piece, at: u64) -> Option<Shown> {
    piece.shown.map(|shown| Shown {
        offset: shown.offset + (at - piece.offset),
        ..shown
    })
}

/// Rounds up to a page, not beyond `size`.
fn page_up(at: u64, size: u64) -> u64 {
    at.checked_next_multiple_of(PAGE)
        .map_or(size, |at| at.min(size))
}

/// Kills the pages of `at..end`; gives the start of the next page.
fn dead_until(pieces: &mut Vec<Piece>, at: u64, end: u64, size: u64) -> u64 {
    let end = page_up(end, size);
    push(
        pieces,
        Piece {
            offset: at,
            len: end - at,
            shown: None,
        },
    );
    end
}

/// Shows the whole pages of `at..end` that `space` has at `addr` onwards; gives the start of the next page.
fn memory_until(
    pieces: &mut Vec<Piece>,
    at: u64,
    end: u64,
    size: u64,
    addr: u64,
    space: &Space,
) -> u64 {
    let mut done = at;
    for extent in space.pieces(addr, end - at) {
        let from = at + (extent.addr - addr);
        let to = from + extent.len;
        let backing = match extent.backing {
            Some(backing) if backing.access == Access::ReadWrite => backing,
            _ => continue,
        };
        // Whole pages inside this extent.
        let first = page_up(from, size).max(done);
        let last = to - to % PAGE;
        if first >= last {
            continue;
        }
        let offset = backing.offset + (first - from);
        if offset % PAGE != 0 {
            continue;
        }
        push(
            pieces,
            Piece {
                offset: done,
                len: first - done,
                shown: None,
            },
        );
        push(
            pieces,
            Piece {
                offset: first,
                len: last - first,
                shown: Some(Shown {
                    file: backing.file,
                    offset,
                }),
            },
        );
        done = last;
    }
    if done < end {
        done = dead_until(pieces, done, end, size);
    }
    done
}
