// SPDX-License-Identifier: GPL-2.0
//! The switch as a value: register files, routing and events, without I/O, threads or a clock.
//!
//! One [`Switch`] is owned by whoever serves it and needs exclusive access for every change; what a
//! change means for the outside (interrupts, windows to re-point) is returned as [`Effect`]s.

mod port;

use std::time::Duration;

pub use port::Bar;
pub use port::ConfigError;
pub use port::Layout;
pub use port::Port;
pub use port::PortConfig;
pub use port::Windows;

/// What the owner of a [`Switch`] has to do after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Raise the port's single MSI now.
    Interrupt(Port),
    /// Routes of this window may have changed: bring its view up to date before the access that
    /// caused it is answered.
    Window {
        /// The port that looks through the window.
        port: Port,
        /// Which of its windows.
        bar: Bar,
    },
    /// Give this message to [`Switch::deliver`] when the time has passed.
    Deliver {
        /// The message held back by fault injection.
        message: Message,
        /// How long to hold it back.
        after: Duration,
    },
}

/// A message on its way between two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Sender, as the hardware reports it.
    pub from: Port,
    /// Receiver.
    pub to: Port,
    /// Index 0..=3 of the receiver's inbound message register.
    pub register: u8,
    /// Its 32 bits.
    pub data: u32,
}

/// State of a port's link as fault injection sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The link follows the attachment of the node.
    Up,
    /// The link is held down although a node may be attached.
    Down,
}

/// What happens to the next messages between two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// The sender sees success, the receiver nothing.
    Lose,
    /// The message arrives later.
    Delay(Duration),
}

/// Where an access through a window goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the bus address `addr` of node `port`; contiguous for `len` bytes.
    Memory {
        /// The node that is reached.
        port: Port,
        /// Its bus address.
        addr: u64,
        /// Bytes from there on with the same route.
        len: u64,
    },
    /// Nowhere: reads give all ones, writes are dropped, for `len` bytes.
    Unsupported {
        /// Why.
        reason: Reject,
        /// Bytes from there on that are refused (at least 1).
        len: u64,
    },
}

/// Why an access is refused (an Unsupported Request on the chip).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Not a window, or beyond its end.
    OutOfWindow,
    /// The window is switched off in BARSETUP.
    WindowDisabled,
    /// The sender's memory space enable bit is clear.
    MemoryDisabled,
    /// Above the BARLIMIT register.
    Limit,
    /// The translation entry is not valid.
    NoTranslation,
    /// The entry names the sender's own partition or one that does not exist.
    BadPartition,
    /// The slot was poisoned by fault injection.
    Poisoned,
    /// The sender's own link is down.
    LinkDown,
    /// The target's link is down.
    TargetLinkDown,
    /// The requester-ID table has no valid entry for the sender.
    Requester,
    /// The target's bus-master bit is clear: its inbound gate is closed.
    TargetBusMaster,
    /// The target does not let completions pass (NTCTL.CPEN).
    TargetCompletion,
}

/// Exact counts of one port since the last reset of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Doorbell writes that named at least one bit.
    pub doorbells_sent: u64,
    /// Doorbell writes of anybody that reached this port.
    pub doorbells_received: u64,
    /// Messages accepted from this port.
    pub messages_sent: u64,
    /// Messages put into this port's inbound registers.
    pub messages_received: u64,
    /// Messages from this port that fault injection or a full inbox swallowed after acceptance.
    pub messages_lost: u64,
    /// Translation entries this port wrote (lookup table or direct).
    pub slot_programmings: u64,
    /// Times the interrupt condition fired.
    pub interrupts_raised: u64,
    /// Accesses to BAR0.
    pub register_reads: u64,
    /// Accesses to BAR0.
    pub register_writes: u64,
    /// Accesses to PCI configuration space.
    pub config_reads: u64,
    /// Accesses to PCI configuration space.
    pub config_writes: u64,
    /// Link changes of other ports reported to this one.
    pub link_events: u64,
}

/// What a person wants to know about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// A node is attached.
    pub attached: bool,
    /// Fault injection's wish.
    pub link: Link,
    /// Attached and not forced down.
    pub link_up: bool,
    /// The function may master the bus.
    pub bus_master: bool,
    /// The function answers memory accesses.
    pub memory_enable: bool,
}

/// Names a port, window or slot that the switch does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No such port.
    #[error("the switch has no port {0}")]
    NoPort(Port),
    /// No such slot.
    #[error("port {0} has no slot {2} in {1}")]
    NoSlot(Port, Bar, u8),
}

/// The switch.
#[derive(Debug)]
pub struct Switch {
    configs: Vec<PortConfig>,
}

impl Switch {
    /// A switch with `ports.len()` (1 to 8) ports, all links down.
    pub fn new(ports: &[PortConfig]) -> Result<Self, ConfigError> {
        port::check(ports)?;
        Ok(Self {
            configs: ports.to_vec(),
        })
    }

