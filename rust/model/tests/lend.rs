// SPDX-License-Identifier: GPL-2.0
//! The rules of lending against the plainest way to say them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use skiff_model::ids::BorrowId;
use skiff_model::ids::DeviceIndex;
use skiff_model::ids::Fdid;
use skiff_model::ids::NodeId;
use skiff_model::lend::Borrowers;
use skiff_model::lend::Denied;
use skiff_model::lend::Filter;
use skiff_model::lend::Hints;
use skiff_model::lend::Remains;
use skiff_model::lend::Side;
use skiff_model::lend::BORROWS_MAX;
use skiff_model::wire::DeviceInfo;
use skiff_model::wire::DeviceMemory;
use skiff_model::wire::DeviceState;
use skiff_model::wire::Share;

// Not all of it is used here.
#[allow(dead_code)]
mod messages;

#[test]
fn ids_of_devices_are_the_same_everywhere() {
    for number in 0..64 {
        let node = NodeId::new(number).unwrap();
        for index in [0, 1, 255, u16::MAX] {
            let fdid = Fdid::of(node, DeviceIndex::new(index));
            assert_eq!(fdid.get() >> 16, 4 * (number + 1));
            assert_eq!(fdid.get() & 0xffff, u32::from(index));
            assert_eq!(fdid.node(), Some(node));
            assert_eq!(fdid.index().get(), index);
        }
    }
    for upper in (0..=u16::MAX).filter(|upper| upper % 4 != 0 || *upper == 0 || *upper > 256) {
        assert_eq!(Fdid::new((u32::from(upper) << 16) | 7).node(), None);
    }
}

/// Somebody.
type Who = u8;

#[derive(Clone, Copy, Debug)]
enum Step {
    MakeAvailable,
    MakeUnavailable,
    Fail,
    Borrow(Who, Share),
    EndOne(usize),
    EndOf(Who),
    TakeAll,
    Release(usize),
    ReleaseExclusive(usize),
    Check(usize, Who),
}

fn step() -> impl Strategy<Value = Step> {
    let share = prop_oneof![4 => Just(Share::Shared), 1 => Just(Share::Exclusive)];
    prop_oneof![
        2 => Just(Step::MakeAvailable),
        1 => Just(Step::MakeUnavailable),
        1 => prop::sample::select(vec![Step::Fail, Step::TakeAll]),
        20 => (0..4_u8, share).prop_map(|(who, share)| Step::Borrow(who, share)),
        3 => (0..100_usize).prop_map(Step::EndOne),
        1 => (0..4_u8).prop_map(Step::EndOf),
        6 => (0..100_usize).prop_map(Step::Release),
        3 => (0..100_usize).prop_map(Step::ReleaseExclusive),
        2 => (0..100_usize, 0..4_u8).prop_map(|(which, who)| Step::Check(which, who)),
    ]
}

/// What there is to be known of a borrow.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    who: Who,
    share: Share,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Unavailable,
    Available,
    Broken,
}

/// The rules, said plainly.
struct Plain {
    condition: Condition,
    borrows: BTreeMap<u32, Known>,
    /// All ids that there ever were.
    named: Vec<BorrowId>,
}

impl Plain {
    fn exclusive(&self) -> bool {
        self.borrows
            .values()
            .any(|known| known.share == Share::Exclusive)
    }

    fn state(&self) -> DeviceState {
        match self.condition {
            Condition::Unavailable => DeviceState::Unavailable,
            Condition::Broken => DeviceState::Broken,
            Condition::Available if self.borrows.is_empty() => DeviceState::Available,
            Condition::Available if self.exclusive() => DeviceState::Exclusive,
            Condition::Available => DeviceState::Borrowed,
        }
    }

    fn may_borrow(&self, share: Share) -> bool {
        let free = match share {
            Share::Exclusive => self.borrows.is_empty(),
            Share::Shared => !self.exclusive(),
        };
        self.condition == Condition::Available
            && free
            && self.borrows.values().all(|known| !known.over)
            && self.borrows.len() < BORROWS_MAX
    }

    fn end(&mut self, meant: impl Fn(u32, Who) -> bool) -> Option<Remains> {
        let mut ended = false;
        for (id, known) in &mut self.borrows {
            if !known.over && meant(*id, known.who) {
                known.over = true;
                ended = true;
            }
        }
        let others = self.borrows.values().any(|known| !known.over);
        ended.then_some(if others {
            Remains::Others
        } else {
            Remains::Nobody
        })
    }

    fn pick(&self, which: usize) -> BorrowId {
        match self.named.len() {
            0 => BorrowId::new(17),
            // Mostly one of the last.
            count => self.named[count - 1 - which % count.min(12)],
        }
    }
}

