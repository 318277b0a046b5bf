// SPDX-License-Identifier: GPL-2.0

//! skiff_nvme.ko: the namespaces of lent NVMe controllers as disks, `/dev/skiffnvmeXnY`.
//!
//! It binds to the auxiliary devices that skiff.ko makes for devices that can be borrowed, and uses nothing of skiff.ko but
//! what `include/linux/skiff.h` offers.

mod admin;
mod attachment;
mod bells;
mod controller;
mod disk;
mod driver;
mod ears;
mod lane;
mod memory;
mod number;
mod owner;
mod queue;
mod registers;
mod remote;
mod role;
mod room;
mod server;
mod transfer;

use kernel::{
    cpu::nr_cpu_ids,
    prelude::*, //
};
use skiff_client::Registration;

use crate::{
    attachment::Wishes,
    driver::NvmeDriver, //
};

module! {
    type: NvmeModule,
    name: "skiff_nvme",
    authors: ["The Skiff developers"],
    description: "Disks of NVMe controllers that other nodes lend",
    license: "GPL",
    alias: ["auxiliary:skiff.device"],
    params: {
        poll_queues: u32 {
            default: 1,
            description: "Queues of a controller for requests that are polled",
        },
        io_queue_depth: u32 {
            default: 64,
            description: "Entries of a queue, 4 to 1024",
        },
        io_timeout_ms: u32 {
            default: 30000,
            description: "Milliseconds that a request may take before it is aborted",
        },
        shadow_doorbells: u32 {
            default: 1,
            description: "1: shadow doorbells where this node has the controller alone and it takes them; 0: none",
        },
        direct: u32 {
            default: 1,
            description: "1: without an IOMMU controllers may reach all memory of this node; 0: data are copied",
        },
    },
}

/// The value of a parameter, of which Linux 7.2 gives a reference and later ones a copy.
macro_rules! parameter {
    ($name:ident) => {{
        #[cfg(skiff_v7_2)]
        let value = *module_parameters::$name.value();
        #[cfg(not(skiff_v7_2))]
        let value = module_parameters::$name.value();
        value
    }};
}

/// A number of 16 bits: as large as it gets.
fn short(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// What the parameters say.
fn wishes() -> Wishes {
    Wishes {
        queues: short(nr_cpu_ids()),
        polled: short(parameter!(poll_queues)),
        entries: short(parameter!(io_queue_depth)),
        timeout_ms: parameter!(io_timeout_ms),
        shadows: parameter!(shadow_doorbells) != 0,
        direct: parameter!(direct) != 0,
    }
}

/// The module.
#[pin_data]
struct NvmeModule {
    #[pin]
    _driver: Registration<NvmeDriver>,
}

impl kernel::InPlaceModule for NvmeModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- Registration::new(c"nvme"),
        })
    }
}
