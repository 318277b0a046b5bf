// SPDX-License-Identifier: GPL-2.0
//! Nodes come, go, are replaced, cut off and reset; the switch itself ends.

use ntb_switch::control::{ControlClient, LinkState, MessageFaultKind};
use ntb_switch::model::Layout;
use ntb_switch::server::{Server, ServerConfig, StartError, WindowMode};

use crate::support::{wait_until, Fabric, Node};

const NTINTSTS: u64 = 0x404;
const NTINTMSK: u64 = 0x408;
/// NTINTSTS: a switch event.
const EVENT: u32 = 8;
const GASAADDR: u64 = 0xff8;
const GASADATA: u64 = 0xffc;
/// Global addresses of the event masks, and of the status of links that came up and went down.
const SEMSK: u32 = 0x3ec04;
const SEPMSK: u32 = 0x3ec08;
const SELINKUPSTS: u32 = 0x3ec0c;
const SELINKUPMSK: u32 = 0x3ec10;
const SELINKDNSTS: u32 = 0x3ec14;
const SELINKDNMSK: u32 = 0x3ec18;

fn global(node: &Node, addr: u32) -> u32 {
    node.set_register(GASAADDR, addr);
    node.register(GASADATA)
}

fn set_global(node: &Node, addr: u32, value: u32) {
    node.set_register(GASAADDR, addr);
    node.set_register(GASADATA, value);
}

/// Has a node told of links that come and go.
fn listen(node: &Node) {
    for register in [SEMSK, SEPMSK, SELINKUPMSK, SELINKDNMSK] {
        set_global(node, register, 0);
    }
    node.set_register(NTINTMSK, !EVENT);
    settle(node);
}

/// Forgets what has happened.
fn settle(node: &Node) {
    set_global(node, SELINKUPSTS, u32::MAX);
    set_global(node, SELINKDNSTS, u32::MAX);
    node.set_register(NTINTSTS, EVENT);
    node.interrupts();
}

fn is_attached(fabric: &Fabric, port: usize) -> bool {
    fabric.control.status().unwrap().ports[port].attached
}

#[test]
fn a_killed_node_is_missed_and_welcome_again() {
    let fabric = Fabric::trapped(3);
    let (a, b, c) = (fabric.node(0), fabric.node(1), fabric.node(2));
    a.program(2, 0, 1, 0);
    a.program(2, 1, 2, 0);
    listen(&a);
    drop(b);
    wait_until("a's interrupt", || a.interrupts() == 1);
    // Port 1 of the model is port 2 of the chip.
    assert_eq!(global(&a, SELINKDNSTS), 1 << 2);
    assert_eq!(a.read32(2, 0), u32::MAX);
    c.set_ram(0, &[4; 4]);
    assert_eq!(a.read32(2, crate::support::SLOT), 0x0404_0404);

    settle(&a);
    let b = fabric.node(1);
    assert_eq!(a.interrupts(), 1);
    assert_eq!(global(&a, SELINKUPSTS), 1 << 2);
    b.set_ram(0, &[8; 4]);
    assert_eq!(a.read32(2, 0), 0x0808_0808);
    assert_eq!(fabric.control.status().unwrap().ports[1].attachments, 2);
}

#[test]
fn a_new_node_takes_the_place_of_one_that_is_half_dead() {
    let fabric = Fabric::trapped(2);
    let (a, old) = (fabric.node(0), fabric.node(1));
    a.program(2, 0, 1, 0);
    old.set_ram(0, &[1; 4]);
    assert_eq!(a.read32(2, 0), 0x0101_0101);
    old.stop();
    let new = fabric.node(1);
    new.set_ram(0, &[2; 4]);
    assert_eq!(a.read32(2, 0), 0x0202_0202);
    assert!(old.is_cut_off());
    // The end of the old one's connection is no business of the new one.
    drop(old);
    assert_eq!(new.register(0), 0x808f_111d);
    assert_eq!(a.read32(2, 0), 0x0202_0202);
    assert!(is_attached(&fabric, 1));
}

#[test]
fn an_unplugged_port_lets_nobody_in() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(2, 0, 1, 0);
    b.set_ram(0, &[1; 4]);
    assert_eq!(a.read32(2, 0), 0x0101_0101);
    fabric.control.unplug(1).unwrap();
    assert!(!is_attached(&fabric, 1));
    assert_eq!(a.read32(2, 0), u32::MAX);
    wait_until("b is cut off", || b.is_cut_off());
    let refused = std::os::unix::net::UnixStream::connect(fabric.socket("port1.sock")).unwrap();
    assert_eq!(std::io::Read::read(&mut &refused, &mut [0]).unwrap(), 0);
    fabric.control.plug(1).unwrap();
    let b = fabric.node(1);
    b.set_ram(0, &[2; 4]);
    assert_eq!(a.read32(2, 0), 0x0202_0202);
}

