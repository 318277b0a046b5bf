// SPDX-License-Identifier: GPL-2.0
//! Shadow doorbells: who rings, and that nobody waits for ever.

use proptest::prelude::*;
use skiff_nvme_model::command::Command;
use skiff_nvme_model::doorbell::Doorbell;
use skiff_nvme_model::doorbell::Stride;
use skiff_nvme_model::queue::Completions;
use skiff_nvme_model::queue::Moved;
use skiff_nvme_model::queue::Submissions;
use skiff_nvme_model::shadow::fits;
use skiff_nvme_model::shadow::place;
use skiff_nvme_model::shadow::wanted;

/// Whether going from `moved.from` to `moved.to` in a ring of so many values leaves `event`.
fn leaves(event: u16, moved: Moved, ring: u32) -> bool {
    let mut at = u32::from(moved.from);
    while at != u32::from(moved.to) {
        if at == u32::from(event) {
            return true;
        }
        at = (at + 1) % ring;
    }
    false
}

/// What driver and controller do, one memory access at a time. The controller works until its last load of the shadow tells it
/// nothing new, then sleeps until the doorbell.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The driver has the next command.
    Push,
    /// The driver's next access: store of the shadow, load of the event index, doorbell.
    Driver,
    /// The controller's next access: a command, store of the event index, load of the shadow.
    Controller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Idle,
    Stored(Moved),
    Rings(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Sleeps,
    Works,
    StoresEvent,
    LoadsShadow,
}

struct World {
    entries: u16,
    shadow: u16,
    event: u16,
    driver: Driver,
    device: Device,
    /// The controller's own.
    head: u16,
    tail: u16,
    doorbells: usize,
}

impl World {
    fn driver(&mut self, ours: &mut Submissions) {
        self.driver = match self.driver {
            Driver::Idle => match ours.ring() {
                Some(moved) => {
                    self.shadow = moved.to;
                    Driver::Stored(moved)
                }
                None => Driver::Idle,
            },
            // Of 32 bits, half of which mean nothing.
            Driver::Stored(moved) if wanted(0xabcd_0000 | u32::from(self.event), moved) => {
                Driver::Rings(moved.to)
            }
            Driver::Stored(_) => Driver::Idle,
            Driver::Rings(tail) => {
                self.doorbells += 1;
                self.tail = tail;
                if self.device == Device::Sleeps {
                    // It looks at the shadow before anything else, which may say more than the doorbell.
                    self.device = Device::LoadsShadow;
                }
                Driver::Idle
            }
        };
    }

    fn controller(&mut self) {
        self.device = match self.device {
            Device::Sleeps => Device::Sleeps,
            Device::Works if self.head == self.tail => Device::Sleeps,
            Device::Works => {
                self.head = (self.head + 1) % self.entries;
                Device::StoresEvent
            }
            Device::StoresEvent => {
                self.event = self.tail;
                Device::LoadsShadow
            }
            Device::LoadsShadow => {
                self.tail = self.shadow;
                Device::Works
            }
        };
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![Just(Step::Push), Just(Step::Driver), Just(Step::Controller)];
    prop::collection::vec(step, 0..600)
}

proptest! {
    /// However the accesses of both fall between each other, the controller sleeps on nothing.
    #[test]
    fn no_command_is_slept_on(entries in 2..9_u16, steps in steps()) {
        let mut ours = Submissions::new(entries).unwrap();
        let mut world = World {
            entries,
            shadow: 0,
            event: 0,
            driver: Driver::Idle,
            device: Device::Sleeps,
            head: 0,
            tail: 0,
            doorbells: 0,
        };
        let mut pushed = 0_u16;
        for step in steps {
            match step {
                // As many as fit, less one, from what the controller has taken.
                Step::Push => {
                    let under_way = (pushed % entries + entries - world.head) % entries;
                    if under_way < entries - 1 {
                        prop_assert_eq!(ours.push(), pushed % entries);
                        pushed += 1;
                    }
                }
                Step::Driver => world.driver(&mut ours),
                Step::Controller => world.controller(),
            }
        }
        // Two steps for each access of what is left.
        for _ in 0..4 * u32::from(entries) + 8 {
            world.driver(&mut ours);
            world.controller();
        }
        prop_assert_eq!(world.device, Device::Sleeps);
        prop_assert_eq!(world.head, pushed % entries);
        prop_assert!(world.doorbells <= usize::from(pushed));
    }

    /// In a ring of any length, and in the ring of all numbers of 16 bits.
    #[test]
    fn the_doorbell_is_wanted_when_the_event_is_passed(
        ring in 2..=1024_u32, values in any::<[u16; 3]>(), garbage: u16,
    ) {
        for ring in [ring, 1 << 16] {
            let [event, from, to] = values.map(|value| (u32::from(value) % ring) as u16);
            let moved = Moved { from, to };
            let said = u32::from(event) | (u32::from(garbage) << 16);
            prop_assert_eq!(wanted(said, moved), leaves(event, moved, ring), "{} {:?}", event, moved);
        }
    }

    /// Whatever the event index is, a queue without interrupts rings for each half of it, and what it has not told never fills it.
    #[test]
    fn a_late_doorbell_is_not_too_late(entries in 2..=64_u16, batches in prop::collection::vec(1..64_u16, 1..64)) {
        let mut ours = Completions::new(entries).unwrap();
        let (mut read, mut told) = (0_u32, 0_u32);
        for batch in batches {
            for _ in 0..batch.min(entries - 1) {
                // A controller with no room posts nothing.
                if read - told == u32::from(entries) - 1 {
                    break;
                }
                ours.pop();
                read += 1;
            }
            let due = read - told >= u32::from(entries / 2);
            let rung = ours.ring_late();
            prop_assert_eq!(rung.is_some(), due && read != told);
            if let Some(moved) = rung {
                prop_assert_eq!(u32::from(moved.from), told % u32::from(entries));
                prop_assert_eq!(u32::from(moved.to), read % u32::from(entries));
                told = read;
            }
            prop_assert!(read - told < u32::from(entries) - 1 || entries == 2, "no room is left");
        }
    }
}

#[test]
fn shadows_lie_as_doorbells_do() {
    assert_eq!(place(Stride::of(0), Doorbell::Tail(0)), 0);
    assert_eq!(place(Stride::of(0), Doorbell::Head(3)), 28);
    assert_eq!(place(Stride::of(2), Doorbell::Tail(1)), 32);
    assert!(fits(Stride::of(0), 511) && !fits(Stride::of(0), 512));
    assert!(fits(Stride::of(3), 63) && !fits(Stride::of(4), 63));
}

#[test]
fn the_command_names_both_pages() {
    let entry = Command::set_shadows(0x1_0000_2000, 0x3000).entry(9);
    assert_eq!(entry[..4], [0x7c, 0, 9, 0]);
    assert_eq!(entry[24..32], 0x1_0000_2000_u64.to_le_bytes());
    assert_eq!(entry[32..40], 0x3000_u64.to_le_bytes());
    assert!(entry[40..].iter().all(|byte| *byte == 0));
}
