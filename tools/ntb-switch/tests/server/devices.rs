// SPDX-License-Identifier: GPL-2.0
//! Trapped windows on other nodes' device registers: forwarding, circles of readers, nodes that do not answer.

use std::thread;
use std::time::{Duration, Instant};

use ntb_switch::model::Layout;
use ntb_switch::server::WindowMode;

use crate::support::{wait_until, Fabric, Node, DEVICE, DEVICE_SLOT, SLOT};

/// Far longer than any test takes: who waits this long is in a dead-lock.
const FOREVER: Duration = Duration::from_secs(20);

/// The value of the register at that offset of a fresh node's device.
fn fresh(offset: u64) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|n| ((offset + n) % 251) as u8))
}

#[test]
fn registers_are_read_and_written_in_order() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(4, 2, 1, DEVICE);
    let at = 2 * DEVICE_SLOT;
    assert_eq!(a.read32(4, at + 0x20), fresh(0x20));
    for n in 0..500u32 {
        a.post(4, at + 8, &n.to_le_bytes());
        a.post(4, at + 12, &(!n).to_le_bytes());
        assert_eq!(a.read32(4, at + 8), n);
        assert_eq!(a.read32(4, at + 12), !n);
    }
    assert_eq!(b.device(8, 4), 499u32.to_le_bytes());
    // Beyond the device: the other node says that nothing is there.
    assert_eq!(a.read32(4, at + 0x1000), u32::MAX);
    // The same through the memory window.
    a.program(2, 0, 1, DEVICE);
    assert_eq!(a.read32(2, 0x20), fresh(0x20));
    let counts = fabric.control.counters(0).unwrap();
    assert_eq!((counts.device_reads, counts.device_writes), (1003, 1000));
    assert_eq!(counts.unsupported_requests, 1);
    assert_eq!(counts.completion_timeouts + counts.dropped_writes, 0);
}

