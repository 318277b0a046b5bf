// SPDX-License-Identifier: GPL-2.0

//! The hardware: the one adapter that [`open`] makes of a PCI function, its windows, and what keeps it from doing harm.
//!
//! An [`Adapter`] implements `skiff_model::ntb::Ntb`; its owner serialises all calls by one mutex, and drops it before the
//! driver's `remove` returns, which leaves the chip quiet. The [`Window`] is shared by reference count: slots that are being
//! given up may outlive the adapter, but lead nowhere then.
//!
//! There is one family so far, IDT 89HPESxNTx. A second one is a file here and an arm of [`open`].

mod containment;
mod idt;
mod signal;
mod window;

pub(crate) use self::{
    containment::Containment,
    idt::Idt as Adapter,
    signal::{
        Signal,
        SIGNALS, //
    },
    window::{
        Layout,
        Window, //
    },
};

use kernel::prelude::*;
use skiff_ext::pci;

/// What names the driver in sysfs, /proc/iomem and /proc/interrupts.
pub(crate) const NAME: &CStr = c"skiff";

/// What those interrupts have as a name that peers raise.
pub(crate) const DIRECT_NAME: &CStr = c"skiff-direct";

/// The PCI functions that are bridges which we know.
pub(crate) const IDS: &[pci::Id] = &idt::IDS;

/// Takes a function: it is enabled, quiet and set up, and its gate closed.
pub(crate) fn open(dev: &pci::Device) -> Result<Adapter> {
    Adapter::open(dev)
}
