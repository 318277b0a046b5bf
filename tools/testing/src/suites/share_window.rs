// SPDX-License-Identifier: GPL-2.0
//! The window and its slots: what happens when they run out, cache modes, several adapters, no reads across the fabric.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use ntb_switch::control::LinkState;
use regex::Regex;
use skiff_cluster::Builder;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::guest::number;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;
use crate::share::NodeStatus;
use crate::share::RemoteInfo;
use crate::share::PAGE;

/// The BAR of the memory window.
const WINDOW: u8 = 2;

/// Few small slots.
pub const SLOTS: Suite = Suite {
    name: "share window",
    on: &[Setting::STOCK],
    describe: |builder, _| guest::install(builder).aperture("16M"),
    prepare,
    cases: &[
        Case {
            name: "an exhausted window is ENOSPC, disturbs nothing, and ends with an unmap",
            run: exhausted,
        },
        Case {
            name: "write-combining and uncached at once, as the kernel's list of memory types says",
            run: cache_modes,
        },
    ],
};

/// Two adapters a node.
pub const ADAPTERS: Suite = Suite {
    name: "share adapters",
    on: &[Setting::STOCK.adapters(2)],
    describe,
    prepare,
    cases: &[Case {
        name: "each adapter reaches the other node by itself",
        run: adapters,
    }],
};

