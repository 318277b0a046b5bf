// SPDX-License-Identifier: GPL-2.0
//! Configuration space, byte lanes, board set-up and attachment.

mod idt;

use idt::*;
use ntb_switch::model::Bar;
use ntb_switch::model::ConfigError;
use ntb_switch::model::Layout;
use ntb_switch::model::PortConfig;
use ntb_switch::model::Switch;
use ntb_switch::model::Windows;

#[test]
fn partial_writes_touch_their_lanes_alone() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    fabric.let_all_see_all_doorbells();
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
        at = (head >> 8) & 0xff;
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
        [
            (0x40, 0x10),
            (0xc0, 0x01),
            (0xd0, 0x05),
            (0xe0, 0x09),
            (0xf4, 0x11)
        ]
    );
    let words = [0xe0, 0xe4, 0xe8, 0xec, 0xf0].map(|at| switch.register_read(port(0), at));
    assert_eq!(
        words,
        [
            0x0114_f409,
            u32::from_le_bytes(*b"SKIF"),
            0x0000_0201,
            16 << 20,
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
fn the_companion_layout_has_vectors_of_which_the_first_is_the_ports() {
    let chip = config(Windows::Lut12);
    let companion = PortConfig {
        layout: Layout::Companion,
        ..chip
    };
    let mut fabric = Fabric::new(2, Windows::Lut12);
    fabric.switch = Switch::new(&[companion, chip]).expect("good ports");
    fabric.attach(0);
    fabric.attach(1);
    assert_eq!(
        [0, 1].map(|at| fabric.switch.vectors(port(at))),
        [32, 0],
        "the chip has MSI only"
    );
    let msix = |fabric: &mut Fabric, by| [0xf4, 0xf8, 0xfc].map(|at| fabric.nt_read(by, at));
    assert_eq!(msix(&mut fabric, 0), [0x001f_0011, 0x001, 0x801]);
    for at in [0x14, 0xf4, 0xf8, 0xfc] {
        fabric.nt_write(0, at, !0);
        fabric.nt_write(1, at, !0);
    }
    // A BAR of a page, enable and function mask can be written.
    assert_eq!(fabric.nt_read(0, 0x14), 0xffff_f000);
    assert_eq!(msix(&mut fabric, 0), [0xc01f_0011, 0x001, 0x801]);
    assert_eq!(fabric.nt_read(1, 0x14), 0);
    assert_eq!(msix(&mut fabric, 1), [0; 3]);

    let raised = |fabric: &Fabric| fabric.switch.counts(port(0)).interrupts_raised;
    fabric.nt_write(0, 0x04, 0x6);
    fabric.nt_write(0, INDBELLMSK, 0);
    fabric.nt_write(0, NTINTMSK, 0);
    fabric.nt_write(0, OUTDBELLSET, 1);
    assert_eq!(raised(&fabric), 0, "masked");
    fabric.nt_write(0, 0xf4, 0x8000_0000);
    assert_eq!(raised(&fabric), 1);
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
