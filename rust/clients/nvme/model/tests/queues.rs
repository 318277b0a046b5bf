// SPDX-License-Identifier: GPL-2.0
//! Queues and doorbells against a controller that does what the specification says.

use std::collections::VecDeque;

use proptest::prelude::*;
use skiff_nvme_model::completion::Completion;
use skiff_nvme_model::completion::Outcome;
use skiff_nvme_model::completion::Status;
use skiff_nvme_model::doorbell::Doorbell;
use skiff_nvme_model::doorbell::Stride;
use skiff_nvme_model::queue::Completions;
use skiff_nvme_model::queue::Holders;
use skiff_nvme_model::queue::Submissions;

/// A controller with one pair of queues.
struct Controller {
    entries: u16,
    commands: Vec<u16>,
    completions: Vec<u32>,
    /// Its own side of the submission queue.
    head: u16,
    tail: u16,
    /// Its own side of the completion queue.
    place: u16,
    seen: u16,
    phase: bool,
}

impl Controller {
    fn new(entries: u16) -> Self {
        Self {
            entries,
            commands: vec![0; entries.into()],
            completions: vec![0; entries.into()],
            head: 0,
            tail: 0,
            place: 0,
            seen: 0,
            phase: true,
        }
    }

    /// Completes the next command that it was told of; false if there is none.
    fn step(&mut self) -> bool {
        if self.head == self.tail {
            return false;
        }
        let next = (self.place + 1) % self.entries;
        assert_ne!(next, self.seen, "the completion queue is full");
        let id = self.commands[usize::from(self.head)];
        self.head = (self.head + 1) % self.entries;
        self.completions[usize::from(self.place)] = u32::from(id) | (u32::from(self.phase) << 16);
        self.place = next;
        if next == 0 {
            self.phase = !self.phase;
        }
        true
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit,
    Ring,
    Complete,
    Look,
    Acknowledge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Submit),
        2 => Just(Step::Ring),
        3 => Just(Step::Complete),
        3 => Just(Step::Look),
        1 => Just(Step::Acknowledge),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// With a tag less than there are entries nothing is overwritten, nothing lost, nothing seen twice, in order.
    #[test]
    fn each_command_is_completed_once(entries in 2..9_u16, steps in steps()) {
        let mut controller = Controller::new(entries);
        let (mut ours, mut theirs) = (Submissions::new(entries).unwrap(), Completions::new(entries).unwrap());
        let mut under_way = VecDeque::new();
        let mut next = 0_u16;
        for step in steps {
            match step {
                Step::Submit if under_way.len() < usize::from(entries) - 1 => {
                    controller.commands[usize::from(ours.push())] = next;
                    under_way.push_back(next);
                    next = next.wrapping_add(1);
                }
                Step::Submit => {}
                Step::Ring => {
                    if let Some(moved) = ours.ring() {
                        prop_assert_eq!(moved.from, controller.tail);
                        prop_assert_ne!(moved.to, moved.from);
                        controller.tail = moved.to;
                    }
                }
                Step::Complete => {
                    controller.step();
                }
                Step::Look => {
                    let last = controller.completions[usize::from(theirs.place())];
                    if theirs.is_new(last) {
                        theirs.pop();
                        let id = Completion::read(0, 0, last).id;
                        prop_assert_eq!(Some(id), under_way.pop_front());
                        // As the driver does, before the tag is free for another command.
                        if let Some(moved) = theirs.ring() {
                            prop_assert_eq!(moved.from, controller.seen);
                            controller.seen = moved.to;
                        }
                    }
                }
                Step::Acknowledge => prop_assert_eq!(theirs.ring(), None),
            }
        }
        if let Some(moved) = ours.ring() {
            controller.tail = moved.to;
        }
        while controller.step() || !under_way.is_empty() {
            let last = controller.completions[usize::from(theirs.place())];
            prop_assert!(theirs.is_new(last));
            theirs.pop();
            prop_assert_eq!(Some(Completion::read(0, 0, last).id), under_way.pop_front());
            controller.seen = theirs.ring().unwrap().to;
        }
        prop_assert!(under_way.is_empty());
    }

    /// Commands are over in any order: what is erased is their own entry, and nothing that is over is left.
    #[test]
    fn a_place_is_erased_by_who_holds_it(
        entries in 2..9_u16,
        steps in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 0..400),
    ) {
        let mut queue = Submissions::new(entries).unwrap();
        let table = || vec![0; entries.into()].into_boxed_slice();
        let mut holders = Holders::new(table(), table());
        let mut content = vec![None; entries.into()];
        let mut free: Vec<u16> = (0..entries - 1).collect();
        let mut under_way = Vec::new();
        for step in steps {
            match step {
                None => if let Some(tag) = free.pop() {
                    let place = queue.push();
                    holders.put(place, tag);
                    content[usize::from(place)] = Some(tag);
                    under_way.push(tag);
                }
                Some(which) => if !under_way.is_empty() {
                    let tag = under_way.swap_remove(which.index(under_way.len()));
                    if let Some(place) = holders.take(tag) {
                        prop_assert_eq!(content[usize::from(place)].take(), Some(tag));
                    }
                    prop_assert_eq!(holders.take(tag), None);
                    free.push(tag);
                }
            }
            prop_assert!(content.iter().flatten().all(|tag| under_way.contains(tag)));
        }
        holders.clear();
        prop_assert!((0..entries).all(|tag| holders.take(tag).is_none()));
    }

    #[test]
    fn doorbells_do_not_overlap(power in 0..16_u8, queue in 0..u16::MAX) {
        let stride = Stride::of(power);
        prop_assert_eq!(stride.power(), power);
        let (tail, head) = (stride.register(Doorbell::Tail(queue)), stride.register(Doorbell::Head(queue)));
        let step = 4_u64 << power;
        prop_assert_eq!(head, tail + step);
        prop_assert_eq!(stride.register(Doorbell::Tail(queue + 1)), head + step);
        prop_assert_eq!(stride.span(queue), head + step);
        prop_assert_eq!(stride.register(Doorbell::Tail(0)), 0x1000);
    }
}

#[test]
fn there_is_no_queue_of_one_entry() {
    assert!(Submissions::new(1).is_none() && Completions::new(1).is_none());
    assert!(Submissions::new(1025).is_none() && Completions::new(1025).is_none());
}

#[test]
fn a_completion_tells_who_and_how() {
    let completion = Completion::read(7, 0x0001_0005, 0x0077 | (1 << 16) | (0x4002 << 17));
    assert_eq!(completion.id, 0x77);
    assert_eq!(completion.submission_head, 5);
    assert_eq!(completion.result, 7);
    assert_eq!(completion.status, Status(0x4002));
    assert!(!completion.status.good());
    let outcomes = [
        (0x0000, Outcome::Good),
        (0x4001, Outcome::NotSupported),
        (0x4002, Outcome::Failed),
        (0x0007, Outcome::Aborted),
        (0x4080, Outcome::NoSpace),
        (0x4281, Outcome::Medium),
    ];
    for (status, outcome) in outcomes {
        assert_eq!(Status(status).outcome(), outcome, "{status:#x}");
    }
}
