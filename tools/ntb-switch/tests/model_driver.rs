// SPDX-License-Identifier: GPL-2.0
//! The switch as ntb_hw_idt uses it: probe, links, messages, doorbells, windows, hot removal.

mod idt;

use idt::*;
use ntb_switch::model::Bar;
use ntb_switch::model::Effect;
use ntb_switch::model::Reject;
use ntb_switch::model::Route;
use ntb_switch::model::Windows;

#[test]
fn probe_finds_itself_its_peers_and_its_windows() {
    for ports in 2..=8u8 {
        let mut fabric = Fabric::new(ports.into(), Windows::Lut12);
        for me in 0..ports {
            fabric.attach(me);
            let idt = Idt::probe(&mut fabric, me);
            assert_eq!(idt.chip_port, CHIP_PORTS[usize::from(me)]);
            assert_eq!(idt.partition, u32::from(me));
            let found: Vec<u32> = idt.peers.iter().map(|peer| peer.partition).collect();
            let others: Vec<u32> = (0..u32::from(ports))
                .filter(|other| *other != u32::from(me))
                .collect();
            assert_eq!(found, others);
            assert_eq!(idt.windows.len(), 24);
            assert_eq!((idt.windows[0].bar, idt.windows[0].size), (2, MIB));
            assert_eq!((idt.windows[12].bar, idt.windows[12].size), (4, MIB / 16));
            for peer in &idt.peers {
                assert_eq!(scan_mws(&mut fabric, me, peer.chip_port), idt.windows);
            }
        }
    }
}

#[test]
fn probe_finds_lut24_and_direct() {
    let (_, drivers) = Fabric::up(2, Windows::Lut24Direct);
    let windows = &drivers[0].windows;
    assert_eq!(windows.len(), 25);
    assert_eq!(
        windows[23],
        Mw {
            direct: false,
            bar: 2,
            index: 23,
            size: MIB / 2
        }
    );
    assert_eq!(
        windows[24],
        Mw {
            direct: true,
            bar: 4,
            index: 0,
            size: MIB
        }
    );
}

#[test]
fn identity_link_and_temperature_are_the_chips() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    assert_eq!(fabric.nt_read(0, 0), 0x808f_111d);
    assert_eq!(fabric.nt_read(0, 8) >> 8, 0x0006_8000, "class 0680");
    let link = fabric.nt_read(0, 0x50);
    assert_eq!(
        ((link >> 16) & 0xf, (link >> 20) & 0x3f),
        (2, 8),
        "5 GT/s, 8 lanes"
    );
    assert_eq!(
        fabric.sw_read(1, SW_TMPSTS),
        0x005a_5a5a,
        "45 degrees in halves"
    );
    fabric.sw_write(1, SW_TMPCTL + 0xc, 0xfe);
    assert_eq!(
        fabric.sw_read(0, SW_TMPSTS) & 0xff,
        88,
        "an offset of one degree less"
    );
}

#[test]
fn links_come_up_with_both_ends_and_go_down_with_either() {
    let mut fabric = Fabric::new(3, Windows::Lut12);
    for index in 0..3 {
        fabric.attach(index);
    }
    let drivers: Vec<Idt> = (0..3).map(|index| Idt::probe(&mut fabric, index)).collect();
    assert_eq!(drivers[0].link_is_up(&mut fabric), 0);
    drivers[0].link_enable(&mut fabric);
    assert_eq!(
        drivers[0].link_is_up(&mut fabric),
        0,
        "no peer has enabled its link"
    );
    for index in 0..3 {
        assert_eq!(
            fabric.handle(index) & INT_SEVENT,
            INT_SEVENT,
            "all are told of a link change"
        );
        assert_eq!(fabric.taken(index), 1);
    }
    drivers[2].link_enable(&mut fabric);
    assert_eq!(drivers[0].link_is_up(&mut fabric), 0b10);
    assert_eq!(drivers[2].link_is_up(&mut fabric), 0b01);
    assert_eq!(drivers[1].link_is_up(&mut fabric), 0);
    drivers[0].link_disable(&mut fabric);
    assert_eq!(drivers[2].link_is_up(&mut fabric), 0);
}

