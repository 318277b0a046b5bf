// SPDX-License-Identifier: GPL-2.0
//! Two nodes against each other, over hardware whose slots the user or the owner programs.
//!
//! Whatever happens to them, no node is ever up with a life of the other one that was over when it introduced itself, and once
//! they are left alone they are up with each other.

use std::cell::RefMut;

use proptest::prelude::*;
use skiff_model::ntb::Side;
use skiff_model::session::Life;
use skiff_model::session::Reason;
use skiff_model::session::State;

mod fabric;

use fabric::inboxes::INBOX;
use fabric::node::Node;
use fabric::node::DATA;
use fabric::node::HEARTBEAT_MS;
use fabric::Shared;
use fabric::Switch;

/// Time between two looks.
const LOOK_MS: u64 = 20;

struct Pair {
    switch: Shared,
    nodes: [Option<Node>; 2],
    lives: [u64; 2],
    now_ms: u64,
    seed: u32,
}

impl Pair {
    fn new(side: Side, seed: u32) -> Self {
        let switch = Switch::new(side);
        switch.borrow_mut().set_link(true);
        let nodes = [0, 1].map(|port| {
            Some(Node::boot(
                &switch,
                port,
                10 + port as u64,
                seed ^ port as u32,
            ))
        });
        Self {
            switch,
            nodes,
            lives: [10, 11],
            now_ms: 1_000_000,
            seed,
        }
    }

    fn switch(&self) -> RefMut<'_, Switch> {
        self.switch.borrow_mut()
    }

    fn node(&self, port: usize) -> &Node {
        self.nodes[port].as_ref().expect("it runs")
    }

    fn look(&mut self, port: usize) {
        let life = self.lives[1 - port];
        if let Some(node) = &mut self.nodes[port] {
            node.look(self.now_ms, life);
        }
    }

    fn deliver_all(&self) {
        let mut switch = self.switch();
        for port in 0..2 {
            let count = switch.coming(port);
            switch.deliver(port, count);
        }
    }

    /// The node dies, and boots again at once.
    fn reboot(&mut self, port: usize, seed: u32) {
        self.nodes[port] = None;
        self.switch().reboot(port);
        self.lives[port] += 2;
        self.nodes[port] = Some(Node::boot(
            &self.switch,
            port,
            self.lives[port],
            self.seed ^ seed,
        ));
    }

    /// Lets everything run undisturbed.
    fn calm(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += LOOK_MS;
            self.deliver_all();
            self.look(0);
            self.deliver_all();
            self.look(1);
        }
    }

    fn check_up(&mut self) {
        for port in 0..2 {
            let node = self.node(port);
            assert_eq!(node.state(), State::Up, "node {port}: {:?}", node.seen);
            assert_eq!(node.up_with(), Some(self.lives[1 - port]));
            assert!(node.received() > 0);
            assert!(node.holds_data());
        }
        for port in 0..2 {
            let bytes = [port as u8 + 0x70, self.lives[port] as u8];
            self.node(port).write_data(&bytes);
            self.deliver_all();
            assert_eq!(self.switch().peek(1 - port, DATA, 2), bytes);
        }
    }
}

fn both(test: impl Fn(Side)) {
    test(Side::User);
    test(Side::Owner);
}

#[test]
fn two_nodes_find_each_other_at_once() {
    both(|side| {
        let mut pair = Pair::new(side, 1);
        pair.calm(300);
        pair.check_up();
        for port in 0..2 {
            let seen = &pair.node(port).seen;
            assert_eq!(seen.lives, [(pair.lives[1 - port], Life::New)]);
            assert_eq!(seen.downs, []);
        }
    });
}

#[test]
fn a_link_that_comes_back_resumes_the_same_life() {
    both(|side| {
        let mut pair = Pair::new(side, 2);
        pair.calm(1000);
        pair.switch().set_link(false);
        pair.calm(100);
        for port in 0..2 {
            assert_eq!(pair.node(port).state(), State::Down);
            assert_eq!(pair.node(port).seen.downs, [Reason::Link]);
            assert_eq!(pair.node(port).busy_slots(), 0);
        }
        pair.switch().set_link(true);
        pair.calm(1000);
        pair.check_up();
        for port in 0..2 {
            let life = pair.lives[1 - port];
            let expected = [(life, Life::New), (life, Life::Resumed)];
            assert_eq!(pair.node(port).seen.lives, expected);
        }
    });
}

#[test]
fn a_node_that_boots_again_is_another_one() {
    both(|side| {
        let mut pair = Pair::new(side, 3);
        pair.calm(1000);
        for round in 0..20 {
            pair.reboot(1, 0x5bd1_e995_u32.wrapping_mul(round + 1));
            pair.calm(3000);
            pair.check_up();
            assert_eq!(
                pair.node(0).seen.lives.last(),
                Some(&(pair.lives[1], Life::New))
            );
        }
        assert_eq!(pair.node(0).seen.lives.len(), 21);
    });
}

#[test]
fn a_node_that_says_goodbye_is_down_at_once() {
    both(|side| {
        let mut pair = Pair::new(side, 4);
        pair.calm(1000);
        let now_ms = pair.now_ms;
        pair.nodes[1].as_mut().unwrap().stop(now_ms);
        pair.deliver_all();
        pair.look(0);
        assert_ne!(pair.node(0).state(), State::Up);
        assert_eq!(pair.node(0).seen.downs.len(), 1);
        assert_eq!(pair.node(1).state(), State::Stopped);
        assert_eq!(pair.node(1).busy_slots(), 0);
        pair.calm(5000);
        assert_eq!(pair.node(0).seen.lives.len(), 1);
    });
}

