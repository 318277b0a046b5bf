// SPDX-License-Identifier: GPL-2.0
//! The global address space: all registers of the switch and its ports, behind GASAADDR and GASADATA.
//!
//! Source: the IDT_SW_* addresses of drivers/ntb/hw/idt/ntb_hw_idt.h; GASAPROT and NTMTBLPROTn from the
//! chip's user manual. Every port sees and, unless GASAPROT names it, writes everything.

use super::doorbell;
use super::event;
use super::event::Events;
use super::lanes::Lanes;
use super::message;
use super::message::Routing;
use super::port::Port;
use super::port::MAX_PORTS;
use super::sensor;
use super::Effect;
use super::Switch;
use super::REGISTERS;

/// IDT_REG_SW_MAX and the alignment of GASAADDR.
pub(super) const GASAADDR_WRITABLE: u32 = 0x3fffc;
/// IDT_NT_GASAADDR.
pub(super) const GASAADDR: u32 = 0xff8;
/// IDT_NT_GASADATA.
pub(super) const GASADATA: u32 = 0xffc;
/// Registers of the NT function of chip port 0; a port has 8 KiB, the NT function the upper half.
const NT_FIRST: u32 = 0x1000;
const NT_STRIDE: u32 = 0x2000;
/// IDT_SW_SWPART0CTL; 0x20 a partition: control, status, failover control.
const SWPART: u32 = 0x3e100;
/// IDT_SW_SWPORT0CTL; 0x20 a chip port.
const SWPORT: u32 = 0x3e200;
const SWPORT_END: u32 = 0x3e500;
const STRIDE: u32 = 0x20;
/// IDT_SWPARTxSTS_STATE_ACT and _NT.
const SWPARTSTS: u32 = 0x20 | 0x4000;
/// IDT_SWPORTxSTS_LINKUP, _MODE_NT, _SWPART_FLD.
const SWPORTSTS_LINKUP: u32 = 0x10;
const SWPORTSTS_MODE_NT: u32 = 0xc0;
const SWPORTSTS_SWPART_FLD: u32 = 10;
/// GASAPROT: bit n takes writing from the function of chip port n.
const GASAPROT: u32 = 0x3e700;
/// NTMTBLPROT0.
const NTMTBLPROT: u32 = 0x3e710;
const NTMTBLPROT_END: u32 = NTMTBLPROT + 4 * MAX_PORTS as u32;

/// What an address of the global space means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A register of a port's NT function.
    Endpoint(Port, u32),
    /// SWPARTxSTS.
    PartitionStatus(Port),
    /// SWPORTxSTS.
    PortStatus(Port),
    Protection,
    TableProtection(Port),
    Event,
    Doorbells,
    DoorbellMask,
    MessageRoute,
    Sensor,
    Nothing,
}

fn place(addr: u32) -> Place {
    let partition =
        |distance: u32, stride: u32| u8::try_from(distance / stride).ok().and_then(Port::new);
    let chip_port = |distance: u32, stride: u32| {
        u8::try_from(distance / stride)
            .ok()
            .and_then(Port::from_chip_number)
    };
    match addr {
        NT_FIRST..SWPART => {
            let distance = addr - NT_FIRST;
            match chip_port(distance, NT_STRIDE) {
                Some(port) if distance % NT_STRIDE < REGISTERS => {
                    Place::Endpoint(port, distance % NT_STRIDE)
                }
                _ => Place::Nothing,
            }
        }
        SWPART..SWPORT if (addr - SWPART) % STRIDE == 4 => {
            partition(addr - SWPART, STRIDE).map_or(Place::Nothing, Place::PartitionStatus)
        }
        SWPORT..SWPORT_END if (addr - SWPORT) % STRIDE == 4 => {
            chip_port(addr - SWPORT, STRIDE).map_or(Place::Nothing, Place::PortStatus)
        }
        GASAPROT => Place::Protection,
        NTMTBLPROT..NTMTBLPROT_END => {
            partition(addr - NTMTBLPROT, 4).map_or(Place::Nothing, Place::TableProtection)
        }
        event::SESTS..=event::SEGSIGMSK => Place::Event,
        doorbell::GDBELLSTS => Place::Doorbells,
        doorbell::GODBELLMSK..doorbell::GIDBELLMSK_END => Place::DoorbellMask,
        message::MSGCTL..message::MSGCTL_END => Place::MessageRoute,
        sensor::TMPCTL..=sensor::TSSLOPE => Place::Sensor,
        _ => Place::Nothing,
    }
}

impl Switch {
    /// GASAPROT of a board on which all ports are guarded.
    pub(super) fn guard_all(&mut self) {
        self.gasa_protection = self
            .each_port()
            .fold(0, |bits, port| bits | (1 << port.chip_number()));
    }

    /// Reads GASADATA of port `by`.
    pub(super) fn global_read(&self, by: Port, addr: u32) -> u32 {
        match place(addr) {
            Place::Endpoint(_, GASAADDR | GASADATA) => 0,
            Place::Endpoint(port, offset) => self.endpoint_read(by, port, offset),
            Place::PartitionStatus(port) if self.endpoint(port).is_some() => SWPARTSTS,
            Place::PortStatus(port) if self.endpoint(port).is_some() => {
                // A port whose own link is down cannot tell that others' are up.
                let linked = self.link_up(port) && self.link_up(by);
                let linked = if linked { SWPORTSTS_LINKUP } else { 0 };
                SWPORTSTS_MODE_NT | linked | ((port.index() as u32) << SWPORTSTS_SWPART_FLD)
            }
            Place::PartitionStatus(_) | Place::PortStatus(_) | Place::Nothing => 0,
            Place::Protection => self.gasa_protection,
            Place::TableProtection(port) => self.requesters.protection(port),
            Place::Event => self.events.read(addr),
            Place::Doorbells => self.global_doorbells(),
            Place::DoorbellMask => self.doorbells.read(addr),
            Place::MessageRoute => self.routing.read(addr),
            Place::Sensor => self.sensor.read(addr),
        }
    }

    /// Whether GASAPROT lets port `by` write there.
    fn may_write(&self, by: Port, addr: u32, place: Place) -> bool {
        if (self.gasa_protection >> by.chip_number()) & 1 == 0 {
            return true;
        }
        match place {
            Place::Event => Events::is_status(addr),
            Place::MessageRoute => Routing::owner(addr) == Some(by),
            _ => false,
        }
    }

    /// Writes GASADATA of port `by`.
    pub(super) fn global_write(
        &mut self,
        by: Port,
        addr: u32,
        lanes: Lanes,
        effects: &mut Vec<Effect>,
    ) {
        let place = place(addr);
        if !self.may_write(by, addr, place) {
            return;
        }
        match place {
            Place::Endpoint(_, GASAADDR | GASADATA) => {}
            Place::Endpoint(port, offset) => self.endpoint_write(by, port, offset, lanes, effects),
            Place::Protection => {
                self.gasa_protection = lanes.merge(self.gasa_protection, 0x00ff_ffff);
            }
            Place::TableProtection(port) => self.requesters.set_protection(port, lanes),
            Place::Event => self.events.write(addr, lanes),
            Place::DoorbellMask => self.doorbells.write(addr, lanes),
            Place::MessageRoute => self.routing.write(addr, lanes),
            Place::Sensor => self.sensor.write(addr, lanes),
            Place::PartitionStatus(_)
            | Place::PortStatus(_)
            | Place::Doorbells
            | Place::Nothing => {}
        }
    }
}
