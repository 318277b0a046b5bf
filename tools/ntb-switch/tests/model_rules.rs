// SPDX-License-Identifier: GPL-2.0
//! Each rule of the switch by itself: gates of a route, protection, resets, interrupts, faults.

mod idt;

use std::time::Duration;

use idt::*;
use ntb_switch::model::Bar;
use ntb_switch::model::ConfigError;
use ntb_switch::model::Effect;
use ntb_switch::model::Layout;
use ntb_switch::model::Link;
use ntb_switch::model::MessageFault;
use ntb_switch::model::ModelError;
use ntb_switch::model::PortConfig;
use ntb_switch::model::Protection;
use ntb_switch::model::Reject;
use ntb_switch::model::Route;
use ntb_switch::model::Switch;
use ntb_switch::model::Windows;

const WINDOW: Effect = Effect::Window {
    port: port_const(0),
    bar: Bar::Memory,
};

const fn port_const(index: u8) -> ntb_switch::model::Port {
    match ntb_switch::model::Port::new(index) {
        Some(port) => port,
        None => panic!("a partition"),
    }
}

/// Two nodes; slot 0 of node 0's memory window leads to node 1.
fn open_route() -> (Fabric, Vec<Idt>) {
    let (mut fabric, drivers) = Fabric::up(2, Windows::Lut12);
    drivers[0].set_trans(&mut fabric, 1, 0, 0x4000_0000, MIB);
    (fabric, drivers)
}

fn reason(fabric: &Fabric) -> Option<Reject> {
    match fabric.switch.route(port(0), Bar::Memory, 0) {
        Route::Unsupported { reason, .. } => Some(reason),
        Route::Memory { .. } => None,
    }
}

#[test]
fn every_gate_of_a_route_closes_it_and_is_told() {
    type Act = fn(&mut Fabric) -> Vec<Effect>;
    let gates: [(&str, Act, Act, Reject); 10] = [
        (
            "sender's memory enable",
            |f| f.switch.config_write(port(0), 4, &[0x04, 0]),
            |f| f.switch.config_write(port(0), 4, &[0x06, 0]),
            Reject::MemoryDisabled,
        ),
        (
            "sender's power state",
            |f| f.nt_write(0, 0xc4, 3),
            |f| f.nt_write(0, 0xc4, 0),
            Reject::MemoryDisabled,
        ),
        (
            "target's bus master",
            |f| f.switch.config_write(port(1), 4, &[0x02]),
            |f| f.switch.config_write(port(1), 4, &[0x06]),
            Reject::TargetBusMaster,
        ),
        (
            "target's completions",
            |f| f.nt_write(1, NTCTL, 0),
            |f| f.nt_write(1, NTCTL, 2),
            Reject::TargetCompletion,
        ),
        (
            "sender's mapping table entry",
            |f| {
                f.nt_write(0, NTMTBLADDR, 0);
                f.nt_write(0, NTMTBLDATA, 0)
            },
            |f| f.nt_write(0, NTMTBLDATA, 1),
            Reject::Requester,
        ),
        (
            "sender's limit",
            |f| f.nt_write(0, BARSETUP + 0x34, 0),
            |f| f.nt_write(0, BARSETUP + 0x34, !0),
            Reject::Limit,
        ),
        (
            "sender's link",
            |f| f.switch.set_link(port(0), Link::Down),
            |f| f.switch.set_link(port(0), Link::Up),
            Reject::LinkDown,
        ),
        (
            "target's link",
            |f| f.switch.set_link(port(1), Link::Down),
            |f| f.switch.set_link(port(1), Link::Up),
            Reject::TargetLinkDown,
        ),
        (
            "poison",
            |f| {
                f.switch
                    .poison(port(0), Bar::Memory, 0, true)
                    .expect("a slot")
            },
            |f| {
                f.switch
                    .poison(port(0), Bar::Memory, 0, false)
                    .expect("a slot")
            },
            Reject::Poisoned,
        ),
        (
            "the entry's valid bit",
            |f| {
                f.nt_write(0, LUTOFFSET, 2 << 8);
                f.nt_write(0, LUTUDATA, 1)
            },
            |f| f.nt_write(0, LUTUDATA, 1 << 31 | 1),
            Reject::NoTranslation,
        ),
    ];
    for (name, close, open, expected) in gates {
        let (mut fabric, _) = open_route();
        assert_eq!(reason(&fabric), None, "{name}: open at first");
        let effects = close(&mut fabric);
        assert_eq!(reason(&fabric), Some(expected), "{name}");
        assert!(effects.contains(&WINDOW), "{name}: closing is told");
        let effects = open(&mut fabric);
        assert_eq!(reason(&fabric), None, "{name}: open again");
        assert!(effects.contains(&WINDOW), "{name}: opening is told");
    }
}

