// SPDX-License-Identifier: GPL-2.0
//! The registers of one NT function: which of its parts answers each of the 4096 bytes.
//!
//! Source: the IDT_NT_* offsets of drivers/ntb/hw/idt/ntb_hw_idt.h. BAR0 and PCI configuration space
//! are the same bytes; other ports reach them through the global address space.

use super::allow;
use super::allow::AllowTable;
use super::config::Function;
use super::doorbell::Inbound;
use super::event::Audience;
use super::event::Kind;
use super::gasa;
use super::interrupt::Interrupt;
use super::lanes::Lanes;
use super::message::Mailbox;
use super::port::Bar;
use super::port::Port;
use super::port::PortConfig;
use super::window;
use super::window::LutAccess;
use super::window::Window;
use super::Counts;
use super::Effect;
use super::Link;
use super::Switch;

/// End of the PCI header and capabilities.
const CONFIG_END: u32 = 0x100;
/// Below this a port's registers are its root complex's business alone.
const PROPRIETARY: u32 = 0x400;
/// IDT_NT_NTCTL.
const NTCTL: u32 = 0x400;
/// IDT_NTCTL_IDPROTDIS, CPEN, RNS, ATP.
const NTCTL_IDPROTDIS: u32 = 1 << 0;
const NTCTL_CPEN: u32 = 1 << 1;
const NTCTL_WRITABLE: u32 = 0xf;
/// IDT_NT_NTINTSTS and NTINTMSK.
const NTINTSTS: u32 = 0x404;
const NTINTMSK: u32 = 0x408;
/// IDT_NT_NTSDATA: a word for the peers, read through the global address space.
const NTSDATA: u32 = 0x40c;
/// IDT_NT_NTGSIGNAL: IDT_NTGSIGNAL_SET signals all partitions.
const NTGSIGNAL: u32 = 0x410;
const NTGSIGNAL_SET: u32 = 1;
/// IDT_NT_OUTDBELLSET, INDBELLSTS, INDBELLMSK.
const OUTDBELLSET: u32 = 0x420;
const INDBELLSTS: u32 = 0x428;
const INDBELLMSK: u32 = 0x42c;
/// IDT_NT_OUTMSG0 and IDT_NT_MSGSTSMSK.
const OUTMSG0: u32 = 0x430;
const MSGSTSMSK: u32 = 0x464;
/// IDT_NT_BARSETUP0 and IDT_NT_BARUTBASE5; 16 bytes a BAR.
const BARSETUP0: u32 = 0x470;
const BARUTBASE5: u32 = 0x4cc;
/// IDT_NT_NTMTBLADDR and NTMTBLDATA.
const NTMTBLADDR: u32 = 0x4d0;
const NTMTBLDATA: u32 = 0x4d8;
/// IDT_NT_LUTOFFSET and LUTUDATA.
const LUTOFFSET: u32 = 0x4e0;
const LUTUDATA: u32 = 0x4ec;

/// One port of the switch with its NT function.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) config: PortConfig,
    pub(super) attached: bool,
    pub(super) link: Link,
    pub(super) counts: Counts,
    pub(super) function: Function,
    pub(super) control: u32,
    pub(super) interrupt: Interrupt,
    pub(super) doorbell: Inbound,
    pub(super) mailbox: Mailbox,
    pub(super) allow: AllowTable,
    pub(super) windows: [Window; 2],
    signal_data: u32,
    table_index: u32,
    lut: LutAccess,
    global_address: u32,
}

impl Endpoint {
    pub(super) fn new(port: Port, config: PortConfig) -> Self {
        Self {
            config,
            attached: false,
            link: Link::Up,
            counts: Counts::default(),
            function: Function::new(port, config),
            control: 0,
            interrupt: Interrupt::new(),
            doorbell: Inbound::new(),
            mailbox: Mailbox::new(),
            allow: AllowTable::new(),
            windows: Bar::WINDOWS.map(|bar| Window::new(&config, bar)),
            signal_data: 0,
            table_index: 0,
            lut: LutAccess::default(),
            global_address: 0,
        }
    }

    /// The function's registers to their defaults; attachment, faults and counts stay.
    pub(super) fn reset(&mut self) {
        self.function.reset();
        self.control = 0;
        self.interrupt = Interrupt::new();
        self.doorbell = Inbound::new();
        self.mailbox = Mailbox::new();
        self.allow = AllowTable::new();
        for window in &mut self.windows {
            window.reset();
        }
        self.signal_data = 0;
        self.table_index = 0;
        self.lut = LutAccess::default();
        self.global_address = 0;
    }

    /// The window behind a BAR.
    pub(super) fn window(&self, bar: Bar) -> Option<&Window> {
        let index = Bar::WINDOWS.iter().position(|window| *window == bar)?;
        self.windows.get(index)
    }

    pub(super) fn window_mut(&mut self, bar: Bar) -> Option<&mut Window> {
        let index = Bar::WINDOWS.iter().position(|window| *window == bar)?;
        self.windows.get_mut(index)
    }

    /// Requests of any requester are let through (NTCTL.IDPROTDIS).
    pub(super) fn id_protection_disabled(&self) -> bool {
        self.control & NTCTL_IDPROTDIS != 0
    }

    /// Completions of this node are let through (NTCTL.CPEN).
    pub(super) fn completes(&self) -> bool {
        self.control & NTCTL_CPEN != 0
    }

    /// NTINTSTS.
    pub(super) fn interrupt_status(&self) -> u32 {
        self.interrupt
            .status(self.mailbox.pending(), self.doorbell.pending())
    }
}

