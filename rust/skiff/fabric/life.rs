// SPDX-License-Identifier: GPL-2.0

//! How an adapter starts and ends.
//!
//! Starting: hardware quiet, bus, worker, interrupt, and the gate last: from then on peers reach this node. Ending is the
//! reverse: the worker stops, peers hear a goodbye, the gate closes, then every peer is cut, so that the rooms above let go of
//! what they have of them, and at last the interrupt vectors and the hardware go. Vectors stay over sleep and error: the PCI core
//! restores them, and what others were told of spare ones stays good.
//!
//! # Locking
//!
//! `Adapter::life` is held while an adapter stops, until the last peer is cut; the hardware goes without it. The PCI core calls
//! one at a time anyway.

use super::{
    adapter::PORTS,
    counters::{
        AdapterCounters,
        PeerCounters, //
    },
    node::Address,
    peer::Peer,
    slots::Slots,
    spare::Spares,
    Adapter,
    Fabric, //
};
use crate::{
    bus::Bus,
    hw, //
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::Atomic,
        Arc, //
    },
};
use pin_init::pin_init_array_from_fn;
use skiff_ext::{
    irq,
    new_wait_queue,
    pci::Device,
    random::random_u64,
    show::Show,
    work::Worker, //
};
use skiff_model::{
    ids::NodeId,
    ntb::{
        Geometry,
        Ntb,
        WindowClass,
        Windows, //
    },
    ring::INBOX_BYTES,
    session::{
        Input,
        Local,
        State, //
    },
    wire::Message, //
};

/// How long kernel modules may take to unmap what they had of an adapter that goes, in milliseconds.
const UNMAP_MS: u32 = 5_000;

/// Why an adapter stops.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The function or the driver goes, for good.
    Remove,
    /// The machine halts.
    Shutdown,
    /// The machine sleeps; [`Adapter::restart`] may follow.
    Sleep,
    /// The function does not answer; [`Adapter::restart`] may follow.
    Error,
}

/// How far an adapter is.
pub(super) enum Life {
    /// It runs; the interrupt is that of the function.
    Running(Device, irq::Registration<Worker<Adapter>>),
    /// Nothing comes in or goes out; the hardware is still there.
    Stopped(Device),
    /// The hardware is gone.
    Gone,
}

impl Adapter {
    /// Makes an adapter of a function, and opens its gate.
    ///
    /// Errors: EPERM when peers are to be contained and are not, ENOSPC when there are too many adapters, and what hardware
    /// and memory have to say.
    pub(crate) fn start(fabric: &Arc<Fabric>, dev: &Device) -> Result<Arc<Self>> {
        let place = fabric.reserve(Address(dev.requester()))?;
        let id = place.id();
        let mut hw = KBox::new(hw::open(dev)?, GFP_KERNEL)?;
        let (port, geometry) = (hw.port(), hw.geometry());
        let containment = hw.containment()?;

        pr_info!("adapter {}: port {}, {containment}\n", Show(id), Show(port));
        if fabric.settings().require_iommu && !containment.holds() {
            pr_err!("adapter {}: refused, for require_iommu is set\n", Show(id));
            return Err(EPERM);
        }
        let slot_bytes = geometry.memory.slot_bytes();

        if slot_bytes.get() < INBOX_BYTES.next_power_of_two() as u64 {
            pr_err!(
                "adapter {}: a slot of its window is too short for an inbox\n",
                Show(id)
            );
            return Err(EINVAL);
        }
        let own = match fabric.node() {
            Some(node) => node,
            None => NodeId::new(port.get().into()).ok_or(EINVAL)?,
        };
        let local = Local {
            generation: fabric.generation(),
            node: own,
            adapter: id,
        };
        let bus = Bus::new(dev.as_ref(), slot_bytes, fabric.pool())?;
        let worker = Worker::new(
            &CString::try_from_fmt(fmt!("skiff/{}", Show(id)))?,
            kernel::static_lock_class!(),
        )?;
        // CAST: A small constant.
        let messages = irq::Messages::new(dev, hw::SIGNALS as u32 + 1)?;
        let adapter = Self::new(
            fabric,
            hw,
            local,
            containment,
            geometry,
            bus,
            worker,
            messages,
            dev,
        )?;

        if let Err(error) = adapter.run(dev) {
            adapter.stop(Stop::Remove);
            return Err(error);
        }
        place.fill(adapter.clone());
        Ok(adapter)
    }

