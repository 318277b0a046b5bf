// SPDX-License-Identifier: GPL-2.0
//! Feeds random bytes to a switch as accesses of hostile nodes and checks what must always hold.
//!
//! One entry point for the property tests and for the fuzzer; it panics when a rule is broken.

use std::time::Duration;

use super::Bar;
use super::Effect;
use super::Layout;
use super::Link;
use super::Message;
use super::MessageFault;
use super::Port;
use super::PortConfig;
use super::Protection;
use super::Reject;
use super::Route;
use super::Switch;
use super::Windows;
use crate::space::Access;
use crate::space::Backing;
use crate::space::FileId;
use crate::space::Space;
use crate::view::View;
use crate::view::PAGE;

/// Bytes of one operation.
const STEP: usize = 8;
/// Registers worth more than their share of random offsets.
const NT: [u32; 22] = [
    0x004, 0x010, 0x018, 0x020, 0x048, 0x0c4, 0x0d0, 0x400, 0x408, 0x410, 0x420, 0x42c, 0x430,
    0x464, 0x4b0, 0x4b4, 0x4bc, 0x4d8, 0x4e0, 0x4ec, 0xf10, 0xffc,
];
/// The same in the global address space.
const GLOBAL: [u32; 14] = [
    0x1400, 0x5420, 0x94ec, 0x54d8, 0x94b0, 0x3e700, 0x3e714, 0x3ec04, 0x3ec08, 0x3ec10, 0x3ed00,
    0x3ed84, 0x3ee04, 0x3ee28,
];

/// A switch in the hands of random nodes.
struct Bench {
    switch: Switch,
    spaces: Vec<Space>,
    late: Vec<Message>,
}

/// Turns most values for registers that want a certain shape into ones that do something.
fn likely(offset: u32, value: u32) -> u32 {
    if value >> 28 == 0 {
        return value;
    }
    let port = (value >> 8) % 4;
    let rarely = (value >> 8) & (value >> 12);
    match offset {
        0x4e0 => (0x200 << (value & 1)) | ((value >> 8) % 25),
        0x4ec => port | (u32::from(value & 7 != 0) << 31),
        0x4b0 => port << 13,
        0x4d8 => (port << 17) | (value & 1),
        0x004 => value | (0x6 & !rarely),
        0x400 => value | (0x3 & !rarely),
        0x0c4 => value & rarely,
        _ => value,
    }
}

/// How one window leads on: the offset and route of each stretch.
type Stretches = Vec<(u64, Route)>;

fn stretches(switch: &Switch, port: Port, bar: Bar) -> Stretches {
    let size = switch.window_size(port, bar);
    let mut all = Vec::new();
    let mut at = 0;
    while at < size {
        let route = switch.route(port, bar, at);
        all.push((at, route));
        at += match route {
            Route::Memory { len, .. } | Route::Unsupported { len, .. } => len,
        };
    }
    assert_eq!(
        at, size,
        "stretches of {bar} of port {port} end where the window does"
    );
    all
}

/// Every window of every port.
fn windows(switch: &Switch) -> Vec<(Port, Bar)> {
    let each = |port| Bar::WINDOWS.map(|bar| (port, bar));
    switch.ports().into_iter().flat_map(each).collect()
}

/// A refusal's reason may change without anybody's noticing; where memory shows may not.
fn visible(stretches: &Stretches) -> Vec<(u64, Route)> {
    let led = |(_, route): &&(u64, Route)| matches!(route, Route::Memory { .. });
    stretches.iter().filter(led).copied().collect()
}

impl Bench {
    fn new(selector: u8) -> Option<Self> {
        let config = |layout, windows| PortConfig {
            layout,
            windows,
            memory_aperture: 128 << 10,
            device_aperture: 256 << 10,
        };
        let configs = [
            config(Layout::Chip, Windows::Lut12),
            config(Layout::Companion, Windows::Lut12),
            config(Layout::Chip, Windows::Lut24Direct),
        ];
        let protection = match selector % 4 {
            0 => Protection::Guarded,
            _ => Protection::Open,
        };
        let mut switch = Switch::with_protection(&configs, protection).ok()?;
        // Half of the runs start from a working fabric, which random bytes rarely build.
        if selector & 0x80 != 0 {
            for port in switch.ports() {
                switch.attach(port);
                switch.register_write(port, 0x004, 0x6);
                switch.register_write(port, 0x400, 0x3);
                switch.register_write(port, 0x0d0, 0x1_0000);
                switch.register_write(port, 0x408, 0);
                switch.register_write(port, 0x42c, 0);
                switch.register_write(port, 0x464, 0);
                // Slots to everybody, also to oneself and to nobody, and the direct window.
                for index in 0..12 {
                    for bar in [2, 4] {
                        switch.register_write(port, 0x4e0, (bar << 8) | index);
                        switch.register_write(port, 0x4e4, index << 14);
                        switch.register_write(port, 0x4ec, (index % 4) | (1 << 31));
                    }
                }
                switch.register_write(port, 0x4b4, 0x1_5000);
            }
        }
        let spaces = vec![Space::new(); configs.len()];
        Some(Self {
            switch,
            spaces,
            late: Vec::new(),
        })
    }

