// SPDX-License-Identifier: GPL-2.0

//! The node: what all its adapters share.
//!
//! Ownership: the module owns the [`Fabric`], and so does every adapter, which the fabric owns in turn from
//! [`Adapter::start`] to [`Adapter::stop`].
//!
//! # Locking
//!
//! `places` is held for a look or a change of the table and never while an adapter starts or stops; `nodes` is innermost.

use super::{
    nodes::Nodes,
    Adapter,
    Events,
    Link,
    NodeInfo,
    NodeState, //
};
use crate::bus::Pool;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::{
    errno::Errno,
    pci::Device,
    random::random_u64, //
};
use skiff_model::ids::{
    AdapterId,
    Generation,
    NodeId,
    Port,
    ADAPTERS_MAX, //
};

/// What the module's parameters say of the fabric.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// Milliseconds between two beats of the heart.
    pub(crate) heartbeat_ms: u32,
    /// Whether an adapter that peers are not contained behind is refused.
    pub(crate) require_iommu: bool,
}

/// What an index of adapters stands for.
enum Place {
    /// Nothing yet.
    Free,
    /// An adapter at this PCI address that is gone; it gets the place when it comes back.
    Kept(Address),
    /// An adapter that is starting.
    Starting(Address),
    /// An adapter.
    Running(Address, Arc<Adapter>),
}

/// Where in the machine an adapter is plugged in: bus, device and function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub(super) u16);

/// This node and what it knows of the others.
#[pin_data]
pub(crate) struct Fabric {
    generation: Generation,
    settings: Settings,
    events: Arc<dyn Events>,
    pool: Arc<Pool>,
    #[pin]
    places: Mutex<[Place; ADAPTERS_MAX as usize]>,
    #[pin]
    nodes: Mutex<Table>,
}

/// The table of nodes, and which of them this one is.
struct Table {
    own: Option<NodeId>,
    nodes: Nodes,
}

/// An index that an adapter has while it starts. Dropping it gives the index back.
pub(super) struct Reserved {
    fabric: Arc<Fabric>,
    id: AdapterId,
    address: Address,
}

impl Fabric {
    /// A node without adapters that lives a new life.
    pub(crate) fn new(
        settings: Settings,
        events: Arc<dyn Events>,
        pool: Arc<Pool>,
    ) -> Result<Arc<Self>> {
        let generation = core::iter::repeat_with(random_u64)
            .take(8)
            .find_map(Generation::new)
            .ok_or(EIO)?;

        Arc::pin_init(
            pin_init!(Self {
                generation,
                settings,
                events,
                pool,
                places <- new_mutex!([const { Place::Free }; ADAPTERS_MAX as usize], "Fabric::places"),
                nodes <- new_mutex!(Table { own: None, nodes: Nodes::new() }, "Fabric::nodes"),
            }),
            GFP_KERNEL,
        )
    }

    /// This life of this node.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// What the module's parameters say.
    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    /// Who is told of what happens.
    pub(super) fn events(&self) -> &Arc<dyn Events> {
        &self.events
    }

