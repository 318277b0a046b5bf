// SPDX-License-Identifier: GPL-2.0
//! The switch as a value: register files, routing and events, without I/O, threads or a clock.
//!
//! One [`Switch`] is owned by whoever serves it and needs exclusive access for every change; what a
//! change means for the outside (interrupts, windows to re-point) is returned as [`Effect`]s. Values
//! from nodes are never trusted: no register access of any port panics or reaches beyond the switch.
//!
//! Facts about the chip come from drivers/ntb/hw/idt/ntb_hw_idt.{h,c} of Linux and the
//! 89HPES32NT8AG2 user manual; Documentation/switch-model.rst lists every deviation.

mod allow;
mod config;
mod doorbell;
mod endpoint;
mod event;
mod gasa;
mod interrupt;
mod lanes;
mod message;
mod port;
mod report;
mod requester;
mod route;
mod sensor;
mod window;

pub mod fuzz;

use endpoint::Endpoint;
use event::Audience;
use event::Kind;
use lanes::Lanes;

pub use config::{VECTORS_BAR, VECTORS_BYTES};
pub use port::Bar;
pub use port::ConfigError;
pub use port::Layout;
pub use port::Port;
pub use port::PortConfig;
pub use port::Protection;
pub use port::Windows;
pub use report::Counts;
pub use report::Effect;
pub use report::Link;
pub use report::Message;
pub use report::MessageFault;
pub use report::ModelError;
pub use report::PortStatus;
pub use report::Reject;
pub use report::Route;

/// Bytes of a port's registers: BAR0, and PCI configuration space (IDT_REG_PCI_MAX + 1).
pub const REGISTERS: u32 = 0x1000;

/// The addresses at which x86 machines take interrupt messages.
#[derive(Clone, Copy, Debug)]
pub struct PeerInterrupts;

impl PeerInterrupts {
    /// First address.
    pub const FIRST: u64 = 0xfee0_0000;
    /// Last address.
    pub const LAST: u64 = 0xfeef_ffff;

    /// Whether a write to `addr` is an interrupt message.
    pub const fn contains(addr: u64) -> bool {
        Self::FIRST <= addr && addr <= Self::LAST
    }
}

/// The switch.
#[derive(Clone, Debug)]
pub struct Switch {
    endpoints: Vec<Endpoint>,
    requesters: requester::MappingTable,
    doorbells: doorbell::Masks,
    events: event::Events,
    routing: message::Routing,
    faults: message::Faults,
    sensor: sensor::Sensor,
    gasa_protection: u32,
}

impl Switch {
    /// A switch with `ports.len()` (1 to 8) ports, no node attached, the board open.
    pub fn new(ports: &[PortConfig]) -> Result<Self, ConfigError> {
        Self::with_protection(ports, Protection::Open)
    }

    /// The same on a board whose EEPROM protects the ports from each other, or does not.
    pub fn with_protection(
        ports: &[PortConfig],
        protection: Protection,
    ) -> Result<Self, ConfigError> {
        port::check(ports)?;
        let endpoints = (0..)
            .map_while(Port::new)
            .zip(ports)
            .map(|(port, config)| Endpoint::new(port, *config))
            .collect();
        let mut switch = Self {
            endpoints,
            requesters: requester::MappingTable::new(),
            doorbells: doorbell::Masks::new(),
            events: event::Events::new(),
            routing: message::Routing::default(),
            faults: message::Faults::default(),
            sensor: sensor::Sensor::new(),
            gasa_protection: 0,
        };
        switch.doorbells.share_out();
        if protection == Protection::Guarded {
            switch.requesters.guard();
            switch.events.guard();
            switch.guard_all();
        }
        Ok(switch)
    }

    /// All ports, ascending.
    pub fn ports(&self) -> Vec<Port> {
        self.each_port().collect()
    }

    /// All ports, without holding on to the switch.
    fn each_port(&self) -> impl Iterator<Item = Port> {
        let count = self.endpoints.len();
        (0..).map_while(Port::new).take(count)
    }

    /// Configuration of a port.
    pub fn config(&self, port: Port) -> Option<&PortConfig> {
        self.endpoint(port).map(|endpoint| &endpoint.config)
    }

    fn endpoint(&self, port: Port) -> Option<&Endpoint> {
        self.endpoints.get(port.index())
    }

