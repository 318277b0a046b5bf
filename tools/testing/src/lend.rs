// SPDX-License-Identifier: GPL-2.0
//! Nodes with devices to lend, and what has to be on the disks behind them.
//!
//! The lender is node 1; node 0 borrows, and node 2, where there is one, owns memory that the device uses as well. Behind
//! root ports of their own the lender has two NVMe controllers, the second with a controller memory buffer, and QEMU's `edu`.

mod answers;

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde_json::json;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Node;
use skiff_cluster::NodeBuilder;

use crate::frame::Context;
use crate::frame::Setting;
use crate::guest;
use crate::share;
use crate::share::Actor;
use crate::share::Verified;
use crate::share::SOON;

pub use answers::BorrowInfo;
pub use answers::Hammered;
pub use answers::Listed;
pub use answers::Moved;
pub use answers::Started;

/// Who lends.
pub const LENDER: usize = 1;
/// Who borrows.
pub const BORROWER: usize = 0;
/// Who has memory.
pub const THIRD: usize = 2;

/// Bytes of a disk.
pub const DISK: u64 = 64 << 20;

const NTMTBL_ENTRIES: u32 = 64;
const NTMTBLADDR: u32 = 0x4d0;
const NTMTBLDATA: u32 = 0x4d8;

/// A device of the lender: its name in QEMU, which is that of its disk as well, and the slot of its root port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    name: &'static str,
    slot: u8,
}

/// An NVMe controller.
pub const NVME: Device = Device {
    name: "one",
    slot: 0x18,
};
/// One with a controller memory buffer in BAR 2.
pub const BUFFERED: Device = Device {
    name: "two",
    slot: 0x19,
};
/// QEMU's device for teaching (docs/specs/edu.rst of QEMU).
pub const EDU: Device = Device {
    name: "edu",
    slot: 0x1a,
};

/// Room for what an NVMe controller has under way with memory that is not the node's own. QEMU 11 hangs when a controller is
/// reset while a transfer waits for such room, of which there are 4 KiB by default.
const BOUNCE: u64 = 64 << 20;

/// Bytes of the controller memory buffer.
pub const CMB: u64 = 1 << 20;

impl Device {
    fn describe(self, node: NodeBuilder, model: &str) -> NodeBuilder {
        let Self { name, slot } = self;
        node.qemu_arg("-device")
            .qemu_arg(format!(
                "pcie-root-port,id={name}-port,addr={slot:#x},chassis={slot},slot={slot},x-speed=5"
            ))
            .qemu_arg("-device")
            .qemu_arg(format!("{model},id={name},bus={name}-port"))
    }

    /// One more device, in a slot of bus 0 that is free.
    pub const fn new(name: &'static str, slot: u8) -> Self {
        Self { name, slot }
    }

    /// Gives a node an NVMe controller with a disk of so many bytes; `options` are QEMU's, each behind a comma.
    pub fn nvme(self, node: NodeBuilder, bytes: u64, options: &str) -> NodeBuilder {
        let Self { name, .. } = self;
        let model = format!(
            "nvme,drive={name},serial=skiff-{name},x-max-bounce-buffer-size={BOUNCE}{options}"
        );
        self.describe(node.disk(name, bytes), &model)
    }

    /// Gives a node an NVMe controller with namespaces, each with a disk: their numbers, bytes, and QEMU's options.
    pub fn nvme_with(self, node: NodeBuilder, namespaces: &[(u32, u64, &str)]) -> NodeBuilder {
        let Self { name, .. } = self;
        let model = format!("nvme,serial=skiff-{name},x-max-bounce-buffer-size={BOUNCE}");
        let node = self.describe(node, &model);
        namespaces
            .iter()
            .fold(node, |node, (number, bytes, options)| {
                let drive = format!("{name}{number}");
                node.disk(&drive, *bytes)
                    .qemu_arg("-device")
                    .qemu_arg(format!(
                        "nvme-ns,bus={name},nsid={number},drive={drive}{options}"
                    ))
            })
    }

