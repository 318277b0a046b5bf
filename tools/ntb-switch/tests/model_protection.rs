// SPDX-License-Identifier: GPL-2.0
//! Who may touch what: the global address space, the guarded board, the allow table, resets.

mod idt;

use idt::*;
use ntb_switch::model::Bar;
use ntb_switch::model::Effect;
use ntb_switch::model::Protection;
use ntb_switch::model::Reject;
use ntb_switch::model::Route;
use ntb_switch::model::Windows;

#[test]
fn interrupt_messages_need_an_exact_entry_of_the_target() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    let allow = |fabric: &mut Fabric, index: u32, addr, data| {
        for (register, value) in [(0xf04, index), (0xf08, addr), (0xf0c, data), (0xf10, 1)] {
            fabric.nt_write(1, register, value);
        }
    };
    assert_eq!(fabric.nt_read(1, 0xf00), (1 << 16) | 256);
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
    let (mut fabric, drivers) = Fabric::up(2, Windows::Lut12);
    drivers[0].set_trans(&mut fabric, 1, 0, 0x4000_0000, MIB);
    let effects = fabric.sw_write(1, alias(0, LUTOFFSET), 2 << 8);
    assert_eq!(effects, []);
    let effects = fabric.sw_write(1, alias(0, LUTUDATA), 0);
    let window = Effect::Window {
        port: port(0),
        bar: Bar::Memory,
    };
    assert_eq!(effects, [window]);
    let route = fabric.switch.route(port(0), Bar::Memory, 0);
    assert_eq!(
        route,
        Route::Unsupported {
            reason: Reject::NoTranslation,
            len: MIB
        }
    );
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
    assert_eq!(fabric.sw_read(0, 0x3e700), (1 << 0) | (1 << 2) | (1 << 4));
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
        fabric.nt_write(1, NTMTBLDATA, 1 | (1 << 17));
        let taken = fabric.nt_read(1, NTMTBLDATA) != 0;
        assert_eq!(taken, (8..16).contains(&index), "entry {index}");
    }
    // Four doorbells each.
    fabric.nt_write(0, OUTDBELLSET, !0);
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!((seen(0), seen(1), seen(2)), (0xf, 0xf0, 0xf00));
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
        assert!(
            !fabric.switch.status(port(1)).admitted,
            "out of the mapping table"
        );
        assert!(fabric.switch.status(port(0)).admitted && fabric.switch.status(port(2)).admitted);
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
