// SPDX-License-Identifier: GPL-2.0
//! Addresses, page ranges, slots and rights against naive models.

use std::collections::BTreeSet;
use std::collections::HashMap;

use proptest::prelude::*;
use skiff_model::access;
use skiff_model::access::Caller;
use skiff_model::access::NodeMask;
use skiff_model::access::Rights;
use skiff_model::access::RootTrust;
use skiff_model::addr::check_extents;
use skiff_model::addr::chunk_of;
use skiff_model::addr::BadExtent;
use skiff_model::addr::BusAddr;
use skiff_model::addr::Extent;
use skiff_model::addr::SlotBytes;
use skiff_model::addr::EXTENTS_MAX;
use skiff_model::addr::PAGE;
use skiff_model::frames::words_for;
use skiff_model::frames::FrameError;
use skiff_model::frames::Frames;
use skiff_model::ids::Gid;
use skiff_model::ids::NodeId;
use skiff_model::ids::Port;
use skiff_model::ids::PortSet;
use skiff_model::ids::Uid;
use skiff_model::ntb::CacheMode;
use skiff_model::ntb::Geometry;
use skiff_model::ntb::Side;
use skiff_model::slots::Lot;
use skiff_model::slots::Outcome;
use skiff_model::slots::Pin;
use skiff_model::slots::SlotCache;
use skiff_model::slots::SlotError;
use skiff_model::slots::SlotState;
use skiff_model::slots::Target;
use skiff_model::wire::Access;

proptest! {
    #[test]
    fn extents_are_whole_pages_that_exist(bus: u64, bytes: u64) {
        match Extent::new(BusAddr::new(bus), bytes) {
            Ok(extent) => {
                prop_assert!(bus % PAGE == 0 && bytes % PAGE == 0 && bytes > 0);
                prop_assert_eq!(extent.end().get(), bus.checked_add(bytes).unwrap());
                prop_assert_eq!(extent.at(bytes), None);
                prop_assert_eq!(extent.at(bytes - 1).unwrap().get(), bus + bytes - 1);
            }
            Err(error) => {
                let sound = bus % PAGE == 0 && bytes % PAGE == 0 && bytes > 0 && bus.checked_add(bytes).is_some();
                prop_assert!(!sound, "{}", error);
            }
        }
    }

    #[test]
    fn chunks_cover_all_addresses_once(bus: u64, order in 12..40_u32) {
        let slot = SlotBytes::new(1 << order).unwrap();
        let chunk = chunk_of(BusAddr::new(bus), slot);
        let offset = slot.offset_of(BusAddr::new(bus));
        prop_assert!(offset < slot.get());
        prop_assert_eq!(chunk.base().get() % slot.get(), 0);
        prop_assert_eq!(chunk.base().get() + offset, bus);
    }

    #[test]
    fn lists_are_as_long_as_their_segment(pages in prop::collection::vec(1..5_u64, 1..20), bytes in 1..200_000_u64) {
        let extents = pages.iter().map(|&pages| Extent::new(BusAddr::new(0), pages * PAGE).unwrap());
        let sum: u64 = pages.iter().sum::<u64>() * PAGE;
        let expected = if bytes.div_ceil(PAGE) * PAGE == sum { Ok(()) } else { Err(BadExtent::Length) };
        prop_assert_eq!(check_extents(extents, bytes), expected);
    }

    #[test]
    fn port_sets_are_sets(bits: u8, number in 0..8_u8) {
        let port = Port::new(number).unwrap();
        let mut set = PortSet::from_bits(bits);
        set.insert(port);
        prop_assert!(set.contains(port));
        prop_assert_eq!(set.iter().count() as u32, set.bits().count_ones());
        set.remove(port);
        prop_assert!(!set.contains(port));
        prop_assert_eq!(PortSet::from_bits(bits).without(set).bits(), bits & (1 << number));
    }
}

