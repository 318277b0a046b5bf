// SPDX-License-Identifier: GPL-2.0

//! What the requests for a disk may look like.

use kernel::bindings;

use crate::bindings as own;

/// Which requests to discard sectors a disk takes.
#[derive(Clone, Copy, Debug)]
pub struct Discard {
    /// The most sectors in one request.
    pub max_sectors: u32,
    /// The most ranges in one request, see [`crate::Request::ranges`].
    pub max_ranges: u16,
    /// In bytes: smaller ranges are not worth it.
    pub granularity: u32,
}

/// What the requests for a disk may look like.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In bytes, a power of two from 512 to the size of a page (more where the kernel allows it).
    pub logical_block: u32,
    /// In bytes: what the device writes without reading first.
    pub physical_block: u32,
    /// The most sectors in one request, and in one that only writes zeroes: 0 if there is no such request.
    pub max_sectors: u32,
    /// See `max_sectors`.
    pub max_write_zeroes_sectors: u32,
    /// The most pieces of contiguous memory in one request.
    pub max_pieces: u16,
    /// Where one piece ends and the next begins these bits of the address are zero: 4095 for devices that are told pages. 0: no
    /// such limit.
    pub virt_boundary: usize,
    /// The bits of a piece's address that are zero.
    pub dma_alignment: u32,
    /// There is a cache that a flush writes back.
    pub write_cache: bool,
    /// A write can go past that cache ([`crate::Request::fua`]).
    pub fua: bool,
    /// There are heads to move.
    pub rotational: bool,
    /// Whether it can discard.
    pub discard: Option<Discard>,
}

impl Limits {
    /// Fills in what this says, and leaves the rest.
    pub(crate) fn apply(&self, to: &mut bindings::queue_limits) {
        for (on, feature) in [
            (self.write_cache, own::SKIFF_BLK_FEAT_WRITE_CACHE),
            (self.write_cache && self.fua, own::SKIFF_BLK_FEAT_FUA),
            (self.rotational, own::SKIFF_BLK_FEAT_ROTATIONAL),
        ] {
            to.features &= !feature;
            if on {
                to.features |= feature;
            }
        }
        to.logical_block_size = self.logical_block;
        to.physical_block_size = self.physical_block;
        to.max_hw_sectors = self.max_sectors;
        to.max_write_zeroes_sectors = self.max_write_zeroes_sectors;
        to.max_segments = self.max_pieces;
        to.virt_boundary_mask = self.virt_boundary;
        if self.virt_boundary != 0 {
            // What the block layer wants there: pieces end at the boundary, not at a size.
            to.max_segment_size = u32::MAX;
        }
        to.dma_alignment = self.dma_alignment;

        let discard = self.discard.unwrap_or(Discard {
            max_sectors: 0,
            max_ranges: 1,
            granularity: 0,
        });

        to.max_hw_discard_sectors = discard.max_sectors;
        to.max_discard_segments = discard.max_ranges;
        to.discard_granularity = discard.granularity;
    }
}