    fn endpoint_mut(&mut self, port: Port) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(port.index())
    }

    fn counts_mut(&mut self, port: Port, change: impl FnOnce(&mut Counts)) {
        if let Some(endpoint) = self.endpoint_mut(port) {
            change(&mut endpoint.counts);
        }
    }

    /// Whether a port's link is up: a node is attached and fault injection does not hold it down.
    pub fn link_up(&self, port: Port) -> bool {
        self.endpoint(port)
            .is_some_and(|endpoint| endpoint.attached && endpoint.link == Link::Up)
    }

    /// A node came: its registers are at their defaults, the others are told that its link is up.
    /// Nothing happens if one is attached already.
    pub fn attach(&mut self, port: Port) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(endpoint) = self
            .endpoint_mut(port)
            .filter(|endpoint| !endpoint.attached)
        else {
            return effects;
        };
        endpoint.attached = true;
        self.reset_function(port, &mut effects);
        if self.link_up(port) {
            self.announce(Kind::LinkUp, port, Audience::Others);
        }
        self.settle(&mut effects);
        effects
    }

    /// The node is gone: the others are told that its link is down, routes to it lead nowhere.
    pub fn detach(&mut self, port: Port) -> Vec<Effect> {
        let mut effects = Vec::new();
        let was_up = self.link_up(port);
        let Some(endpoint) = self.endpoint_mut(port).filter(|endpoint| endpoint.attached) else {
            return effects;
        };
        endpoint.attached = false;
        self.reset_function(port, &mut effects);
        if was_up {
            self.announce(Kind::LinkDown, port, Audience::Others);
        }
        self.settle(&mut effects);
        effects
    }

    /// The node's root complex was reset (vfio-user DEVICE_RESET): registers at their defaults, and
    /// the others are told of the reset and that the link went down and came up again.
    pub fn reset_port(&mut self, port: Port) -> Vec<Effect> {
        let mut effects = Vec::new();
        let was_up = self.link_up(port);
        self.reset_function(port, &mut effects);
        if was_up {
            self.announce(Kind::LinkDown, port, Audience::Others);
            self.announce(Kind::FundamentalReset, port, Audience::Others);
            self.announce(Kind::LinkUp, port, Audience::Others);
        }
        self.settle(&mut effects);
        effects
    }

    /// Holds a port's link down, or lets it follow the attachment again; all are told of a change.
    pub fn set_link(&mut self, port: Port, link: Link) -> Vec<Effect> {
        let mut effects = Vec::new();
        let was_up = self.link_up(port);
        let Some(endpoint) = self.endpoint_mut(port) else {
            return effects;
        };
        endpoint.link = link;
        let is_up = self.link_up(port);
        if was_up != is_up {
            self.windows_changed(port, &mut effects);
            self.reached_changed(port, &mut effects);
            let kind = if is_up { Kind::LinkUp } else { Kind::LinkDown };
            self.announce(kind, port, Audience::All);
        }
        self.settle(&mut effects);
        effects
    }

    /// Puts one function's registers at their defaults, as a function level reset does; nobody is told.
    fn reset_function(&mut self, port: Port, effects: &mut Vec<Effect>) {
        if let Some(endpoint) = self.endpoint_mut(port) {
            endpoint.reset();
        }
        self.requesters.withdraw(port);
        self.windows_changed(port, effects);
        self.reached_changed(port, effects);
    }

    /// Sends the interrupts whose condition arose; the last step of every change.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        for (endpoint, port) in self.endpoints.iter_mut().zip((0..).map_while(Port::new)) {
            let status = endpoint.interrupt_status();
            let pending = endpoint.interrupt.pending(status);
            let condition = endpoint.attached && endpoint.function.msi() && pending;
            if endpoint.interrupt.edge(condition) {
                endpoint.counts.interrupts_raised += 1;
                effects.push(Effect::Interrupt(port));
            }
        }
    }

    /// Reads PCI configuration space (region 7); all ones where the switch has no such port or byte.
    pub fn config_read(&mut self, port: Port, offset: u16, data: &mut [u8]) {
        self.counts_mut(port, |counts| counts.config_reads += 1);
        self.read_bytes(port, offset.into(), data);
    }

    /// Writes PCI configuration space.
    pub fn config_write(&mut self, port: Port, offset: u16, data: &[u8]) -> Vec<Effect> {
        self.counts_mut(port, |counts| counts.config_writes += 1);
        self.write_bytes(port, offset.into(), data)
    }

    /// Reads BAR0; any alignment, all ones where the switch has no such port or byte.
    pub fn bar0_read(&mut self, port: Port, offset: u32, data: &mut [u8]) {
        self.counts_mut(port, |counts| counts.register_reads += 1);
        self.read_bytes(port, offset, data);
    }

    /// Writes BAR0; any alignment.
    pub fn bar0_write(&mut self, port: Port, offset: u32, data: &[u8]) -> Vec<Effect> {
        self.counts_mut(port, |counts| counts.register_writes += 1);
        self.write_bytes(port, offset, data)
    }

    fn read_bytes(&self, port: Port, offset: u32, data: &mut [u8]) {
        lanes::read(offset, data, |register| self.register_read(port, register));
    }

    fn write_bytes(&mut self, port: Port, offset: u32, data: &[u8]) -> Vec<Effect> {
        let mut effects = Vec::new();
        lanes::write(offset, data, |register, lanes| {
            self.register_lanes(port, register, lanes, &mut effects);
        });
        effects
    }

    /// Reads one register of a port without being counted; an unaligned offset reads the register around it.
    pub fn register_read(&self, port: Port, offset: u32) -> u32 {
        if self.endpoint(port).is_none() || offset >= REGISTERS {
            return u32::MAX;
        }
        self.endpoint_read(port, port, offset - offset % lanes::REGISTER)
    }

    /// Writes one register of a port without being counted.
    pub fn register_write(&mut self, port: Port, offset: u32, value: u32) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.register_lanes(port, offset, Lanes::full(value), &mut effects);
        effects
    }

    fn register_lanes(&mut self, port: Port, offset: u32, lanes: Lanes, effects: &mut Vec<Effect>) {
        if offset < REGISTERS {
            let offset = offset - offset % lanes::REGISTER;
            self.endpoint_write(port, port, offset, lanes, effects);
            self.settle(effects);
        }
    }

    /// Bytes of a PCI BAR, 0 where the function has none (the memory window of the companion layout).
    pub fn bar_size(&self, port: Port, bar: Bar) -> u64 {
        self.endpoint(port)
            .map_or(0, |endpoint| endpoint.function.bar_size(bar))
    }

    /// Vectors of MSI-X that the function has (companion layout); 0 if it has MSI only.
    pub fn vectors(&self, port: Port) -> u32 {
        self.endpoint(port)
            .map_or(0, |endpoint| endpoint.function.vectors())
    }

    /// Bytes of a window, wherever it is; 0 for what is none.
    pub fn window_size(&self, port: Port, bar: Bar) -> u64 {
        self.endpoint(port)
            .and_then(|endpoint| endpoint.window(bar))
            .map_or(0, |window| window.aperture())
    }

    /// Number of slots of a window, and bytes of one.
    pub fn slots(&self, port: Port, bar: Bar) -> (u8, u64) {
        self.endpoint(port)
            .and_then(|endpoint| endpoint.window(bar))
            .map_or((0, 0), |window| window.slots())
    }

    /// Whether a peer may write this interrupt message to `target`: its allow table names it exactly.
    pub fn interrupt_allowed(&self, target: Port, addr: u64, data: u32) -> bool {
        self.endpoint(target)
            .is_some_and(|endpoint| endpoint.allow.allows(addr, data))
    }

    /// Whether the port's interrupt condition holds now. Whoever gets an eventfd late raises it then.
    pub fn interrupt_pending(&self, port: Port) -> bool {
        self.endpoint(port).is_some_and(|endpoint| {
            endpoint.attached
                && endpoint.function.msi()
                && endpoint.interrupt.pending(endpoint.interrupt_status())
        })
    }

    /// Makes a slot lead nowhere, or heals it; resets do not heal.
    pub fn poison(
        &mut self,
        port: Port,
        bar: Bar,
        slot: u8,
        on: bool,
    ) -> Result<Vec<Effect>, ModelError> {
        self.endpoint_mut(port)
            .ok_or(ModelError::NoPort(port))?
            .window_mut(bar)
            .and_then(|window| window.poison(slot, on))
            .ok_or(ModelError::NoSlot(port, bar, slot))?;
        Ok(vec![Effect::Window { port, bar }])
    }

    /// Counts of a port since the last reset of the counts.
    pub fn counts(&self, port: Port) -> Counts {
        self.endpoint(port)
            .map(|endpoint| endpoint.counts)
            .unwrap_or_default()
    }

    /// All ports' counts to 0.
    pub fn reset_counts(&mut self) {
        for endpoint in &mut self.endpoints {
            endpoint.counts = Counts::default();
        }
    }

    /// State of a port, for people; a port that the switch does not have is down.
    pub fn status(&self, port: Port) -> PortStatus {
        let endpoint = self.endpoint(port);
        PortStatus {
            attached: endpoint.is_some_and(|endpoint| endpoint.attached),
            link: endpoint.map_or(Link::Down, |endpoint| endpoint.link),
            link_up: self.link_up(port),
            bus_master: endpoint.is_some_and(|endpoint| endpoint.function.masters()),
            memory_enable: endpoint.is_some_and(|endpoint| endpoint.function.decodes()),
            admitted: endpoint.is_some_and(Endpoint::id_protection_disabled)
                || self.requesters.admitted(port),
            completes: endpoint.is_some_and(Endpoint::completes),
        }
    }
}
