// SPDX-License-Identifier: GPL-2.0
//! What is not I/O: configuration space, a device that knows nothing of queues, the switch's mapping table.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Kernel;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend;
use crate::lend::offer;
use crate::lend::requesters;
use crate::lend::wait_state;
use crate::lend::Device;
use crate::lend::BORROWER;
use crate::lend::EDU as DEVICE;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::share::Actor;
use crate::share::PAGE;

/// Reading all, writing little.
pub const CONFIG: Case = Case {
    name: "configuration space: all can be read, what is harmless written",
    run: config,
};

/// Registers, DMA both ways, an interrupt by MSI.
pub const EDU: Case = Case {
    name: "registers, DMA and MSI of edu",
    run: edu,
};

/// Memory of the device at the borrower or at the lender.
pub const HINTS: Case = Case {
    name: "private memory is made where the hints want it",
    run: hints,
};

/// Who may send.
pub const REQUESTERS: Case = Case {
    name: "the device's requester id is in the mapping table while it is borrowed",
    run: admitted,
};

/// The configuration space as the lender's sysfs shows it.
fn at_home(node: &Node, device: Device) -> Result<Vec<u32>> {
    let function = device.address(node)?;
    let line = format!("hexdump -v -e '1/4 \"%08x\\n\"' /sys/bus/pci/devices/{function}/config");
    let output = node.run(&line)?.check()?;
    let text = output.stdout_text();
    let words = text
        .lines()
        .map(|word| u32::from_str_radix(word.trim(), 16));
    Ok(words.collect::<Result<_, _>>()?)
}

/// Which bytes are harmless: cache line size, latency timer, interrupt line, device control, vendor-specific capabilities.
fn harmless(words: &[u32]) -> Vec<u32> {
    // CAST: One byte is left.
    let byte = |at: u32| (words[at as usize / 4] >> (8 * (at % 4))) as u8;
    let mut found = vec![0x0c, 0x0d, 0x3c];
    let mut at = u32::from(byte(0x34));
    while at != 0 {
        match byte(at) {
            0x09 => found.extend(at + 3..at + u32::from(byte(at + 2))),
            0x10 => found.extend([at + 8, at + 9]),
            _ => {}
        }
        at = u32::from(byte(at + 1));
    }
    found.sort_unstable();
    found
}

fn config(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let home = cluster.node(LENDER);
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let fdid = lend::seen(cluster, &user, NVME)?.fdid;
    user.tell(&format!("borrow device {fdid}"))?;
    // Each word is a message there and back: the debug kernel is spared what is behind the capabilities.
    let words = match context.setting.kernel {
        Kernel::Debug => 128,
        _ => 1024,
    };
    let near = at_home(home, NVME)?;
    let far: Vec<u32> = user.ask(&format!("config-dump device {}", 4 * words))?;
    ensure!(
        near.len() == 1024 && far.len() == words,
        "{} and {} words",
        near.len(),
        far.len()
    );
    for (index, (near, far)) in near.iter().zip(&far).enumerate() {
        ensure!(
            near == far,
            "word {:#x} is {near:#x} at home and {far:#x} here",
            4 * index
        );
    }
    // The other widths: the vendor id, the class.
    let half: u32 = user.ask("config-read device 2 2")?;
    let byte: u32 = user.ask("config-read device 0xb 1")?;
    ensure!(
        half == near[0] >> 16 && byte == near[2] >> 24,
        "{half:#x} {byte:#x}"
    );
    user.refused("config-read device 2 4", "EINVAL")?;
    user.refused("config-read device 4096 4", "EINVAL")?;
    let writable: Vec<u32> = user.ask("config-sweep device 320")?;
    ensure!(
        writable == harmless(&near),
        "{writable:x?} can be written, {:x?} are harmless",
        harmless(&near)
    );
    // All that was written was what had been there.
    ensure!(at_home(home, NVME)? == near, "it changed");
    user.tell("config-write device 0x3c 1 0x5a")?;
    ensure!(at_home(home, NVME)?[15] & 0xff == 0x5a, "the write is lost");
    for (offset, width, value) in [
        // Command, BAR 0, power management, the upper half of an allowed word.
        (4, 2, 0x0007),
        (0x10, 4, 0),
        (0x14, 4, 0xfee0_0000_u32),
        (0x3c, 4, 0x100),
    ] {
        user.refused(
            &format!("config-write device {offset} {width} {value}"),
            "EPERM",
        )?;
    }
    user.refused("config-write device 0x3c 1 0x100", "EINVAL")?;
    // A function level reset is not the borrower's.
    let express = harmless(&near)
        .into_iter()
        .find(|at| *at > 0x3c)
        .context("no PCI Express capability")?;
    let control: u32 = user.ask(&format!("config-read device {express} 2"))?;
    let reset = control | 0x8000;
    user.refused(
        &format!("config-write device {express} 2 {reset:#x}"),
        "EPERM",
    )?;
    user.tell("drop device")?;
    wait_state(&user, fdid, "Available")
}