    /// One operation on the switch.
    fn step(&mut self, op: &[u8; STEP]) -> Vec<Effect> {
        let [kind, who, low, high, v0, v1, v2, v3] = *op;
        let port = Port::new(who % 4).unwrap_or_else(|| unreachable!("below 8"));
        let raw = u32::from(u16::from_le_bytes([low, high]));
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        let switch = &mut self.switch;
        match kind % 16 {
            0..=2 => switch.register_write(port, raw % super::REGISTERS, value),
            3..=6 => {
                let offset = NT[raw as usize % NT.len()];
                switch.register_write(port, offset, likely(offset, value))
            }
            7 => {
                let mut effects =
                    switch.register_write(port, 0xff8, GLOBAL[raw as usize % GLOBAL.len()]);
                effects.extend(switch.register_write(port, 0xffc, value));
                effects
            }
            8 => {
                let data = [v0, v1, v2, v3, v0, v1, v2, v3];
                switch.bar0_write(port, raw, &data[..usize::from(who >> 4) % 9])
            }
            9 => switch.config_write(
                port,
                raw as u16,
                &[v0, v1, v2, v3][..usize::from(who >> 4) % 5],
            ),
            10 => {
                let mut data = [0; 16];
                switch.bar0_read(port, raw, &mut data);
                switch.config_read(port, raw as u16, &mut data[..5]);
                Vec::new()
            }
            11 => match v0 % 6 {
                0 | 1 => switch.attach(port),
                2 => switch.detach(port),
                3 => switch.reset_port(port),
                4 => switch.set_link(port, Link::Down),
                _ => switch.set_link(port, Link::Up),
            },
            12 => {
                let bar = Bar::from_number(usize::from(v0 % 3) * 2).unwrap_or(Bar::Device);
                switch
                    .poison(port, bar, v1, v2 & 1 != 0)
                    .unwrap_or_default()
            }
            13 => {
                let to = Port::new(v0 % 4).unwrap_or(port);
                let fault = match v1 % 3 {
                    0 => None,
                    1 => Some(MessageFault::Lose),
                    _ => Some(MessageFault::Delay(Duration::from_millis(v2.into()))),
                };
                let known = switch.message_fault(port, to, fault, v3.into());
                assert_eq!(known.is_ok(), usize::from(who % 4) < 3 && v0 % 4 < 3);
                Vec::new()
            }
            14 => match self.late.pop() {
                Some(message) => switch.deliver(message),
                None => Vec::new(),
            },
            _ => {
                self.map(port, raw, value);
                Vec::new()
            }
        }
    }

    /// Changes a node's bus address space.
    fn map(&mut self, port: Port, raw: u32, value: u32) {
        let Some(space) = self.spaces.get_mut(port.index()) else {
            return;
        };
        let addr = u64::from(value & 0xff) * 0x400;
        let len = u64::from(raw & 0x3f) * 0x400;
        let backing = Backing {
            file: FileId(raw >> 14),
            offset: u64::from(value >> 16) * 0x400,
            access: if value & 0x100 == 0 {
                Access::ReadWrite
            } else {
                Access::Read
            },
        };
        let done = if value & 0x600 == 0 {
            space.remove(addr, len)
        } else {
            space.insert(addr, len, backing)
        };
        assert_eq!(done.is_ok(), len != 0);
    }

    fn view(&self, port: Port, bar: Bar) -> View {
        View::build(&self.switch, port, bar, |port| &self.spaces[port.index()])
    }

    /// One operation, and all that must hold after it.
    fn checked(&mut self, op: &[u8; STEP]) {
        let before = self.switch.clone();
        let views: Vec<View> = windows(&before)
            .iter()
            .map(|(port, bar)| self.view(*port, *bar))
            .collect();
        let effects = self.step(op);
        for effect in &effects {
            match *effect {
                Effect::Interrupt(port) => {
                    assert!(
                        self.switch.counts(port).interrupts_raised
                            > before.counts(port).interrupts_raised
                    );
                }
                Effect::Window { port, bar } => assert_ne!(self.switch.window_size(port, bar), 0),
                Effect::Deliver { message, .. } => self.late.push(message),
            }
        }
        for port in self.switch.ports() {
            self.check_port(&before, port, &effects);
        }
        // An access of several registers may end an interrupt's cause again.
        if !matches!(op[0] % 16, 8 | 9) {
            self.check_causes(&before, &effects);
        }
        for ((port, bar), old) in windows(&before).into_iter().zip(&views) {
            self.check_window(&before, port, bar, &effects);
            check_changes(old, &self.view(port, bar));
        }
    }