#[test]
fn an_entry_for_nobody_or_oneself_leads_nowhere() {
    let (mut fabric, drivers) = open_route();
    for partition in [0, 2, 7, 8, 15] {
        drivers[0].set_trans(&mut fabric, partition, 0, 0x4000_0000, MIB);
        assert_eq!(
            reason(&fabric),
            Some(Reject::BadPartition),
            "partition {partition}"
        );
    }
}

#[test]
fn translated_addresses_end_below_the_end_of_the_address_space() {
    let (mut fabric, drivers) = open_route();
    drivers[0].set_trans(&mut fabric, 1, 0, u64::MAX - 0xfff, MIB);
    let route = |fabric: &Fabric, at| fabric.switch.route(port(0), Bar::Memory, at);
    assert_eq!(
        route(&fabric, 0),
        Route::Memory {
            port: port(1),
            addr: 0xffff_ffff_ffff_f000,
            len: 0xfff
        }
    );
    for at in [0xfff, 0x1000, MIB - 1] {
        let refused = Route::Unsupported {
            reason: Reject::Overflow,
            len: MIB - at,
        };
        assert_eq!(route(&fabric, at), refused);
    }
}

#[test]
fn what_lies_behind_the_slots_leads_nowhere() {
    for (windows, slots, divisor) in [(Windows::Lut12, 12, 16), (Windows::Lut24Direct, 24, 32)] {
        let (fabric, _) = Fabric::up(2, windows);
        let size = 16 * MIB;
        let slot = size / divisor;
        assert_eq!(fabric.switch.slots(port(0), Bar::Memory), (slots, slot));
        let behind = u64::from(slots) * slot;
        let refused = Route::Unsupported {
            reason: Reject::NoTranslation,
            len: size - behind,
        };
        assert_eq!(fabric.switch.route(port(0), Bar::Memory, behind), refused);
        for offset in [size, u64::MAX] {
            let route = fabric.switch.route(port(0), Bar::Memory, offset);
            assert!(matches!(
                route,
                Route::Unsupported {
                    reason: Reject::OutOfWindow,
                    len: 1..
                }
            ));
        }
        let route = fabric.switch.route(port(0), Bar::Registers, 0);
        assert!(matches!(
            route,
            Route::Unsupported {
                reason: Reject::OutOfWindow,
                ..
            }
        ));
        let route = fabric.switch.route(port(5), Bar::Memory, 0);
        assert!(matches!(
            route,
            Route::Unsupported {
                reason: Reject::OutOfWindow,
                ..
            }
        ));
    }
}

#[test]
fn id_protection_can_be_switched_off_by_the_sender() {
    let (mut fabric, _) = open_route();
    fabric.nt_write(0, NTMTBLADDR, 0);
    fabric.nt_write(0, NTMTBLDATA, 0);
    assert_eq!(reason(&fabric), Some(Reject::Requester));
    // A valid entry at any index admits, whoever wrote it.
    fabric.nt_write(1, NTMTBLADDR, 63);
    assert!(fabric
        .nt_write(1, NTMTBLDATA, 0x1234 << 1 | 1)
        .contains(&WINDOW));
    assert_eq!(reason(&fabric), None);
    assert_eq!(fabric.nt_read(1, NTMTBLDATA), 0x1234 << 1 | 1);
    fabric.nt_write(1, NTMTBLDATA, 0);
    assert!(fabric.nt_write(0, NTCTL, 0x3).contains(&WINDOW));
    assert_eq!(reason(&fabric), None, "IDPROTDIS");
}

