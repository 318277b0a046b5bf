// SPDX-License-Identifier: GPL-2.0
//! What the switch tells its owner: effects of a change, routes, counts and state; plain values.

use std::time::Duration;

use super::port::Bar;
use super::port::Port;

/// What the owner of a [`Switch`](super::Switch) has to do after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Give this message to [`Switch::deliver`](super::Switch::deliver) when the time has passed.
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
        /// Bytes from there on with the same route (at least 1).
        len: u64,
    },
    /// Nowhere: reads give all ones, writes are dropped.
    Unsupported {
        /// Why.
        reason: Reject,
        /// Bytes from there on that are refused for this reason (at least 1).
        len: u64,
    },
}

/// Why an access is refused (an Unsupported Request on the chip).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Not a window, or beyond its end.
    OutOfWindow,
    /// The sender's memory space enable bit is clear, or its function is not in D0.
    MemoryDisabled,
    /// Above the BARLIMIT registers.
    Limit,
    /// No valid translation entry.
    NoTranslation,
    /// The translated address lies beyond 2^64.
    Overflow,
    /// The entry names the sender's own partition or one that does not exist.
    BadPartition,
    /// The slot was poisoned by fault injection.
    Poisoned,
    /// The sender's own link is down.
    LinkDown,
    /// The target's link is down.
    TargetLinkDown,
    /// The mapping table has no valid entry for the sender, and its NTCTL.IDPROTDIS is clear.
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
    /// Doorbell writes of anybody that reached a bit which this port has not masked.
    pub doorbells_received: u64,
    /// Messages accepted from this port.
    pub messages_sent: u64,
    /// Messages put into this port's inbound registers.
    pub messages_received: u64,
    /// Messages from this port that were accepted and then lost by fault injection.
    pub messages_lost: u64,
    /// Translations of this port that were written (LUTUDATA, or BARLTBASE of a direct window).
    pub slot_programmings: u64,
    /// Times the interrupt condition fired.
    pub interrupts_raised: u64,
    /// Reads of BAR0.
    pub register_reads: u64,
    /// Writes to BAR0.
    pub register_writes: u64,
    /// Reads of PCI configuration space.
    pub config_reads: u64,
    /// Writes to PCI configuration space.
    pub config_writes: u64,
    /// Link changes of other ports that this one was told.
    pub link_events: u64,
}

/// What a person wants to know about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// A node is attached.
    pub attached: bool,
    /// Fault injection's wish.
    pub link: Link,
    /// Attached and not held down.
    pub link_up: bool,
    /// The function masters the bus: the node's inbound gate is open.
    pub bus_master: bool,
    /// The function answers memory accesses.
    pub memory_enable: bool,
    /// The mapping table lets the port's requests through.
    pub admitted: bool,
    /// The port's completions are let through.
    pub completes: bool,
}

/// Names something that the switch does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No such port.
    #[error("the switch has no port {0}")]
    NoPort(Port),
    /// No such slot.
    #[error("{1} of port {0} has no slot {2}")]
    NoSlot(Port, Bar, u8),
}
