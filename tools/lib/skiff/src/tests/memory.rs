// SPDX-License-Identifier: GPL-2.0
//! Copies, fills and single words against the same done to a plain vector.

use proptest::prelude::*;

use crate::Buffer;

/// Bytes of the memory under test.
const LEN: usize = 4096;

/// A range within the memory, lines and less than lines, at any offset.
fn range() -> impl Strategy<Value = (usize, usize)> {
    (0..=LEN).prop_flat_map(|offset| (Just(offset), 0..=(LEN - offset).min(400)))
}

/// Memory and vector with the same contents.
fn pair() -> (Buffer, Vec<u8>) {
    let memory = Buffer::new(LEN).expect("memory");
    let model: Vec<_> = (0..LEN).map(|i| (i % 251) as u8).collect();
    memory.write(0, &model).expect("written");
    (memory, model)
}

/// All bytes, taken singly.
fn bytes(memory: &Buffer) -> Vec<u8> {
    (0..memory.len())
        .map(|offset| memory.load_u8(offset).expect("within"))
        .collect()
}

proptest! {
    #[test]
    fn a_read_gives_what_is_there((offset, len) in range(), shift in 0..16usize) {
        let (memory, model) = pair();
        let mut to = vec![0xaa; shift + len + 16];
        memory.read(offset, &mut to[shift..shift + len]).expect("within");
        prop_assert_eq!(&to[shift..shift + len], &model[offset..offset + len]);
        prop_assert!(to[..shift].iter().chain(&to[shift + len..]).all(|&byte| byte == 0xaa));
    }

    #[test]
    fn a_write_changes_its_range_only((offset, len) in range(), shift in 0..16usize) {
        let (memory, mut model) = pair();
        let from: Vec<_> = (0..shift + len).map(|i| (i * 7 + 1) as u8).collect();
        memory.write(offset, &from[shift..]).expect("within");
        model[offset..offset + len].copy_from_slice(&from[shift..]);
        prop_assert_eq!(bytes(&memory), model);
    }

    #[test]
    fn a_fill_changes_its_range_only((offset, len) in range(), value: u8) {
        let (memory, mut model) = pair();
        memory.fill(offset, len, value).expect("within");
        model[offset..offset + len].fill(value);
        prop_assert_eq!(bytes(&memory), model);
    }

    #[test]
    fn words_are_whole_and_little_endian(index in 0..LEN / 8, value: u64) {
        let (memory, mut model) = pair();
        memory.store_u64(index * 8, value).expect("aligned");
        model[index * 8..][..8].copy_from_slice(&value.to_le_bytes());
        prop_assert_eq!(memory.load_u64(index * 8), Ok(value));
        prop_assert_eq!(memory.load_u32(index * 8 + 4), Ok((value >> 32) as u32));
        prop_assert_eq!(memory.load_u16(index * 8 + 2), Ok((value >> 16) as u16));
        prop_assert_eq!(bytes(&memory), model);
    }
}

#[test]
fn nothing_outside_is_reached() {
    let memory = Buffer::new(LEN).expect("memory");
    for offset in [LEN - 7, LEN, usize::MAX - 3, usize::MAX] {
        assert!(memory.load_u64(offset).is_err(), "{offset}");
        assert!(memory.store_u64(offset, 0).is_err(), "{offset}");
        assert!(memory.read(offset, &mut [0; 8]).is_err(), "{offset}");
        assert!(memory.write(offset, &[0; 8]).is_err(), "{offset}");
        assert!(memory.fill(offset, 8, 0).is_err(), "{offset}");
    }
    assert!(memory.fill(1, usize::MAX, 0).is_err());
    assert_eq!(memory.read(LEN, &mut []), Ok(()));
    assert!(memory.read(LEN + 1, &mut []).is_err());
}

#[test]
fn words_that_cross_a_boundary_are_refused() {
    let memory = Buffer::new(LEN).expect("memory");
    for offset in 1..8 {
        assert!(memory.load_u64(offset).is_err(), "{offset}");
        assert_eq!(memory.load_u32(offset).is_err(), offset % 4 != 0);
        assert_eq!(memory.store_u16(offset, 0).is_err(), offset % 2 != 0);
        assert!(memory.store_u8(offset, 0).is_ok(), "{offset}");
    }
}

#[test]
fn memory_may_be_shared_by_threads() {
    let memory = Buffer::new(LEN).expect("memory");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            memory.write(8, b"ahoy").expect("written");
            memory.flush();
            memory.store_u32(0, 1).expect("stored");
        });
        scope.spawn(|| {
            while memory.load_u32(0) != Ok(1) {
                std::thread::yield_now();
            }
            let mut seen = [0; 4];
            memory.read(8, &mut seen).expect("read");
            assert_eq!(&seen, b"ahoy");
        });
    });
}

#[test]
fn a_buffer_needs_a_length() {
    assert_eq!(Buffer::new(0).expect_err("empty").errno(), libc::EINVAL);
    let too_long = Buffer::new(usize::MAX).expect_err("too long");
    assert_eq!(too_long.errno(), libc::EOVERFLOW);
    let error = Buffer::new(1 << 60).expect_err("no memory");
    assert_eq!(error.errno(), libc::ENOMEM);
}