#[test]
fn global_doorbell_masks_say_whose_go_to_whom() {
    let (mut fabric, _) = Fabric::up(3, Windows::Lut12);
    fabric.sw_write(0, 0x3ed00 + 4 * 5, 1 << 1);
    fabric.sw_write(0, 0x3ed80 + 4 * 6, 1 << 2);
    fabric.nt_write(1, OUTDBELLSET, 1 << 5 | 1 << 6);
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!((seen(0), seen(1), seen(2)), (1 << 6, 1 << 6, 0));
    fabric.nt_write(2, OUTDBELLSET, 1 << 5);
    assert_eq!(fabric.nt_read(2, INDBELLSTS), 1 << 5);
    assert_eq!(fabric.sw_read(0, 0x3ec3c), 1 << 5 | 1 << 6);
    // Everybody clears his own alone.
    fabric.nt_write(0, INDBELLSTS, !0);
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!((seen(0), seen(1), seen(2)), (0, 1 << 5 | 1 << 6, 1 << 5));
    assert_eq!(fabric.nt_read(1, OUTDBELLSET), 0);
}

#[test]
fn events_are_told_once_and_only_where_unmasked() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    fabric.sw_write(0, SW_SEPMSK, !0b011);
    fabric.nt_write(2, NTGSIGNAL, 1);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 0)
    );
    assert_eq!(fabric.sw_read(0, SW_SEGSIGSTS), 1 << 2);
    assert_eq!(fabric.sw_read(0, SW_SESTS), 0x20);
    // The status bit stands: no second event, even for who has handled the first.
    fabric.nt_write(0, NTINTSTS, INT_SEVENT);
    fabric.nt_write(2, NTGSIGNAL, 1);
    assert_eq!(fabric.taken(0), 0);
    fabric.sw_write(0, SW_SEGSIGSTS, 1 << 2);
    fabric.nt_write(2, NTGSIGNAL, 1);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1)),
        (1, 0),
        "port 1 has not handled the first"
    );
    fabric.handle(0);
    fabric.handle(1);
    for (register, value) in [(SW_SEMSK, !0), (SW_SEGSIGMSK, !0)] {
        fabric.taken(0);
        fabric.sw_write(0, SW_SEPMSK, 0);
        fabric.sw_write(0, SW_SEMSK, 0);
        fabric.sw_write(0, SW_SEGSIGMSK, 0);
        fabric.sw_write(0, register, value);
        fabric.nt_write(2, NTGSIGNAL, 1);
        fabric.sw_write(2, SW_SEGSIGSTS, !0);
        assert_eq!(fabric.taken(0), 0, "masked by {register:#x}");
    }
    fabric.nt_write(2, NTSDATA, 0x5eed);
    assert_eq!(fabric.sw_read(0, alias(4, NTSDATA)), 0x5eed);
    drop(drivers);
}

#[test]
fn a_forced_link_is_down_for_both_ends() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    let effects = fabric.switch.set_link(port(1), Link::Down);
    fabric.apply(effects);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 1)
    );
    assert_eq!(drivers[0].link_is_up(&mut fabric), 0b10);
    assert_eq!(drivers[1].link_is_up(&mut fabric), 0b00);
    fabric.nt_write(1, OUTDBELLSET, 1);
    fabric.nt_write(0, OUTDBELLSET, 2);
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!((seen(0), seen(1), seen(2)), (2, 0, 2));
    drivers[0].msg_write(&mut fabric, 1, 0, 7);
    drivers[1].msg_write(&mut fabric, 0, 0, 7);
    assert_eq!(
        (fabric.nt_read(0, MSGSTS), fabric.nt_read(1, MSGSTS)),
        (1, 1)
    );
    let effects = fabric.switch.set_link(port(1), Link::Down);
    assert_eq!(effects, [], "no change");
    for index in 0..3 {
        fabric.handle(index);
        fabric.taken(index);
    }
    let effects = fabric.switch.set_link(port(1), Link::Up);
    fabric.apply(effects);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 1)
    );
    assert_eq!(drivers[1].link_is_up(&mut fabric), 0b11);
    assert_eq!(fabric.switch.counts(port(0)).link_events, 2);
}