fn walk(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let index = DeviceIndex::new(9);
    let mut books = Borrowers::<Who>::new(index);
    let mut plain = Plain {
        condition: Condition::Unavailable,
        borrows: BTreeMap::new(),
        named: Vec::new(),
    };
    for step in steps {
        match step {
            Step::MakeAvailable => {
                let may = plain.condition != Condition::Available && plain.borrows.is_empty();
                prop_assert_eq!(books.make_available().is_ok(), may);
                if may {
                    plain.condition = Condition::Available;
                }
            }
            Step::MakeUnavailable => {
                let may = plain.condition == Condition::Available && plain.borrows.is_empty();
                prop_assert_eq!(books.make_unavailable().is_ok(), may);
                if may {
                    plain.condition = Condition::Unavailable;
                }
            }
            Step::Fail => {
                books.fail();
                plain.condition = Condition::Broken;
            }
            Step::Borrow(who, share) => match books.borrow(who, share) {
                Ok(id) => {
                    prop_assert!(plain.may_borrow(share));
                    prop_assert_eq!(id.index(), index);
                    let known = Known {
                        who,
                        share,
                        over: false,
                    };
                    prop_assert_eq!(plain.borrows.insert(id.get(), known), None);
                    plain.named.push(id);
                }
                Err(denied) => {
                    prop_assert_eq!(denied, Denied::Busy);
                    prop_assert!(!plain.may_borrow(share));
                }
            },
            Step::EndOne(which) => {
                let id = plain.pick(which);
                let remains = plain.end(|borrow, _| borrow == id.get());
                prop_assert_eq!(books.end(|borrow, _| borrow == id), remains);
            }
            Step::EndOf(who) => {
                let remains = plain.end(|_, has| has == who);
                prop_assert_eq!(books.end(|_, has| has == who), remains);
            }
            Step::TakeAll => prop_assert_eq!(books.take_all(), plain.end(|_, _| true)),
            Step::Release(which) => {
                let id = plain.pick(which);
                let wanted = match plain.borrows.get(&id.get()) {
                    None => Err(Denied::Ended),
                    Some(known) if !known.over => Err(Denied::Busy),
                    Some(_) => Ok(()),
                };
                if wanted.is_ok() {
                    let others = plain.borrows.len() > 1;
                    prop_assert_eq!(books.beside(id) == Remains::Others, others);
                    plain.borrows.remove(&id.get());
                }
                prop_assert_eq!(books.release(id), wanted);
            }
            Step::ReleaseExclusive(which) => {
                let id = plain.pick(which);
                let wanted = match plain.borrows.get_mut(&id.get()) {
                    Some(known) if !known.over && known.share == Share::Exclusive => {
                        known.share = Share::Shared;
                        Ok(())
                    }
                    Some(known) if !known.over => Err(Denied::Busy),
                    _ => Err(Denied::Ended),
                };
                prop_assert_eq!(books.check_exclusive(id), wanted);
                prop_assert_eq!(books.release_exclusive(id), wanted);
            }
            Step::Check(which, who) => {
                let id = plain.pick(which);
                let known = plain.borrows.get(&id.get()).filter(|known| !known.over);
                prop_assert_eq!(books.who(id), known.map(|known| known.who));
                let theirs = known.is_some_and(|known| known.who == who);
                prop_assert_eq!(books.check(id, who).is_ok(), theirs);
            }
        }
        prop_assert_eq!(books.state(), plain.state());
        prop_assert_eq!(books.is_empty(), plain.borrows.is_empty());
        let mut good: Vec<_> = books.good().map(|(id, who)| (id.get(), who)).collect();
        good.sort_unstable();
        let wanted = plain.borrows.iter().filter(|(_, known)| !known.over);
        let wanted: Vec<_> = wanted.map(|(id, known)| (*id, known.who)).collect();
        prop_assert_eq!(good, wanted);
        match books.next_ended() {
            Some((id, who)) => {
                let known = plain.borrows.get(&id.get());
                prop_assert!(known.is_some_and(|known| known.over && known.who == who));
            }
            None => prop_assert!(plain.borrows.values().all(|known| !known.over)),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn books_of_borrows_are_right(steps in prop::collection::vec(step(), 0..200)) {
        walk(steps)?;
    }

    #[test]
    fn a_filter_looks_at_what_it_says(
        info in messages::lend::info(),
        other in messages::lend::info(),
        fields in 0..1_u32 << 9,
        mask: u32,
        nodes in (0..64_u32, 0..64_u32),
    ) {
        let (node, of) = (NodeId::new(nodes.0).unwrap(), NodeId::new(nodes.1).unwrap());
        let fdid = Fdid::of(node, info.index);
        let on = |field: u32| fields & (1 << field) != 0;
        let like = |of: NodeId, info: &DeviceInfo| Filter {
            node: on(0).then_some(of),
            state: on(1).then_some(info.state),
            class: on(2).then_some((info.class, mask)),
            vendor: on(3).then_some(info.vendor),
            device: on(4).then_some(info.device),
            subvendor: on(5).then_some(info.subvendor),
            subdevice: on(6).then_some(info.subdevice),
            serial: on(7).then_some(info.serial),
            place: on(8).then_some((info.domain, info.bdf)),
        };
        prop_assert!(like(node, &info).matches(fdid, &info));
        let same = [
            node == of,
            info.state == other.state,
            info.class & mask == other.class & mask,
            info.vendor == other.vendor,
            info.device == other.device,
            info.subvendor == other.subvendor,
            info.subdevice == other.subdevice,
            info.serial == other.serial,
            info.domain == other.domain && info.bdf == other.bdf,
        ];
        let wanted = (0..9).all(|field| !on(field) || same[field as usize]);
        prop_assert_eq!(like(of, &other).matches(fdid, &info), wanted);
        // One field alone tells others apart.
        let mut near = info;
        near.serial ^= 1;
        near.vendor ^= 1;
        near.state = if info.state == DeviceState::Broken { DeviceState::Available } else { DeviceState::Broken };
        near.class ^= 1;
        near.subdevice ^= 1;
        let hit = on(7) || on(3) || on(1) || on(6) || (on(2) && mask & 1 != 0);
        prop_assert_eq!(like(node, &near).matches(fdid, &info), !hit);
    }
}

#[test]
fn all_places_can_be_had_and_no_more() {
    let mut books = Borrowers::new(DeviceIndex::new(u16::MAX));
    assert_eq!(books.borrow(0, Share::Shared), Err(Denied::Busy));
    books.make_available().unwrap();
    // Numbers start anew and none is given twice.
    for round in 0..3000_u32 {
        let ids: Vec<_> = (0..BORROWS_MAX)
            .map(|_| books.borrow(round, Share::Shared).unwrap())
            .collect();
        assert_eq!(books.borrow(round, Share::Shared), Err(Denied::Busy));
        for id in &ids {
            assert_eq!(books.check(*id, round), Ok(()));
        }
        assert_eq!(books.take_all(), Some(Remains::Nobody));
        assert_eq!(books.take_all(), None);
        for id in ids {
            assert_eq!(books.borrow(round, Share::Shared), Err(Denied::Busy));
            books.release(id).unwrap();
        }
    }
}

#[test]
fn one_who_stays_keeps_the_number_that_comes_round() {
    let mut books = Borrowers::new(DeviceIndex::new(1));
    books.make_available().unwrap();
    let stays = books.borrow(1, Share::Shared).unwrap();
    for _ in 0..70_000 {
        let id = books.borrow(2, Share::Shared).unwrap();
        assert_ne!(id, stays);
        assert_eq!(books.end(|borrow, _| borrow == id), Some(Remains::Others));
        books.release(id).unwrap();
    }
    assert_eq!(books.who(stays), Some(1));
}

#[test]
fn memory_is_made_where_it_is_read() {
    let side = |kind, bits| Hints::from_bits(bits).map(|hints| hints.side(kind));
    let [device_reads, device_writes, host_reads, host_writes, many] = [
        Hints::DEVICE_READ,
        Hints::DEVICE_WRITE,
        Hints::HOST_READ,
        Hints::HOST_WRITE,
        Hints::MULTIHOST,
    ];
    for (bits, wanted) in [
        (0, Side::Lender),
        (device_reads | host_writes, Side::Lender),
        (device_writes | host_reads, Side::Borrower),
        (device_reads | host_reads, Side::Borrower),
        (host_reads, Side::Borrower),
        (host_writes, Side::Lender),
        (device_writes | host_reads | many, Side::Lender),
        (device_reads | Hints::PEER, Side::Lender),
    ] {
        assert_eq!(side(DeviceMemory::Private, bits), Some(wanted), "{bits:#x}");
        assert_eq!(side(DeviceMemory::Shared, bits), Some(Side::Lender));
    }
    // What SISCI's programs say: P2P_READ, MULTIHOST_WRITE.
    assert_eq!(
        (Hints::DEVICE_READ | Hints::PEER, host_writes | many),
        (0x21, 0x18)
    );
    assert_eq!(Hints::from_bits(Hints::PEER << 1), None);
}
