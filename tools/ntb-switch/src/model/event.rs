// SPDX-License-Identifier: GPL-2.0
//! Switch events: link changes, resets and global signals of any port, told to the partitions that listen.
//!
//! Source: IDT_SW_SESTS to SEGSIGMSK of drivers/ntb/hw/idt/ntb_hw_idt.h, chapter 3 of ntb_hw_idt.c.
//! An event is told when its status bit turns from 0 to 1 unmasked, so whoever handles it clears the
//! status before it looks at the state behind it.

use super::lanes::Lanes;
use super::port::Port;
use super::Switch;

/// IDT_SW_SESTS: which of the following have an unmasked bit set.
pub(super) const SESTS: u32 = 0x3ec00;
/// IDT_SW_SEMSK: masks whole kinds of events, bits as in SESTS.
const SEMSK: u32 = 0x3ec04;
/// IDT_SW_SEPMSK: bit p keeps all events from partition p.
const SEPMSK: u32 = 0x3ec08;
/// IDT_SW_SELINKUPSTS; status and mask registers of the kinds follow each other.
const SELINKUPSTS: u32 = 0x3ec0c;
/// IDT_SW_SEGSIGMSK, the last one.
pub(super) const SEGSIGMSK: u32 = 0x3ec34;

/// A kind of events. Source of the bits in SESTS: IDT_SEMSK_LINKUP, LINKDN and GSIGNAL; the resets
/// follow the order of the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A port's link came up; bits are chip port numbers.
    LinkUp,
    /// A port's link went down; bits are chip port numbers.
    LinkDown,
    /// A partition's root complex was reset; bits are partitions.
    FundamentalReset,
    /// A partition wrote NTGSIGNAL; bits are partitions.
    GlobalSignal,
}

const KINDS: [Kind; 4] = [
    Kind::LinkUp,
    Kind::LinkDown,
    Kind::FundamentalReset,
    Kind::GlobalSignal,
];

impl Kind {
    /// Bit in SESTS and SEMSK.
    const fn bit(self) -> u32 {
        match self {
            Kind::LinkUp => 1 << 0,
            Kind::LinkDown => 1 << 1,
            Kind::FundamentalReset => 1 << 2,
            Kind::GlobalSignal => 1 << 5,
        }
    }

    /// Address of the status register; the mask follows.
    const fn status(self) -> u32 {
        match self {
            Kind::LinkUp => SELINKUPSTS,
            Kind::LinkDown => 0x3ec14,
            Kind::FundamentalReset => 0x3ec1c,
            Kind::GlobalSignal => 0x3ec30,
        }
    }

    /// Whether the bits are chip port numbers rather than partitions.
    fn subject(self, port: Port) -> u32 {
        match self {
            Kind::LinkUp | Kind::LinkDown => 1 << port.chip_number(),
            Kind::FundamentalReset | Kind::GlobalSignal => 1 << port.index(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Source {
    status: u32,
    mask: u32,
}

/// The switch's event registers.
#[derive(Clone, Debug)]
pub(super) struct Events {
    kinds_masked: u32,
    partitions_masked: u32,
    sources: [Source; KINDS.len()],
}

impl Events {
    /// All masked.
    pub(super) fn new() -> Self {
        Self {
            kinds_masked: u32::MAX,
            partitions_masked: u32::MAX,
            sources: [Source {
                status: 0,
                mask: u32::MAX,
            }; KINDS.len()],
        }
    }

    /// Nothing masked, since on a guarded board nobody can change that later.
    pub(super) fn guard(&mut self) {
        self.kinds_masked = 0;
        self.partitions_masked = 0;
        for source in &mut self.sources {
            source.mask = 0;
        }
    }

    /// Notes an event; whether listeners are to be told.
    fn note(&mut self, kind: Kind, port: Port) -> bool {
        let source = &mut self.sources[kind as usize];
        let bit = kind.subject(port);
        let new = source.status & bit == 0;
        source.status |= bit;
        new && source.mask & bit == 0 && self.kinds_masked & kind.bit() == 0
    }

    fn listens(&self, port: Port) -> bool {
        (self.partitions_masked >> port.index()) & 1 == 0
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            SESTS => KINDS
                .iter()
                .zip(&self.sources)
                .filter(|(_, source)| source.status & !source.mask != 0)
                .fold(0, |bits, (kind, _)| bits | kind.bit()),
            SEMSK => self.kinds_masked,
            SEPMSK => self.partitions_masked,
            _ => KINDS
                .iter()
                .zip(&self.sources)
                .find_map(|(kind, source)| match offset.wrapping_sub(kind.status()) {
                    0 => Some(source.status),
                    4 => Some(source.mask),
                    _ => None,
                })
                .unwrap_or(0),
        }
    }

    /// Whether the register only clears what has happened, which GASAPROT leaves to all.
    pub(super) fn is_status(offset: u32) -> bool {
        KINDS.iter().any(|kind| kind.status() == offset)
    }

    pub(super) fn write(&mut self, offset: u32, lanes: Lanes) {
        match offset {
            SEMSK => self.kinds_masked = lanes.merge(self.kinds_masked, !0),
            SEPMSK => self.partitions_masked = lanes.merge(self.partitions_masked, !0),
            _ => {
                for (kind, source) in KINDS.iter().zip(&mut self.sources) {
                    match offset.wrapping_sub(kind.status()) {
                        0 => source.status &= !lanes.ones(),
                        4 => source.mask = lanes.merge(source.mask, !0),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Who hears of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Every partition that listens.
    All,
    /// Every partition that listens but the event's own.
    Others,
}

impl Switch {
    /// An event about `port`.
    pub(super) fn announce(&mut self, kind: Kind, port: Port, audience: Audience) {
        if !self.events.note(kind, port) {
            return;
        }
        for listener in self.each_port() {
            if !self.events.listens(listener) || (audience == Audience::Others && listener == port)
            {
                continue;
            }
            if let Some(endpoint) = self
                .endpoint_mut(listener)
                .filter(|endpoint| endpoint.attached)
            {
                endpoint.interrupt.latch_event();
                if listener != port && matches!(kind, Kind::LinkUp | Kind::LinkDown) {
                    endpoint.counts.link_events += 1;
                }
            }
        }
    }
}