#[test]
fn a_reset_forgets_the_functions_registers_and_nobody_elses() {
    for flr in [false, true] {
        let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
        let fresh = {
            let mut fabric = Fabric::new(3, Windows::Lut12);
            fabric.attach(1);
            fabric
        };
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 0)] {
            drivers[from].set_trans(&mut fabric, to, to as usize, 0x100_0000, MIB);
        }
        fabric.nt_write(1, INDBELLMSK, 0);
        fabric.nt_write(0, OUTDBELLSET, 0xff);
        fabric.nt_write(1, NTSDATA, 5);
        drivers[0].msg_write(&mut fabric, 1, 2, 9);
        drivers[1].msg_write(&mut fabric, 0, 2, 9);
        fabric.nt_write(1, 0xf08, 0xfee0_0000);
        fabric.nt_write(1, 0xf10, 1);
        let others: Vec<u32> = (0..0x1000)
            .step_by(4)
            .flat_map(|register| {
                [0, 2].map(|index| fabric.switch.register_read(port(index), register))
            })
            .collect();
        for index in 0..3 {
            fabric.taken(index);
        }

        let effects = match flr {
            true => fabric.switch.config_write(port(1), 0x48, &[0, 0x80]),
            false => fabric.switch.reset_port(port(1)),
        };
        for (from, bar) in [(0, Bar::Memory), (1, Bar::Memory), (1, Bar::Device)] {
            assert!(effects.contains(&Effect::Window {
                port: port(from),
                bar
            }));
        }
        assert!(
            !effects.contains(&Effect::Window {
                port: port(2),
                bar: Bar::Memory
            }),
            "not concerned"
        );
        fabric.apply(effects);
        // All but what shows the switch's own tables.
        let own = |register: &u32| ![NTMTBLDATA, GASADATA].contains(register);
        for register in (0..0x1000).step_by(4).filter(own) {
            let now = fabric.switch.register_read(port(1), register);
            assert_eq!(
                now,
                fresh.switch.register_read(port(1), register),
                "register {register:#x}, flr {flr}"
            );
        }
        assert!(!fabric.switch.interrupt_allowed(port(1), 0xfee0_0000, 0));
        let after: Vec<u32> = (0..0x1000)
            .step_by(4)
            .flat_map(|register| {
                [0, 2].map(|index| fabric.switch.register_read(port(index), register))
            })
            .collect();
        // Only NTINTSTS may tell of the event.
        let differs: Vec<usize> = (0..others.len())
            .filter(|at| others[*at] != after[*at])
            .collect();
        let status = (NTINTSTS / 4 * 2) as usize;
        let told = if flr {
            vec![]
        } else {
            vec![status, status + 1]
        };
        assert_eq!(differs, told, "flr {flr}");
        assert_eq!(
            (fabric.taken(0), fabric.taken(2)),
            if flr { (0, 0) } else { (1, 1) }
        );
        assert!(fabric.switch.link_up(port(1)));
        assert_eq!(
            drivers[0].link_is_up(&mut fabric),
            0b10,
            "its links are down until it enables them"
        );
        assert_eq!(drivers[2].link_is_up(&mut fabric), 0b01);
    }
}

#[test]
fn an_interrupt_needs_msi_and_bus_mastering() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    fabric.nt_write(1, INDBELLMSK, 0);
    for (off, on) in [
        ((MSI as u16 + 2, [0, 0]), [1, 0]),
        ((CMDSTS as u16, [2, 0]), [6, 0]),
    ] {
        let (register, value) = off;
        fabric.switch.config_write(port(1), register, &value);
        fabric.nt_write(0, OUTDBELLSET, 1);
        assert_eq!(fabric.taken(1), 0);
        assert!(!fabric.switch.interrupt_pending(port(1)));
        let effects = fabric.switch.config_write(port(1), register, &on);
        assert!(
            effects.contains(&Effect::Interrupt(port(1))),
            "sent as soon as it can be"
        );
        assert!(fabric.switch.interrupt_pending(port(1)));
        fabric.nt_write(1, INDBELLSTS, 1);
        assert!(!fabric.switch.interrupt_pending(port(1)));
    }
    fabric.nt_write(1, NTINTMSK, INT_DBELL);
    fabric.nt_write(0, OUTDBELLSET, 1);
    assert_eq!(fabric.taken(1), 0);
    assert_eq!(fabric.nt_read(1, NTINTSTS), INT_DBELL);
}

