// SPDX-License-Identifier: GPL-2.0

//! Which nodes there are, and which adapters and ports lead to them.
//!
//! A table of links, one for each adapter and port, that the adapters' workers keep, and of the generations that nodes
//! had when they were last up.
//!
//! # Locking
//!
//! Plain data; [`Fabric`](super::Fabric) holds it under a mutex of its own, innermost: nothing else is locked under it.

use kernel::prelude::*;
use skiff_ext::errno::Errno;
use skiff_model::ids::{
    AdapterId,
    Generation,
    NodeId,
    Port,
    ADAPTERS_MAX,
    NODES_MAX,
    PORTS_MAX, //
};

/// What leads to a peer, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// There is no link, or this node itself is at its other end.
    Down,
    /// The hardware's link is up; hellos are under way.
    Greeting,
    /// A node answers there.
    Up {
        /// Its number.
        node: NodeId,
        /// Its generation.
        generation: Generation,
    },
}

/// What is known of a node, best link first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeState {
    /// No link leads to it.
    Down,
    /// A link is up, hellos are under way.
    Greeting,
    /// It can be talked to.
    Up,
}

/// A node as others see it.
#[derive(Clone, Copy)]
pub(crate) struct NodeInfo {
    /// The best that any link to it is.
    pub(crate) state: NodeState,
    /// Bit n: adapter n reaches it.
    pub(crate) adapters: u32,
    /// Its generation when it was last up.
    pub(crate) generation: Option<Generation>,
}

/// Where a node was last seen.
#[derive(Clone, Copy)]
struct Seen {
    generation: Generation,
    /// Bit p of entry a: port p of adapter a led there.
    ports: [u8; ADAPTERS_MAX as usize],
}

/// The table.
pub(super) struct Nodes {
    links: [[Link; PORTS_MAX as usize]; ADAPTERS_MAX as usize],
    seen: [Option<Seen>; NODES_MAX as usize],
}

impl Nodes {
    /// Nobody is known.
    pub(super) const fn new() -> Self {
        Self {
            links: [[Link::Down; PORTS_MAX as usize]; ADAPTERS_MAX as usize],
            seen: [None; NODES_MAX as usize],
        }
    }

    /// Whether the peer at `port` of `adapter` may be `node` in its life `generation`: no live link elsewhere says
    /// otherwise, and it is not this node's own number.
    pub(super) fn may_be(
        &self,
        adapter: AdapterId,
        port: Port,
        node: NodeId,
        generation: Generation,
        own: Option<NodeId>,
    ) -> bool {
        if own == Some(node) {
            return false;
        }
        self.each().all(|(at, behind, link)| match link {
            Link::Up { .. } if at == adapter && behind == port => true,
            Link::Up {
                node: other,
                generation: life,
            } => (other == node) == (life == generation),
            Link::Down | Link::Greeting => true,
        })
    }

    /// What leads to `port` of `adapter` is `link` now.
    pub(super) fn set(&mut self, adapter: AdapterId, port: Port, link: Link) {
        if let Link::Up { node, generation } = link {
            let seen = &mut self.seen[node.index()];
            let mut ports = match seen {
                Some(seen) if seen.generation == generation => seen.ports,
                _ => [0; ADAPTERS_MAX as usize],
            };
            // By the invariant of `Port` no bit is shifted out.
            ports[adapter.index()] |= 1 << port.get();
            *seen = Some(Seen { generation, ports });
        }
        self.links[adapter.index()][port.index()] = link;
    }

    /// What leads to `port` of `adapter`.
    pub(super) fn link(&self, adapter: AdapterId, port: Port) -> Link {
        self.links[adapter.index()][port.index()]
    }

    /// What is known of `node`; `None` if it is unknown.
    pub(super) fn info(&self, node: NodeId) -> Option<NodeInfo> {
        let seen = self.seen[node.index()];
        let mut info = NodeInfo {
            state: NodeState::Down,
            adapters: 0,
            generation: seen.map(|seen| seen.generation),
        };
        let mut known = seen.is_some();

        for (adapter, port, link) in self.each() {
            let state = self.leads(adapter, port, link, node);
            known |= state != NodeState::Down;
            info.state = info.state.max(state);
            if state == NodeState::Up {
                info.adapters |= 1 << adapter.get();
            }
        }
        known.then_some(info)
    }

    /// The first way to `node`, by `only` this adapter if one is named.
    ///
    /// Errors: ENXIO when the node is unknown, EHOSTDOWN while hellos are under way, ENOLINK when it is down.
    pub(super) fn route(&self, node: NodeId, only: Option<AdapterId>) -> Result<(AdapterId, Port)> {
        let mut best = NodeState::Down;

        for (adapter, port, link) in self.each() {
            if only.is_some_and(|only| only != adapter) {
                continue;
            }
            match self.leads(adapter, port, link, node) {
                NodeState::Up => return Ok((adapter, port)),
                state => best = best.max(state),
            }
        }
        self.info(node).ok_or(ENXIO)?;
        Err(match best {
            NodeState::Greeting => Errno::HostDown.into(),
            NodeState::Down | NodeState::Up => Errno::NoLink.into(),
        })
    }

    /// Bit n: node n is up.
    pub(super) fn up(&self) -> u64 {
        self.each().fold(0, |nodes, (_, _, link)| match link {
            Link::Up { node, .. } => nodes | 1 << node.get(),
            Link::Down | Link::Greeting => nodes,
        })
    }

    /// Bit n: node n is known, up or not.
    pub(super) fn known(&self) -> u64 {
        let seen = self.seen.iter().enumerate();
        let seen = seen.fold(0, |nodes, (node, seen)| match seen {
            Some(_) => nodes | 1 << node,
            None => nodes,
        });
        seen | self.up()
    }

    /// What `link`, at `port` of `adapter`, is for `node`. A link in greeting leads to the node that was last seen there,
    /// and before the first hello adapter 0 leads to the node that its port is the number of.
    fn leads(&self, adapter: AdapterId, port: Port, link: Link, node: NodeId) -> NodeState {
        match link {
            Link::Up { node: other, .. } if other == node => NodeState::Up,
            Link::Greeting => {
                let seen_here = match &self.seen[node.index()] {
                    Some(seen) => seen.ports[adapter.index()] & (1 << port.get()) != 0,
                    None => adapter.get() == 0 && u32::from(port.get()) == node.get(),
                };
                if seen_here {
                    NodeState::Greeting
                } else {
                    NodeState::Down
                }
            }
            Link::Up { .. } | Link::Down => NodeState::Down,
        }
    }

    /// All links.
    fn each(&self) -> impl Iterator<Item = (AdapterId, Port, Link)> + '_ {
        AdapterId::all()
            .flat_map(|adapter| Port::all().map(move |port| (adapter, port)))
            .map(|(adapter, port)| (adapter, port, self.link(adapter, port)))
    }
}
