// SPDX-License-Identifier: GPL-2.0

//! The companion function of the emulated switch: it has the memory window instead of BAR2, so that this is plain memory to
//! the machine that emulates the node.
//!
//! Source: `Documentation/switch-model.rst`, "Companion layout". On a chip the capability does not exist.

use kernel::prelude::*;
use skiff_ext::pci;

/// PCI_CAP_ID_VNDR.
const CAPABILITY: u8 = 0x09;
/// `SKIF`, little endian.
const SIGNATURE: u32 = 0x4649_4b53;
/// Where in the capability that is.
const SIGNATURE_AT: u16 = 4;
/// 7:0 function in the same slot, 15:8 its BAR.
const PLACE_AT: u16 = 8;

/// A companion function.
pub(super) struct Companion {
    /// The function.
    pub(super) dev: pci::Device,
    /// Its BAR with the memory window.
    pub(super) bar: u8,
}

impl Companion {
    /// The companion of a bridge, if it has one; `ENODEV` if its capability names one that is not there.
    pub(super) fn find(dev: &pci::Device) -> Option<Result<Self>> {
        let mut found = dev.find_capability(CAPABILITY);

        while let Some(at) = found {
            if dev.config_read32(at.checked_add(SIGNATURE_AT)?) == SIGNATURE {
                return Some(Self::at(dev, at));
            }
            found = dev.find_next_capability(at, CAPABILITY);
        }
        None
    }

    fn at(dev: &pci::Device, capability: u16) -> Result<Self> {
        let place = dev.config_read32(capability.checked_add(PLACE_AT).ok_or(ENODEV)?);
        let [function, bar, ..] = place.to_le_bytes();

        if function > 7 || bar >= pci::BARS {
            return Err(ENODEV);
        }
        match dev.sibling(function) {
            Some(dev) => Ok(Self { dev, bar }),
            None => {
                dev_err!(dev, "the companion function {function} is not there\n");
                Err(ENODEV)
            }
        }
    }
}
