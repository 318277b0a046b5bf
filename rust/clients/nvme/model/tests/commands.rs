// SPDX-License-Identifier: GPL-2.0
//! Commands and their data lie in memory as the specification says.

use proptest::prelude::*;
use skiff_nvme_model::command::Blocks;
use skiff_nvme_model::command::Command;
use skiff_nvme_model::command::Direction;
use skiff_nvme_model::command::Durable;
use skiff_nvme_model::command::Signal;
use skiff_nvme_model::data;
use skiff_nvme_model::data::Pointers;
use skiff_nvme_model::data::Scattered;
use skiff_nvme_model::data::PIECE_PAGES;
use skiff_nvme_model::PAGE;

fn words(command: Command, id: u16) -> Vec<u32> {
    let entry = command.entry(id);
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    entry.chunks_exact(4).map(word).collect()
}

#[test]
fn a_read_and_a_write() {
    let data = Pointers {
        first: 0x1_2345_6000,
        second: 0x2_0000_1000,
    };
    let blocks = Blocks::new(0x5_0000_0007, 8).unwrap();
    let read = Command::transfer(Direction::Read, 3, blocks, Durable::No, data);
    assert_eq!(
        words(read, 0xabcd),
        [
            0xabcd_0002,
            3,
            0,
            0,
            0,
            0,
            0x2345_6000,
            1,
            0x1000,
            2,
            7,
            5,
            7,
            0,
            0,
            0
        ]
    );
    let write = Command::transfer(Direction::Write, 3, blocks, Durable::Yes, data);
    let written = words(write, 1);
    assert_eq!((written[0], written[12]), (0x0001_0001, 7 | (1 << 30)));
}

#[test]
fn queues_are_made_and_given_up() {
    let made = words(
        Command::create_completions(5, 64, 0x7000, Signal::Vector(9)),
        0,
    );
    assert_eq!(
        (made[0], made[6], made[10], made[11]),
        (5, 0x7000, (63 << 16) | 5, (9 << 16) | 3)
    );
    let polled = words(Command::create_completions(5, 64, 0x7000, Signal::None), 0);
    assert_eq!(polled[11], 1);
    let made = words(Command::create_submissions(5, 64, 0x8000), 0);
    assert_eq!(
        (made[0], made[6], made[10], made[11]),
        (1, 0x8000, (63 << 16) | 5, (5 << 16) | 1)
    );
    assert_eq!(words(Command::delete_submissions(5), 0)[10], 5);
    assert_eq!(words(Command::delete_completions(5), 0)[0], 4);
    assert_eq!(words(Command::abort(5, 7), 0)[10], 5 | (7 << 16));
    assert_eq!(words(Command::set_queues(4), 0)[11], 3 | (3 << 16));
}

#[test]
fn zeroes_and_discards() {
    let blocks = Blocks::new(1, 1 << 16).unwrap();
    let zeroes = words(Command::write_zeroes(1, blocks, Durable::No), 0);
    assert_eq!((zeroes[0], zeroes[12]), (8, 0xffff));
    let zeroes = words(Command::write_zeroes(1, blocks, Durable::Yes), 0);
    assert_eq!(zeroes[12], 0xffff | (1 << 30));
    let discard = words(Command::discard(1, 16, 0x9010), 0);
    assert_eq!(
        (discard[0], discard[6], discard[10], discard[11]),
        (9, 0x9010, 15, 4)
    );
    assert_eq!(
        data::discard(0x1_0000_0002, 3),
        [0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]
    );
    assert!(Blocks::new(0, 0).is_none() && Blocks::new(0, (1 << 16) + 1).is_none());
}

proptest! {
    /// A controller that follows the pointers finds each byte where it is in the window.
    #[test]
    fn pointers_lead_to_the_data(piece in (1..1_u64 << 40).prop_map(|page| page << 12), offset in 0..PAGE, bytes in 1..=data::MOST, probe in any::<prop::sample::Index>()) {
        let list_at = 0x8000_0000_0000;
        let pointers = Pointers::within(piece, list_at, offset, bytes).unwrap();
        let probe = u32::try_from(probe.index(bytes as usize)).unwrap();
        let (page, inside) = ((offset + probe) / PAGE, (offset + probe) % PAGE);
        let pages = (offset + bytes).div_ceil(PAGE);
        let list = data::list(piece);
        let found = match (page, pages) {
            (0, _) => pointers.first - u64::from(offset),
            (_, 2) => pointers.second,
            _ => {
                prop_assert_eq!(pointers.second, list_at);
                let entry = &list[(page as usize - 1) * 8..][..8];
                u64::from_le_bytes(entry.try_into().unwrap())
            }
        };
        prop_assert_eq!(found + u64::from(inside), piece + u64::from(offset) + u64::from(probe));
    }
}

#[test]
fn no_pointers_lead_out_of_a_piece() {
    let within = |offset, bytes| Pointers::within(0x10_0000, 0x20_0000, offset, bytes);
    assert!(within(PAGE - 1, data::MOST).is_some());
    assert!(within(PAGE, 512).is_none());
    assert!(within(0, 0).is_none());
    assert!(within(0, PIECE_PAGES * PAGE).is_some());
    assert!(within(1, PIECE_PAGES * PAGE).is_none());
    assert!(within(1, u32::MAX).is_none());
    assert_eq!(within(512, 512), Some(Pointers::one(0x10_0200)));
}

proptest! {
    /// The pages of a transfer, wherever they lie, are found again as a controller finds them.
    #[test]
    fn scattered_pages_are_found(offset in 0..PAGE, frames in prop::collection::vec(1_u64..1 << 40, 1..40)) {
        let page = u64::from(PAGE);
        let mut scattered = Scattered::default();
        let mut list = Vec::new();
        let pushed = frames.iter().enumerate().try_for_each(|(index, frame)| {
            let offset = if index == 0 { u64::from(offset) } else { 0 };
            scattered.push(frame * page + offset, |entry, at| {
                assert_eq!(entry, list.len(), "each entry once, in order");
                list.push(at);
                Some(())
            })
        });
        prop_assert_eq!(pushed.is_some(), frames.len() <= PIECE_PAGES as usize);
        prop_assume!(pushed.is_some());
        let at = 0x7000;
        let pointers = scattered.pointers(at).unwrap();
        let mut found = vec![pointers.first];
        match frames.len() {
            1 => prop_assert_eq!(pointers.second, 0),
            2 => found.push(pointers.second),
            _ => {
                prop_assert_eq!(pointers.second, at);
                found.extend(&list);
            }
        }
        if frames.len() <= 2 {
            prop_assert!(list.is_empty());
        }
        let expected: Vec<u64> = frames.iter().map(|frame| frame * page).collect();
        prop_assert_eq!(found[0] - u64::from(offset), expected[0]);
        prop_assert_eq!(&found[1..], &expected[1..]);
    }
}

#[test]
fn pages_begin_where_pages_do() {
    let mut scattered = Scattered::default();
    assert_eq!(scattered.pointers(0), None);
    let none = |_, _| -> Option<()> { panic!("a list for two pages") };
    assert_eq!(scattered.push(0x1200, none), Some(()));
    assert_eq!(scattered.push(0x2004, none), None);
    assert_eq!(scattered.pointers(0), Some(Pointers::one(0x1200)));
    assert_eq!(scattered.push(0x3000, none), Some(()));
    // What cannot be written is not a page of it.
    assert_eq!(scattered.push(0x5000, |_, _| None), None);
    assert_eq!(scattered.pointers(7).unwrap().second, 0x3000);
}
