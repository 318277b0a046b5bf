// SPDX-License-Identifier: GPL-2.0

//! Files that show the nodes, and the adapters that lead to them.

use super::Shown;
use crate::fabric::{
    Adapter,
    Layout,
    Link,
    NodeState,
    SlotInfo, //
};
use kernel::fmt;
use skiff_model::{
    ids::{
        NodeId,
        Port,
        NODES_MAX, //
    },
    ntb::{
        CacheMode,
        WindowClass, //
    },
    session::State,
    slots::SlotState, //
};

/// The nodes that were ever seen, this one included.
pub(super) fn nodes(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let own = shown.fabric.node();
    let known = shown.fabric.nodes_known();
    let known = (0..u64::from(NODES_MAX)).filter(|node| known & (1 << node) != 0);

    for node in known.filter_map(|node| NodeId::try_from(node).ok()) {
        let Ok(info) = shown.fabric.node_info(node) else {
            continue;
        };
        let state = match info.state {
            _ if own == Some(node) => "local",
            NodeState::Down => "down",
            NodeState::Greeting => "greeting",
            NodeState::Up => "up",
        };
        let generation = info.generation.map_or(0, |generation| generation.get());
        let (out, inward) = shown.segments.connections(node);

        writeln!(
            f,
            "node={node} state={state} generation={generation:#x} adapters={:#x} \
             connections_out={out} connections_in={inward}",
            info.adapters,
        )?;
    }
    Ok(())
}

/// The adapters, each followed by its links to peers.
pub(super) fn links(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for adapter in shown.fabric.adapters() {
        let Ok(geometry) = adapter.geometry(WindowClass::Memory) else {
            continue;
        };
        let layout = match adapter.layout() {
            Layout::Chip => "chip",
            Layout::Companion => "companion",
        };
        let stats = adapter.bus().stats();
        let containment = adapter.containment();
        let (spares, claimed) = adapter.spares();

        writeln!(
            f,
            "adapter={} port={} layout={layout} slots={} slots_pinned={} slot_bytes={} \
             window_bytes={} mapped_bytes={} iommu={} contained={} spares={spares} \
             spares_claimed={claimed}",
            adapter.id(),
            adapter.port(),
            geometry.slots(),
            adapter.slots_pinned(WindowClass::Memory),
            geometry.slot_bytes().get(),
            stats.window,
            stats.mapped,
            yes(containment.paging()),
            yes(containment.holds()),
        )?;
        for port in adapter.ports().iter() {
            link(shown, &adapter, port, f)?;
        }
    }
    Ok(())
}

/// A link.
fn link(shown: &Shown, adapter: &Adapter, port: Port, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let link = match adapter.linked().contains(port) {
        true => "up",
        false => "down",
    };
    let session = match adapter.peer_info(port).state {
        State::Down => "down",
        State::Quiet => "quiet",
        State::Greeting => "greeting",
        State::Up => "up",
        State::Own => "own",
        State::Stopped => "stopped",
    };

    write!(
        f,
        "adapter={} peer={port} link={link} session={session}",
        adapter.id()
    )?;
    if let Link::Up { node, generation } = shown.fabric.link(adapter.id(), port) {
        write!(f, " node={node} generation={:#x}", generation.get())?;
    }
    writeln!(f)
}

/// The slots that lead somewhere, or did when somebody took hold of them.
pub(super) fn slots(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for adapter in shown.fabric.adapters() {
        for class in [WindowClass::Memory, WindowClass::Registers] {
            adapter.each_slot(class, |slot| self::slot(&adapter, slot, f))?;
        }
    }
    Ok(())
}

/// A slot.
fn slot(adapter: &Adapter, info: SlotInfo, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (state, target) = match info.state {
        SlotState::Free => return Ok(()),
        SlotState::Programming(target) => ("programming", target),
        SlotState::Live(target) => ("live", target),
        SlotState::Lost(target) => ("lost", target),
        SlotState::Cleared(target) => ("cleared", target),
    };
    let mode = match target.mode {
        CacheMode::Wc => "wc",
        CacheMode::Uc => "uc",
    };

    let window = match info.class {
        WindowClass::Memory => "memory",
        WindowClass::Registers => "registers",
    };

    writeln!(
        f,
        "adapter={} window={window} slot={} state={state} peer={} base={} mode={mode} pins={}",
        adapter.id(),
        info.slot,
        target.peer,
        target.chunk.base(),
        info.pins,
    )
}

/// The pair of rings between each adapter and each peer.
pub(super) fn rings(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for adapter in shown.fabric.adapters() {
        for port in adapter.ports().iter() {
            let peer = adapter.peer_info(port);

            writeln!(
                f,
                "adapter={} peer={port} written={} read={} queued={} taken={}",
                adapter.id(),
                peer.written,
                peer.read,
                peer.queued,
                peer.taken,
            )?;
        }
    }
    Ok(())
}

/// What was counted of each adapter, and of each of its peers.
pub(super) fn counters(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for adapter in shown.fabric.adapters() {
        let counters = adapter.counters();

        writeln!(
            f,
            "adapter={} wakeups={} slots_set={} slots_cleared={} rings={} words_tx={} \
             words_rx={} errors={}",
            adapter.id(),
            counters.wakeups.get(),
            counters.slots_set.get(),
            counters.slots_cleared.get(),
            counters.rings.get(),
            counters.words_tx.get(),
            counters.words_rx.get(),
            counters.errors.get(),
        )?;
        for port in adapter.ports().iter() {
            let counters = adapter.peer_counters(port);

            writeln!(
                f,
                "adapter={} peer={port} messages_tx={} messages_rx={} queued={} refused={} \
                 decode_errors={} session_resets={} hung={} link_downs={} ups={}",
                adapter.id(),
                counters.messages_tx.get(),
                counters.messages_rx.get(),
                counters.queued.get(),
                counters.refused.get(),
                counters.decode_errors.get(),
                counters.session_resets.get(),
                counters.hung.get(),
                counters.link_downs.get(),
                counters.ups.get(),
            )?;
        }
    }
    Ok(())
}

/// Memory that is held back because a peer might still write it.
pub(super) fn quarantine(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    shown.fabric.adapters().try_for_each(|adapter| {
        writeln!(
            f,
            "adapter={} bytes={}",
            adapter.id(),
            adapter.bus().stats().held
        )
    })
}

/// A word for whether something holds.
fn yes(holds: bool) -> &'static str {
    match holds {
        true => "yes",
        false => "no",
    }
}