#[test]
fn a_list_has_an_end() {
    let page = Extent::new(BusAddr::new(0), PAGE).unwrap();
    let many = std::iter::repeat(page);
    assert_eq!(check_extents(many, PAGE), Err(BadExtent::TooMany));
    let most = std::iter::repeat_n(page, EXTENTS_MAX as usize);
    assert_eq!(check_extents(most, u64::from(EXTENTS_MAX) * PAGE), Ok(()));
    assert_eq!(check_extents([], 0), Err(BadExtent::Length));
    assert_eq!(check_extents([page], u64::MAX), Err(BadExtent::Length));
    let half = Extent::new(BusAddr::new(0), 1 << 63).unwrap();
    assert_eq!(check_extents([half, half], PAGE), Err(BadExtent::Overflow));
}

#[derive(Clone, Debug)]
enum Frame {
    Alloc(usize, usize),
    AllocUpTo(usize),
    Free(usize),
    FreeRange(usize, usize),
}

fn frame_steps() -> impl Strategy<Value = Vec<Frame>> {
    prop::collection::vec(
        prop_oneof![
            4 => (1..90_usize, 0..8_u32).prop_map(|(pages, order)| Frame::Alloc(pages, 1 << order)),
            1 => (1..150_usize).prop_map(Frame::AllocUpTo),
            4 => any::<prop::sample::Index>().prop_map(|i| Frame::Free(i.index(64))),
            1 => (0..300_usize, 0..300_usize).prop_map(|(first, pages)| Frame::FreeRange(first, pages)),
        ],
        1..120,
    )
}

proptest! {
    #[test]
    fn page_ranges_are_never_handed_out_twice(total in 1..300_usize, steps in frame_steps()) {
        let mut frames = Frames::new(vec![u64::MAX; words_for(total)], total).unwrap();
        let mut used = vec![false; total];
        let mut held: Vec<(usize, usize)> = Vec::new();
        for step in steps {
            match step {
                Frame::Alloc(pages, align) => {
                    let fits = (0..total)
                        .step_by(align)
                        .find(|&first| first + pages <= total && !used[first..first + pages].contains(&true));
                    prop_assert_eq!(frames.alloc(pages, align).ok(), fits);
                    if let Some(first) = fits {
                        used[first..first + pages].fill(true);
                        held.push((first, pages));
                    }
                }
                Frame::AllocUpTo(most) => {
                    let longest = (0..total)
                        .map(|first| used[first..].iter().take_while(|&&used| !used).count().min(most))
                        .max()
                        .unwrap();
                    match frames.alloc_up_to(most) {
                        Ok((first, pages)) => {
                            prop_assert_eq!(pages, longest);
                            prop_assert!(!used[first..first + pages].contains(&true));
                            used[first..first + pages].fill(true);
                            held.push((first, pages));
                        }
                        Err(error) => {
                            prop_assert_eq!((error, longest), (FrameError::NoSpace, 0));
                        }
                    }
                }
                Frame::Free(which) => {
                    if held.is_empty() {
                        continue;
                    }
                    let (first, pages) = held.swap_remove(which % held.len());
                    // A range that was partly given back before is refused as a whole.
                    let whole = !used[first..first + pages].contains(&false);
                    let expected = if whole { Ok(()) } else { Err(FrameError::DoubleFree) };
                    prop_assert_eq!(frames.free(first, pages), expected);
                    if whole {
                        used[first..first + pages].fill(false);
                    }
                }
                Frame::FreeRange(first, pages) => {
                    let expected = if pages == 0 || first + pages > total {
                        Err(FrameError::Range)
                    } else if used[first..first + pages].contains(&false) {
                        Err(FrameError::DoubleFree)
                    } else {
                        used[first..first + pages].fill(false);
                        Ok(())
                    };
                    prop_assert_eq!(frames.free(first, pages), expected);
                }
            }
            prop_assert_eq!(frames.used(), used.iter().filter(|&&used| used).count());
        }
    }
}