    /// Puts it back after it was unplugged, and waits until the node sees it.
    pub fn plug(self, node: &Node) -> Result<()> {
        let Self { name, .. } = self;
        node.plug(json!({
            "driver": "nvme",
            "id": name,
            "bus": format!("{name}-port"),
            "drive": name,
            "serial": format!("skiff-{name}"),
            "x-max-bounce-buffer-size": BOUNCE,
        }))?;
        node.wait_for(&self.list(), SOON)?;
        Ok(())
    }

    /// Its name in QEMU and the name of its disk.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// A shell line that prints what sysfs calls it.
    fn list(self) -> String {
        format!(
            "cd /sys/bus/pci/devices/0000:00:{:02x}.0 && for f in *:*:*.0; do [ -e $f ] && echo $f; done",
            self.slot
        )
    }

    /// What sysfs calls it.
    pub fn address(self, node: &Node) -> Result<String> {
        Ok(node
            .run(&self.list())?
            .check()?
            .stdout_text()
            .trim()
            .to_owned())
    }

    /// Bus, device and function in one number.
    pub fn bdf(self, node: &Node) -> Result<u32> {
        let address = self.address(node)?;
        let number = |from: usize, to: usize| {
            let digits = address.get(from..to).context("a short PCI address")?;
            Ok::<u32, anyhow::Error>(u32::from_str_radix(digits, 16)?)
        };
        Ok((number(5, 7)? << 8) | (number(8, 10)? << 3) | number(11, 12)?)
    }
}

/// A node with devices to lend.
pub fn lender(node: NodeBuilder) -> NodeBuilder {
    let node = NVME.nvme(node, DISK, "");
    let buffer = format!(",cmb_size_mb={}", CMB >> 20);
    with_edu(BUFFERED.nvme(node, DISK, &buffer))
}

/// A node with nothing but the device for teaching.
pub fn with_edu(node: NodeBuilder) -> NodeBuilder {
    EDU.describe(node, "edu,dma_mask=0xffffffffffffffff")
}

/// The cluster.
pub fn describe(builder: Builder) -> Builder {
    guest::install(builder)
        .node(LENDER, lender)
        .cmdline("iomem=relaxed")
}

/// Loads skiff.ko everywhere, and opens the lender's pool.
pub fn prepare(context: &mut Context<'_>) -> Result<()> {
    share::load_everywhere(context.cluster, "")?;
    open(context)
}

/// The lender offers its NVMe controllers to all, and everybody sees them.
pub fn open(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let actor = Actor::start(cluster.node(LENDER), "prepares")?;
    for device in [NVME, BUFFERED] {
        offer(context.setting, &actor, device)?;
    }
    connect(cluster, &actor, 2)
}

/// The lender shows its pool to all, and everybody sees that so many devices are available.
pub fn connect(cluster: &Cluster, lender: &Actor<'_>, devices: usize) -> Result<()> {
    for node in cluster.nodes() {
        if node.index() != LENDER {
            lender.tell(&format!("lend-connect {}", node.port(0)))?;
        }
    }
    for node in cluster.nodes() {
        let user = Actor::start(node, "waits")?;
        user.until("devices --available", |found: &Vec<Listed>| {
            found.len() == devices
        })?;
    }
    Ok(())
}

/// What a lender has to say to make a device available in a setting.
pub fn waiver(setting: Setting) -> &'static str {
    if setting.iommu == Iommu::Off {
        "--waive"
    } else {
        ""
    }
}

/// Has our stub driver bind to a function.
pub fn bind(node: &Node, device: Device) -> Result<()> {
    let function = device.address(node)?;
    guest::run(node, &format!("bind {function} skiff_lend"))?;
    Ok(())
}

/// Adds a device to the pool of the lender, for everybody, and makes it available; gives its id.
pub fn offer(setting: Setting, actor: &Actor<'_>, device: Device) -> Result<u32> {
    let node = actor.node();
    bind(node, device)?;
    let function = device.address(node)?;
    let fdid = actor.ask(&format!("lend-add {function} --mode 666"))?;
    actor.tell(&format!("lend-available {fdid} {}", waiver(setting)))?;
    Ok(fdid)
}

/// The device of the lender as a node sees it.
pub fn seen(cluster: &Cluster, actor: &Actor<'_>, device: Device) -> Result<Listed> {
    let function = device.address(cluster.node(LENDER))?;
    let step = format!("devices --function {function}");
    let found: Vec<Listed> = actor.ask(&step)?;
    let found = found.into_iter().next();
    found.with_context(|| format!("node {} does not see {function}", actor.node().index()))
}