    /// An adapter that does not run yet.
    #[expect(clippy::too_many_arguments, reason = "called once, right above")]
    fn new(
        fabric: &Arc<Fabric>,
        hw: KBox<hw::Adapter>,
        local: Local,
        containment: hw::Containment,
        geometry: Windows<Geometry>,
        bus: Arc<Bus>,
        worker: Arc<Worker<Self>>,
        messages: Arc<irq::Messages>,
        dev: &Device,
    ) -> Result<Arc<Self>> {
        let heartbeat_ms = fabric.settings().heartbeat_ms;
        let slots = Slots::new(&hw)?;
        let layout = hw.window(WindowClass::Memory)?.layout();

        Arc::pin_init(
            try_pin_init!(Self {
                id: local.adapter,
                port: hw.port(),
                geometry,
                layout,
                containment,
                ports: hw.peers(),
                fabric: fabric.clone(),
                bus,
                worker,
                counters: AdapterCounters::new(),
                peer_counters: [const { PeerCounters::new() }; PORTS],
                linked: Atomic::new(0),
                life <- new_mutex!(Life::Stopped(dev.clone()), "Adapter::life"),
                peers <- pin_init_array_from_fn(|_| {
                    // CAST: Any bits will do.
                    new_mutex!(
                        Peer::new(local, heartbeat_ms, random_u64() as u32),
                        "Adapter::peers"
                    )
                }),
                slots <- new_mutex!(slots, "Adapter::slots"),
                spares <- Spares::new(messages),
                hw <- new_mutex!(Some(hw), "Adapter::hw"),
                unmapped <- new_wait_queue!(),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Lets interrupts and peers in. When it fails the caller stops the adapter.
    fn run(self: &Arc<Self>, dev: &Device) -> Result {
        let mut life = self.life.lock();

        let messages = self.spares.messages()?;

        self.worker.start(self.clone());
        let irq = irq::Registration::new(&messages, hw::NAME, self.worker.clone())
            .inspect_err(|_| self.worker.stop())?;

        *life = Life::Running(dev.clone(), irq);
        drop(life);
        self.with_hw(|hw| hw.open_gate())?;
        self.worker.kick();
        Ok(())
    }

    /// Runs again after [`Stop::Sleep`] or [`Stop::Error`].
    pub(crate) fn restart(self: &Arc<Self>) -> Result {
        let dev = match &*self.life.lock() {
            Life::Stopped(dev) => dev.clone(),
            Life::Running(..) => return Ok(()),
            Life::Gone => return Err(ENODEV),
        };

        self.with_hw(|hw| hw.restart())?;
        self.run(&dev).inspect_err(|_| self.stop(Stop::Error))?;
        pr_info!("adapter {}: works again\n", Show(self.id));
        Ok(())
    }

    /// Whether requests of a function of this machine can get to the bridge.
    pub(crate) fn same_root(&self, dev: &Device) -> bool {
        match &*self.life.lock() {
            Life::Running(own, _) | Life::Stopped(own) => own.same_root(dev),
            Life::Gone => false,
        }
    }

    /// Whether a function of this machine is the bridge, or of the same device.
    pub(super) fn is(&self, dev: &Device) -> bool {
        match &*self.life.lock() {
            // The lower three bits are the function.
            Life::Running(own, _) | Life::Stopped(own) => {
                (own.domain(), own.requester() >> 3) == (dev.domain(), dev.requester() >> 3)
            }
            Life::Gone => false,
        }
    }

    /// Looks at everything again.
    pub(crate) fn wake(&self) {
        self.worker.kick();
    }

    /// The machine is about to sleep, which needs that no peer and no program uses this adapter. Errors: EBUSY.
    pub(crate) fn suspend(self: &Arc<Self>) -> Result {
        if self.in_use() {
            pr_err!(
                "adapter {}: in use, so that the machine cannot sleep\n",
                Show(self.id)
            );
            return Err(EBUSY);
        }
        self.stop(Stop::Sleep);
        Ok(())
    }

    /// Whether slots or exported memory serve more than the rings.
    fn in_use(&self) -> bool {
        let (mut inboxes, mut outboxes): (u64, u32) = (0, 0);

        for port in self.ports.iter() {
            let peer = self.peer(port).lock();

            inboxes = inboxes.saturating_add(peer.inbox.is_some().into());
            outboxes = outboxes.saturating_add(peer.has_outbox().into());
        }
        let rings = inboxes.saturating_mul(INBOX_BYTES as u64);

        self.bus.stats().mapped > rings || self.pins() > outboxes
    }

    /// Ends what runs: nothing comes in or goes out when this returns, and everybody above was told. Does nothing when it has
    /// ended already. Waits for nobody but this node's own threads; for kernel modules that have maps for 5 s at most.
    pub(crate) fn stop(self: &Arc<Self>, why: Stop) {
        let mut life = self.life.lock();

        match core::mem::replace(&mut *life, Life::Gone) {
            Life::Running(dev, irq) => {
                // The interrupt before the worker that it kicks.
                drop(irq);
                self.worker.stop();
                *life = Life::Stopped(dev);
                self.quiet(why);
            }
            other => *life = other,
        }
        if why == Stop::Remove && matches!(&*life, Life::Stopped(_)) {
            *life = Life::Gone;
            drop(life);
            self.let_go();
        }
    }

    /// Parts from all peers and closes the gate; the worker was stopped.
    fn quiet(self: &Arc<Self>, why: Stop) {
        let answers = why != Stop::Error;

        for port in self.ports.iter() {
            if answers && self.peer(port).lock().state() == State::Up {
                self.greet(port, &Message::Goodbye);
            }
        }
        if self.with_hw(|hw| hw.close_gate()).is_err() && answers {
            pr_info!("adapter {}: the function is gone\n", Show(self.id));
        }
        for port in self.ports.iter() {
            match why {
                Stop::Remove | Stop::Shutdown => self.input(port, Input::Stop),
                // The sessions live on.
                Stop::Sleep | Stop::Error => {
                    if self.linked().contains(port) {
                        self.unlink(port);
                    }
                }
            }
        }
    }

    /// Waits until kernel modules, which know that their peers are gone, have unmapped what they had of the window: what is at
    /// its place next is not theirs.
    fn wait_unmapped(&self) {
        let unmapped = || (self.slots.lock().kernel() == 0).then_some(());

        if self.unmapped.wait_for(Some(UNMAP_MS), unmapped).is_err() {
            pr_warn!(
                "adapter {}: a kernel module keeps a map of its window\n",
                Show(self.id)
            );
        }
    }

    /// Gives back all that the adapter had of the machine.
    fn let_go(self: &Arc<Self>) {
        self.fabric.vacate(self.id);
        self.fabric.events().adapter_gone(self);
        self.wait_unmapped();
        for port in self.ports.iter() {
            let inbox = self.peer(port).lock().inbox.take();

            drop(inbox);
        }
        self.bus.close();
        self.slots.lock().close();
        self.spares.close();
        let hw = self.hw.lock().take();

        drop(hw);
        pr_info!("adapter {}: gone\n", Show(self.id));
    }
}
