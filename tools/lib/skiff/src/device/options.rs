// SPDX-License-Identifier: GPL-2.0
//! How devices are lent, found and borrowed. Nothing is checked here; the operations do that.

use std::time::Duration;

use crate::device::state;
use crate::uapi;
use crate::DeviceState;
use crate::PciAddress;
use crate::Share;

/// How a device is lent.
#[derive(Clone, Debug)]
pub struct LendOptions {
    pub(crate) mode: u32,
    pub(crate) nodes: Vec<u32>,
}

impl Default for LendOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl LendOptions {
    /// To programs of the same user on all nodes that see the pool.
    pub fn new() -> Self {
        Self {
            mode: 0o600,
            nodes: Vec::new(),
        }
    }

    /// Who may borrow it, as for files: 0 to 0o777. Who may only read may not.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Nodes that may borrow it; none: all that see the pool.
    pub fn nodes(mut self, nodes: &[u32]) -> Self {
        self.nodes = nodes.to_vec();
        self
    }
}

/// Whether something must keep a lent device, and who borrows it, from the lender's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// An IOMMU must; else the device is not lent.
    #[default]
    Required,
    /// Nothing need: who borrows the device can read and write all memory of the lender.
    /// This taints the kernel.
    Waived,
}

/// What to do with a device that is borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Withdrawal {
    /// Leave it: EBUSY.
    #[default]
    IfIdle,
    /// Take it from its borrowers.
    Force,
}

/// Which devices are looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub(crate) wanted: uapi::skiff_device_query,
}

impl Filter {
    /// All devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those of this lender.
    pub fn node(mut self, node: u32) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_NODE;
        self.wanted.device.node = node;
        self
    }

    /// Only those in this state.
    pub fn state(mut self, wanted: DeviceState) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_STATE;
        self.wanted.device.state = state::raw(wanted);
        self
    }

    /// Only those whose class code has the bits of `mask` as `class` has them: `0x010802` and
    /// `0xffffff` for NVMe controllers, `0x010000` and `0xff0000` for all of mass storage.
    pub fn class(mut self, class: u32, mask: u32) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_CLASS;
        self.wanted.device.class_code = class;
        self.wanted.class_mask = mask;
        self
    }

    /// Only those of this vendor.
    pub fn vendor(mut self, vendor: u16) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_VENDOR;
        self.wanted.device.vendor = vendor;
        self
    }

    /// Only those with this device id.
    pub fn device(mut self, device: u16) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_DEVICE;
        self.wanted.device.device = device;
        self
    }

    /// Only those with this subsystem vendor.
    pub fn subvendor(mut self, subvendor: u16) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_SUBVENDOR;
        self.wanted.device.subvendor = subvendor;
        self
    }

    /// Only those with this subsystem id.
    pub fn subdevice(mut self, subdevice: u16) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_SUBDEVICE;
        self.wanted.device.subdevice = subdevice;
        self
    }

    /// Only the one with this serial number.
    pub fn serial(mut self, serial: u64) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_SERIAL;
        self.wanted.device.serial = serial;
        self
    }

    /// Only those at this place of their lender.
    pub fn function(mut self, function: PciAddress) -> Self {
        self.wanted.match_ |= uapi::SKIFF_MATCH_BDF;
        self.wanted.device.domain = function.domain();
        self.wanted.device.bdf = function.bdf().into();
        self
    }
}

/// How a device is borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct BorrowOptions {
    pub(crate) share: Share,
    pub(crate) timeout: Option<Duration>,
}

impl BorrowOptions {
    /// Together with others, each answer of the lender within 5 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Alone.
    pub fn exclusive(mut self) -> Self {
        self.share = Share::Exclusive;
        self
    }

    /// Limit of each wait for the lender, 1 ms to 60 s: of this one, and of those of the
    /// borrowed device.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}
