// SPDX-License-Identifier: GPL-2.0
//! Every packet survives its own encoding, wrong ones are refused on both ends, and no bytes upset the decoders.

use ntb_remap::wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn pages() -> impl Strategy<Value = (u64, u64)> {
    (0..u64::MAX / PAGE - 1, 1..=MAX_WINDOW / PAGE).prop_map(|(start, count)| {
        let count = count.min(u64::MAX / PAGE - start);
        (start * PAGE, count * PAGE)
    })
}

fn piece() -> impl Strategy<Value = Piece> {
    (pages(), any::<Option<u64>>()).prop_map(|((offset, len), from)| {
        let target = match from {
            Some(from) => Target::File {
                offset: from.min(u64::MAX - len) / PAGE * PAGE,
            },
            None => Target::Dead,
        };
        Piece {
            offset,
            len,
            target,
        }
    })
}

proptest! {
    #[test]
    fn hello(pid: u32, window in "[ -~]{1,64}", (offset, len) in pages()) {
        let hello = Hello { pid, window, offset, len };
        let packet = hello.encode().unwrap();
        prop_assert!(packet.len() <= MAX_PACKET);
        prop_assert_eq!(Hello::decode(&packet), Ok(hello));
    }

    #[test]
    fn update(id: u64, pieces in vec(piece(), 1..=MAX_PIECES)) {
        let update = Update { id, pieces };
        let packet = update.encode().unwrap();
        prop_assert!(packet.len() <= MAX_PACKET);
        prop_assert_eq!(Update::decode(&packet), Ok(update));
    }

    #[test]
    fn done(id: u64, status: u32, dead_accesses: u64) {
        let done = Done { id, status, dead_accesses };
        prop_assert_eq!(Done::decode(&done.encode()), Ok(done));
    }

    /// Whatever is accepted is what it would be encoded as.
    #[test]
    fn any_bytes(mut bytes in vec(any::<u8>(), 0..200), kind in 0_u8..5) {
        if bytes.len() > 8 {
            bytes[..8].copy_from_slice(&[b'n', b't', b'b', b'w', kind, 0, 0, 0]);
        }
        if let Ok(hello) = Hello::decode(&bytes) {
            prop_assert_eq!(hello.encode().unwrap(), bytes.clone());
        }
        if let Ok(update) = Update::decode(&bytes) {
            prop_assert_eq!(update.encode().unwrap(), bytes.clone());
        }
        if let Ok(done) = Done::decode(&bytes) {
            prop_assert_eq!(done.encode(), bytes.clone());
        }
    }

    /// One byte changed in a good packet: refused, or still a packet that encodes to exactly this.
    #[test]
    fn one_byte_off(pieces in vec(piece(), 1..4), at: prop::sample::Index, by in 1_u8..) {
        let mut bytes = Update { id: 7, pieces }.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(update) = Update::decode(&bytes) {
            prop_assert_eq!(update.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn wrong_length(pieces in vec(piece(), 1..4), cut in 1_usize..32, add in 1_usize..32) {
        let good = Update { id: 7, pieces }.encode().unwrap();
        prop_assert!(Update::decode(&good[..good.len() - cut]).is_err());
        prop_assert!(Update::decode(&[&good[..], &vec![0; add]].concat()).is_err());
    }
}

#[test]
fn windows_that_are_none() {
    let good = Hello {
        pid: 1,
        window: "ntbwin-port0".into(),
        offset: 0,
        len: PAGE,
    };
    let packet = good.encode().unwrap();
    let wrong = |change: fn(&mut Hello)| {
        let mut hello = good.clone();
        change(&mut hello);
        hello.encode()
    };
    assert_eq!(wrong(|h| h.window.clear()), Err(WireError::Name));
    assert_eq!(wrong(|h| h.window = "x".repeat(65)), Err(WireError::Name));
    assert_eq!(wrong(|h| h.len = 0), Err(WireError::Window));
    assert_eq!(wrong(|h| h.len = PAGE + 1), Err(WireError::Window));
    assert_eq!(wrong(|h| h.offset = 1), Err(WireError::Window));
    assert_eq!(wrong(|h| h.len = MAX_WINDOW + PAGE), Err(WireError::Window));

    let mut other = packet.clone();
    other[8] = 2;
    assert_eq!(Hello::decode(&other), Err(WireError::Version(2)));
    let mut name = packet.clone();
    *name.last_mut().unwrap() = 0xff;
    assert_eq!(Hello::decode(&name), Err(WireError::Name));
    assert_eq!(Done::decode(&packet), Err(WireError::Kind));
    assert_eq!(Update::decode(&packet), Err(WireError::Kind));
}

#[test]
fn updates_that_are_none() {
    let update = |offset, len, target| {
        let piece = Piece {
            offset,
            len,
            target,
        };
        Update {
            id: 1,
            pieces: vec![piece],
        }
    };
    let wrong = Err(WireError::Piece(0));
    assert_eq!(update(1, PAGE, Target::Dead).encode(), wrong);
    assert_eq!(update(0, 0, Target::Dead).encode(), wrong);
    assert_eq!(update(0, 1, Target::Dead).encode(), wrong);
    let last = u64::MAX - PAGE + 1;
    assert_eq!(update(last, PAGE, Target::Dead).encode(), wrong);
    let target = Target::File { offset: last };
    assert_eq!(update(0, PAGE, target).encode(), wrong);
    let target = Target::File { offset: 8 };
    assert_eq!(update(0, PAGE, target).encode(), wrong);

    let piece = Piece {
        offset: 0,
        len: PAGE,
        target: Target::Dead,
    };
    for count in [0, MAX_PIECES + 1] {
        let pieces = vec![piece; count];
        let update = Update { id: 1, pieces };
        assert_eq!(update.encode(), Err(WireError::Pieces(count)));
    }
    assert!(!update(0, PAGE, Target::Dead).needs_file());
    assert!(update(0, PAGE, Target::File { offset: 0 }).needs_file());

    // A dead piece has no place in a file; reserved fields are 0.
    let good = update(0, PAGE, Target::Dead).encode().unwrap();
    for at in [20, 40, 52] {
        let mut bytes = good.clone();
        bytes[at] = 1;
        assert_eq!(Update::decode(&bytes), Err(WireError::Field), "{at}");
    }
}
