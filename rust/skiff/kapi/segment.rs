// SPDX-License-Identifier: GPL-2.0

//! Segments of clients, and their connections to segments.
//!
//! They are those of programs, in the same space of ids; a client counts as root of this node. What happens to one is told by a
//! thread of its own, if its client wants to hear.

use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
};
use skiff_ext::{
    fops::Blocking,
    work::{
        Work,
        Worker, //
    },
};
use skiff_model::{
    access::{
        NodeMask,
        Rights, //
    },
    addr::PAGE,
    ids::{
        Gid,
        SegmentId,
        Uid, //
    },
    slots::Lot,
    wire::{
        Access,
        Space,
        MODE_BITS, //
    },
};

use super::{
    header::skiff_segment_spec,
    map::{
        Connection,
        Map, //
    },
    Node, //
};
use crate::{
    fabric::new_lot,
    mem::{
        KernelMap,
        MapMode, //
    },
    segment::{
        Connect,
        Create,
        Event,
        EventQueue,
        Listener,
        Local,
        Naming,
        Remote,
        Removal,
        Source,
        Target, //
    },
    uapi::numbers, //
};

/// Who wants to hear what happens to a segment.
pub(super) trait Hearer: Send + Sync {
    /// Something has. Called on the segment's thread, with no lock held, one event after the other.
    fn event(&self, event: &Event);
}

/// What events are of.
enum Subject {
    Local(Arc<Local>),
    Remote(Arc<Remote>),
}

impl Subject {
    fn events(&self) -> &EventQueue {
        match self {
            Self::Local(local) => local.events(),
            Self::Remote(remote) => remote.events(),
        }
    }
}

/// Tells the events of a segment.
struct Telling {
    subject: Subject,
    hearer: Arc<dyn Hearer>,
}

impl Work for Telling {
    fn run(this: ArcBorrow<'_, Self>) {
        while let Ok(event) = this.subject.events().take(Blocking::Never) {
            this.hearer.event(&event);
        }
    }
}

/// Kicks the thread that tells.
struct Bell(Arc<Worker<Telling>>);

impl Listener for Bell {
    fn posted(&self) {
        self.0.kick();
    }
}

/// Events are told until this is dropped, which waits for a call that is under way.
struct Teller(Arc<Worker<Telling>>);

