// SPDX-License-Identifier: GPL-2.0
//! What the device said of its regions when the connection began, and what may be done with them.

use crate::device::{Device, RegionAccess};
use crate::wire::RegionRange;
use crate::Errno;

#[derive(Debug, Clone, Copy)]
struct Region {
    size: u64,
    access: RegionAccess,
}

/// All regions, by index.
#[derive(Debug)]
pub(crate) struct Regions(Vec<Region>);

impl Regions {
    /// Asks for the first `count`.
    pub(crate) fn new(device: &dyn Device, count: u32) -> Self {
        let region = |index| match device.region_info(index) {
            Ok(info) => Region {
                size: info.size,
                access: info.access,
            },
            Err(_) => Region {
                size: 0,
                access: RegionAccess::empty(),
            },
        };
        Self((0..count).map(region).collect())
    }

    /// Whether the whole range lies in its region, and the region can be accessed so.
    pub(crate) fn check(&self, range: RegionRange, access: RegionAccess) -> Result<(), Errno> {
        let region = usize::try_from(range.region)
            .ok()
            .and_then(|index| self.0.get(index))
            .ok_or(Errno::INVAL)?;
        let end = range
            .offset
            .checked_add(range.count.into())
            .ok_or(Errno::INVAL)?;
        if range.count == 0 || end > region.size {
            return Err(Errno::INVAL);
        }
        if !region.access.contains(access) {
            return Err(Errno::PERM);
        }
        Ok(())
    }
}
