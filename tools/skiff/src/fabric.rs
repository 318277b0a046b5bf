// SPDX-License-Identifier: GPL-2.0
//! Lists of nodes, links and segments: what the kernel knows, without changing anything.

use serde::Serialize;
use skiff::Containment;
use skiff::Context;
use skiff::Iommu;
use skiff::Layout;
use skiff::Node;
use skiff::NodeState;
use skiff::Set;

use crate::arguments::List;
use crate::error::Error;
use crate::output::length;
use crate::output::numbers;
use crate::output::Output;

#[derive(Serialize)]
struct NodeRow {
    node: u32,
    local: bool,
    state: &'static str,
    adapters: Vec<u32>,
    generation: u64,
    connections_out: u64,
    connections_in: u64,
}

/// `skiff nodes`
pub fn nodes(output: &Output) -> Result<(), Error> {
    let context = Context::open()?;
    let own = context.info()?.node;
    let nodes: Vec<_> = context
        .nodes()?
        .into_iter()
        .map(|node| NodeRow {
            node: node.node,
            local: node.node == own,
            state: state(node.state),
            adapters: list(node.adapters),
            generation: node.generation,
            connections_out: node.connections_out,
            connections_in: node.connections_in,
        })
        .collect();
    let head = ["node", "state", "adapters", "out", "in", "generation"];
    output.table(&nodes, head, |node| {
        [
            format!("{}{}", node.node, if node.local { " (local)" } else { "" }),
            node.state.to_owned(),
            numbers(&node.adapters),
            node.connections_out.to_string(),
            node.connections_in.to_string(),
            format!("{:016x}", node.generation),
        ]
    })
}

#[derive(Serialize)]
struct LinkRow {
    adapter: u32,
    port: u32,
    iommu: bool,
    companion: bool,
    contained: bool,
    slots: u32,
    slots_pinned: u32,
    slot_bytes: u64,
    window_bytes: u64,
    exported_bytes: u64,
    quarantined_bytes: u64,
    ports_up: Vec<u32>,
}

/// `skiff links`
pub fn links(output: &Output) -> Result<(), Error> {
    let context = Context::open()?;
    let info = context.info()?;
    let mut links = Vec::new();
    for adapter in info.adapters.iter() {
        let adapter = context.adapter(adapter)?;
        links.push(LinkRow {
            adapter: adapter.adapter,
            port: adapter.port,
            iommu: adapter.iommu == Iommu::Paging,
            companion: adapter.layout == Layout::Companion,
            contained: info.containment == Containment::Contained,
            slots: adapter.slots,
            slots_pinned: adapter.slots_pinned,
            slot_bytes: adapter.slot_bytes,
            window_bytes: adapter.window_bytes,
            exported_bytes: adapter.exported_bytes,
            quarantined_bytes: adapter.quarantined_bytes,
            ports_up: list(adapter.ports_up),
        });
    }
    let head = [
        "adapter",
        "port",
        "links to ports",
        "slots in use",
        "slot",
        "exported",
        "of",
        "quarantined",
        "iommu",
        "contained",
    ];
    output.table(&links, head, |link| {
        [
            link.adapter.to_string(),
            link.port.to_string(),
            numbers(&link.ports_up),
            format!("{} of {}", link.slots_pinned, link.slots),
            length(link.slot_bytes),
            length(link.exported_bytes),
            length(link.window_bytes),
            length(link.quarantined_bytes),
            yes(link.iommu),
            yes(link.contained),
        ]
    })
}

#[derive(Serialize)]
struct SegmentRow {
    node: u32,
    id: u32,
    bytes: u64,
    uid: u32,
    mode: u32,
}

/// `skiff segments`
pub fn segments(wanted: &List, output: &Output) -> Result<(), Error> {
    let context = Context::open()?;
    let info = context.info()?;
    let options = wanted.reach.options();
    let nodes: Vec<Node> = match wanted.node {
        Some(node) => vec![node],
        None => info.nodes.iter().map(Node::Number).collect(),
    };
    let mut segments = Vec::new();
    for node in nodes {
        // The own node needs no adapter, so none must be asked for.
        let node = match node {
            Node::Number(number) if number == info.node => Node::Local,
            node => node,
        };
        let number = match node {
            Node::Local => info.node,
            Node::Number(number) => number,
        };
        let mut from = Some(0);
        while let Some(lowest) = from {
            let Some(found) = context.query(node, lowest, &options)? else {
                break;
            };
            segments.push(SegmentRow {
                node: number,
                id: found.id,
                bytes: found.bytes,
                uid: found.uid,
                mode: found.mode,
            });
            from = found.id.checked_add(1);
        }
    }
    let head = ["node", "id", "length", "uid", "mode"];
    output.table(&segments, head, |segment| {
        [
            segment.node.to_string(),
            segment.id.to_string(),
            length(segment.bytes),
            segment.uid.to_string(),
            format!("{:03o}", segment.mode),
        ]
    })
}

fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Down => "down",
        NodeState::Greeting => "greeting",
        NodeState::Up => "up",
        _ => "unknown",
    }
}

fn list(set: Set) -> Vec<u32> {
    set.iter().collect()
}

fn yes(value: bool) -> String {
    String::from(if value { "yes" } else { "no" })
}