    /// All ports.
    pub fn ports(&self) -> Vec<Port> {
        (0u8..)
            .map_while(Port::new)
            .take(self.configs.len())
            .collect()
    }
    /// Configuration of a port.
    pub fn config(&self, port: Port) -> Option<&PortConfig> {
        self.configs.get(port.index())
    }
    /// A node came: registers at their defaults, link up for the others.
    pub fn attach(&mut self, port: Port) -> Vec<Effect> {
        let _ = port;
        Vec::new()
    }
    /// The node is gone.
    pub fn detach(&mut self, port: Port) -> Vec<Effect> {
        let _ = port;
        Vec::new()
    }
    /// The node was reset (vfio-user DEVICE_RESET): registers to defaults, its link bounces.
    pub fn reset_port(&mut self, port: Port) -> Vec<Effect> {
        let _ = port;
        Vec::new()
    }
    /// Fault injection on the link.
    pub fn set_link(&mut self, port: Port, link: Link) -> Vec<Effect> {
        let _ = port;
        let _ = link;
        Vec::new()
    }
    /// Region 7.
    pub fn config_read(&mut self, port: Port, offset: u16, data: &mut [u8]) {
        let _ = port;
        let _ = offset;
        let _ = data;
    }
    /// Region 7.
    pub fn config_write(&mut self, port: Port, offset: u16, data: &[u8]) -> Vec<Effect> {
        let _ = port;
        let _ = offset;
        let _ = data;
        Vec::new()
    }
    /// BAR0 by bytes (any alignment).
    pub fn bar0_read(&mut self, port: Port, offset: u32, data: &mut [u8]) {
        let _ = port;
        let _ = offset;
        let _ = data;
    }
    /// BAR0 by bytes (any alignment).
    pub fn bar0_write(&mut self, port: Port, offset: u32, data: &[u8]) -> Vec<Effect> {
        let _ = port;
        let _ = offset;
        let _ = data;
        Vec::new()
    }
    /// BAR0, one aligned 32-bit register.
    pub fn register_read(&mut self, port: Port, offset: u32) -> u32 {
        let _ = port;
        let _ = offset;
        u32::MAX
    }
    /// BAR0, one aligned 32-bit register.
    pub fn register_write(&mut self, port: Port, offset: u32, value: u32) -> Vec<Effect> {
        let _ = port;
        let _ = offset;
        let _ = value;
        Vec::new()
    }
    /// Size of the PCI BAR, 0 where the function has none (companion layout: Bar::Memory).
    pub fn bar_size(&self, port: Port, bar: Bar) -> u64 {
        let _ = port;
        let _ = bar;
        0
    }
    /// Size of the window, also where a companion function carries it.
    pub fn window_size(&self, port: Port, bar: Bar) -> u64 {
        let _ = port;
        let _ = bar;
        0
    }
    /// Number of slots and bytes of one.
    pub fn slots(&self, port: Port, bar: Bar) -> (u8, u64) {
        let _ = port;
        let _ = bar;
        (0, 0)
    }
    /// Where an access goes.
    pub fn route(&self, port: Port, bar: Bar, offset: u64) -> Route {
        let _ = port;
        let _ = bar;
        let _ = offset;
        Route::Unsupported {
            reason: Reject::OutOfWindow,
            len: 1,
        }
    }
    /// May a peer write this interrupt message to `target`?
    pub fn interrupt_allowed(&self, target: Port, addr: u64, data: u32) -> bool {
        let _ = target;
        let _ = addr;
        let _ = data;
        false
    }
    /// Is the port's interrupt condition true now (for an eventfd that comes late)?
    pub fn interrupt_pending(&self, port: Port) -> bool {
        let _ = port;
        false
    }
    /// A delayed message's time has come.
    pub fn deliver(&mut self, message: Message) -> Vec<Effect> {
        let _ = message;
        Vec::new()
    }
    /// Poisons or heals a slot.
    pub fn poison(
        &mut self,
        port: Port,
        bar: Bar,
        slot: u8,
        on: bool,
    ) -> Result<Vec<Effect>, ModelError> {
        let _ = port;
        let _ = bar;
        let _ = slot;
        let _ = on;
        Ok(Vec::new())
    }
    /// The next `count` messages from -> to meet `fault`; None heals.
    pub fn message_fault(
        &mut self,
        from: Port,
        to: Port,
        fault: Option<MessageFault>,
        count: u32,
    ) -> Result<(), ModelError> {
        let _ = from;
        let _ = to;
        let _ = fault;
        let _ = count;
        Ok(())
    }
    /// Counters.
    pub fn counts(&self, port: Port) -> Counts {
        let _ = port;
        Counts::default()
    }
    /// Counters to 0, all ports.
    pub fn reset_counts(&mut self) {}
    /// For people.
    pub fn status(&self, port: Port) -> PortStatus {
        let _ = port;
        PortStatus {
            attached: false,
            link: Link::Up,
            link_up: false,
            bus_master: false,
            memory_enable: false,
        }
    }
}
