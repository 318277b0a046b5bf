// SPDX-License-Identifier: GPL-2.0
//! Messages: four registers of 32 bits each way, a route for each outbound one, and lost or late messages.
//!
//! Source: IDT_NT_OUTMSGn, INMSGn, INMSGSRCn, MSGSTS, MSGSTSMSK and IDT_SW_SWPmMSGCTLk of
//! drivers/ntb/hw/idt/ntb_hw_idt.h, chapter 6 of ntb_hw_idt.c. A full inbound register takes no second
//! message: the sender's outbound status bit is set instead.

use super::lanes::Lanes;
use super::port::Port;
use super::port::MAX_PORTS;
use super::Effect;
use super::Message;
use super::MessageFault;
use super::ModelError;
use super::Switch;

/// IDT_MSG_CNT.
pub(super) const REGISTERS: usize = 4;
/// IDT_OUTMSG_MASK: bit k is set when outbound message k was not taken.
const OUTBOUND: u32 = 0x0000_000f;
/// IDT_INMSG_MASK: bit 16 + k is set while inbound message k waits.
const INBOUND: u32 = 0x000f_0000;
const INBOUND_FLD: u32 = 16;
/// IDT_SW_SWP0MSGCTL0: register m + 8k routes outbound message k of partition m.
pub(super) const MSGCTL: u32 = 0x3ee00;
/// After the last of them.
pub(super) const MSGCTL_END: u32 = 0x3ee80;
/// IDT_SWPxMSGCTL_REG_MASK, and _PART_MASK and _FLD.
const MSGCTL_REG_MASK: u32 = 0x3;
const MSGCTL_PART_MASK: u32 = 0x70;
const MSGCTL_PART_FLD: u32 = 4;

/// A port's message registers.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    outbound: [u32; REGISTERS],
    inbound: [u32; REGISTERS],
    source: [u32; REGISTERS],
    status: u32,
    mask: u32,
}

impl Mailbox {
    /// Empty, all masked.
    pub(super) fn new() -> Self {
        Self {
            outbound: [0; REGISTERS],
            inbound: [0; REGISTERS],
            source: [0; REGISTERS],
            status: 0,
            mask: OUTBOUND | INBOUND,
        }
    }

    /// An unmasked status bit is set.
    pub(super) fn pending(&self) -> bool {
        self.status & !self.mask != 0
    }

    /// A register from OUTMSG0 on, by its distance from that.
    pub(super) fn read(&self, distance: u32) -> u32 {
        let index = (distance / 4) as usize;
        match index {
            0..=3 => self.outbound[index],
            4..=7 => self.inbound[index - 4],
            8..=11 => self.source[index - 8],
            12 => self.status,
            13 => self.mask,
            _ => 0,
        }
    }

    /// Writes one; gives the index of the outbound message that is to be sent.
    pub(super) fn write(&mut self, distance: u32, lanes: Lanes) -> Option<usize> {
        let index = (distance / 4) as usize;
        match index {
            0..=3 => {
                self.outbound[index] = lanes.merge(self.outbound[index], !0);
                return Some(index);
            }
            12 => self.status &= !lanes.ones(),
            13 => self.mask = lanes.merge(self.mask, OUTBOUND | INBOUND),
            _ => {}
        }
        None
    }

    /// Takes a message unless the register is full.
    fn take(&mut self, message: &Message) -> bool {
        let index = usize::from(message.register) % REGISTERS;
        let bit = 1 << (INBOUND_FLD as usize + index);
        if self.status & bit != 0 {
            return false;
        }
        self.inbound[index] = message.data;
        self.source[index] = message.from.index() as u32;
        self.status |= bit;
        true
    }
}

/// Routes of all partitions' outbound messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Routing {
    control: [u32; MAX_PORTS * REGISTERS],
}

impl Routing {
    /// The partition that a routing register belongs to.
    pub(super) fn owner(offset: u32) -> Option<Port> {
        Port::new((offset.wrapping_sub(MSGCTL) / 4 % MAX_PORTS as u32) as u8)
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        let index = (offset.wrapping_sub(MSGCTL) / 4) as usize;
        self.control.get(index).copied().unwrap_or(0)
    }

