// SPDX-License-Identifier: GPL-2.0
//! What controllers say of themselves is read, and nonsense is not believed.

use proptest::prelude::*;
use skiff_nvme_model::data;
use skiff_nvme_model::identify::active;
use skiff_nvme_model::identify::queues;
use skiff_nvme_model::identify::Abilities;
use skiff_nvme_model::identify::Controller;
use skiff_nvme_model::identify::Namespace;
use skiff_nvme_model::identify::BYTES;
use skiff_nvme_model::registers::admin_queues;
use skiff_nvme_model::registers::is_shut_down;
use skiff_nvme_model::registers::Capabilities;
use skiff_nvme_model::registers::State;
use skiff_nvme_model::Wrong;

fn controller() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[4..9].copy_from_slice(b"skiff");
    bytes[77] = 3;
    bytes[512] = 0x66;
    bytes[513] = 0x44;
    bytes[520] = 0b1100;
    bytes[525] = 7;
    bytes
}

#[test]
fn a_controller_is_read() {
    let read = Controller::read(&controller()).unwrap();
    assert_eq!(&read.serial, b"skiff               ");
    assert_eq!(read.most, 8 * 4096);
    assert_eq!(read.abilities, Abilities(Abilities::ALL));
    assert!(!read.shadows);
    let mut other = controller();
    (other[77], other[520], other[525]) = (0, 0, 0);
    let read = Controller::read(&other).unwrap();
    assert_eq!((read.most, read.abilities), (data::MOST, Abilities(0)));
    other[257] = 1;
    assert!(Controller::read(&other).unwrap().shadows);
}

#[test]
fn entries_must_have_our_size() {
    for (at, value) in [(512, 0x77), (512, 0x55), (513, 0x55), (513, 0x33)] {
        let mut bytes = controller();
        bytes[at] = value;
        assert!(Controller::read(&bytes).is_err(), "{at} {value:#x}");
    }
}

fn namespace(blocks: u64, power: u8) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&blocks.to_le_bytes());
    bytes[26] = 2;
    bytes[128 + 4 * 2 + 2] = power;
    bytes
}

#[test]
fn a_namespace_is_read() {
    let read = Namespace::read(7, &namespace(1000, 12)).unwrap();
    assert_eq!((read.id(), read.blocks(), read.block()), (7, 1000, 4096));
    assert_eq!(read.sectors(), 8000);
    assert_eq!((read.block_of(16), read.block_of(17)), (Some(2), None));
    assert_eq!((read.blocks_of(8192), read.blocks_of(512)), (Some(2), None));
}

#[test]
fn what_cannot_be_a_disk_is_none() {
    let wrong = |id, bytes: &[u8; BYTES]| Namespace::read(id, bytes).unwrap_err();
    let mut metadata = namespace(1000, 9);
    metadata[128 + 4 * 2] = 8;
    assert_eq!(wrong(1, &metadata), Wrong("its blocks have metadata"));
    let mut protected = namespace(1000, 9);
    protected[29] = 1;
    assert_eq!(wrong(1, &protected), Wrong("it has end-to-end protection"));
    for power in [0, 8, 13, 255] {
        assert!(Namespace::read(1, &namespace(1000, power)).is_err());
    }
    assert!(Namespace::read(0, &namespace(1000, 9)).is_err());
    assert!(Namespace::read(u32::MAX, &namespace(1000, 9)).is_err());
    assert!(Namespace::read(1, &namespace(1 << 54, 9)).is_err());
    assert!(Namespace::read(1, &namespace((1 << 54) - 1, 9)).is_ok());
}

proptest! {
    #[test]
    fn nothing_that_a_controller_says_is_too_much(bytes in prop::collection::vec(any::<u8>(), BYTES), id: u32) {
        let bytes: [u8; BYTES] = bytes.try_into().unwrap();
        if let Ok(read) = Controller::read(&bytes) {
            prop_assert!((4096..=data::MOST).contains(&read.most));
            prop_assert!(read.serial.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '));
        }
        if let Ok(read) = Namespace::read(id, &bytes) {
            prop_assert!(read.sectors() < 1 << 54);
        }
        let listed: Vec<u32> = active(id, &bytes).collect();
        prop_assert!(listed.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(listed.iter().all(|other| *other > id && *other != u32::MAX));
    }

    #[test]
    fn capabilities_are_checked(low: u32, high: u32) {
        if let Ok(read) = Capabilities::read(low, high) {
            prop_assert!((2..=65536).contains(&read.entries));
            prop_assert!((500..=127_500).contains(&read.patience));
        }
    }
}

#[test]
fn active_namespaces_are_listed_in_order() {
    let mut bytes = [0; BYTES];
    for (place, id) in bytes.chunks_exact_mut(4).zip([3_u32, 5, 4, 9]) {
        place.copy_from_slice(&id.to_le_bytes());
    }
    assert_eq!(active(2, &bytes).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(active(3, &bytes).count(), 0);
    let full: Vec<u8> = (1..=1024_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(active(0, &full.try_into().unwrap()).count(), 1024);
}

#[test]
fn registers_are_read() {
    let read = Capabilities::read(0x0f01_07ff, 0x20).unwrap();
    assert_eq!(
        (read.entries, read.patience, read.stride.power()),
        (2048, 7500, 0)
    );
    for (low, high) in [
        (u32::MAX, u32::MAX),
        (0x7ff, 0),
        (0x7ff, 0x20 | (1 << 16)),
        (0, 0x20),
    ] {
        assert!(Capabilities::read(low, high).is_err(), "{low:#x} {high:#x}");
    }
    let states = [
        (0, State::Stopped),
        (1, State::Ready),
        (3, State::Failed),
        (u32::MAX, State::Gone),
    ];
    for (status, state) in states {
        assert_eq!(State::read(status), state);
    }
    assert!(is_shut_down(0b1001) && !is_shut_down(0b0101));
    assert_eq!(admin_queues(32), 31 | (31 << 16));
    assert_eq!((queues(3 | (1 << 16)), queues(u32::MAX)), (2, 65536));
}
