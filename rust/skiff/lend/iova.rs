// SPDX-License-Identifier: GPL-2.0

//! Which bus addresses of a device's own IOMMU domain are taken.

use kernel::prelude::*;
use skiff_ext::iommu::Aperture;
use skiff_model::addr::PAGE;

/// The taken ranges of a domain.
///
/// # Invariants
///
/// `taken` is in order, its ranges are whole pages and do not overlap each other.
pub(super) struct Iovas {
    /// First and last address of each.
    taken: KVVec<(u64, u64)>,
}

impl Iovas {
    /// All of these addresses are free, which are in order.
    pub(super) fn new(aperture: &[Aperture]) -> Result<Self> {
        let mut taken = KVVec::new();
        let mut next = Some(0);

        for part in aperture {
            let first = next.ok_or(EINVAL)?;

            if let Some(last) = part.first.checked_sub(1).filter(|last| first <= *last) {
                taken.push((first, last), GFP_KERNEL)?;
            }
            next = part.last.checked_add(1);
        }
        if let Some(first) = next {
            taken.push((first, u64::MAX), GFP_KERNEL)?;
        }
        // INVARIANT: They are what is between the parts.
        Ok(Self { taken })
    }

    /// Takes `bytes` bytes, whole pages, at the lowest address where there is room.
    ///
    /// Errors: ENOMEM, ENOSPC.
    pub(super) fn take(&mut self, bytes: u64) -> Result<u64> {
        if bytes == 0 || bytes % PAGE != 0 {
            return Err(EINVAL);
        }
        let mut start = Some(0u64);
        let mut found = None;

        for (index, (first, last)) in self.taken.iter().enumerate() {
            let end = start
                .and_then(|start| start.checked_add(bytes))
                .ok_or(ENOSPC)?;

            if end <= *first {
                found = Some(index);
                break;
            }
            start = last.checked_add(1);
        }
        let start = start.ok_or(ENOSPC)?;
        let last = start.checked_add(bytes.saturating_sub(1)).ok_or(ENOSPC)?;

        self.taken.reserve(1, GFP_KERNEL)?;
        // INVARIANT: It lies between its neighbours.
        self.taken
            .insert_within_capacity(found.unwrap_or(self.taken.len()), (start, last))
            .map_err(|_| EINVAL)?;
        Ok(start)
    }

    /// Gives back what starts at `start`.
    pub(super) fn give(&mut self, start: u64) {
        self.taken.retain(|(first, _)| *first != start);
    }
}