impl Teller {
    /// Tells `hearer` from now on. Errors: `EBUSY` when somebody else is told, `ENOMEM`.
    fn new(subject: Subject, hearer: Arc<dyn Hearer>) -> Result<Self> {
        let worker = Worker::new(c"skiff-segment", kernel::static_lock_class!())?;
        let telling = Arc::new(Telling { subject, hearer }, GFP_KERNEL)?;
        let bell = Arc::new(Bell(worker.clone()), GFP_KERNEL)?;

        telling.subject.events().listen(bell)?;
        worker.start(telling);
        // What has happened before.
        worker.kick();
        Ok(Self(worker))
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A segment of a client.
pub(super) struct Own {
    _teller: Option<Teller>,
    node: Arc<Node>,
    memory: KernelMap,
    local: Arc<Local>,
}

/// How a segment is to be made. Error: `EINVAL`.
fn create(spec: &skiff_segment_spec) -> Result<Create> {
    if spec.bytes == 0 || spec.mode & !MODE_BITS != 0 || spec.flags != 0 {
        return Err(EINVAL);
    }
    Ok(Create {
        naming: Naming::Id(SegmentId::new(spec.id)),
        bytes: spec.bytes,
        source: Source::Kernel,
        rights: Rights {
            uid: Uid::new(0),
            gid: Gid::new(0),
            mode: spec.mode,
            nodes: NodeMask::from_bits(spec.nodes),
        },
    })
}

impl Own {
    /// Makes a segment, which nobody can connect to yet.
    ///
    /// Errors: `EADDRINUSE`, `EDQUOT`, `EINVAL`, `ENOMEM`, `ENOSPC`.
    pub(super) fn new(
        node: &Arc<Node>,
        spec: &skiff_segment_spec,
        hearer: Option<Arc<dyn Hearer>>,
    ) -> Result<Arc<Self>> {
        let local = node.segments.create(&node.fabric, &create(spec)?)?;
        let make = || {
            let memory = local.map_kernel()?;
            let hear = |hearer| Teller::new(Subject::Local(local.clone()), hearer);

            Ok((memory, hearer.map(hear).transpose()?))
        };

        match make() {
            Ok((memory, teller)) => {
                let own = Self {
                    _teller: teller,
                    node: node.clone(),
                    memory,
                    local,
                };

                // On failure the value is dropped, which removes it.
                Ok(Arc::new(own, GFP_KERNEL)?)
            }
            Err(error) => {
                // Nobody else knows of it.
                let _ = node.segments.remove(&local, Removal::Forced);
                Err(error)
            }
        }
    }

    /// Where its memory is, for as long as this object is there.
    pub(super) fn address(&self) -> *mut c_void {
        self.memory.address()
    }

    /// Lets peers connect by all adapters that are there.
    ///
    /// Errors: `EBUSY` when they can already, `ENODEV` when there is none, `ENOMEM`, `ENOSPC`.
    pub(super) fn offer(&self) -> Result {
        let fabric = &self.node.fabric;
        let (mut adapters, mut offered) = (0u32, 0u32);

        for adapter in fabric.adapters() {
            adapters = adapters.saturating_add(1);
            match self.offer_by(&adapter) {
                Ok(()) => offered = offered.saturating_add(1),
                Err(error) if error == EBUSY || error == ENODEV => {}
                Err(error) => return Err(error),
            }
        }
        match (adapters, offered) {
            (0, _) => Err(ENODEV),
            (_, 0) => Err(EBUSY),
            _ => Ok(()),
        }
    }

    /// Lets peers connect by an adapter. Errors: `EBUSY` when they can already; as above.
    fn offer_by(&self, adapter: &crate::fabric::Adapter) -> Result {
        let only = Some(adapter.id());

        if !self.local.prepared(adapter.id()) {
            self.local.prepare(&self.node.fabric, only)?;
        }
        self.local.set_available(&self.node.fabric, only)
    }

    /// Takes that back. Error: `EBUSY` when it is not offered.
    pub(super) fn withdraw(&self) -> Result {
        let mut withdrawn = 0u32;

        for adapter in self.node.fabric.adapters() {
            let only = Some(adapter.id());

            if self.local.set_unavailable(&self.node.fabric, only).is_ok() {
                withdrawn = withdrawn.saturating_add(1);
            }
        }
        match withdrawn {
            0 => Err(EBUSY),
            _ => Ok(()),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let segments = &self.node.segments;

        // It may not be offered; what is not confirmed in time is quarantined.
        let _ = self.withdraw();
        if let Ok(limit) = numbers::timeout(0) {
            let _ = segments.revoke(&self.local, None, self.node.fabric.node(), limit);
        }
        // Nobody else removes it.
        let _ = segments.remove(&self.local, Removal::Forced);
    }
}

/// A connection of a client.
pub(super) struct Theirs {
    // The order matters: nobody is told of what is its own doing.
    _teller: Option<Teller>,
    connection: Connection,
    lot: Lot,
    bytes: u64,
}

impl Theirs {
    /// Connects to a segment. Errors: `EINVAL`, `ENXIO`, those of [`Segments::connect`](crate::segment::Segments::connect).
    pub(super) fn new(
        node: &Node,
        owner: u32,
        id: u32,
        hearer: Option<Arc<dyn Hearer>>,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let connect = Connect {
            space: Space::Programs,
            access: Access::ReadWrite,
            segment: SegmentId::new(id),
            target: Target {
                node: numbers::node(owner)?,
                adapter: None,
                timeout_ms: numbers::timeout(timeout_ms)?,
                uid: Uid::new(0),
                gid: Gid::new(0),
            },
        };
        let remote = node.segments.connect(&node.fabric, &connect)?;
        let bytes = remote.bytes();
        let connection = Connection::new(&node.segments, remote.clone());
        let hear = |hearer| Teller::new(Subject::Remote(remote), hearer);
        let theirs = Self {
            _teller: hearer.map(hear).transpose()?,
            connection,
            lot: new_lot(),
            bytes,
        };

        Ok(Arc::new(theirs, GFP_KERNEL)?)
    }

    /// Length of the segment.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Maps a part of it, whole pages.
    ///
    /// Errors: `EINVAL`, `ENOLINK`, `ECONNRESET`, `ENXIO`, those of the slots.
    pub(super) fn map(&self, offset: u64, bytes: u64, mode: MapMode) -> Result<Arc<Map>> {
        let remote = self.connection.remote();

        if offset % PAGE != 0
            || bytes == 0
            || (mode == MapMode::Uncached && remote.adapter().is_none())
        {
            return Err(EINVAL);
        }
        let pages = bytes.div_ceil(PAGE);
        let kernel = remote.map_kernel(offset / PAGE, pages, mode, self.lot)?;

        Ok(Arc::new(Map::new(kernel), GFP_KERNEL)?)
    }
}