#[test]
fn partial_writes_touch_their_lanes_alone() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    fabric.nt_write(0, OUTDBELLSET, !0);
    fabric.switch.bar0_write(port(1), INDBELLSTS + 1, &[0x0f]);
    assert_eq!(fabric.nt_read(1, INDBELLSTS), !0x0f00);
    fabric.switch.bar0_write(port(1), INDBELLMSK + 2, &[0, 0]);
    assert_eq!(fabric.nt_read(1, INDBELLMSK), 0xffff);
    // One access over two registers: data, then the mask of what it must not touch.
    fabric
        .switch
        .bar0_write(port(1), INDBELLSTS + 3, &[0xff, 0xaa]);
    assert_eq!(fabric.nt_read(1, INDBELLSTS), 0x00ff_f0ff);
    assert_eq!(fabric.nt_read(1, INDBELLMSK), 0xffaa);
    let mut eight = [0; 8];
    fabric.switch.bar0_read(port(1), INDBELLSTS, &mut eight);
    assert_eq!(eight, [0xff, 0xf0, 0xff, 0x00, 0xaa, 0xff, 0, 0]);
    let mut odd = [0; 3];
    fabric.switch.config_read(port(1), 0, &mut odd[..2]);
    assert_eq!(odd, [0x1d, 0x11, 0]);
    fabric.switch.bar0_read(port(1), 0xffe, &mut eight);
    assert_eq!(eight[2..], [0xff; 6], "behind the registers");
    let counts = fabric.switch.counts(port(1));
    assert_eq!(
        (
            counts.config_reads,
            fabric.switch.counts(port(7)).config_reads
        ),
        (2, 0)
    );
    fabric.switch.reset_counts();
    assert_eq!(fabric.switch.counts(port(1)).config_reads, 0);
}

#[test]
fn undefined_registers_are_zero_and_stay_so() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    for register in [
        0x100, 0x180, 0x3fc, 0x41c, 0x424, 0x468, 0x4d4, 0x4f0, 0x500, 0xeff, 0xf14, 0xff4,
    ] {
        fabric.nt_write(0, register & !3, !0);
        assert_eq!(fabric.nt_read(0, register & !3), 0, "{register:#x}");
    }
    for register in [
        0, 0x40, 0x2000, 0x3000, 0x7000, 0x3d000, 0x3e000, 0x3e100, 0x3e144, 0x3e600, 0x3fffc,
    ] {
        fabric.sw_write(0, register, !0);
        assert_eq!(fabric.sw_read(0, register), 0, "global {register:#x}");
    }
}

#[test]
fn bars_tell_their_size_and_keep_their_type() {
    let mut switch = Switch::new(&[config(Windows::Lut12); 2]).expect("a good set of ports");
    for (register, sized) in [
        (0x10u16, 0xffff_f000u32),
        (0x14, 0),
        (0x18, 0xff00_000c),
        (0x1c, 0xffff_ffff),
        (0x20, 0xfff0_000c),
        (0x24, 0xffff_ffff),
    ] {
        switch.config_write(port(0), register, &[0xff; 4]);
        assert_eq!(
            switch.register_read(port(0), register.into()),
            sized,
            "{register:#x}"
        );
    }
    assert_eq!(switch.bar_size(port(0), Bar::Registers), 4096);
    assert_eq!(switch.bar_size(port(0), Bar::Memory), 16 * MIB);
    assert_eq!(switch.bar_size(port(0), Bar::Device), MIB);
    assert_eq!(switch.bar_size(port(3), Bar::Device), 0);
}