#[test]
fn only_the_links_of_a_removed_node_go_down() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    for target in [1, 2] {
        drivers[0].set_trans(&mut fabric, target, target as usize, 0x10_0000, MIB);
    }
    assert_eq!(drivers[0].link_is_up(&mut fabric), 0b11);
    fabric.detach(2);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 0)
    );
    assert_eq!(fabric.sw_read(0, SW_SESTS), 0x2);
    assert_eq!(fabric.sw_read(0, SW_SELINKDNSTS), 1 << 4, "chip port 4");
    assert_eq!(fabric.handle(0), INT_SEVENT);
    assert_eq!(drivers[0].link_is_up(&mut fabric), 0b01);
    assert!(matches!(
        fabric.switch.route(port(0), Bar::Memory, MIB),
        Route::Memory { .. }
    ));
    let gone = fabric.switch.route(port(0), Bar::Memory, 2 * MIB);
    assert_eq!(
        gone,
        Route::Unsupported {
            reason: Reject::TargetLinkDown,
            len: MIB
        }
    );
    fabric.handle(1);
    fabric.taken(1);

    // Back again: new registers, and the others hear of it.
    fabric.attach(2);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 0)
    );
    let gone = fabric.switch.route(port(0), Bar::Memory, 2 * MIB);
    assert_eq!(
        gone,
        Route::Unsupported {
            reason: Reject::TargetBusMaster,
            len: MIB
        }
    );
    let again = Idt::probe(&mut fabric, 2);
    again.link_enable(&mut fabric);
    assert_eq!(drivers[0].link_is_up(&mut fabric), 0b11);
    assert!(matches!(
        fabric.switch.route(port(0), Bar::Memory, 2 * MIB),
        Route::Memory { .. }
    ));
}

#[test]
fn messages_carry_their_sender_and_are_refused_while_the_register_is_full() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    for driver in &drivers {
        fabric.nt_write(driver.me, MSGSTSMSK, 0);
    }
    drivers[0].msg_write(&mut fabric, 2, 1, 0xcafe_f00d);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (0, 0, 1)
    );
    assert_eq!(fabric.handle(2), INT_MSG);
    assert_eq!(fabric.nt_read(2, MSGSTS), 1 << 17);
    assert_eq!(drivers[2].msg_read(&mut fabric, 1), (0, 0xcafe_f00d));

    // The register is full: the second sender is told, the first message stays.
    drivers[1].msg_write(&mut fabric, 2, 1, 0x1111_1111);
    assert_eq!(
        (fabric.taken(1), fabric.taken(2)),
        (1, 0),
        "a refusal is the sender's event"
    );
    assert_eq!(fabric.nt_read(1, MSGSTS), 1 << 1);
    assert_eq!(drivers[2].msg_read(&mut fabric, 1), (0, 0xcafe_f00d));
    fabric.nt_write(1, MSGSTS, 1 << 1);

    // Emptied by writing a one, it takes the next.
    fabric.nt_write(2, MSGSTS, 1 << 17);
    assert_eq!(fabric.nt_read(2, NTINTSTS), 0);
    drivers[1].msg_write(&mut fabric, 2, 1, 0x2222_2222);
    assert_eq!(drivers[2].msg_read(&mut fabric, 1), (1, 0x2222_2222));
    assert_eq!((fabric.taken(1), fabric.taken(2)), (0, 1));

    let counts = |index| fabric.switch.counts(port(index));
    assert_eq!(
        (
            counts(0).messages_sent,
            counts(1).messages_sent,
            counts(2).messages_received
        ),
        (1, 1, 2)
    );
}

#[test]
fn a_message_register_reaches_any_partition_and_register() {
    let (mut fabric, drivers) = Fabric::up(8, Windows::Lut12);
    for from in 0..8u32 {
        for to in (0..8u32).filter(|to| *to != from) {
            for register in 0..4u32 {
                fabric.sw_write(from as u8, SW_MSGCTL + 4 * from, register | (to << 4));
                let value = (from << 16) | (to << 8) | register;
                fabric.nt_write(from as u8, OUTMSG, value);
                assert_eq!(
                    drivers[to as usize].msg_read(&mut fabric, register),
                    (from, value)
                );
                fabric.nt_write(to as u8, MSGSTS, !0);
            }
        }
    }
}

#[test]
fn doorbells_interrupt_on_the_first_unmasked_bit_only() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    fabric.let_all_see_all_doorbells();
    fabric.nt_write(0, OUTDBELLSET, 0b1);
    assert_eq!(fabric.nt_read(1, INDBELLSTS), 0b1);
    assert_eq!(fabric.taken(1), 0, "masked");
    fabric.nt_write(1, INDBELLMSK, !0b11);
    assert_eq!(fabric.taken(1), 1, "unmasking a set doorbell interrupts");
    fabric.nt_write(0, OUTDBELLSET, 0b10);
    assert_eq!(fabric.taken(1), 0, "the set was not empty");
    fabric.nt_write(1, INDBELLSTS, 0b1);
    fabric.nt_write(0, OUTDBELLSET, 0b1);
    assert_eq!(fabric.taken(1), 0, "and never became so");
    fabric.nt_write(1, INDBELLSTS, 0b11);
    assert_eq!(fabric.nt_read(1, NTINTSTS), 0);
    fabric.nt_write(0, OUTDBELLSET, 0b1);
    assert_eq!(fabric.taken(1), 1);
    assert_eq!(fabric.handle(1), INT_DBELL);
}

