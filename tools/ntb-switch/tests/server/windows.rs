// SPDX-License-Identifier: GPL-2.0
//! Doorbells, and trapped windows on other nodes' memory.

use std::os::fd::AsFd;

use nix::sys::eventfd::{EfdFlags, EventFd};
use ntb_switch::model::Layout;
use ntb_switch::server::WindowMode;
use skiff_vfio_user::device::{IRQ_MSIX, REGION_CONFIG};
use skiff_vfio_user::DmaAccess;

use crate::support::{Fabric, DEVICE, DEVICE_SLOT, RAM, SLOT};

const OUTDBELLSET: u64 = 0x420;
const INDBELLSTS: u64 = 0x428;
const INDBELLMSK: u64 = 0x42c;
const NTINTMSK: u64 = 0x408;
/// NTINTMSK with doorbells alone unmasked.
const DOORBELLS_ONLY: u32 = 0x89;

#[test]
fn a_doorbell_becomes_an_interrupt_of_who_listens_to_it() {
    let fabric = Fabric::trapped(3);
    let nodes = [fabric.node(0), fabric.node(1), fabric.node(2)];
    let [a, b, c] = &nodes;
    for (node, bits) in [(b, 0x10), (c, 0x100)] {
        node.set_register(INDBELLMSK, !bits);
        node.set_register(NTINTMSK, DOORBELLS_ONLY);
        node.interrupts();
    }
    fabric.control.reset_counters().unwrap();
    a.set_register(OUTDBELLSET, 0x10);
    assert_eq!(b.interrupts(), 1);
    assert_eq!(c.interrupts(), 0);
    assert_eq!(b.register(INDBELLSTS) & 0x10, 0x10);
    // No second interrupt before the first one has been dealt with.
    a.set_register(OUTDBELLSET, 0x10);
    assert_eq!(b.interrupts(), 0);
    b.set_register(INDBELLSTS, 0x10);
    c.set_register(OUTDBELLSET, 0x10);
    assert_eq!(b.interrupts(), 1);
    let counts = fabric.control.all_counters().unwrap();
    assert_eq!(counts[&0].doorbells_sent, 2);
    assert_eq!(counts[&2].doorbells_sent, 1);
    assert_eq!(counts[&1].doorbells_received, 3);
    assert_eq!(counts[&2].doorbells_received, 0);
    assert_eq!(counts[&1].interrupts_raised, 2);
}

#[test]
fn the_first_of_the_vectors_is_what_a_doorbell_signals() {
    let fabric = Fabric::new(1, WindowMode::Trapped, Layout::Companion);
    let node = fabric.node(0);
    let other = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    node.set_register(INDBELLMSK, !1);
    node.set_register(NTINTMSK, DOORBELLS_ONLY);
    // MSI off; then as QEMU does: MSI-X on, without an eventfd first.
    node.write(REGION_CONFIG, 0xd2, &0u16.to_le_bytes());
    node.signal_by(IRQ_MSIX, 0, 1, &[]).unwrap();
    node.write(REGION_CONFIG, 0xf6, &0x8000u16.to_le_bytes());
    node.set_register(OUTDBELLSET, 1);
    node.signal_by(IRQ_MSIX, 1, 2, &[other.as_fd(); 2]).unwrap();
    assert_eq!((node.interrupts(), other.read().ok()), (0, None));
    // What came too early is there when somebody listens.
    node.signal_by(IRQ_MSIX, 0, 1, &[node.msi.as_fd()]).unwrap();
    assert_eq!(node.interrupts(), 1);
    node.signal_by(IRQ_MSIX, 1, 31, &[]).unwrap();
    node.set_register(INDBELLSTS, 1);
    node.set_register(OUTDBELLSET, 1);
    assert_eq!((node.interrupts(), other.read().ok()), (1, None));
    assert!(node.signal_by(IRQ_MSIX, 1, 32, &[]).is_err(), "too many");
}

#[test]
fn a_slot_reaches_the_memory_that_it_points_at() {
    let fabric = Fabric::trapped(3);
    let (a, b, c) = (fabric.node(0), fabric.node(1), fabric.node(2));
    a.program(2, 3, 1, 0x10_0000);
    a.program(2, 5, 2, 0x20_0000);
    a.write(2, 3 * SLOT + 0x128, &0x1122_3344_5566_7788u64.to_le_bytes());
    a.write(2, 5 * SLOT, b"to c");
    assert_eq!(b.ram(0x10_0128, 8), 0x1122_3344_5566_7788u64.to_le_bytes());
    assert_eq!(c.ram(0x20_0000, 4), b"to c");
    b.set_ram(0x10_0000 + SLOT - 4, b"last");
    let mut data = [0; 4];
    a.read(2, 4 * SLOT - 4, &mut data);
    assert_eq!(&data, b"last");

    // An access over the end of the slot is answered where there is somebody.
    let mut data = [0; 8];
    a.read(2, 4 * SLOT - 4, &mut data);
    assert_eq!(data, *b"last\xff\xff\xff\xff");

    let counts = fabric.control.counters(0).unwrap();
    assert_eq!((counts.posted_writes, counts.posted_write_bytes), (2, 12));
    assert_eq!(
        (counts.non_posted_reads, counts.non_posted_read_bytes),
        (2, 12)
    );
    assert_eq!(counts.slot_programmings, 2);
    assert_eq!(counts.unsupported_requests, 1);
    assert_eq!(counts.device_reads + counts.device_writes, 0);
    assert_eq!(b.device_reads() + c.device_reads(), 0);
}

