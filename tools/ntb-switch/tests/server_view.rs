// SPDX-License-Identifier: GPL-2.0
//! A view that is brought up to date part by part is the one that is built anew.

use ntb_switch::model::{Bar, Layout, Port, PortConfig, Switch, Windows};
use ntb_switch::space::{Access, Backing, FileId, Space};
use ntb_switch::view::{View, PAGE};
use proptest::prelude::*;

const APERTURE: u64 = 1 << 20;
const SLOT: u64 = APERTURE / 16;

fn port(index: u8) -> Port {
    Port::new(index).unwrap()
}

/// Two ports with open gates; three slots of the first show overlapping memory of the second, not all from a page on.
fn switch() -> Switch {
    let config = PortConfig {
        layout: Layout::Chip,
        windows: Windows::Lut12,
        memory_aperture: APERTURE,
        device_aperture: APERTURE,
    };
    let mut switch = Switch::new(&[config; 2]).unwrap();
    for index in 0..2 {
        switch.attach(port(index));
        switch.config_write(port(index), 4, &6u16.to_le_bytes());
        switch.register_write(port(index), 0x400, 3);
    }
    for (slot, addr) in [(0, 0), (1, 2 * SLOT), (2, SLOT / 2), (5, 0x804)] {
        switch.register_write(port(0), 0x4e0, (2 << 8) | slot);
        switch.register_write(port(0), 0x4e4, addr as u32);
        switch.register_write(port(0), 0x4e8, 0);
        switch.register_write(port(0), 0x4ec, (1 << 31) | 1);
    }
    switch
}

#[derive(Debug, Clone)]
struct Change {
    page: u64,
    pages: u64,
    skew: u64,
    map: Option<(u32, u64)>,
}

fn change() -> impl Strategy<Value = Change> {
    let map = prop::option::of((0..2u32, 0..64u64));
    (
        0..48u64,
        1..20u64,
        prop_oneof![9 => Just(0), 1 => Just(0x804u64)],
        map,
    )
        .prop_map(|(page, pages, skew, map)| Change {
            page,
            pages,
            skew,
            map,
        })
}

proptest! {
    #[test]
    fn updates_lead_where_building_does(changes in prop::collection::vec(change(), 1..40)) {
        let switch = switch();
        let empty = Space::new();
        let mut space = Space::new();
        let mut view = View::build(&switch, port(0), Bar::Memory, |_| &empty);
        for Change { page, pages, skew, map } in changes {
            let (addr, len) = (page * PAGE + skew, pages * PAGE);
            match map {
                Some((file, offset)) => {
                    let backing = Backing {
                        file: FileId(file),
                        offset: offset * PAGE + skew,
                        access: Access::ReadWrite,
                    };
                    space.insert(addr, len, backing).unwrap();
                }
                None => space.remove(addr, len).unwrap(),
            }
            let before = view.clone();
            let mut told = Vec::new();
            for (slot, base) in [(0, 0), (1, 2 * SLOT), (2, SLOT / 2), (5, 0x804)] {
                let (start, end) = (addr.max(base), (addr + len).min(base + SLOT));
                if start < end {
                    let part = slot * SLOT + start - base..slot * SLOT + end - base;
                    told.extend(view.update(&switch, port(0), Bar::Memory, |_| &space, part));
                }
            }
            let anew = View::build(&switch, port(0), Bar::Memory, |_| &space);
            prop_assert_eq!(&view, &anew);
            told.sort_by_key(|piece| piece.offset);
            let pages = |pieces: &[ntb_switch::view::Piece]| -> Vec<_> {
                pieces
                    .iter()
                    .flat_map(|piece| {
                        let shown = move |page| piece.shown.map(|shown| (shown.file, shown.offset + page * PAGE));
                        (0..piece.len / PAGE).map(move |page| (piece.offset + page * PAGE, shown(page)))
                    })
                    .collect()
            };
            prop_assert_eq!(pages(&told), pages(&before.changes(&anew)));
        }
    }

    #[test]
    fn a_limited_view_is_a_beginning(holes in prop::collection::btree_set(0..16u64, 0..16), most in 2..20usize) {
        let switch = switch();
        let mut space = Space::new();
        let backing = Backing { file: FileId(0), offset: 0, access: Access::ReadWrite };
        space.insert(0, 4 * SLOT, backing).unwrap();
        for hole in holes {
            space.remove(hole * PAGE, PAGE).unwrap();
        }
        let whole = View::build(&switch, port(0), Bar::Memory, |_| &space);
        let part = whole.clone().limited(most);
        prop_assert!(part.pieces().len() <= most);
        prop_assert_eq!(part.size(), whole.size());
        let (end, same) = part.pieces().split_last().unwrap();
        prop_assert!(whole.pieces().starts_with(same));
        prop_assert!(part == whole || end.shown.is_none());
    }
}