/// Has each node read the next one's registers, all at the same time, around a ring; gives the sum of broken circles.
fn ring(nodes: usize, rounds: usize) -> u64 {
    let fabric = Fabric::with_timeout(nodes, WindowMode::Trapped, Layout::Chip, FOREVER);
    let all: Vec<Node> = (0..nodes).map(|port| fabric.node(port as u8)).collect();
    for (port, node) in all.iter().enumerate() {
        node.program(4, 0, ((port + 1) % nodes) as u32, DEVICE);
    }
    let ones: Vec<u64> = thread::scope(|scope| {
        let readers: Vec<_> = all
            .iter()
            .map(|node| {
                scope.spawn(move || {
                    let mut ones = 0;
                    for _ in 0..rounds {
                        match node.read32(4, 0x40) {
                            u32::MAX => ones += 1,
                            value => assert_eq!(value, fresh(0x40)),
                        }
                    }
                    ones
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    let counts = fabric.control.all_counters().unwrap();
    for (port, ones) in ones.iter().enumerate() {
        let counts = counts[&(port as u8)];
        assert_eq!(counts.device_reads, rounds as u64);
        assert_eq!(counts.read_cycles_broken, *ones);
        assert_eq!(counts.completion_timeouts, 0);
    }
    ones.iter().sum()
}

#[test]
fn two_nodes_that_read_each_other_never_wait_in_a_circle() {
    let broken = ring(2, 5000);
    assert!(broken < 10_000, "some reads must get through");
}

#[test]
fn three_nodes_in_a_ring_never_wait_in_a_circle() {
    let broken = ring(3, 2000);
    assert!(broken < 6000, "some reads must get through");
}

#[test]
fn a_circle_is_broken_in_one_place_only() {
    let fabric = Fabric::with_timeout(2, WindowMode::Trapped, Layout::Chip, FOREVER);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(4, 0, 1, DEVICE);
    b.program(4, 0, 0, DEVICE);
    // b is held up until a's read is on its way, and holds its own big lock while it reads a.
    thread::scope(|scope| {
        let busy = b.busy();
        let reader = scope.spawn(|| a.read32(4, 0x40));
        wait_until("a's read is on its way", || {
            fabric.control.counters(0).unwrap().device_reads == 1
        });
        let other = scope.spawn(|| b.read32(4, 0x40));
        drop(busy);
        assert_eq!(reader.join().unwrap(), fresh(0x40));
        let value = other.join().unwrap();
        assert!(value == u32::MAX || value == fresh(0x40));
    });
    let counts = fabric.control.all_counters().unwrap();
    assert_eq!(counts[&0].read_cycles_broken, 0);
    assert_eq!(
        counts[&0].completion_timeouts + counts[&1].completion_timeouts,
        0
    );
}

#[test]
fn a_node_that_does_not_answer_costs_its_readers_little_and_the_others_nothing() {
    let fabric = Fabric::trapped(3);
    let (a, b, c) = (fabric.node(0), fabric.node(1), fabric.node(2));
    a.program(4, 0, 1, DEVICE);
    a.program(4, 1, 2, DEVICE);
    a.program(2, 0, 1, 0);
    c.program(2, 0, 1, 0);
    b.stop();
    let start = Instant::now();
    assert_eq!(a.read32(4, 0), u32::MAX);
    assert!(start.elapsed() >= Duration::from_millis(90));
    // Once it is known to be stopped nobody waits for it any more.
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(a.read32(4, 0), u32::MAX);
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(fabric.control.status().unwrap().ports[1].stalled);
    // Others, and its memory, are there as ever.
    assert_eq!(a.read32(4, DEVICE_SLOT + 0x40), fresh(0x40));
    c.write(2, 0x100, &[3; 4]);
    assert_eq!(a.read32(2, 0x100), 0x0303_0303);
    b.go_on();
    wait_until("the stopped node's late answer counts as life", || {
        a.read32(4, 0x40) == fresh(0x40)
    });
    let counts = fabric.control.counters(0).unwrap();
    assert!(counts.completion_timeouts >= 101);
    assert_eq!(counts.read_cycles_broken, 0);
}

#[test]
fn writes_to_a_node_that_takes_none_are_dropped_and_counted() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(4, 0, 1, DEVICE);
    b.stop();
    const WRITES: u64 = 20_000;
    for n in 0..WRITES {
        a.write(4, 0x40, &(n as u32).to_le_bytes());
    }
    let counts = fabric.control.counters(0).unwrap();
    assert_eq!(counts.device_writes, WRITES);
    assert!(
        counts.dropped_writes > 0 && counts.dropped_writes < WRITES,
        "{}",
        counts.dropped_writes
    );
    b.go_on();
    // Any message of b shows that it is alive.
    b.register(0);
    wait_until("writes arrive again", || {
        a.write(4, 0x40, &[0x5a; 4]);
        b.device(0x40, 4) == [0x5a; 4]
    });
}

#[test]
fn a_node_that_goes_while_it_is_read_completes_the_read() {
    let fabric = Fabric::with_timeout(2, WindowMode::Trapped, Layout::Chip, FOREVER);
    let (a, b) = (fabric.node(0), fabric.node(1));
    a.program(4, 0, 1, DEVICE);
    a.program(2, 0, 1, 0);
    b.stop();
    let start = Instant::now();
    thread::scope(|scope| {
        let reader = scope.spawn(|| a.read32(4, 0));
        wait_until("the read is on its way", || {
            fabric.control.counters(0).unwrap().device_reads == 1
        });
        drop(b);
        assert_eq!(reader.join().unwrap(), u32::MAX);
    });
    assert!(start.elapsed() < FOREVER);
    wait_until("the node is gone", || {
        !fabric.control.status().unwrap().ports[1].attached
    });
    assert_eq!(a.read32(2, SLOT - 4), u32::MAX);
}