#[test]
fn lookup_table_windows_lead_to_every_peer() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    let base = |from: u32, to: u32| 0x1_0000_0000 + u64::from(from * 8 + to) * 0x1000_0000;
    for from in 0..3u32 {
        for to in (0..3u32).filter(|to| *to != from) {
            let driver = &drivers[from as usize];
            driver.set_trans(&mut fabric, to, to as usize, base(from, to), MIB);
            driver.set_trans(
                &mut fabric,
                to,
                12 + to as usize,
                base(from, to) + 0xff0_0000,
                MIB / 16,
            );
        }
    }
    for from in 0..3u32 {
        for to in 0..3u32 {
            let at = u64::from(to) * MIB + 0x123;
            let memory = fabric.switch.route(port(from as u8), Bar::Memory, at);
            let device = fabric.switch.route(port(from as u8), Bar::Device, at / 16);
            if from == to {
                assert!(matches!(
                    memory,
                    Route::Unsupported {
                        reason: Reject::NoTranslation,
                        ..
                    }
                ));
                continue;
            }
            let to_port = port(to as u8);
            let addr = base(from, to) + 0x123;
            assert_eq!(
                memory,
                Route::Memory {
                    port: to_port,
                    addr,
                    len: MIB - 0x123
                }
            );
            let addr = base(from, to) + 0xff0_0000 + 0x12;
            assert_eq!(
                device,
                Route::Memory {
                    port: to_port,
                    addr,
                    len: MIB / 16 - 0x12
                }
            );
        }
    }
    let refused = |fabric: &Fabric| {
        matches!(
            fabric.switch.route(port(0), Bar::Memory, MIB),
            Route::Unsupported {
                reason: Reject::NoTranslation,
                ..
            }
        )
    };
    assert!(!refused(&fabric));
    drivers[0].clear_trans(&mut fabric, 1);
    assert!(refused(&fabric));
}

#[test]
fn a_lookup_entry_is_in_force_as_a_whole() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    fabric.nt_write(0, LUTOFFSET, 3 | (2 << 8));
    assert_eq!(fabric.nt_write(0, LUTLDATA, 0x1000), []);
    assert_eq!(fabric.nt_write(0, LUTMDATA, 0x8), []);
    let window = Effect::Window {
        port: port(0),
        bar: Bar::Memory,
    };
    assert_eq!(fabric.nt_write(0, LUTUDATA, (1 << 31) | 1), [window]);
    // Half of the next translation changes nothing yet.
    let route = fabric.switch.route(port(0), Bar::Memory, 3 * MIB);
    assert_eq!(
        route,
        Route::Memory {
            port: port(1),
            addr: 0x8_0000_1000,
            len: MIB
        }
    );
    fabric.nt_write(0, LUTLDATA, 0x2000);
    assert_eq!(fabric.switch.route(port(0), Bar::Memory, 3 * MIB), route);
    // Another offset and back shows what is in force.
    fabric.nt_write(0, LUTOFFSET, 2 << 8);
    assert_eq!(fabric.nt_read(0, LUTUDATA), 0);
    fabric.nt_write(0, LUTOFFSET, 3 | (2 << 8));
    assert_eq!(fabric.nt_read(0, LUTLDATA), 0x1000);
    assert_eq!(fabric.switch.counts(port(0)).slot_programmings, 1);
}

#[test]
fn a_direct_window_ends_at_its_limit() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut24Direct);
    let refused = |fabric: &Fabric, at| match fabric.switch.route(port(0), Bar::Device, at) {
        Route::Unsupported { reason, .. } => Some(reason),
        Route::Memory { .. } => None,
    };
    assert_eq!(
        refused(&fabric, 0),
        Some(Reject::Limit),
        "nowhere until it is set up"
    );
    drivers[0].set_trans(&mut fabric, 2, 24, 0x1_fed0_0000, 0x1000);
    let route = fabric.switch.route(port(0), Bar::Device, 0xf0);
    // The driver's limit is one too far and the chip takes its low ten bits as ones.
    assert_eq!(
        route,
        Route::Memory {
            port: port(2),
            addr: 0x1_fed0_00f0,
            len: 0x1400 - 0xf0
        }
    );
    assert_eq!(refused(&fabric, 0x13ff), None);
    assert_eq!(refused(&fabric, 0x1400), Some(Reject::Limit));
    drivers[0].set_trans(&mut fabric, 1, 24, 0x2000, MIB);
    let route = fabric.switch.route(port(0), Bar::Device, MIB - 4);
    assert_eq!(
        route,
        Route::Memory {
            port: port(1),
            addr: 0x2000 + MIB - 4,
            len: 4
        }
    );
    drivers[0].clear_trans(&mut fabric, 24);
    assert_eq!(refused(&fabric, 0), Some(Reject::Limit));
}
