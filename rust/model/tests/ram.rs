// SPDX-License-Identifier: GPL-2.0
//! All memory of a node against a naive map of its pages.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use proptest::prelude::*;
use skiff_model::addr::SlotBytes;
use skiff_model::addr::PAGE;
use skiff_model::ram::cut;
use skiff_model::ram::locate;
use skiff_model::ram::together;
use skiff_model::ram::Placed;
use skiff_model::ram::Span;

/// Memory with holes: spans in order, by the frames between them and their own.
fn memory() -> impl Strategy<Value = Vec<Span>> {
    prop::collection::vec((1..40_u64, 1..40_u64), 1..12).prop_map(|parts| {
        let mut next = 0;
        parts
            .into_iter()
            .map(|(hole, pages)| {
                let frame = next + hole - 1;
                next = frame + pages;
                Span { frame, pages }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn every_page_is_found_where_its_slot_shows_it(spans in memory(), order in 0..7_u32) {
        let slot = SlotBytes::new(PAGE << order).unwrap();
        let frames = |spans: &[Span]| -> Vec<u64> {
            spans.iter().flat_map(|span| span.frame..span.end()).collect()
        };
        let parts: Vec<Span> = cut(spans.iter().copied(), slot).collect();
        prop_assert_eq!(frames(&parts), frames(&spans));
        // Slots lie at the device in any order.
        let mut slots = BTreeMap::new();
        let mut table = Vec::new();
        for part in &parts {
            let chunk = part.frame >> order;
            prop_assert_eq!((part.end() - 1) >> order, chunk, "a part that two slots show");
            let count = slots.len() as u64;
            let number = *slots.entry(chunk).or_insert(count ^ 5);
            let address = (number << order << 12) + ((part.frame & ((1 << order) - 1)) << 12);
            table.push(Placed { span: *part, address });
        }
        for pair in parts.windows(2) {
            prop_assert_eq!(
                together(pair[0], pair[1], slot),
                pair[0].frame >> order == pair[1].frame >> order
            );
        }
        let there: BTreeSet<u64> = frames(&spans).into_iter().collect();
        for frame in 0..spans.last().unwrap().end() + 3 {
            let expected = there.contains(&frame).then(|| {
                (slots[&(frame >> order)] << order << 12) + ((frame & ((1 << order) - 1)) << 12)
            });
            prop_assert_eq!(locate(&table, frame), expected);
        }
    }
}

#[test]
fn what_does_not_end_is_not_found() {
    let span = Span {
        frame: u64::MAX - 1,
        pages: 2,
    };
    let placed = Placed {
        span,
        address: u64::MAX - PAGE + 1,
    };
    assert_eq!(locate(&[], 0), None);
    assert_eq!(locate(&[placed], u64::MAX - 1), Some(u64::MAX - PAGE + 1));
    assert_eq!(locate(&[placed], u64::MAX), None);
    assert_eq!(
        cut([span].into_iter(), SlotBytes::new(PAGE).unwrap()).count(),
        1
    );
}
