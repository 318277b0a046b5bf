// SPDX-License-Identifier: GPL-2.0
//! Values of fields: mostly such that the command gets on, now and then anything.

use anyhow::Result;

use crate::abi::layout;
use crate::abi::layout::lent;
use crate::abi::layout::Command;
use crate::abi::layout::Kind;
use crate::abi::layout::Role;
use crate::abi::raw::Argument;
use crate::abi::raw::PAGE;
use crate::random::Random;

/// Segments have ids below this, so that connects find them.
const IDS: u64 = 10;

/// Pools have few devices more.
const DEVICES: u64 = 3;

/// What the values have to do with the world outside.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Nodes that are up.
    pub nodes: u64,
    /// First address of memory that can be shared.
    pub memory: u64,
    /// Its pages.
    pub pages: u64,
    /// Bus, device and function of what can be lent.
    pub function: u64,
    /// A descriptor of a segment.
    pub segment: u64,
    /// One of an eventfd.
    pub eventfd: u64,
    /// A mapping that a device has had.
    pub mapping: u64,
}

/// An argument for a command.
pub fn argument(
    random: &mut Random,
    command: &Command,
    surroundings: Surroundings,
) -> Result<Argument> {
    let (len, size) = lengths(random, command);
    let mut argument = Argument::new(len)?;
    let user = random.percent(30);
    // A device has few BARs.
    let ids = match command.kind {
        Kind::Device => 2,
        _ => IDS,
    };
    for field in command.fields {
        let value = match field.role {
            Role::Id if random.percent(98) => random.below(ids),
            role => value(random, role, surroundings, user),
        };
        argument.set(field, value);
    }
    argument.store(0, 4, size);
    Ok(argument)
}

/// Bytes that are there, and bytes that are said to be.
fn lengths(random: &mut Random, command: &Command) -> (usize, u64) {
    let size = command.size;
    if random.percent(92) {
        return (size, size as u64);
    }
    match random.below(5) {
        0 => (size, random.below(size as u64)),
        1 => (size + 8, size as u64 + 8),
        2 => (size + 1, size as u64 + 1),
        // Cut off by the page that nobody can access.
        3 => (4 + random.index(size - 4), size as u64),
        _ => (size, random.edgy()),
    }
}

fn value(random: &mut Random, role: Role, surroundings: Surroundings, user: bool) -> u64 {
    if random.percent(2) {
        return random.edgy();
    }
    match role {
        Role::Size | Role::Reserved => 0,
        // What fields must be is seldom what any device's are.
        Role::Flags(lent::MATCH) if random.percent(70) => 0,
        Role::Flags(known) if known == layout::USER | layout::PRIVATE | layout::ANY_ID => {
            let rest = random.pick(&[0, 0, 0, 0, layout::PRIVATE, layout::ANY_ID, known]);
            rest | if user { layout::USER } else { 0 }
        }
        Role::Flags(known) => random.next() & known,
        Role::Adapter => match random.below(12) {
            0 => 1,
            1..=4 => 0,
            _ => layout::ADAPTER_ANY,
        },
        Role::Node | Role::Holder => match random.below(10) {
            0..=4 => layout::NODE_LOCAL,
            5..=8 => a_node(random, surroundings.nodes),
            _ => random.below(70),
        },
        Role::Id => random.edgy(),
        Role::Mode => random.pick(&[0o666, 0o666, 0o666, 0o600, 0o444, 0]),
        Role::Bytes if user => PAGE as u64 * (1 + random.below(surroundings.pages)),
        Role::Bytes => match random.below(20) {
            0 => 1 + random.below(4 << 20),
            1..=4 => PAGE as u64 * (1 + random.below(64)),
            _ => 1 + random.below(4 * PAGE as u64),
        },
        Role::Address if user => {
            surroundings.memory + PAGE as u64 * random.below(surroundings.pages)
        }
        Role::Address => 0,
        Role::Nodes => random.pick(&[0, 0, 0, u64::MAX, 0b11, 0b10]),
        Role::Timeout => random.pick(&[0, 0, 1, 20, 200, 1000]),
        // The kernel has no use for what is there.
        Role::Out | Role::Descriptor => random.pick(&[0, u64::MAX]),
        Role::Domain => 0,
        Role::Function if random.percent(10) => random.below(1 << 16),
        Role::Function => surroundings.function,
        Role::Peer => a_node(random, surroundings.nodes),
        Role::Device | Role::From => a_device(random, surroundings.nodes),
        Role::Memory => random.pick(&[lent::BAR, lent::PRIVATE, lent::SHARED]),
        Role::Segment => surroundings.segment,
        Role::Page => PAGE as u64 * random.pick(&[0, 0, 0, 1, 2, 16]),
        Role::Mapping => surroundings.mapping,
        Role::Register => match random.below(4) {
            0 => random.below(0x1000),
            1 => 4 * random.below(0x40),
            // What may be written: the interrupt line and the size of a cache line.
            _ => random.pick(&[0x3c, 0x0c]),
        },
        Role::Width => random.pick(&[1, 1, 2, 4]),
        Role::Value => random.next() & random.pick(&[0xff, 0xff, 0xffff, 0xffff_ffff]),
        Role::Count => random.below(4),
        Role::Vector => random.pick(&[0, 0, 0, 1]),
        Role::EventFd if random.percent(30) => u64::MAX,
        Role::EventFd => surroundings.eventfd,
    }
}

/// One of the first devices in the pool of a node.
fn a_device(random: &mut Random, nodes: u64) -> u64 {
    let index = if random.percent(80) {
        0
    } else {
        random.below(DEVICES)
    };
    lent::fdid(a_node(random, nodes), index)
}

/// One of a set of nodes.
fn a_node(random: &mut Random, nodes: u64) -> u64 {
    let known: Vec<u64> = (0..64).filter(|node| nodes & (1 << node) != 0).collect();
    if known.is_empty() {
        return random.below(64);
    }
    random.pick(&known)
}

/// Offset of a map.
pub fn offset(random: &mut Random) -> u64 {
    let flags = random.pick(&[
        0,
        0,
        0,
        layout::UNCACHED,
        layout::ALL_ONES,
        layout::UNCACHED | layout::ALL_ONES,
    ]);
    match random.below(20) {
        0 => random.edgy(),
        1 => flags | random.below(1 << 16),
        2..=6 => flags | (PAGE as u64 * random.below(8)),
        _ => flags,
    }
}
