// SPDX-License-Identifier: GPL-2.0
//! Properties: random nodes keep the switch's rules, spaces and views agree with naive maps of bytes and pages.

mod idt;

use idt::*;
use ntb_switch::model::fuzz::fuzz_feed;
use ntb_switch::model::Bar;
use ntb_switch::model::PortConfig;
use ntb_switch::model::Route;
use ntb_switch::model::Switch;
use ntb_switch::model::Windows;
use ntb_switch::space::Access;
use ntb_switch::space::Backing;
use ntb_switch::space::FileId;
use ntb_switch::space::Space;
use ntb_switch::view::Shown;
use ntb_switch::view::View;
use ntb_switch::view::PAGE;
use proptest::collection::vec;
use proptest::prelude::*;

/// Addresses of the naive maps.
const NAIVE: u64 = 96;

/// One change of a space.
#[derive(Clone, Copy, Debug)]
enum Change {
    Insert(u64, u64, Backing),
    Remove(u64, u64),
}

fn backing() -> impl Strategy<Value = Backing> {
    (0..3u32, 0..40u64, any::<bool>()).prop_map(|(file, offset, writable)| Backing {
        file: FileId(file),
        offset,
        access: if writable {
            Access::ReadWrite
        } else {
            Access::Read
        },
    })
}

fn change() -> impl Strategy<Value = Change> {
    let range = (0..NAIVE).prop_flat_map(|addr| (Just(addr), 1..=NAIVE - addr));
    prop_oneof![
        2 => (range.clone(), backing()).prop_map(|((addr, len), backing)| Change::Insert(addr, len, backing)),
        1 => range.prop_map(|(addr, len)| Change::Remove(addr, len)),
    ]
}

/// Applies a change to a space whose addresses are scaled by `unit`, and to its map.
fn apply(space: &mut Space, naive: &mut [Option<Backing>], change: Change, unit: u64) {
    match change {
        Change::Insert(addr, len, backing) => {
            let scaled = Backing {
                offset: backing.offset * unit,
                ..backing
            };
            space
                .insert(addr * unit, len * unit, scaled)
                .expect("a range");
            for at in 0..len {
                naive[(addr + at) as usize] = Some(backing.advanced(at));
            }
        }
        Change::Remove(addr, len) => {
            space.remove(addr * unit, len * unit).expect("a range");
            naive[addr as usize..(addr + len) as usize].fill(None);
        }
    }
}