/// BAR of a BAR-setup register: the lower one's, whether it is the upper half, and the register within.
fn bar_register(offset: u32) -> (Option<Bar>, bool, u32) {
    let distance = offset - BARSETUP0;
    let number = (distance / 16) as usize;
    (
        Bar::from_number(number & !1),
        number & 1 != 0,
        distance % 16,
    )
}

impl Switch {
    /// Reads a register of `port` for port `by`; undefined ones are 0.
    pub(super) fn endpoint_read(&self, by: Port, port: Port, offset: u32) -> u32 {
        let Some(endpoint) = self.endpoint(port) else {
            return 0;
        };
        match offset {
            0..CONFIG_END => endpoint.function.read(offset),
            NTCTL => endpoint.control,
            NTINTSTS => endpoint.interrupt_status(),
            NTINTMSK => endpoint.interrupt.mask(),
            NTSDATA => endpoint.signal_data,
            INDBELLSTS => endpoint.doorbell.status,
            INDBELLMSK => endpoint.doorbell.mask,
            OUTMSG0..=MSGSTSMSK => endpoint.mailbox.read(offset - OUTMSG0),
            BARSETUP0..=BARUTBASE5 => match bar_register(offset) {
                (Some(Bar::Registers), false, 0) => window::BARSETUP_REGISTERS,
                (Some(bar), upper, register) => endpoint
                    .window(bar)
                    .map_or(0, |window| window.read(upper, register)),
                (None, _, _) => 0,
            },
            NTMTBLADDR => endpoint.table_index,
            NTMTBLDATA => self.requesters.read(endpoint.table_index),
            LUTOFFSET..=LUTUDATA => endpoint.lut.read(offset - LUTOFFSET),
            allow::FIRST..=allow::LAST if by == port => endpoint.allow.read(offset),
            gasa::GASAADDR => endpoint.global_address,
            gasa::GASADATA => self.global_read(port, endpoint.global_address),
            _ => 0,
        }
    }

    /// Writes NTGSIGNAL of a port.
    fn signal(&mut self, port: Port, bits: u32) {
        if bits & NTGSIGNAL_SET != 0 && self.link_up(port) {
            self.announce(Kind::GlobalSignal, port, Audience::All);
        }
    }

    /// Writes a register of `port` for port `by`; writes to undefined ones are dropped.
    pub(super) fn endpoint_write(
        &mut self,
        by: Port,
        port: Port,
        offset: u32,
        lanes: Lanes,
        effects: &mut Vec<Effect>,
    ) {
        // What QEMU and the allow table's owner rely on is out of other ports' reach.
        if by != port && (offset < PROPRIETARY || (allow::FIRST..=allow::LAST).contains(&offset)) {
            return;
        }
        let Some(endpoint) = self.endpoint_mut(port) else {
            return;
        };
        match offset {
            0..CONFIG_END => {
                let changed = endpoint.function.write(offset, lanes);
                if changed.reset {
                    self.reset_function(port, effects);
                } else if changed.master {
                    self.reached_changed(port, effects);
                }
                if changed.decode {
                    self.windows_changed(port, effects);
                }
            }
            NTCTL => {
                let before = endpoint.control;
                endpoint.control = lanes.merge(before, NTCTL_WRITABLE);
                let changed = before ^ endpoint.control;
                if changed & NTCTL_CPEN != 0 {
                    self.reached_changed(port, effects);
                }
                if changed & NTCTL_IDPROTDIS != 0 {
                    self.windows_changed(port, effects);
                }
            }
            NTINTSTS => endpoint.interrupt.clear(lanes),
            NTINTMSK => endpoint.interrupt.set_mask(lanes),
            NTSDATA => endpoint.signal_data = lanes.merge(endpoint.signal_data, !0),
            NTGSIGNAL => self.signal(port, lanes.ones()),
            OUTDBELLSET => self.ring(port, lanes.ones()),
            INDBELLSTS => endpoint.doorbell.status &= !lanes.ones(),
            INDBELLMSK => endpoint.doorbell.mask = lanes.merge(endpoint.doorbell.mask, !0),
            OUTMSG0..=MSGSTSMSK => {
                if let Some(index) = endpoint.mailbox.write(offset - OUTMSG0, lanes) {
                    self.send(port, index, effects);
                }
            }
            BARSETUP0..=BARUTBASE5 => {
                let (Some(bar), upper, register) = bar_register(offset) else {
                    return;
                };
                let changed = endpoint
                    .window_mut(bar)
                    .is_some_and(|window| window.write(upper, register, lanes));
                if changed {
                    endpoint.counts.slot_programmings += u64::from(register == 0x8);
                    effects.push(Effect::Window { port, bar });
                }
            }
            NTMTBLADDR => endpoint.table_index = lanes.merge(endpoint.table_index, 0x3f),
            NTMTBLDATA => {
                let index = endpoint.table_index;
                for partition in self
                    .requesters
                    .write(by, index, lanes)
                    .into_iter()
                    .flatten()
                {
                    self.windows_changed(partition, effects);
                }
            }
            LUTOFFSET..=LUTUDATA => {
                if let Some(bar) =
                    endpoint
                        .lut
                        .write(offset - LUTOFFSET, lanes, &mut endpoint.windows)
                {
                    endpoint.counts.slot_programmings += 1;
                    effects.push(Effect::Window { port, bar });
                }
            }
            allow::FIRST..=allow::LAST => endpoint.allow.write(offset, lanes),
            gasa::GASAADDR => {
                endpoint.global_address =
                    lanes.merge(endpoint.global_address, gasa::GASAADDR_WRITABLE);
            }
            gasa::GASADATA => {
                let addr = endpoint.global_address;
                self.global_write(port, addr, lanes, effects);
            }
            _ => {}
        }
    }
}