#[test]
fn what_nobody_answers_reads_all_ones_and_changes_nothing() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    assert_eq!(a.read32(2, 0), u32::MAX);
    a.write(2, 0, &[1; 8]);
    a.program(2, 0, 1, 0);
    b.set_ram(0x1000, &[7; 8]);
    assert_eq!(a.read32(2, 0x1000), 0x0707_0707);

    // A slot that is emptied or poisoned.
    a.clear(2, 0);
    assert_eq!(a.read32(2, 0x1000), u32::MAX);
    a.program(2, 0, 1, 0);
    fabric.control.poison(0, 2, 0, true).unwrap();
    assert_eq!(a.read32(2, 0x1000), u32::MAX);
    fabric.control.poison(0, 2, 0, false).unwrap();
    assert_eq!(a.read32(2, 0x1000), 0x0707_0707);

    // Memory that is taken back, piece by piece.
    b.unmap(0x1000, 0x1000);
    assert_eq!(a.read32(2, 0x1000), u32::MAX);
    assert_eq!(a.read32(2, 0x2000), 0);
    a.write(2, 0x1000, &[1; 8]);
    assert_eq!(b.ram(0x1000, 8), [7; 8]);

    // The same bus address may come to mean other memory.
    b.set_ram(0x30_0000, &[9; 8]);
    b.map(0x1000, 0x1000, 0x30_0000, &b.ram).unwrap();
    assert_eq!(a.read32(2, 0x1000), 0x0909_0909);
    b.unmap(0, RAM);
    assert_eq!(a.read32(2, 0x1000), u32::MAX);
    assert_eq!(a.read32(2, 0x2000), u32::MAX);
    assert!(fabric.control.space(1).unwrap().is_empty());
}

#[test]
fn memory_is_what_was_mapped_as_such() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    b.unmap(0, RAM);
    a.program(2, 0, 1, 0);

    // A window file, or no file at all, is no memory: the node decides, and has nothing there.
    let window =
        nix::sys::memfd::memfd_create("ntbwin-port1", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
            .unwrap();
    nix::unistd::ftruncate(&window, 0x1000).unwrap();
    b.map(0, 0x1000, 0, &window).unwrap();
    b.map_as(0x1000, 0x1000, 0, DmaAccess::READ | DmaAccess::WRITE, &[])
        .unwrap();
    assert!(fabric.control.space(1).unwrap().is_empty());
    assert_eq!(a.read32(2, 0), u32::MAX);
    assert_eq!(a.read32(2, 0x1000), u32::MAX);
    assert_eq!(b.device_reads(), 2);

    // More than the file has.
    assert!(b.map(0, RAM + 0x1000, 0, &b.ram).is_err());

    // What may only be read: the node gets the write and refuses it.
    b.set_ram(0, &[5; 4]);
    b.map_as(0, 0x1000, 0, DmaAccess::READ, &[b.ram.as_fd()])
        .unwrap();
    assert_eq!(a.read32(2, 0), 0x0505_0505);
    a.write(2, 0, &[6; 4]);
    assert_eq!(b.ram(0, 4), [5; 4]);
    assert_eq!(fabric.control.counters(0).unwrap().device_writes, 1);
}

#[test]
fn an_interrupt_message_gets_through_only_if_exactly_it_is_allowed() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(4, 1, 1, 0xfee0_0000);
    let at = DEVICE_SLOT + 0x1000;
    b.allow_interrupt(0, 0xfee0_1000, 0x23);
    for (offset, data) in [
        (at, &0x24u32.to_le_bytes()[..]),
        (at + 4, &0x23u32.to_le_bytes()),
        (at, &0x23u16.to_le_bytes()),
        (at, &0x23u64.to_le_bytes()),
        (at - 1, &0x23u32.to_le_bytes()),
    ] {
        a.write(4, offset, data);
    }
    assert_eq!(a.read32(4, at), u32::MAX);
    // The node's own order of messages: what was refused would have come before this.
    a.write(4, at, &0x23u32.to_le_bytes());
    a.program(4, 0, 1, DEVICE);
    a.read32(4, 0);
    assert_eq!(b.messages(), [(0xfee0_1000, 0x23)]);
    let counts = fabric.control.counters(0).unwrap();
    assert_eq!(
        (counts.interrupt_writes, counts.interrupt_writes_refused),
        (1, 5)
    );
}

/// What is read of a node's memory tells of what the node has written elsewhere before: a flag here, its data there.
#[test]
fn a_read_waits_for_what_its_target_wrote_before() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(2, 0, 1, 0x10_0000);
    b.program(2, 0, 0, 0x20_0000);
    for round in 1..=50_u64 {
        for word in 0..64 {
            a.post(2, 8 * word, &round.to_le_bytes());
        }
        a.set_ram(0x20_0000, &round.to_le_bytes());
        let mut flag = [0; 8];
        b.read(2, 0, &mut flag);
        assert_eq!(flag, round.to_le_bytes());
        assert_eq!(b.ram(0x10_0000 + 8 * 63, 8), flag, "round {round}");
    }
}