/// Offsets of the capabilities and their ids.
fn capabilities(switch: &Switch) -> Vec<(u32, u32)> {
    let mut at = switch.register_read(port(0), 0x34) & 0xff;
    let mut all = Vec::new();
    while at != 0 {
        let head = switch.register_read(port(0), at);
        all.push((at, head & 0xff));
        at = head >> 8 & 0xff;
    }
    all
}

#[test]
fn the_companion_layout_names_its_companion() {
    let chip = Switch::new(&[config(Windows::Lut12)]).expect("a good port");
    assert_eq!(
        capabilities(&chip),
        [(0x40, 0x10), (0xc0, 0x01), (0xd0, 0x05)]
    );
    let layout = Layout::Companion;
    let mut switch = Switch::new(&[PortConfig {
        layout,
        ..config(Windows::Lut12)
    }])
    .expect("a good port");
    assert_eq!(
        capabilities(&switch),
        [(0x40, 0x10), (0xc0, 0x01), (0xd0, 0x05), (0xe0, 0x09)]
    );
    let words = [0xe0, 0xe4, 0xe8, 0xec, 0xf0, 0xf4].map(|at| switch.register_read(port(0), at));
    assert_eq!(
        words,
        [
            0x0114_0009,
            u32::from_le_bytes(*b"SKIF"),
            0x0000_0201,
            16 << 20,
            0,
            0
        ]
    );
    assert_eq!(switch.bar_size(port(0), Bar::Memory), 0);
    assert_eq!(switch.window_size(port(0), Bar::Memory), 16 * MIB);
    switch.config_write(port(0), 0x18, &[0xff; 8]);
    assert_eq!(switch.register_read(port(0), 0x18), 0);
    let setup = |switch: &Switch| switch.register_read(port(0), BARSETUP + 32);
    assert_eq!(setup(&switch), setup(&chip), "registers are the same");
}

#[test]
fn interrupt_messages_need_an_exact_entry_of_the_target() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    let allow = |fabric: &mut Fabric, index: u32, addr, data| {
        for (register, value) in [(0xf04, index), (0xf08, addr), (0xf0c, data), (0xf10, 1)] {
            fabric.nt_write(1, register, value);
        }
    };
    assert_eq!(fabric.nt_read(1, 0xf00), 1 << 16 | 256);
    allow(&mut fabric, 255, 0xfee0_1000, 0x23);
    allow(&mut fabric, 0, 0xfed0_0000, 0x23);
    allow(&mut fabric, 256, 0xfee0_2000, 0x23);
    let allowed =
        |fabric: &Fabric, addr, data| fabric.switch.interrupt_allowed(port(1), addr, data);
    assert!(allowed(&fabric, 0xfee0_1000, 0x23));
    for (addr, data) in [
        (0xfee0_1000, 0x22),
        (0xfee0_1004, 0x23),
        (0x1_fee0_1000, 0x23),
        (0xfed0_0000, 0x23),
        (0xfee0_2000, 0x23),
    ] {
        assert!(!allowed(&fabric, addr, data), "{addr:#x} {data:#x}");
    }
    assert!(!fabric.switch.interrupt_allowed(port(0), 0xfee0_1000, 0x23));

    // Changing an entry takes it out of force until control is written again.
    fabric.nt_write(1, 0xf04, 255);
    assert_eq!(
        (fabric.nt_read(1, 0xf08), fabric.nt_read(1, 0xf10)),
        (0xfee0_1000, 1)
    );
    fabric.nt_write(1, 0xf0c, 0x24);
    assert!(!allowed(&fabric, 0xfee0_1000, 0x24));
    fabric.nt_write(1, 0xf10, 1);
    assert!(allowed(&fabric, 0xfee0_1000, 0x24));

    // The other port neither sees nor writes it through the global address space.
    for register in [0xf00, 0xf04, 0xf08, 0xf0c, 0xf10] {
        assert_eq!(fabric.sw_read(0, alias(2, register)), 0);
        fabric.sw_write(0, alias(2, register), 0);
    }
    assert!(allowed(&fabric, 0xfee0_1000, 0x24));
}