/// Registers of edu (docs/specs/edu.rst of QEMU).
mod register {
    pub const ID: u32 = 0x00;
    pub const LIVENESS: u32 = 0x04;
    pub const RAISE: u32 = 0x60;
    pub const ACKNOWLEDGE: u32 = 0x64;
    pub const SOURCE: u32 = 0x80;
    pub const TARGET: u32 = 0x88;
    pub const COUNT: u32 = 0x90;
    pub const COMMAND: u32 = 0x98;
}

/// Where edu has its own memory.
const OWN: u64 = 0x40000;
/// Commands: to the device and from it.
const TO_DEVICE: u32 = 1;
const FROM_DEVICE: u32 = 3;

fn copy(user: &Actor<'_>, source: u64, target: u64, command: u32) -> Result<()> {
    for (register, value) in [
        (register::SOURCE, source),
        (register::TARGET, target),
        (register::COUNT, PAGE),
    ] {
        user.tell(&format!("poke bar {register:#x} {value:#x} --long"))?;
    }
    user.tell(&format!("poke bar {:#x} {command}", register::COMMAND))?;
    let step = format!("peek bar {:#x}", register::COMMAND);
    user.until(&step, |now: &u32| now & 1 == 0)?;
    Ok(())
}

fn edu(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let fdid = offer(context.setting, &lender, DEVICE)?;
    wait_state(&user, fdid, "Available")?;
    user.tell(&format!("borrow device {fdid} --exclusive"))?;
    without_line(&user)?;
    let bytes: u64 = user.ask("device-connect registers device bar 0")?;
    ensure!(bytes == 1 << 20, "BAR 0 has {bytes:#x} bytes");
    user.refused("device-connect none device bar 1", "ENOENT")?;
    user.tell(&format!("map bar registers --uncached --length {PAGE}"))?;
    let id: u32 = user.ask(&format!("peek bar {:#x}", register::ID))?;
    ensure!(id & 0xff == 0xed, "it is {id:#x}");
    user.tell(&format!("poke bar {:#x} 0x12345678", register::LIVENESS))?;
    let answer: u32 = user.ask(&format!("peek bar {:#x}", register::LIVENESS))?;
    ensure!(answer == !0x1234_5678, "it is not alive: {answer:#x}");
    let vectors: u32 = user.ask("vectors device 4")?;
    ensure!(vectors == 1, "{vectors} vectors");
    user.refused("vector none device 1", "ENOENT")?;
    user.tell("vector signal device 0")?;
    // Bus mastering carries the interrupt as it does data.
    user.tell("bus-master device on")?;
    for value in 1..=3 {
        user.tell(&format!("poke bar {:#x} {value}", register::RAISE))?;
        let count: u64 = user.ask("signalled signal")?;
        ensure!(count == 1, "interrupt {value} came {count} times");
        user.tell(&format!("poke bar {:#x} {value}", register::ACKNOWLEDGE))?;
    }
    let count: u64 = user.ask("signalled signal --timeout 100")?;
    ensure!(count == 0, "{count} interrupts that nobody raised");
    user.tell(&format!("create memory {} --id 5", 3 * PAGE))?;
    user.refused("device-map early device memory", "EBUSY")?;
    user.tell("prepare memory")?;
    user.tell("map own memory")?;
    user.fill("own", 0, 3 * PAGE, 7)?;
    let address: u64 = user.ask("device-map mapped device memory")?;
    copy(&user, address, OWN, TO_DEVICE)?;
    copy(&user, OWN, address + PAGE, FROM_DEVICE)?;
    let found: crate::share::Verified =
        user.ask(&format!("verify own {PAGE} {PAGE} 7 --from 0"))?;
    ensure!(found.wrong == 0, "{found:?}");
    user.verify("own", 0, PAGE, 7)?;
    user.verify("own", 2 * PAGE, PAGE, 7)?;
    // Without bus mastering nothing moves.
    user.tell("bus-master device off")?;
    copy(&user, OWN, address + 2 * PAGE, FROM_DEVICE)?;
    user.verify("own", 2 * PAGE, PAGE, 7)?;
    user.tell("device-unmap device mapped")?;
    for name in [
        "mapped",
        "own",
        "memory",
        "bar",
        "registers",
        "signal",
        "device",
    ] {
        user.tell(&format!("drop {name}"))?;
    }
    wait_state(&lender, fdid, "Available")?;
    // Nor after it has had vectors.
    user.tell(&format!("borrow device {fdid}"))?;
    without_line(&user)?;
    user.tell("drop device")?;
    wait_state(&lender, fdid, "Available")?;
    lender.tell(&format!("lend-unavailable {fdid}"))?;
    lender.tell(&format!("lend-remove {fdid}"))
}