#[test]
fn a_link_that_is_held_down_carries_nothing() {
    let fabric = Fabric::trapped(3);
    let (a, b, c) = (fabric.node(0), fabric.node(1), fabric.node(2));
    a.program(2, 0, 1, 0);
    b.program(2, 0, 0, 0);
    listen(&c);
    fabric.control.set_link(1, LinkState::Down).unwrap();
    assert_eq!(c.interrupts(), 1);
    assert_eq!(a.read32(2, 0), u32::MAX);
    assert_eq!(b.read32(2, 0), u32::MAX);
    let status = fabric.control.status().unwrap();
    assert_eq!(status.ports[1].link, LinkState::Down);
    assert_eq!(status.ports[0].link, LinkState::Up);
    settle(&c);
    fabric.control.set_link(1, LinkState::Up).unwrap();
    assert_eq!(c.interrupts(), 1);
    assert_eq!(a.read32(2, 0), 0);
    assert_eq!(b.read32(2, 0), 0);
    assert_eq!(fabric.control.counters(2).unwrap().link_events, 2);
}

#[test]
fn a_reset_machine_starts_anew() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(2, 0, 1, 0);
    b.program(2, 0, 0, 0);
    a.set_ram(0, &[1; 4]);
    assert_eq!(b.read32(2, 0), 0x0101_0101);
    b.reset();
    assert_eq!(b.read32(2, 0), u32::MAX);
    // Its bus mastering is off, so nobody reaches it.
    assert_eq!(a.read32(2, 0), u32::MAX);
    b.open_gates();
    assert_eq!(a.read32(2, 0), 0);
}

#[test]
fn a_delayed_message_arrives_later() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    // Inbound message register 0 takes messages from every partition; the sender's register 0 goes to partition 1.
    const OUTMSG0: u64 = 0x430;
    const INMSG0: u64 = 0x440;
    const MSGSTS: u64 = 0x460;
    const SWP0MSGCTL0: u32 = 0x3ee00;
    set_global(&a, SWP0MSGCTL0, 1 << 4);
    fabric
        .control
        .message_fault(0, 1, MessageFaultKind::DelayMs(50), 1)
        .unwrap();
    let start = std::time::Instant::now();
    a.set_register(OUTMSG0, 0xabcd);
    wait_until("the message", || (b.register(MSGSTS) >> 16) & 1 == 1);
    assert!(start.elapsed() >= std::time::Duration::from_millis(50));
    assert_eq!(b.register(INMSG0), 0xabcd);
    fabric
        .control
        .message_fault(0, 1, MessageFaultKind::Lose, 1)
        .unwrap();
    b.set_register(MSGSTS, 1 << 16);
    a.set_register(OUTMSG0, 0xabce);
    let counts = fabric.control.all_counters().unwrap();
    assert_eq!(counts[&0].messages_sent, 2);
    assert_eq!(counts[&0].messages_lost, 1);
    assert_eq!(counts[&1].messages_received, 1);
}

#[test]
fn the_switch_leaves_nothing_behind() {
    let mut fabric = Fabric::new(2, WindowMode::Mapped, Layout::Companion);
    let (a, _b) = (fabric.node(0), fabric.node(1));
    let mut names: Vec<_> = std::fs::read_dir(fabric.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let all = [
        "control.sock",
        "ntbwin-port0",
        "ntbwin-port1",
        "port0.sock",
        "port1.sock",
        "remap.sock",
    ];
    assert_eq!(names, all);
    fabric.stop();
    assert_eq!(std::fs::read_dir(fabric.dir.path()).unwrap().count(), 0);
    wait_until("a is cut off", || a.is_cut_off());
    assert!(fabric.control.status().is_err());
}

#[test]
fn a_folder_belongs_to_one_switch() {
    let mut fabric = Fabric::trapped(1);
    let config = ServerConfig {
        run_dir: fabric.dir.path().into(),
        ports: Vec::new(),
        protection: ntb_switch::model::Protection::Open,
        read_timeout: ServerConfig::READ_TIMEOUT,
        helper_timeout: ServerConfig::READ_TIMEOUT,
        most_pieces: ServerConfig::MOST_PIECES,
    };
    assert!(matches!(Server::start(&config), Err(StartError::Config(_))));
    let settings = ntb_switch::server::PortSettings {
        config: ntb_switch::model::PortConfig {
            layout: Layout::Chip,
            windows: ntb_switch::model::Windows::Lut12,
            memory_aperture: 1 << 20,
            device_aperture: 1 << 20,
        },
        mode: WindowMode::Trapped,
    };
    let config = ServerConfig {
        ports: vec![settings],
        ..config
    };
    assert!(matches!(Server::start(&config), Err(StartError::InUse(_))));
    assert!(fabric.control.status().is_ok());
    // What a killed switch left in the folder is in nobody's way.
    fabric.stop();
    std::os::unix::net::UnixListener::bind(fabric.socket("port0.sock")).unwrap();
    let server = Server::start(&config).unwrap();
    assert!(ControlClient::connect(fabric.socket("control.sock")).is_ok());
    drop(server);
}