proptest! {
    #[test]
    fn random_nodes_keep_the_rules(bytes in vec(any::<u8>(), 0..1200)) {
        fuzz_feed(&bytes);
    }

    #[test]
    fn a_space_is_a_map_of_bytes(changes in vec(change(), 0..40), from in 0..NAIVE, len in 1..NAIVE) {
        let mut space = Space::new();
        let mut naive = vec![None; NAIVE as usize];
        for change in changes {
            apply(&mut space, &mut naive, change, 1);
            for at in 0..NAIVE {
                let extent = space.lookup(at);
                prop_assert_eq!((extent.addr, extent.backing), (at, naive[at as usize]));
                // The extent runs exactly to the next change.
                let same = |to: u64| {
                    let expected = extent.backing.map(|backing| backing.advanced(to - at));
                    naive.get(to as usize).copied().flatten() == expected
                };
                prop_assert!((at..(at + extent.len).min(NAIVE)).all(same));
                prop_assert!(at + extent.len >= NAIVE || !same(at + extent.len));
            }
            let mapped: u64 = space.mapped().map(|extent| extent.len).sum();
            prop_assert_eq!(mapped, naive.iter().flatten().count() as u64);
            prop_assert_eq!(space.is_empty(), mapped == 0);
        }
        let mut at = from;
        for piece in space.pieces(from, len) {
            prop_assert_eq!(piece.addr, at);
            prop_assert_eq!(piece.backing, naive.get(at as usize).copied().flatten());
            at += piece.len;
        }
        prop_assert_eq!(at, from + len);
        space.clear();
        prop_assert!(space.is_empty());
    }

    #[test]
    fn a_view_shows_whole_writable_pages(
        before in vec(change(), 0..12),
        after in vec(change(), 0..12),
        slots in vec((0..NAIVE * 4, any::<bool>()), 12),
    ) {
        // Slots of two pages; addresses and spaces in quarters of a page.
        let unit = PAGE / 4;
        let aperture = 32 * PAGE;
        let size = PortConfig { memory_aperture: aperture, device_aperture: aperture, ..config(Windows::Lut12) };
        let mut fabric = Fabric::new(2, Windows::Lut12);
        fabric.switch = Switch::new(&[size; 2]).expect("a good set of ports");
        fabric.attach(0);
        fabric.attach(1);
        let drivers = [Idt::probe(&mut fabric, 0), Idt::probe(&mut fabric, 1)];
        for driver in &drivers {
            driver.link_enable(&mut fabric);
        }
        let mut space = Space::new();
        let mut naive = vec![None; NAIVE as usize];
        let mut last = View::dead(aperture);
        for (round, changes) in [before, after].into_iter().enumerate() {
            for change in changes {
                apply(&mut space, &mut naive, change, unit);
            }
            for (slot, (addr, valid)) in slots.iter().enumerate() {
                // In the second round some slots move.
                let addr = (addr + if slot % 3 == 0 { round as u64 } else { 0 }) * unit;
                match valid {
                    true => drivers[0].set_trans(&mut fabric, 1, slot, addr, 2 * PAGE),
                    false => drivers[0].clear_trans(&mut fabric, slot),
                }
            }
            let view = View::build(&fabric.switch, port(0), Bar::Memory, |_| &space);
            prop_assert_eq!(view.size(), aperture);
            let mut next = 0;
            for piece in view.pieces() {
                prop_assert_eq!(piece.offset, next);
                next += piece.len;
                for page in (piece.offset..next).step_by(PAGE as usize) {
                    let quarter = |index: u64| match fabric.switch.route(port(0), Bar::Memory, page + index * unit) {
                        Route::Memory { addr, .. } => naive.get((addr / unit) as usize).copied().flatten(),
                        Route::Unsupported { .. } => None,
                    };
                    let first = quarter(0).filter(|first: &Backing| {
                        first.access == Access::ReadWrite
                            && first.offset % 4 == 0
                            && (1..4).all(|index| quarter(index) == Some(first.advanced(index)))
                    });
                    let expected = first.map(|first| Shown { file: first.file, offset: first.offset * unit });
                    let shown = piece.shown.map(|shown| Shown { offset: shown.offset + page - piece.offset, ..shown });
                    prop_assert_eq!(shown, expected, "page {:#x}", page);
                }
            }
            // The list is the shortest: neighbours do not continue each other.
            for pair in view.pieces().windows(2) {
                let continued = pair[0].shown.map(|shown| Shown { offset: shown.offset + pair[0].len, ..shown });
                prop_assert_ne!(continued, pair[1].shown);
            }
            // Changes cover exactly the pages that differ.
            let page_of = |view: &View, page: u64| {
                let piece = view.pieces().iter().rfind(|piece| piece.offset <= page).expect("a piece");
                piece.shown.map(|shown| (shown.file, shown.offset + page - piece.offset))
            };
            let mut changed = Vec::new();
            for piece in last.changes(&view) {
                for page in (piece.offset..piece.offset + piece.len).step_by(PAGE as usize) {
                    let now = piece.shown.map(|shown| (shown.file, shown.offset + page - piece.offset));
                    prop_assert_eq!(now, page_of(&view, page));
                    changed.push(page);
                }
            }
            let differ: Vec<u64> = (0..aperture)
                .step_by(PAGE as usize)
                .filter(|page| page_of(&last, *page) != page_of(&view, *page))
                .collect();
            prop_assert_eq!(changed, differ);
            last = view;
        }
    }

    #[test]
    fn impossible_ranges_change_nothing(addr in any::<u64>(), len in any::<u64>(), offset in any::<u64>()) {
        let mut space = Space::new();
        let fits = len != 0 && addr.checked_add(len).is_some();
        let backing = Backing { file: FileId(0), offset, access: Access::ReadWrite };
        let inserted = space.insert(addr, len, backing).is_ok();
        prop_assert_eq!(inserted, fits && offset.checked_add(len).is_some());
        prop_assert_eq!(space.is_empty(), !inserted);
        prop_assert_eq!(space.remove(addr, len).is_ok(), fits);
        prop_assert_eq!(space.pieces(addr, len).map(|piece| piece.len).sum::<u64>(), if fits { len } else { 0 });
        prop_assert!(space.lookup(addr).len > 0);
    }
}