#[test]
fn a_hung_node_is_down_after_three_beats_and_comes_back() {
    both(|side| {
        let mut pair = Pair::new(side, 5);
        pair.calm(1000);
        let start = pair.now_ms;
        while pair.node(0).state() == State::Up {
            pair.now_ms += LOOK_MS;
            assert!(pair
                .node(0)
                .deadline()
                .is_some_and(|at| at <= pair.now_ms + u64::from(HEARTBEAT_MS)));
            pair.look(0);
        }
        assert_eq!(pair.node(0).seen.downs, [Reason::Hung]);
        let beat = u64::from(HEARTBEAT_MS);
        assert!((3 * beat - 2000..4 * beat).contains(&(pair.now_ms - start)));
        // The other one has not noticed anything when it goes on.
        pair.calm(5000);
        pair.check_up();
        assert_eq!(
            pair.node(0).seen.lives.last(),
            Some(&(pair.lives[1], Life::Resumed))
        );
    });
}

#[test]
fn an_idle_pair_stays_up() {
    both(|side| {
        let mut pair = Pair::new(side, 6);
        pair.calm(120_000);
        pair.check_up();
        assert_eq!(
            pair.node(0).seen.lives.len() + pair.node(1).seen.lives.len(),
            2
        );
    });
}

#[test]
fn nonsense_in_the_inbox_ends_the_session_and_no_more() {
    both(|side| {
        let mut pair = Pair::new(side, 7);
        pair.calm(1000);
        pair.nodes[0].as_mut().unwrap().tampered();
        pair.switch().poke(0, INBOX, &[0xff; 4]);
        pair.look(0);
        assert_eq!(pair.node(0).state(), State::Quiet);
        assert_eq!(pair.node(0).seen.downs, [Reason::BadMessage]);
        pair.calm(5000);
        pair.check_up();
    });
}

#[test]
fn two_adapters_of_one_node_leave_each_other_alone() {
    both(|side| {
        let mut pair = Pair::new(side, 8);
        let switch = &pair.switch;
        pair.nodes = [0, 1].map(|port| Some(Node::boot(switch, port, 77, 9 + port as u32)));
        pair.calm(3000);
        for port in 0..2 {
            assert_eq!(pair.node(port).state(), State::Own);
            assert!(pair.node(port).seen.own && pair.node(port).seen.lives.is_empty());
            assert_eq!(pair.node(port).deadline(), None);
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    /// Time goes by, and these nodes look.
    Look(u64, bool, bool),
    /// Some stores arrive.
    Deliver(usize, usize),
    Link(bool),
    Reboot(usize, u32),
    LoseWord(usize),
    /// Somebody writes into a node's inbox.
    Poke(usize, u64, u32),
    Calm(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let port = || 0..2_usize;
    // The words, and the entries that are used first.
    let place = prop_oneof![
        Just(0_u64),
        Just(0x40),
        Just(0x80),
        (0x400..0x500_u64).prop_map(|n| n * 4)
    ];
    prop_oneof![
        20 => (prop_oneof![Just(0), 1..150_u64, 1000..4000_u64], any::<bool>(), any::<bool>())
            .prop_map(|(ms, a, b)| Step::Look(ms, a, b)),
        14 => (port(), 0..12_usize).prop_map(|(port, count)| Step::Deliver(port, count)),
        2 => any::<bool>().prop_map(Step::Link),
        2 => (port(), any::<u32>()).prop_map(|(port, seed)| Step::Reboot(port, seed)),
        2 => port().prop_map(Step::LoseWord),
        1 => (port(), place, prop_oneof![0..80_u32, any::<u32>()]).prop_map(|(p, at, v)| Step::Poke(p, at, v)),
        3 => (20..400_u64).prop_map(Step::Calm),
    ]
}

fn disturb(pair: &mut Pair, step: Step) {
    match step {
        Step::Look(ms, first, second) => {
            pair.now_ms += ms;
            if first {
                pair.look(0);
            }
            if second {
                pair.look(1);
            }
        }
        Step::Deliver(port, count) => pair.switch().deliver(port, count),
        Step::Link(up) => pair.switch().set_link(up),
        Step::Reboot(port, seed) => pair.reboot(port, seed),
        Step::LoseWord(port) => pair.switch().lose_word(port),
        Step::Poke(port, at, value) => {
            if let Some(node) = &mut pair.nodes[port] {
                node.tampered();
            }
            pair.switch().poke(port, INBOX + at, &value.to_le_bytes());
        }
        Step::Calm(ms) => pair.calm(ms),
    }
}

proptest! {
    #[test]
    fn whatever_happens_they_find_each_other_again(
        owner: bool,
        seed: u32,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut pair = Pair::new(if owner { Side::Owner } else { Side::User }, seed);
        for step in steps {
            disturb(&mut pair, step);
        }
        pair.switch().set_link(true);
        // A hung peer is found out after three beats, on both sides one after the other in the worst case.
        pair.calm(12_000);
        let before: Vec<usize> = (0..2).map(|port| pair.node(port).seen.lives.len()).collect();
        pair.calm(10_000);
        pair.check_up();
        let after: Vec<usize> = (0..2).map(|port| pair.node(port).seen.lives.len()).collect();
        prop_assert_eq!(before, after, "they stay up");
    }
}