#[test]
fn ranges_out_of_this_world_are_refused() {
    let mut frames = Frames::new([0; 2], 128).unwrap();
    assert!(Frames::new([0; 1], 65).is_none());
    assert_eq!(frames.alloc(usize::MAX, 1), Err(FrameError::NoSpace));
    assert_eq!(frames.alloc(1, 3), Err(FrameError::Range));
    assert_eq!(frames.alloc(0, 1), Err(FrameError::Range));
    assert_eq!(frames.alloc(1, 1 << 63), Ok(0));
    assert_eq!(frames.alloc(1, 1 << 63), Err(FrameError::NoSpace));
    assert_eq!(frames.free(usize::MAX, 2), Err(FrameError::Range));
}

fn target(peer: u8, chunk: u64, mode: CacheMode) -> Target {
    let slot_bytes = SlotBytes::new(1 << 26).unwrap();
    Target {
        peer: Port::new(peer).unwrap(),
        chunk: chunk_of(BusAddr::new(chunk << 26), slot_bytes),
        mode,
        lot: Lot::SHARED,
    }
}

fn cache(slots: u8) -> SlotCache {
    let slot_bytes = SlotBytes::new(1 << 26).unwrap();
    SlotCache::new(Geometry::new(slots, slot_bytes, Side::User).unwrap())
}

