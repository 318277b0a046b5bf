// SPDX-License-Identifier: GPL-2.0
//! Starts of a controller: queues are made once for each, whatever messages get lost, and nobody waits for ever.

use std::collections::VecDeque;

use proptest::prelude::*;
use skiff_nvme_model::starts::Due;
use skiff_nvme_model::starts::Starts;

/// How long the owner is waited for.
const PATIENCE: u64 = 100;
/// Queues of the node.
const QUEUES: usize = 3;

/// What the owner says.
#[derive(Clone, Copy, Debug)]
enum Said {
    Stopped,
    /// The number of the present start: told, or in an answer.
    Runs(u32),
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The owner resets the controller; which of its two messages get lost.
    Reset([bool; 2]),
    /// The node hears a message.
    Hear,
    /// The node's worker takes its next step.
    Work,
    /// A request of the node is late: it asks for an abort.
    Late,
    /// Time passes.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => any::<[bool; 2]>().prop_map(Step::Reset),
        3 => Just(Step::Hear),
        6 => Just(Step::Work),
        1 => Just(Step::Late),
        1 => (0..2 * PATIENCE).prop_map(Step::Pass),
    ]
}

/// What the worker is at.
#[derive(Clone, Copy, Debug)]
enum Task {
    Idle,
    /// It makes queues in this start, and has so many.
    Makes(u32, usize),
}

/// Owner, controller and one node.
struct World {
    start: u32,
    /// Queues of the node that the controller knows.
    queues: usize,
    on_the_way: VecDeque<Said>,
    node: Starts,
    task: Task,
    /// The node's queues take requests.
    runs: bool,
    now: u64,
    /// Starts for which queues were made.
    made: Vec<u32>,
}

impl World {
    fn new() -> Self {
        Self {
            start: 1,
            queues: QUEUES,
            on_the_way: VecDeque::new(),
            node: Starts::new(1),
            task: Task::Idle,
            runs: true,
            now: 0,
            made: vec![1],
        }
    }

    fn reset(&mut self, [stopped, runs]: [bool; 2]) {
        if !stopped {
            self.on_the_way.push_back(Said::Stopped);
        }
        self.start += 1;
        self.queues = 0;
        if !runs {
            self.on_the_way.push_back(Said::Runs(self.start));
        }
    }

    fn wait(&mut self) {
        self.runs = false;
        self.node.wait(self.now + PATIENCE);
    }

    fn hear(&mut self) {
        match self.on_the_way.pop_front() {
            Some(Said::Stopped) => self.wait(),
            Some(Said::Runs(start)) => self.node.heard(start),
            None => {}
        }
    }

    /// The node asks for something: whether its start is the present one. Messages keep their order.
    fn ask(&mut self, start: u32) -> bool {
        while !self.on_the_way.is_empty() {
            self.hear();
        }
        self.node.heard(self.start);
        start == self.start
    }

    fn work(&mut self) {
        match self.task {
            Task::Idle => match self.node.due(self.now) {
                Due::Nothing => {}
                Due::Make(start) => {
                    self.runs = false;
                    self.made.push(start);
                    self.task = Task::Makes(start, 0);
                }
                Due::Ask(start) => {
                    self.runs = false;
                    if self.ask(start) {
                        self.reset([false; 2]);
                        self.ask(start);
                    }
                    self.wait();
                }
            },
            Task::Makes(start, QUEUES) => {
                assert_eq!(start, self.node.made());
                self.task = Task::Idle;
                self.runs = true;
            }
            Task::Makes(start, count) => {
                if self.ask(start) {
                    self.queues += 1;
                    assert_eq!(self.queues, count + 1, "queues were made twice");
                    self.task = Task::Makes(start, count + 1);
                } else {
                    self.wait();
                    self.task = Task::Idle;
                }
            }
        }
    }

    fn late(&mut self) {
        if self.runs {
            self.ask(self.node.made());
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Reset(lost) => self.reset(lost),
            Step::Hear => self.hear(),
            Step::Work => self.work(),
            Step::Late => self.late(),
            Step::Pass(time) => self.now += time,
        }
    }
}

proptest! {
    #[test]
    fn queues_are_made_once_for_each_start_and_nobody_waits_for_ever(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // What is on the way gets lost, and no message comes of itself any more. The node has requests, so that what is late is noticed.
        world.on_the_way.clear();
        for _ in 0..4 * (QUEUES + 2) {
            world.late();
            world.work();
            world.now += PATIENCE;
        }
        prop_assert!(world.runs, "it waits: {:?}", world.node);
        prop_assert_eq!(world.node.made(), world.start);
        prop_assert_eq!(world.queues, QUEUES);
        prop_assert!(world.made.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", world.made);
    }
}

#[test]
fn a_start_that_is_told_twice_is_followed_once() {
    let mut starts = Starts::new(7);
    assert_eq!(starts.due(0), Due::Nothing);
    starts.wait(50);
    assert!(starts.waits());
    starts.heard(8);
    starts.heard(8);
    assert!(starts.is_over());
    assert_eq!(starts.due(0), Due::Make(8));
    starts.heard(8);
    assert_eq!(starts.due(1000), Due::Nothing);
    assert!(!starts.waits());
}

#[test]
fn who_hears_nothing_asks_once_and_not_too_early() {
    let mut starts = Starts::new(7);
    starts.wait(50);
    assert_eq!(starts.due(49), Due::Nothing);
    assert_eq!(starts.due(50), Due::Ask(7));
    assert_eq!(starts.due(51), Due::Nothing);
}