    pub(super) fn write(&mut self, offset: u32, lanes: Lanes) {
        let index = (offset.wrapping_sub(MSGCTL) / 4) as usize;
        if let Some(control) = self.control.get_mut(index) {
            *control = lanes.merge(*control, MSGCTL_REG_MASK | MSGCTL_PART_MASK);
        }
    }

    /// Inbound register and partition to which outbound message `index` of a partition goes.
    fn route(&self, from: Port, index: usize) -> (u8, Option<Port>) {
        let control = self
            .control
            .get(from.index() + MAX_PORTS * index)
            .copied()
            .unwrap_or(0);
        let partition = (control & MSGCTL_PART_MASK) >> MSGCTL_PART_FLD;
        (
            (control & MSGCTL_REG_MASK) as u8,
            Port::new(partition as u8),
        )
    }
}

/// A fault and how many messages it still hits.
#[derive(Clone, Copy, Debug)]
struct Fault {
    fault: MessageFault,
    left: u32,
}

/// Faults for each pair of ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pairs: [[Option<Fault>; MAX_PORTS]; MAX_PORTS],
}

impl Faults {
    /// The fault that the next message of a pair meets; uses it up.
    fn next(&mut self, from: Port, to: Port) -> Option<MessageFault> {
        let place = &mut self.pairs[from.index()][to.index()];
        let fault = place.as_mut()?;
        let met = fault.fault;
        fault.left = fault.left.saturating_sub(1);
        if fault.left == 0 {
            *place = None;
        }
        Some(met)
    }
}

impl Switch {
    /// Lets the next `count` messages from one port to another meet a fault; `None` or 0 heals.
    pub fn message_fault(
        &mut self,
        from: Port,
        to: Port,
        fault: Option<MessageFault>,
        count: u32,
    ) -> Result<(), ModelError> {
        for port in [from, to] {
            self.endpoint(port).ok_or(ModelError::NoPort(port))?;
        }
        let place = &mut self.faults.pairs[from.index()][to.index()];
        *place = fault
            .filter(|_| count > 0)
            .map(|fault| Fault { fault, left: count });
        Ok(())
    }

    /// Sends what a port wrote to one of its outbound registers.
    pub(super) fn send(&mut self, from: Port, index: usize, effects: &mut Vec<Effect>) {
        let (register, to) = self.routing.route(from, index);
        let reachable = to.is_some_and(|to| self.link_up(from) && self.link_up(to));
        let Some(data) = self
            .endpoint(from)
            .map(|endpoint| endpoint.mailbox.outbound[index])
        else {
            return;
        };
        let Some(to) = to.filter(|_| reachable) else {
            self.refuse(from, index);
            return;
        };
        let message = Message {
            from,
            to,
            register,
            data,
        };
        match self.faults.next(from, to) {
            Some(fault) => {
                self.counts_mut(from, |counts| counts.messages_sent += 1);
                match fault {
                    MessageFault::Lose => self.counts_mut(from, |counts| counts.messages_lost += 1),
                    MessageFault::Delay(after) => effects.push(Effect::Deliver { message, after }),
                }
            }
            None if self.put(&message) => {
                self.counts_mut(from, |counts| counts.messages_sent += 1);
            }
            None => self.refuse(from, index),
        }
    }

    /// Delivers a message that fault injection held back; lost if it cannot be taken any more.
    pub fn deliver(&mut self, message: Message) -> Vec<Effect> {
        let mut effects = Vec::new();
        let linked = self.link_up(message.from) && self.link_up(message.to);
        if !linked || !self.put(&message) {
            self.counts_mut(message.from, |counts| counts.messages_lost += 1);
        }
        self.settle(&mut effects);
        effects
    }

    /// Puts a message into its inbound register unless that is full.
    fn put(&mut self, message: &Message) -> bool {
        let Some(endpoint) = self.endpoint_mut(message.to) else {
            return false;
        };
        let taken = endpoint.mailbox.take(message);
        if taken {
            endpoint.counts.messages_received += 1;
        }
        taken
    }

    /// Tells the sender that its message was not taken.
    fn refuse(&mut self, from: Port, index: usize) {
        if let Some(endpoint) = self.endpoint_mut(from) {
            endpoint.mailbox.status |= (1 << index) & OUTBOUND;
        }
    }
}
