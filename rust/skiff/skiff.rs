// SPDX-License-Identifier: GPL-2.0

//! skiff.ko: memory and devices shared between nodes joined by Non-Transparent Bridges.

mod bus;
mod debug;
mod dev;
mod driver;
mod fabric;
mod hw;
mod kapi;
mod lend;
mod mem;
mod rooms;
mod segment;
mod uapi;

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    chardev,
    pci, //
};
use skiff_model::access::RootTrust;

use crate::{
    bus::Pool,
    debug::Debug,
    dev::{
        Context,
        Node, //
    },
    driver::SkiffDriver,
    fabric::{
        Fabric,
        Settings, //
    },
    lend::{
        Lend,
        Lender, //
    },
    rooms::Rooms,
    segment::{
        Limits,
        Segments, //
    },
};

module! {
    type: SkiffModule,
    name: "skiff",
    authors: ["The Skiff developers"],
    description: "Memory and devices shared across PCI Express Non-Transparent Bridges",
    license: "GPL",
    // The functions of hw::IDS: the kernel crate makes such a table for its own drivers only.
    alias: [
        "pci:v0000111Dd00008091sv*sd*bc*sc*i*",
        "pci:v0000111Dd0000808Fsv*sd*bc*sc*i*",
        "pci:v0000111Dd00008088sv*sd*bc*sc*i*",
        "pci:v0000111Dd00008092sv*sd*bc*sc*i*",
        "pci:v0000111Dd00008090sv*sd*bc*sc*i*",
        "pci:v0000111Dd0000808Esv*sd*bc*sc*i*",
        "pci:v0000111Dd0000808Csv*sd*bc*sc*i*",
        "pci:v0000111Dd0000808Asv*sd*bc*sc*i*",
    ],
    params: {
        heartbeat_ms: u32 {
            default: 10000,
            description: "Milliseconds between two beats; a peer that misses three is hung",
        },
        window_mib: u32 {
            default: 0,
            description: "MiB of a bus window without an IOMMU; 0: as much as a slot reaches",
        },
        user_mib: u32 {
            default: 0,
            description: "MiB of kernel memory that a user may export; 0: half of the memory",
        },
        trust_root: u8 {
            default: 0,
            description: "1: root of a peer counts as root of this node",
        },
        require_iommu: u8 {
            default: 0,
            description: "1: refuse adapters whose peers are not contained",
        },
        direct_interrupts: u8 {
            default: 1,
            description: "0: devices borrowed by kernel modules interrupt their lender, which tells",
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

/// The module. Fields go in their order: nobody looks at the node or can open the device any more when the adapters stop.
/// They are made in the reverse order, so that nobody has a file open when one of them cannot be made.
#[pin_data]
struct SkiffModule {
    _debug: Debug,
    _serving: kapi::Serving,
    _showing: kapi::Showing,
    #[pin]
    _device: chardev::Registration<Context>,
    #[pin]
    _stub: pci::stub::Registration<Lender>,
    #[pin]
    _driver: pci::Registration<SkiffDriver>,
    _rooms: Told,
}

/// Who is told of the fabric, until this is dropped.
struct Told(Arc<Rooms>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.set_lend(None);
    }
}

/// Makes what all files and adapters share.
fn node(clients: &Arc<kapi::Clients>) -> Result<(Arc<Node>, Told)> {
    let root = match parameter!(trust_root) {
        0 => RootTrust::Squash,
        _ => RootTrust::Trust,
    };
    let segments = Segments::new(Limits { root })?;
    let settings = Settings {
        heartbeat_ms: parameter!(heartbeat_ms),
        require_iommu: parameter!(require_iommu) != 0,
    };
    let pool = Pool::new(parameter!(window_mib), parameter!(user_mib))?;
    let told = Told(Rooms::new(&segments, clients)?);
    let fabric = Fabric::new(settings, told.0.clone(), pool)?;
    let lend = Lend::new(&fabric, &segments, root, clients.clone())?;

    told.0.set_lend(Some(lend.clone()));
    let node = Node {
        fabric,
        segments,
        lend,
    };
    Ok((Arc::new(node, GFP_KERNEL)?, told))
}

impl kernel::InPlaceModule for SkiffModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let clients = kapi::Clients::new()?;
            let (node, told) = node(&clients)?;
            let driver = SkiffDriver::new(node.fabric.clone());
            let lender = Lender::new(node.lend.clone());
            let (fabric, segments) = (node.fabric.clone(), node.segments.clone());
            let lend = node.lend.clone();
            let interrupts = match parameter!(direct_interrupts) {
                0 => kapi::Interrupts::Forwarded,
                _ => kapi::Interrupts::Direct,
            };
            let served = kapi::Node::new(&fabric, &segments, &lend, &clients, interrupts)?;
            Ok(try_pin_init!(Self {
                _rooms: told,
                _stub <- pci::stub::Registration::new(lender),
                _driver <- pci::Registration::new(driver),
                _device <- chardev::Registration::register(c"skiff", dev::MODE, node),
                _showing: kapi::Showing::new(&clients, &lend)?,
                _serving: kapi::Serving::new(served)?,
                _debug: Debug::new(fabric, segments, lend, clients),
            }? Error))
        })
    }
}
