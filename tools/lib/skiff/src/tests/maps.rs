// SPDX-License-Identifier: GPL-2.0
//! Which pages are mapped, and what may be done with them.

use std::time::Duration;

use super::context;
use crate::sys::fake::Call;
use crate::uapi;
use crate::Access;
use crate::ConnectOptions;
use crate::MapOptions;
use crate::Node;
use crate::SegmentOptions;

#[test]
fn two_maps_show_the_same_memory() {
    let (context, _) = context();
    let options = SegmentOptions::new(10_000).id(7);
    let segment = context.create(&options).expect("made");
    let remote = context.connect(Node::Local, 7, &ConnectOptions::new());
    let remote = remote.expect("connected");
    let all = segment.map(&MapOptions::new()).expect("mapped");
    assert_eq!(all.len(), 10_000);
    all.write(5001, b"ahoy").expect("written");
    let some = remote.map(&MapOptions::new().offset(5000).len(10));
    let some = some.expect("mapped");
    assert_eq!(some.len(), 10);
    let mut seen = [0; 6];
    some.read(0, &mut seen).expect("read");
    assert_eq!(&seen, b"\0ahoy\0");
}

#[test]
fn a_map_outlives_what_it_was_made_of() {
    let (context, _) = context();
    let segment = context.create(&SegmentOptions::new(8)).expect("made");
    let map = segment.map(&MapOptions::new()).expect("mapped");
    drop(segment);
    drop(context);
    map.store_u64(0, 1).expect("stored");
    assert_eq!(map.load_u64(0), Ok(1));
}

#[test]
fn whole_pages_are_mapped_and_unmapped() {
    let (context, fake) = context();
    let segment = context.create(&SegmentOptions::new(9000)).expect("made");
    let mapped = |options: &MapOptions| {
        fake.calls();
        drop(segment.map(options).expect("mapped"));
        let calls = fake.calls();
        match calls[..] {
            [Call::Map {
                bytes,
                offset,
                access,
            }, Call::Unmap { bytes: unmapped }] => {
                assert_eq!(bytes, unmapped);
                (bytes, offset, access)
            }
            ref other => panic!("{other:?}"),
        }
    };
    let rw = Access::ReadWrite;
    let new = MapOptions::new;
    assert_eq!(mapped(&new()), (12288, 0, rw));
    assert_eq!(mapped(&new().offset(4095).len(1)), (4096, 0, rw));
    assert_eq!(mapped(&new().offset(4095).len(2)), (8192, 0, rw));
    assert_eq!(mapped(&new().offset(8192)), (4096, 8192, rw));
    let options = new().read_only().uncached().all_ones();
    let flags = uapi::SKIFF_MAP_UNCACHED | uapi::SKIFF_MAP_ALL_ONES;
    assert_eq!(mapped(&options), (12288, flags, Access::ReadOnly));
}

#[test]
fn nothing_outside_the_segment_is_mapped() {
    let (context, fake) = context();
    let segment = context.create(&SegmentOptions::new(9000)).expect("made");
    fake.calls();
    for options in [
        MapOptions::new().offset(9000),
        MapOptions::new().offset(u64::MAX),
        MapOptions::new().offset(1).len(9000),
        MapOptions::new().len(0),
        MapOptions::new().len(usize::MAX),
    ] {
        let refused = segment.map(&options).expect_err("outside");
        assert_eq!(refused.errno(), libc::EINVAL, "{options:?}");
    }
    assert_eq!(fake.calls(), []);
}

#[test]
fn a_connection_for_reading_is_mapped_for_reading() {
    let (context, fake) = context();
    let _segment = context.create(&SegmentOptions::new(8).id(7)).expect("made");
    let options = ConnectOptions::new().read_only();
    let remote = context.connect(Node::Local, 7, &options.timeout(Duration::from_secs(1)));
    let map = remote.expect("connected").map(&MapOptions::new());
    let map = map.expect("mapped");
    assert!(fake.calls().iter().any(|call| matches!(
        call,
        Call::Map {
            access: Access::ReadOnly,
            ..
        }
    )));
    assert_eq!(map.access(), Access::ReadOnly);
    assert_eq!(map.load_u8(0), Ok(0));
    for refused in [
        map.store_u8(0, 1),
        map.write(0, &[1]),
        map.fill(0, 1, 1),
        map.store_u64(0, 1),
    ] {
        assert_eq!(refused.expect_err("read-only").errno(), libc::EACCES);
    }
}
