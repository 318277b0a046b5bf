// SPDX-License-Identifier: GPL-2.0
//! Which devices a search finds.

use crate::ids::Fdid;
use crate::ids::NodeId;
use crate::ids::RequesterId;
use crate::wire::DeviceInfo;
use crate::wire::DeviceState;

/// What a device must be like. `None` is anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Its lender.
    pub node: Option<NodeId>,
    /// How it stands.
    pub state: Option<DeviceState>,
    /// Its class code, and the bits of that which count.
    pub class: Option<(u32, u32)>,
    /// PCI vendor id.
    pub vendor: Option<u16>,
    /// PCI device id.
    pub device: Option<u16>,
    /// Vendor id of the subsystem.
    pub subvendor: Option<u16>,
    /// Device id of the subsystem.
    pub subdevice: Option<u16>,
    /// Device serial number.
    pub serial: Option<u64>,
    /// Where it is on its lender: PCI domain; bus, device and function.
    pub place: Option<(u32, RequesterId)>,
}

impl Filter {
    /// Whether a device is like that.
    pub fn matches(&self, fdid: Fdid, info: &DeviceInfo) -> bool {
        fn is<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }

        self.node.is_none_or(|node| fdid.node() == Some(node))
            && is(self.state, info.state)
            && self
                .class
                .is_none_or(|(class, mask)| (class ^ info.class) & mask == 0)
            && is(self.vendor, info.vendor)
            && is(self.device, info.device)
            && is(self.subvendor, info.subvendor)
            && is(self.subdevice, info.subdevice)
            && is(self.serial, info.serial)
            && is(self.place, (info.domain, info.bdf))
    }
}