/// Windows trapped: the switch sees every access.
pub const READS: Suite = Suite {
    name: "share reads",
    on: &[Setting::STOCK.trapped()],
    describe,
    prepare,
    cases: &[Case {
        name: "no read crosses the fabric to connect, map, unmap and disconnect",
        run: no_reads,
    }],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

fn prepare(context: &mut Context<'_>) -> Result<()> {
    share::load_everywhere(context.cluster, "")
}

fn exhausted(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let number = owner.status()?.node;
    let before = (Balance::of(&owner)?, Balance::of(&user)?);
    let slot = user.status()?.adapters[0].slot_bytes;
    let slots = user.status()?.adapters[0].slots;
    // Memory of a program lies where it lies: a segment of several slots' size needs several slots at least.
    let size = 2 * slot;
    let mut mapped = Vec::new();
    for id in 0..slots {
        owner.tell(&format!(
            "create segment{id} {size} --id {} --mode 666 --user --share",
            100 + id
        ))?;
        // Connecting takes no slot.
        user.tell(&format!("connect remote{id} --node {number} {}", 100 + id))?;
    }
    let mut full = None;
    for id in 0..slots {
        let step = format!("map map{id} remote{id}");
        if user.tell(&step).is_err() {
            full = Some(id);
            break;
        }
        mapped.push(id);
    }
    let full = full.context("the window is never full")?;
    ensure!(
        !mapped.is_empty(),
        "not even one segment of two slots can be mapped"
    );
    let pinned = user.status()?.adapters[0].slots_pinned;
    user.refused(&format!("map map{full} remote{full}"), "ENOSPC")?;
    ensure!(
        user.status()?.adapters[0].slots_pinned == pinned,
        "a refused map took slots"
    );
    // Nothing is disturbed: neither the maps nor the connections, and not the ring between the nodes.
    for id in &mapped {
        owner.tell(&format!("map own{id} segment{id}"))?;
        user.fill(&format!("map{id}"), 0, size, u64::from(*id))?;
        owner.verify(&format!("own{id}"), 0, size, u64::from(*id))?;
    }
    user.tell(&format!("connect more --node {number} 100"))?;
    // It may need more slots than one of the others has.
    let step = format!("map map{full} remote{full}");
    let mut freed = mapped.iter();
    while user.tell(&step).is_err() {
        user.refused(&step, "ENOSPC")?;
        let first = freed
            .next()
            .context("all is unmapped, and it still fails")?;
        user.tell(&format!("drop map{first}"))?;
    }
    ensure!(freed.len() < mapped.len(), "it was never full");
    user.fill(&format!("map{full}"), 0, size, 77)?;
    owner.tell(&format!("map own{full} segment{full}"))?;
    owner.verify(&format!("own{full}"), 0, size, 77)?;
    user.kill()?;
    owner.kill()?;
    let (owner, user) = (
        Actor::start(cluster.node(0), "owner")?,
        Actor::start(cluster.node(1), "user")?,
    );
    before.0.wait_back(&owner)?;
    before.1.wait_back(&user)
}

/// A range of physical addresses whose type the kernel has noted: first, behind the last, type.
type Noted = (u64, u64, String);

/// The kernel's list of memory types.
fn memory_types(node: &Node) -> Result<Vec<Noted>> {
    let output = node
        .run("cat /sys/kernel/debug/x86/pat_memtype_list")?
        .check()?;
    let line = Regex::new(
        r"\[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\] ([a-z-]+)|([a-z-]+) @ (0x[0-9a-f]+)-(0x[0-9a-f]+)",
    )?;
    let text = output.stdout_text().into_owned();
    let found: Result<Vec<Noted>> = line
        .captures_iter(&text)
        .map(|found| {
            let word =
                |a: usize, b: usize| found.get(a).or(found.get(b)).map_or("", |w| w.as_str());
            Ok((
                number(word(1, 5))?,
                number(word(2, 6))?,
                word(3, 4).to_owned(),
            ))
        })
        .collect();
    let found = found?;
    ensure!(!found.is_empty(), "nothing is listed:\n{text}");
    Ok(found)
}

/// The type of an address.
fn type_of(list: &[Noted], address: u64) -> Option<&str> {
    list.iter()
        .find(|(first, end, _)| (*first..*end).contains(&address))
        .map(|(_, _, name)| name.as_str())
}

fn cache_modes(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let size = 4 * PAGE;
    owner.tell(&format!("create segment {size} --id 51 --mode 666 --share"))?;
    owner.tell("map own segment")?;
    user.tell(&format!(
        "connect remote --node {} 51",
        owner.status()?.node
    ))?;
    user.tell("map combining remote")?;
    user.tell("map uncached remote --uncached")?;
    let info: RemoteInfo = user.ask("info remote")?;
    ensure!(
        info.maps == 2 && info.slots == 2,
        "a cache mode is a slot's: {info:?}"
    );
    user.fill("combining", 0, size, 1)?;
    user.verify("uncached", 0, size, 1)?;
    user.fill("uncached", 0, size, 2)?;
    user.verify("combining", 0, size, 2)?;
    owner.verify("own", 0, size, 2)?;
    let combining = slot_of(context, &user, "combining")?;
    let uncached = slot_of(context, &user, "uncached")?;
    ensure!(combining != uncached, "both maps are of one slot");
    let list = memory_types(cluster.node(1))?;
    let found = type_of(&list, combining);
    ensure!(
        found == Some("write-combining"),
        "{combining:#x} is {found:?}: {list:x?}"
    );
    // What is not in the list is uncached, as any BAR.
    let found = type_of(&list, uncached);
    ensure!(
        found.is_none_or(|name| name.starts_with("uncached")),
        "{uncached:#x} is {found:?}: {list:x?}"
    );
    Ok(())
}

/// The physical address of the slot that a map shows, found from the host: while that slot fails, the map is all ones.
fn slot_of(context: &Context<'_>, user: &Actor<'_>, map: &str) -> Result<u64> {
    let switch = context.cluster.switch();
    let port = user.node().port(0);
    let slot_bytes = user.status()?.adapters[0].slot_bytes;
    let mut slots: Vec<u64> = switch
        .view(port, WINDOW)?
        .iter()
        .map(|piece| piece.offset / slot_bytes)
        .collect();
    slots.dedup();
    let mut found = Vec::new();
    for slot in slots {
        let number = u8::try_from(slot)?;
        switch.poison(port, WINDOW, number, true)?;
        let seen = user.ask::<share::Touched>(&format!("touch {map}"));
        switch.poison(port, WINDOW, number, false)?;
        let seen = seen?;
        ensure!(seen.ones == 0 || seen.values == 0, "{map}: {seen:?}");
        if seen.ones > 0 {
            found.push(slot);
        }
    }
    ensure!(found.len() == 1, "{map} is of the slots {found:?}");
    let line = format!(
        "cut -d ' ' -f 1 /sys/bus/pci/drivers/skiff/0*/resource | sed -n {}p",
        WINDOW + 1
    );
    let output = user.node().run(&line)?.check()?;
    let window = number(output.stdout_text().trim())?;
    Ok(window + found[0] * slot_bytes)
}

fn adapters(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let number = owner.status()?.node;
    for actor in [&owner, &user] {
        let status = actor.status()?;
        let ports: Vec<u32> = status.adapters.iter().map(|adapter| adapter.port).collect();
        let expected: Vec<u32> = actor
            .node()
            .ports()
            .iter()
            .map(|port| u32::from(*port))
            .collect();
        ensure!(ports == expected, "ports {ports:?}, not {expected:?}");
    }
    let size = 3 * PAGE + 5;
    owner.tell(&format!("create segment {size} --id 61 --mode 666"))?;
    // Prepared for one adapter only it can be reached by that one only.
    owner.tell("prepare segment --adapter 1")?;
    owner.tell("available segment --adapter 1")?;
    owner.tell("map own segment")?;
    // The own adapter 0 may lead to either port of the peer; what counts is where the segment is available.
    owner.tell("prepare segment --adapter 0")?;
    owner.refused("prepare segment --adapter 0", "EBUSY")?;
    owner.refused("prepare segment --adapter 2", "ENODEV")?;
    owner.tell("available segment --adapter 0")?;
    for adapter in [0, 1] {
        user.tell(&format!(
            "connect remote{adapter} --node {number} 61 --adapter {adapter}"
        ))?;
        user.tell(&format!("map map{adapter} remote{adapter}"))?;
    }
    user.refused(
        &format!("connect remote2 --node {number} 61 --adapter 2"),
        "ENODEV",
    )?;
    user.fill("map0", 0, size, 1)?;
    owner.verify("own", 0, size, 1)?;
    user.verify("map1", 0, size, 1)?;
    user.fill("map1", 1, size - 1, 2)?;
    owner.verify("own", 1, size - 1, 2)?;
    // One link goes down: the other adapter's connection does not notice.
    let port = cluster.node(1).port(0);
    cluster.switch().set_link(port, LinkState::Down)?;
    user.event("remote0", "NotOperational")?;
    let info: RemoteInfo = user.ask("info remote1")?;
    ensure!(info.state == "Operational", "{info:?}");
    user.fill("map1", 0, size, 3)?;
    owner.verify("own", 0, size, 3)?;
    user.all_refused("map0", size.div_ceil(PAGE))?;
    let node: NodeStatus = user.ask(&format!("node {number}"))?;
    ensure!(node.state == "Up", "{node:?}");
    user.tell(&format!("connect other --node {number} 61"))
        .context("by any adapter")?;
    cluster.switch().set_link(port, LinkState::Up)?;
    user.event("remote0", "Operational")?;
    user.verify("map0", 0, size, 3)
}

fn no_reads(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let number = owner.status()?.node;
    owner.tell(&format!(
        "create segment {} --id 71 --mode 666 --share",
        16 * PAGE
    ))?;
    let reads = || -> Result<u64> {
        let all = cluster.switch().all_counters()?;
        Ok(all
            .values()
            .map(|counters| counters.non_posted_reads + counters.device_reads)
            .sum())
    };
    let before = reads()?;
    user.tell(&format!("connect remote --node {number} 71"))?;
    user.tell("map map remote")?;
    user.tell("map second remote --uncached")?;
    user.tell(&format!("query {number} 1"))?;
    owner.event("segment", "Connected")?;
    let between = reads()?;
    ensure!(
        between == before,
        "connect and map made {} reads",
        between - before
    );
    // A store is not a read; a load is one, so the counter works, and it comes after the stores: those are posted.
    let port = cluster.node(1).port(0);
    let writes = cluster.switch().counters(port)?.posted_writes;
    user.tell("scribble map 5")?;
    let seen: share::Touched = user.ask("touch map")?;
    ensure!(seen.values == 16, "{seen:?}");
    let stored = cluster.switch().counters(port)?.posted_writes - writes;
    ensure!(stored >= 16, "16 stores were counted as {stored}");
    ensure!(
        reads()? == before + 16,
        "16 stores and 16 loads were counted as {} reads",
        reads()? - before
    );
    let before = reads()?;
    user.tell("drop map")?;
    user.tell("drop second")?;
    user.tell("disconnect remote")?;
    owner.event("segment", "Disconnected")?;
    owner.tell("remove segment")?;
    ensure!(reads()? == before, "the way back made reads");
    Ok(())
}
