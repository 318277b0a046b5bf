// SPDX-License-Identifier: GPL-2.0
//! Routes: each gate closes them, and where they end.

mod idt;

use idt::*;
use ntb_switch::model::Bar;
use ntb_switch::model::Effect;
use ntb_switch::model::Link;
use ntb_switch::model::ModelError;
use ntb_switch::model::Reject;
use ntb_switch::model::Route;
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
            |f| f.nt_write(0, LUTUDATA, (1 << 31) | 1),
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
        .nt_write(1, NTMTBLDATA, (0x1234 << 1) | 1)
        .contains(&WINDOW));
    assert_eq!(reason(&fabric), None);
    assert_eq!(fabric.nt_read(1, NTMTBLDATA), (0x1234 << 1) | 1);
    fabric.nt_write(1, NTMTBLDATA, 0);
    assert!(fabric.nt_write(0, NTCTL, 0x3).contains(&WINDOW));
    assert_eq!(reason(&fabric), None, "IDPROTDIS");
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