    fn check_port(&self, before: &Switch, port: Port, effects: &[Effect]) {
        let (now, was) = (&self.switch, before);
        // An interrupt comes with its cause, at most once, and only on the rising edge.
        let raised = effects
            .iter()
            .filter(|effect| **effect == Effect::Interrupt(port))
            .count() as u64;
        let counted = now.counts(port).interrupts_raised - was.counts(port).interrupts_raised;
        assert_eq!(raised, counted);
        if now.interrupt_pending(port) && !was.interrupt_pending(port) {
            assert_ne!(raised, 0, "a rising edge of port {port} is told");
        }
        // A doorbell is set only where the masks let somebody's ring through.
        let new = now.register_read(port, 0x428) & !was.register_read(port, 0x428);
        let passing = was
            .ports()
            .into_iter()
            .fold(0, |bits, from| bits | was.doorbells.passing(from, port));
        assert_eq!(new & !passing, 0, "masked doorbells of port {port}");
        if !now.link_up(port) {
            assert_eq!(new, 0, "doorbells of unlinked port {port}");
        }
    }

    /// Whoever was interrupted has an unmasked status to look at, and had none before.
    fn check_causes(&self, before: &Switch, effects: &[Effect]) {
        for effect in effects {
            let Effect::Interrupt(port) = *effect else {
                continue;
            };
            let status = self.switch.register_read(port, 0x404);
            assert_ne!(
                status & !self.switch.register_read(port, 0x408),
                0,
                "port {port} was interrupted for nothing"
            );
            assert!(self.switch.interrupt_pending(port) && !before.interrupt_pending(port));
        }
    }

    fn check_window(&self, before: &Switch, port: Port, bar: Bar, effects: &[Effect]) {
        let now = stretches(&self.switch, port, bar);
        let was = stretches(before, port, bar);
        if visible(&now) != visible(&was) {
            assert!(
                effects.contains(&Effect::Window { port, bar }),
                "{bar} of port {port} changed untold"
            );
        }
        let size = self.switch.window_size(port, bar);
        let (slots, slot) = self.switch.slots(port, bar);
        for (at, route) in now {
            let Route::Memory {
                port: target,
                addr,
                len,
            } = route
            else {
                continue;
            };
            let end = at + len;
            assert!(end <= size && at / slot == (end - 1) / slot && end <= u64::from(slots) * slot);
            assert!(addr.checked_add(len).is_some());
            assert_ne!(target, port);
            assert!(self.switch.link_up(port) && self.switch.link_up(target));
            assert!(self.switch.status(target).bus_master && self.switch.status(target).completes);
            assert!(self.switch.status(port).admitted && self.switch.status(port).memory_enable);
            let number = bar.number() as u32 * 16;
            let low = u64::from(self.switch.register_read(port, 0x474 + number));
            let high = u64::from(self.switch.register_read(port, 0x484 + number));
            let bar_address = match self.switch.bar_size(port, bar) {
                0 => 0,
                _ => {
                    let register = 0x10 + 4 * bar.number() as u32;
                    let low = u64::from(self.switch.register_read(port, register) & !0xf);
                    (u64::from(self.switch.register_read(port, register + 4)) << 32) | low
                }
            };
            assert!(
                bar_address + (end - 1) <= ((high << 32) | low | 0x3ff),
                "beyond the limit"
            );
        }
        let beyond = self.switch.route(port, bar, size);
        assert!(matches!(
            beyond,
            Route::Unsupported {
                reason: Reject::OutOfWindow,
                ..
            }
        ));
    }
}

/// Pages of a view: file and page number.
fn pages(pieces: &[crate::view::Piece], all: &mut Vec<Option<(FileId, u64)>>) {
    for piece in pieces {
        assert!(piece.len != 0 && piece.len % PAGE == 0 && piece.offset % PAGE == 0);
        for page in 0..piece.len / PAGE {
            let place = (piece.offset / PAGE + page) as usize;
            if all.len() <= place {
                all.resize(place + 1, None);
            }
            all[place] = piece.shown.map(|shown| {
                assert_eq!(shown.offset % PAGE, 0);
                (shown.file, shown.offset / PAGE + page)
            });
        }
    }
}

/// The changes turn the old view into the new one.
fn check_changes(old: &View, new: &View) {
    let mut is = Vec::new();
    pages(old.pieces(), &mut is);
    pages(&old.changes(new), &mut is);
    let mut should = Vec::new();
    pages(new.pieces(), &mut should);
    assert_eq!(is, should);
    assert!(new.changes(new).is_empty());
}

/// Takes random bytes as accesses, attachments, faults and mappings of nodes.
///
/// # Panics
///
/// When the switch breaks a rule: that is a bug of the switch, whatever the bytes.
pub fn fuzz_feed(bytes: &[u8]) {
    let Some((selector, rest)) = bytes.split_first() else {
        return;
    };
    let Some(mut bench) = Bench::new(*selector) else {
        return;
    };
    for op in rest.chunks_exact(STEP) {
        if let Ok(op) = op.try_into() {
            bench.checked(op);
        }
    }
}
