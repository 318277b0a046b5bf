// SPDX-License-Identifier: GPL-2.0

//! Namespaces as disks of the block layer.

use kernel::sync::{
    atomic::Relaxed,
    Arc, //
};
use skiff_block::{
    Batch,
    Discard,
    Driver,
    Flying,
    Limits,
    Queued,
    Request,
    TagSet,
    TimeoutAction,
    SECTOR, //
};
use skiff_nvme_model::{
    data::{
        PIECE_PAGES,
        RANGES, //
    },
    identify::{
        Abilities,
        Namespace, //
    },
    protocol,
    PAGE, //
};

use crate::{
    lane::Lane,
    transfer::Tag, //
};

/// The driver as the block layer sees it.
pub(crate) struct Nvme;

impl Driver for Nvme {
    type Queue = Arc<Lane>;
    type Data = Namespace;
    type Request = Tag;

    fn queue(lane: &Arc<Lane>, request: Request<Self>, last: bool) -> Queued<Self> {
        lane.queue.queue(request, last)
    }

    fn commit(lane: &Arc<Lane>) {
        lane.queue.commit();
    }

    fn poll(lane: &Arc<Lane>, tags: &TagSet<Self>, batch: &mut Batch) -> u32 {
        lane.queue.reap_into(tags, batch)
    }

    fn timeout(lane: &Arc<Lane>, request: Flying<'_, Self>) -> TimeoutAction {
        let late = request.data().late.fetch_add(1, Relaxed);

        lane.late(request.tag(), late);
        TimeoutAction::Again
    }
}

/// Blocks that one command to write zeroes may name, at most.
const ZEROES: u32 = 1 << 16;

/// Ranges to discard may be so long, in sectors.
const DISCARD: u32 = 1 << 22;

/// What requests for a namespace may look like; `copies` says that their data are copied.
pub(crate) fn limits(namespace: &Namespace, of: &protocol::Limits, copies: bool) -> Limits {
    let has = |ability| of.abilities.has(ability);
    let per_block = namespace.block() / SECTOR;
    let discard = Discard {
        max_sectors: DISCARD,
        // CAST: It is small.
        max_ranges: RANGES as u16,
        granularity: namespace.block(),
    };

    Limits {
        logical_block: namespace.block(),
        physical_block: namespace.block(),
        max_sectors: of.most / SECTOR,
        max_write_zeroes_sectors: match has(Abilities::ZEROES) {
            true => ZEROES * per_block,
            false => 0,
        },
        // CAST: They are small.
        max_pieces: match copies {
            true => 128,
            false => PIECE_PAGES as u16,
        },
        // Pages are linked one after the other: only the first may begin, and only the last may end, anywhere.
        virt_boundary: match copies {
            true => 0,
            false => PAGE as usize - 1,
        },
        dma_alignment: 3,
        write_cache: has(Abilities::CACHE),
        fua: has(Abilities::CACHE),
        rotational: false,
        discard: has(Abilities::DISCARD).then_some(discard),
    }
}