fn hints(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let lender = Actor::start(cluster.node(LENDER), "lender")?;
    let user = Actor::start(cluster.node(BORROWER), "user")?;
    let (there, here) = (lender.status()?.node, user.status()?.node);
    let fdid = offer(context.setting, &lender, DEVICE)?;
    wait_state(&user, fdid, "Available")?;
    user.tell(&format!("borrow device {fdid}"))?;
    user.tell("device-connect registers device bar 0")?;
    user.tell(&format!("map bar registers --uncached --length {PAGE}"))?;
    user.tell("bus-master device on")?;
    let table = [
        ("private", "device-reads,host-writes", there),
        ("private", "device-writes,host-reads", here),
        ("private", "device-reads,host-writes,host-reads", here),
        ("private", "device-writes,host-reads,many-hosts", there),
        ("private", "device-reads,other-devices", there),
        ("shared", "device-writes,host-reads", there),
    ];
    for (id, (kind, hints, node)) in (1..).zip(table) {
        let create = format!("device-create device {kind} {id} {}", 2 * PAGE - 1);
        user.tell(&format!("{create} --hints {hints}"))?;
        // Whichever node the second one would be on.
        user.refused(&create, "EADDRINUSE")?;
        user.refused(&format!("{create} --hints host-reads"), "EADDRINUSE")?;
        let bytes: u64 = user.ask(&format!("device-connect memory device {kind} {id}"))?;
        ensure!(bytes == 2 * PAGE - 1, "{kind} {hints}: {bytes} bytes");
        let info: serde_json::Value = user.ask("info memory")?;
        ensure!(info["node"] == node, "{kind} {hints}: {info}");
        user.tell("map map memory")?;
        let address: u64 = user.ask("device-map mapped device memory")?;
        user.fill("map", 0, PAGE, id)?;
        copy(&user, address, OWN, TO_DEVICE)?;
        copy(&user, OWN, address + PAGE, FROM_DEVICE)?;
        let found: crate::share::Verified =
            user.ask(&format!("verify map {PAGE} {} {id} --from 0", PAGE - 8))?;
        ensure!(found.wrong == 0, "{kind} {hints}: {found:?}");
        user.refused("return device", "EBUSY")?;
        user.tell("device-unmap device mapped")?;
        for name in ["mapped", "map", "memory"] {
            user.tell(&format!("drop {name}"))?;
        }
    }
    user.tell("drop bar")?;
    user.tell("drop registers")?;
    // Connections end with the borrow, wherever the memory is.
    for id in [1, 2] {
        user.tell(&format!("device-connect memory{id} device private {id}"))?;
    }
    user.tell("drop device")?;
    for id in [1, 2] {
        user.until(&format!("info memory{id}"), |info: &serde_json::Value| {
            info["state"] == "Lost"
        })?;
        user.tell(&format!("drop memory{id}"))?;
    }
    wait_state(&lender, fdid, "Available")?;
    lender.tell(&format!("lend-unavailable {fdid}"))?;
    lender.tell(&format!("lend-remove {fdid}"))
}

/// A borrowed device must not be able to pull its interrupt line: at the lender nobody waits for that.
fn without_line(user: &Actor<'_>) -> Result<()> {
    let command: u32 = user.ask("config-read device 4 2")?;
    ensure!(command & 0x400 != 0, "its command register is {command:#x}");
    Ok(())
}

fn admitted(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let home = cluster.node(LENDER);
    let (port, bdf) = (home.port(0), NVME.bdf(home)?);
    let watcher = Actor::start(home, "watcher")?;
    let fdid = lend::seen(cluster, &watcher, NVME)?.fdid;
    let before = requesters(cluster, port)?;
    ensure!(
        !before.is_empty() && !before.contains(&bdf),
        "nobody has borrowed {bdf:#x}: {before:x?}"
    );
    for end in ["return device", "drop device", "kill"] {
        let user = Actor::start(cluster.node(BORROWER), "user")?;
        user.tell(&format!("borrow device {fdid}"))?;
        user.tell("create memory 4096 --id 6")?;
        user.tell("prepare memory")?;
        user.tell("device-map mapped device memory")?;
        user.tell("bus-master device on")?;
        let now = requesters(cluster, port)?;
        ensure!(
            now.iter().filter(|id| **id == bdf).count() == 1 && now.len() == before.len() + 1,
            "{bdf:#x} has to be among {now:x?}"
        );
        if end == "kill" {
            user.kill()?;
        } else {
            user.tell(end)?;
        }
        wait_state(&watcher, fdid, "Available")?;
        let now = requesters(cluster, port)?;
        ensure!(now == before, "after {end:?}: {now:x?}");
    }
    Ok(())
}