/// Acquires and programs.
fn hold(cache: &mut SlotCache, target: Target) -> Pin {
    match cache.acquire(target) {
        Outcome::Hit(pin) => pin,
        Outcome::Program { pin, .. } => {
            cache.commit(&pin).unwrap();
            pin
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_slot_let_go_of_longest_ago_is_taken() {
    let mut cache = cache(3);
    let pins: Vec<Pin> = (0..3)
        .map(|n| hold(&mut cache, target(1, n, CacheMode::Wc)))
        .collect();
    assert_eq!(cache.acquire(target(2, 0, CacheMode::Wc)), Outcome::Full);
    assert_eq!(cache.pinned(), 3);
    for pin in pins.into_iter().rev() {
        cache.release(pin).unwrap();
    }
    assert_eq!(cache.pinned(), 0);
    // The last one was let go of first.
    match cache.acquire(target(2, 0, CacheMode::Wc)) {
        Outcome::Program { pin, evict } => {
            assert_eq!((pin.slot(), evict), (2, Some(target(1, 2, CacheMode::Wc))));
        }
        other => panic!("{other:?}"),
    }
    // Nobody else may use it before it is programmed.
    assert_eq!(cache.acquire(target(2, 0, CacheMode::Wc)), Outcome::Pending);
    // The cache mode is part of what a slot is.
    assert!(matches!(
        cache.acquire(target(2, 0, CacheMode::Uc)),
        Outcome::Program { .. }
    ));
}

#[test]
fn slots_are_left_for_others() {
    let mut cache = cache(3);
    let (there, more) = (target(1, 0, CacheMode::Wc), target(1, 1, CacheMode::Wc));
    let Outcome::Program { pin, .. } = cache.acquire_leaving(there, 2) else {
        panic!("two are left")
    };
    cache.commit(&pin).unwrap();
    // What leads there already takes nothing from anybody.
    assert!(matches!(
        cache.acquire_leaving(there, 2),
        Outcome::Hit(again) if again.slot() == pin.slot()
    ));
    assert_eq!(cache.acquire_leaving(more, 2), Outcome::Full);
    let others = hold(&mut cache, target(2, 0, CacheMode::Wc));
    assert_eq!(cache.acquire_leaving(more, 1), Outcome::Full);
    // One that is held no more counts, wherever it leads.
    cache.release(others).unwrap();
    assert!(matches!(
        cache.acquire_leaving(more, 1),
        Outcome::Program { evict: None, .. }
    ));
}

#[test]
fn a_slot_of_a_lot_can_be_emptied_under_its_holders() {
    let mut cache = cache(3);
    let shared = target(1, 0, CacheMode::Wc);
    let own = Target {
        lot: Lot::new(7.try_into().unwrap()),
        ..shared
    };
    let everybody = hold(&mut cache, shared);
    let (one, two) = (hold(&mut cache, own), hold(&mut cache, own));
    assert_ne!(everybody.slot(), one.slot());
    assert_eq!(one.slot(), two.slot());
    assert_eq!(cache.empty(one.slot()), Ok(Some(shared.peer)));
    cache.cleared(one.slot()).unwrap();
    // Once is enough. Its holders can have it back.
    assert_eq!(cache.empty(one.slot()), Ok(None));
    assert_eq!(cache.revive(one.slot()), Ok(Some(own)));
    assert_eq!(cache.revive(one.slot()), Ok(None));
    assert_eq!(cache.empty(one.slot()), Ok(Some(shared.peer)));
    assert_eq!(cache.revive(one.slot()), Err(SlotError::State));
    cache.cleared(one.slot()).unwrap();
    // Who comes now gets another slot, and then it is too late.
    assert_eq!(cache.empty(one.slot()), Ok(None));
    let three = hold(&mut cache, own);
    assert_ne!(three.slot(), one.slot());
    assert_eq!(cache.revive(one.slot()), Err(SlotError::State));
    // All are taken as long as the emptied one is held.
    assert_eq!(cache.acquire(target(2, 0, CacheMode::Wc)), Outcome::Full);
    cache.release(one).unwrap();
    assert_eq!(cache.acquire(target(2, 0, CacheMode::Wc)), Outcome::Full);
    cache.release(two).unwrap();
    assert!(matches!(
        cache.acquire(target(2, 0, CacheMode::Wc)),
        Outcome::Program { evict: None, .. }
    ));
    // The others were not touched.
    assert_eq!(hold(&mut cache, shared).slot(), everybody.slot());
}

#[test]
fn a_slot_of_a_lost_peer_is_free_when_cleared_and_let_go_of() {
    let mut cache = cache(2);
    let one = hold(&mut cache, target(1, 0, CacheMode::Wc));
    let Outcome::Program { pin: two, .. } = cache.acquire(target(1, 1, CacheMode::Wc)) else {
        panic!("a free slot")
    };
    let lost = cache.forget(Port::new(1).unwrap());
    assert!(lost.iter().eq([0, 1]));
    assert_eq!(cache.commit(&two), Err(SlotError::Lost));
    assert_eq!(cache.acquire(target(1, 0, CacheMode::Wc)), Outcome::Full);
    cache.cleared(0).unwrap();
    assert_eq!(cache.acquire(target(2, 0, CacheMode::Wc)), Outcome::Full);
    cache.release(one).unwrap();
    cache.abort(two).unwrap();
    assert_eq!(cache.cleared(0), Err(SlotError::State));
    assert!(matches!(
        cache.acquire(target(2, 0, CacheMode::Wc)),
        Outcome::Program { evict: None, .. }
    ));
    assert_eq!(cache.acquire(target(2, 1, CacheMode::Wc)), Outcome::Full);
    cache.cleared(1).unwrap();
    assert!(matches!(
        cache.acquire(target(2, 1, CacheMode::Wc)),
        Outcome::Program { evict: None, .. }
    ));
}

#[test]
fn a_slot_is_retired_by_its_last_holder() {
    let mut cache = cache(1);
    let there = target(1, 0, CacheMode::Uc);
    let one = hold(&mut cache, there);
    let two = hold(&mut cache, there);
    assert_eq!(cache.retire(one), Ok(None));
    assert_eq!(cache.cleared(0), Err(SlotError::State));
    assert_eq!(cache.retire(two), Ok(Some(there.peer)));
    // It still leads there: nobody gets it before it is cleared, not even for the same target.
    assert_eq!(cache.acquire(there), Outcome::Full);
    cache.cleared(0).unwrap();
    let last = hold(&mut cache, there);
    // Whoever forgets the peer has it cleared.
    assert!(cache.forget(there.peer).iter().eq([0]));
    assert_eq!(cache.retire(last), Ok(None));
    cache.cleared(0).unwrap();
}

#[derive(Clone, Debug)]
enum Slot {
    Acquire(u8, u64, bool),
    Abort(u8, u64),
    Release(usize),
    Retire(usize),
    Forget(u8),
    Clear,
}

fn slot_steps() -> impl Strategy<Value = Vec<Slot>> {
    prop::collection::vec(
        prop_oneof![
            6 => (0..3_u8, 0..4_u64, any::<bool>()).prop_map(|(p, c, m)| Slot::Acquire(p, c, m)),
            1 => (0..3_u8, 0..4_u64).prop_map(|(p, c)| Slot::Abort(p, c)),
            5 => (0..64_usize).prop_map(Slot::Release),
            2 => (0..64_usize).prop_map(Slot::Retire),
            1 => (0..3_u8).prop_map(Slot::Forget),
            2 => Just(Slot::Clear),
        ],
        1..200,
    )
}

proptest! {
    #[test]
    fn a_pinned_slot_never_changes_its_target(slots in 1..13_u8, steps in slot_steps()) {
        let mut cache = cache(slots);
        let mut held: Vec<(Pin, Target)> = Vec::new();
        // What the hardware does, as the caller has been told to program it.
        let mut hardware: HashMap<u8, Target> = HashMap::new();
        let mut to_clear: BTreeSet<u8> = BTreeSet::new();
        for step in steps {
            match step {
                Slot::Acquire(peer, chunk, uncached) => {
                    let want = target(peer, chunk, if uncached { CacheMode::Uc } else { CacheMode::Wc });
                    match cache.acquire(want) {
                        Outcome::Hit(pin) => {
                            prop_assert_eq!(hardware.get(&pin.slot()), Some(&want));
                            prop_assert!(!to_clear.contains(&pin.slot()));
                            held.push((pin, want));
                        }
                        Outcome::Program { pin, evict } => {
                            prop_assert!(held.iter().all(|(held, _)| held.slot() != pin.slot()));
                            prop_assert!(!to_clear.contains(&pin.slot()));
                            prop_assert_eq!(hardware.get(&pin.slot()).copied(), evict);
                            hardware.insert(pin.slot(), want);
                            cache.commit(&pin).unwrap();
                            held.push((pin, want));
                        }
                        Outcome::Pending => prop_assert!(false, "nothing is being programmed"),
                        Outcome::Full => {
                            let busy = (0..slots).filter(|slot| {
                                to_clear.contains(slot) || held.iter().any(|(pin, _)| pin.slot() == *slot)
                            });
                            prop_assert_eq!(busy.count(), usize::from(slots));
                        }
                    }
                }
                Slot::Abort(peer, chunk) => {
                    if let Outcome::Program { pin, .. } = cache.acquire(target(peer, chunk + 10, CacheMode::Wc)) {
                        hardware.remove(&pin.slot());
                        cache.abort(pin).unwrap();
                    }
                }
                Slot::Release(which) => {
                    if !held.is_empty() {
                        let (pin, _) = held.swap_remove(which % held.len());
                        cache.release(pin).unwrap();
                    }
                }
                Slot::Retire(which) => {
                    if !held.is_empty() {
                        let (pin, there) = held.swap_remove(which % held.len());
                        let slot = pin.slot();
                        let others = held.iter().any(|(pin, _)| pin.slot() == slot);
                        let known = to_clear.contains(&slot) || !hardware.contains_key(&slot);
                        let expected = (!others && !known).then_some(there.peer);
                        prop_assert_eq!(cache.retire(pin), Ok(expected));
                        if expected.is_some() {
                            to_clear.insert(slot);
                        }
                    }
                }
                Slot::Forget(peer) => {
                    let port = Port::new(peer).unwrap();
                    for slot in cache.forget(port).iter() {
                        prop_assert_eq!(hardware[&slot].peer, port);
                        to_clear.insert(slot);
                    }
                    prop_assert!(hardware.iter().all(|(slot, there)| there.peer != port || to_clear.contains(slot)));
                }
                Slot::Clear => {
                    for slot in std::mem::take(&mut to_clear) {
                        hardware.remove(&slot);
                        cache.cleared(slot).unwrap();
                    }
                }
            }
            // No slot leads elsewhere than its holders believe; lost ones lead nowhere sooner or later.
            for (pin, want) in &held {
                let there = hardware.get(&pin.slot());
                prop_assert!(there.is_none() || there == Some(want));
            }
            let pinned: BTreeSet<u8> = held.iter().map(|(pin, _)| pin.slot()).collect();
            prop_assert_eq!(usize::from(cache.pinned()), pinned.len());
        }
        for (pin, _) in held {
            cache.release(pin).unwrap();
        }
        for slot in to_clear {
            cache.cleared(slot).unwrap();
        }
        for (_, state, pins) in cache.iter() {
            prop_assert_eq!(pins, 0);
            prop_assert!(matches!(state, SlotState::Free | SlotState::Live(_)));
        }
    }
}

#[test]
fn slots_that_do_not_exist_are_an_error() {
    let mut cache = cache(2);
    assert_eq!(cache.cleared(2), Err(SlotError::State));
    assert_eq!(cache.cleared(255), Err(SlotError::State));
    let pin = cache.install(1, target(1, 0, CacheMode::Uc)).unwrap();
    assert_eq!(
        cache.install(1, target(1, 1, CacheMode::Uc)),
        Err(SlotError::State)
    );
    assert_eq!(
        cache.install(0, target(1, 0, CacheMode::Uc)),
        Err(SlotError::State)
    );
    assert!(
        matches!(cache.acquire(target(1, 0, CacheMode::Uc)), Outcome::Hit(pin) if pin.slot() == 1)
    );
    assert_eq!(pin.slot(), 1);
}

proptest! {
    #[test]
    fn rights_are_those_of_files(
        mode in 0..=0o777_u32,
        owner in (0..4_u32, 0..4_u32),
        who in (0..4_u32, 0..4_u32),
        node in prop::option::of(0..64_u32),
        mask: u64,
        trust: bool,
        read_only: bool,
    ) {
        let rights = Rights {
            uid: Uid::new(owner.0),
            gid: Gid::new(owner.1),
            mode,
            nodes: NodeMask::from_bits(mask),
        };
        let (uid, gid) = (Uid::new(who.0), Gid::new(who.1));
        let (caller, squashed) = match node.and_then(NodeId::new) {
            None => (Caller::local(uid, gid), false),
            Some(node) => {
                let root = if trust { RootTrust::Trust } else { RootTrust::Squash };
                (Caller::remote(node, uid, gid, root), !trust)
            }
        };
        let nobody = |id: u32| if squashed && id == 0 { 65534 } else { id };
        let (uid, gid) = (nobody(who.0), nobody(who.1));
        let digit = if uid == owner.0 { mode >> 6 } else if gid == owner.1 { mode >> 3 } else { mode };
        let listed = node.is_none_or(|node| mask == 0 || (mask >> node) & 1 == 1);
        let wanted = if read_only { 0o4 } else { 0o6 };
        let access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
        let expected = listed && (uid == 0 || digit & wanted == wanted);
        prop_assert_eq!(access::check(&rights, &caller, access).is_ok(), expected);
    }
}

#[test]
fn a_peers_root_is_nobody() {
    let rights = Rights {
        uid: Uid::new(0),
        gid: Gid::new(0),
        mode: 0o770,
        nodes: NodeMask::from_bits(0),
    };
    let node = NodeId::new(3).unwrap();
    let root = |trust| Caller::remote(node, Uid::new(0), Gid::new(0), trust);
    assert!(access::check(&rights, &root(RootTrust::Squash), Access::ReadOnly).is_err());
    assert!(access::check(&rights, &root(RootTrust::Trust), Access::ReadWrite).is_ok());
    assert!(access::check(
        &rights,
        &Caller::local(Uid::new(0), Gid::new(0)),
        Access::ReadWrite
    )
    .is_ok());
}