/// Waits until a node sees a device in a state.
pub fn wait_state(actor: &Actor<'_>, fdid: u32, state: &str) -> Result<()> {
    actor.until("devices", |found: &Vec<Listed>| {
        found
            .iter()
            .any(|device| device.fdid == fdid && device.state == state)
    })?;
    Ok(())
}

/// Requester ids that partition `port` may send with, by the switch's mapping table (NTMTBLADDR, NTMTBLDATA).
pub fn requesters(cluster: &Cluster, port: u8) -> Result<Vec<u32>> {
    // Each port has an address register of its own; that of a node which does nothing just now is used.
    let (switch, by) = (cluster.switch(), cluster.node(BORROWER).port(0));
    let mut found = Vec::new();
    for entry in 0..NTMTBL_ENTRIES {
        switch.register_write(by, NTMTBLADDR, entry)?;
        let data = switch.register_read(by, NTMTBLDATA)?;
        if data & 1 != 0 && (data >> 17) & 7 == u32::from(port) {
            found.push((data >> 1) & 0xffff);
        }
    }
    Ok(found)
}

/// The word at byte `offset` of the sequence of a seed, as skiff-guest has it.
fn word(seed: u64, offset: u64) -> u64 {
    let mut z = seed.wrapping_add(offset.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// So many bytes of the sequence of a seed.
pub fn sequence(bytes: u64, seed: u64) -> Vec<u8> {
    (0..bytes)
        .step_by(8)
        .flat_map(|at| word(seed, at).to_le_bytes())
        .collect()
}

/// Whether bytes are those of a sequence from `from` on.
pub fn is_sequence(bytes: &[u8], from: u64, seed: u64) -> bool {
    (from..)
        .step_by(8)
        .zip(bytes.chunks_exact(8))
        .all(|(at, now)| now == word(seed, at).to_le_bytes())
}

/// The image behind a device must hold the bytes of a sequence from `from` on. The host reads it.
pub fn on_disk(cluster: &Cluster, device: Device, from: u64, bytes: u64, seed: u64) -> Result<()> {
    on_image(cluster, device.name, from, bytes, seed)
}

/// The same of a disk that is called by its name.
pub fn on_image(cluster: &Cluster, disk: &str, from: u64, bytes: u64, seed: u64) -> Result<()> {
    let path = cluster.node(LENDER).disk(disk);
    let mut found = vec![0; usize::try_from(bytes)?];
    File::open(&path)?.read_exact_at(&mut found, from)?;
    for (at, now) in (from..).step_by(8).zip(found.chunks_exact(8)) {
        ensure!(
            now == word(seed, at).to_le_bytes(),
            "{at:#x} of {} holds {now:x?}",
            path.display()
        );
    }
    Ok(())
}

/// Looks at registers of another node, or stores to them, until that is right. The emulated switch gives up, and counts,
/// what a busy node does not take or answer in time: that is done again, and nothing else.
pub fn sure(cluster: &Cluster, mut look: impl FnMut() -> Result<Verified>) -> Result<()> {
    let given_up = || -> Result<u64> {
        let all = cluster.switch().all_counters()?;
        let each = all
            .values()
            .map(|counters| counters.dropped_writes + counters.completion_timeouts);
        Ok(each.sum())
    };
    for _ in 0..50 {
        let before = given_up()?;
        let found = look()?;
        if found.wrong == 0 {
            return Ok(());
        }
        ensure!(given_up()? > before, "{found:?}");
    }
    bail!("the switch gives up again and again");
}

/// Fills a map of registers of another node with the bytes of a sequence; loads in between let the node keep up.
pub fn store(cluster: &Cluster, actor: &Actor<'_>, map: &str, bytes: u64, seed: u64) -> Result<()> {
    const PART: u64 = 1024;
    for at in (0..bytes / PART).map(|part| part * PART) {
        sure(cluster, || {
            actor.fill(map, at, PART, seed)?;
            actor.ask(&format!("verify {map} {at} {PART} {seed}"))
        })?;
    }
    Ok(())
}