#[test]
fn an_open_board_lets_each_port_rewrite_the_others() {
    let (mut fabric, _) = open_route();
    let effects = fabric.sw_write(1, alias(0, LUTOFFSET), 2 << 8);
    assert_eq!(effects, []);
    let effects = fabric.sw_write(1, alias(0, LUTUDATA), 0);
    assert_eq!(effects, [WINDOW]);
    assert_eq!(reason(&fabric), Some(Reject::NoTranslation));
    // But not what QEMU holds a copy of, nor through a second global window.
    fabric.sw_write(1, alias(0, CMDSTS), 0);
    assert_eq!(fabric.nt_read(0, CMDSTS) & 6, 6);
    fabric.nt_write(0, GASAADDR, 0x3ec04);
    fabric.sw_write(1, alias(0, GASADATA), 0);
    assert_eq!(fabric.sw_read(1, alias(0, GASADATA)), 0);
    assert_ne!(fabric.sw_read(0, SW_SEMSK), 0);
}

#[test]
fn a_guarded_board_protects_the_ports_from_each_other() {
    let mut fabric = Fabric::with(3, Windows::Lut12, Protection::Guarded);
    for index in 0..3 {
        fabric.attach(index);
        Idt::probe(&mut fabric, index);
    }
    assert_eq!(fabric.sw_read(0, 0x3e700), 1 << 0 | 1 << 2 | 1 << 4);
    let untouched = [
        alias(0, NTCTL),
        alias(0, LUTUDATA),
        alias(0, NTMTBLDATA),
        0x3e700,
        0x3e710,
        0x3e714,
        0x3ed00,
        0x3ed80,
        SW_SEMSK,
        SW_SEPMSK,
        SW_SEGSIGMSK,
        SW_MSGCTL,
        SW_MSGCTL + 8,
    ];
    for register in untouched {
        let before = fabric.sw_read(1, register);
        for value in [0, !0, 0x11] {
            fabric.sw_write(1, register, value);
            assert_eq!(fabric.sw_read(1, register), before, "{register:#x}");
        }
    }
    // Its own message routes and what has been handled are left to a port.
    fabric.sw_write(1, SW_MSGCTL + 4, 0x23);
    assert_eq!(fabric.sw_read(1, SW_MSGCTL + 4), 0x23);
    fabric.nt_write(2, NTGSIGNAL, 1);
    fabric.sw_write(1, SW_SEGSIGSTS, !0);
    assert_eq!(fabric.sw_read(1, SW_SEGSIGSTS), 0);
    // Eight entries of the mapping table each.
    for index in 0..64 {
        fabric.nt_write(1, NTMTBLADDR, index);
        fabric.nt_write(1, NTMTBLDATA, 1 | 1 << 17);
        let taken = fabric.nt_read(1, NTMTBLDATA) != 0;
        assert_eq!(taken, (8..16).contains(&index), "entry {index}");
    }
    // Four doorbells each.
    fabric.nt_write(0, OUTDBELLSET, !0);
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!((seen(0), seen(1), seen(2)), (0xf, 0xf0, 0xf00));
}