    /// Memory that all adapters without a paging IOMMU reach.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The number of this node: the port of adapter 0. `None` before that was found.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.nodes.lock().own
    }

    /// Adapter `id`. Errors: ENODEV.
    pub(crate) fn adapter(&self, id: AdapterId) -> Result<Arc<Adapter>> {
        match &self.places.lock()[id.index()] {
            Place::Running(_, adapter) => Ok(adapter.clone()),
            Place::Free | Place::Kept(_) | Place::Starting(_) => Err(ENODEV),
        }
    }

    /// The adapters that are there, in order.
    pub(crate) fn adapters(&self) -> impl Iterator<Item = Arc<Adapter>> + '_ {
        AdapterId::all().filter_map(|id| self.adapter(id).ok())
    }

    /// Whether a function of this machine belongs to an adapter.
    pub(crate) fn has(&self, dev: &Device) -> bool {
        self.adapters().any(|adapter| adapter.is(dev))
    }

    /// The first way to `node`, by `only` this adapter if one is named.
    ///
    /// Errors: ENXIO when the node is unknown, EHOSTDOWN while hellos are under way, ENOLINK when it is down, ENODEV when
    /// there is no such adapter.
    pub(crate) fn route(
        &self,
        node: NodeId,
        only: Option<AdapterId>,
    ) -> Result<(Arc<Adapter>, Port)> {
        if let Some(id) = only {
            self.adapter(id)?;
        }
        let (id, port) = self.nodes.lock().nodes.route(node, only)?;

        Ok((self.adapter(id).map_err(|_| Errno::NoLink)?, port))
    }

    /// What is known of `node`, which may be this one. Errors: ENXIO.
    pub(crate) fn node_info(&self, node: NodeId) -> Result<NodeInfo> {
        let table = self.nodes.lock();

        if table.own == Some(node) {
            return Ok(NodeInfo {
                state: NodeState::Up,
                adapters: 0,
                generation: Some(self.generation),
            });
        }
        table.nodes.info(node).ok_or(ENXIO)
    }

    /// Bit n: node n is up. This one is.
    pub(crate) fn nodes_up(&self) -> u64 {
        let table = self.nodes.lock();

        table.nodes.up() | table.own.map_or(0, |own| 1 << own.get())
    }

    /// Bit n: node n is known, up or not. This one is.
    pub(crate) fn nodes_known(&self) -> u64 {
        let table = self.nodes.lock();

        table.nodes.known() | table.own.map_or(0, |own| 1 << own.get())
    }

    /// Which node is up behind `port` of `adapter`.
    pub(crate) fn link(&self, adapter: AdapterId, port: Port) -> Link {
        self.nodes.lock().nodes.link(adapter, port)
    }

    /// Whether all adapters hold peers to what is exported; not so without an adapter.
    pub(crate) fn contained(&self) -> bool {
        let mut adapters = self.adapters().peekable();

        adapters.peek().is_some() && adapters.all(|adapter| adapter.containment().holds())
    }

    /// What leads to `port` of `adapter` is `link` now; false if that node cannot be there, and nothing was changed.
    pub(super) fn set_link(&self, adapter: AdapterId, port: Port, link: Link) -> bool {
        let mut table = self.nodes.lock();

        if let Link::Up { node, generation } = link {
            if !table
                .nodes
                .may_be(adapter, port, node, generation, table.own)
            {
                return false;
            }
        }
        table.nodes.set(adapter, port, link);
        true
    }

    /// An index for the adapter at `address`: the one it had before, or the first that is free. Errors: ENOSPC.
    pub(super) fn reserve(self: &Arc<Self>, address: Address) -> Result<Reserved> {
        let mut places = self.places.lock();
        let kept = |place: &Place| matches!(place, Place::Kept(at) if *at == address);
        let free = |place: &Place| matches!(place, Place::Free);
        let gone = |place: &Place| matches!(place, Place::Kept(_));
        let index = places
            .iter()
            .position(kept)
            .or_else(|| places.iter().position(free))
            .or_else(|| places.iter().position(gone))
            .ok_or(ENOSPC)?;
        let id = AdapterId::try_from(index as u64).map_err(|_| ENOSPC)?;

        places[index] = Place::Starting(address);
        Ok(Reserved {
            fabric: self.clone(),
            id,
            address,
        })
    }

    /// Adapter `id` is gone; its index is kept for it.
    pub(super) fn vacate(&self, id: AdapterId) {
        let mut places = self.places.lock();
        let place = &mut places[id.index()];
        let kept = match place {
            Place::Running(address, _) | Place::Starting(address) | Place::Kept(address) => {
                Place::Kept(*address)
            }
            Place::Free => Place::Free,
        };
        let gone = core::mem::replace(place, kept);

        // The adapter's last reference may be this one: not under the lock.
        drop(places);
        drop(gone);
    }
}

impl Reserved {
    /// The index.
    pub(super) fn id(&self) -> AdapterId {
        self.id
    }

    /// The adapter can be found from now on.
    pub(super) fn fill(self, adapter: Arc<Adapter>) {
        if self.id.get() == 0 {
            let mut table = self.fabric.nodes.lock();

            if table.own.is_none() {
                table.own = NodeId::new(adapter.port().get().into());
            }
        }
        self.fabric.places.lock()[self.id.index()] = Place::Running(self.address, adapter);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut places = self.fabric.places.lock();
        let place = &mut places[self.id.index()];

        if matches!(place, Place::Starting(_)) {
            *place = Place::Kept(self.address);
        }
    }
}