#[test]
fn message_faults_lose_and_delay_as_many_as_asked() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    let (from, to) = (port(0), port(1));
    fabric
        .switch
        .message_fault(from, to, Some(MessageFault::Lose), 2)
        .expect("both ports");
    for round in 0..3 {
        drivers[0].msg_write(&mut fabric, 1, 0, round);
        drivers[2].msg_write(&mut fabric, 1, 1, round);
        assert_eq!(fabric.nt_read(0, MSGSTS), 0, "the sender sees success");
        let expected = if round < 2 {
            1 << 17
        } else {
            1 << 16 | 1 << 17
        };
        assert_eq!(fabric.nt_read(1, MSGSTS), expected);
        fabric.nt_write(1, MSGSTS, !0);
    }
    let counts = fabric.switch.counts(from);
    assert_eq!((counts.messages_sent, counts.messages_lost), (3, 2));

    let wait = Duration::from_millis(7);
    fabric
        .switch
        .message_fault(from, to, Some(MessageFault::Delay(wait)), 3)
        .expect("both ports");
    fabric.nt_write(0, OUTMSG, 0xa);
    assert_eq!(fabric.nt_read(1, MSGSTS), 0);
    let message = fabric.late.pop();
    // The route was left at partition 1, register 0.
    let message = message.expect("a delayed message");
    assert_eq!(
        (message.from, message.to, message.register, message.data),
        (from, to, 0, 0xa)
    );
    fabric.nt_write(1, MSGSTSMSK, 0);
    let effects = fabric.switch.deliver(message);
    assert_eq!(effects, [Effect::Interrupt(to)]);
    assert_eq!(fabric.nt_read(1, INMSG), 0xa);
    assert_eq!(fabric.switch.deliver(message), [], "full: lost");
    fabric.nt_write(1, MSGSTS, !0);
    fabric
        .switch
        .message_fault(from, to, None, 0)
        .expect("both ports");
    drivers[0].msg_write(&mut fabric, 1, 0, 0xb);
    assert_eq!(fabric.nt_read(1, INMSG), 0xb, "healed");
    fabric.detach(1);
    assert_eq!(fabric.switch.deliver(message), []);
    assert_eq!(fabric.switch.counts(from).messages_lost, 4);
    let unknown = fabric.switch.message_fault(from, port(5), None, 0);
    assert_eq!(unknown, Err(ModelError::NoPort(port(5))));
}

#[test]
fn poison_outlives_a_reset_and_knows_its_slots() {
    let (mut fabric, drivers) = open_route();
    fabric
        .switch
        .poison(port(0), Bar::Memory, 0, true)
        .expect("a slot");
    fabric.switch.reset_port(port(0));
    let again = Idt::probe(&mut fabric, 0);
    again.link_enable(&mut fabric);
    drivers[0].set_trans(&mut fabric, 1, 0, 0, MIB);
    assert_eq!(reason(&fabric), Some(Reject::Poisoned));
    for (index, bar, slot) in [
        (0, Bar::Memory, 12),
        (0, Bar::Device, 255),
        (0, Bar::Registers, 0),
    ] {
        let refused = fabric.switch.poison(port(index), bar, slot, true);
        assert_eq!(refused, Err(ModelError::NoSlot(port(index), bar, slot)));
    }
    assert_eq!(
        fabric.switch.poison(port(4), Bar::Memory, 0, true),
        Err(ModelError::NoPort(port(4)))
    );
}

#[test]
fn a_board_must_be_possible() {
    let good = config(Windows::Lut12);
    assert_eq!(Switch::new(&[]).err(), Some(ConfigError::Ports(0)));
    assert_eq!(Switch::new(&[good; 9]).err(), Some(ConfigError::Ports(9)));
    for aperture in [0, 1, 3 * MIB, 64 << 10, 2 << 30] {
        let bad = PortConfig {
            device_aperture: aperture,
            ..good
        };
        let error = ConfigError::Aperture {
            port: port(1),
            bar: Bar::Device,
            aperture,
        };
        assert_eq!(Switch::new(&[good, bad]).err(), Some(error));
    }
    let large = PortConfig {
        memory_aperture: 1 << 30,
        ..good
    };
    let switch = Switch::new(&[large; 8]).expect("the largest switch");
    assert_eq!(switch.slots(port(7), Bar::Memory), (12, 64 * MIB));
}

#[test]
fn attaching_twice_and_detaching_nobody_change_nothing() {
    let mut fabric = Fabric::new(2, Windows::Lut12);
    assert_eq!(fabric.switch.detach(port(0)), []);
    fabric.attach(0);
    fabric.nt_write(0, NTSDATA, 1);
    assert_eq!(fabric.switch.attach(port(0)), []);
    assert_eq!(fabric.nt_read(0, NTSDATA), 1);
    assert_eq!(fabric.switch.attach(port(6)), []);
    assert_eq!(fabric.switch.register_read(port(6), 0), u32::MAX);
    let status = fabric.switch.status(port(0));
    assert!(status.attached && status.link_up && !status.bus_master && !status.admitted);
}
