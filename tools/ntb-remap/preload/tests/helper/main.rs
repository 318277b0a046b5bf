// SPDX-License-Identifier: GPL-2.0
//! The helper loaded into a program of its own, with a switch played by hand.

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use packets::wire::{Done, Piece, Update, MAX_PACKET, PAGE};
use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};
use support::*;

#[test]
fn a_window_introduces_itself() {
    let switch = Switch::new();
    let mut subject = Subject::start(Some(&switch.path));
    subject.send("map ntbwin-port3 4000 100000");
    let link = switch.accept();
    assert_eq!(link.hello.window, "ntbwin-port3");
    assert_eq!((link.hello.offset, link.hello.len), (0x4000, MIB));
    assert_eq!(link.hello.pid, subject.child.id());
    subject.answer().unwrap();

    // Another one, mapped over a reservation, has a connection of its own.
    subject.send("map-aligned ntbwin-port5 0 200000");
    let other = switch.accept();
    assert_eq!(other.hello.window, "ntbwin-port5");
    assert_eq!((other.hello.offset, other.hello.len), (0, 2 * MIB));
    assert_eq!(subject.answer().unwrap(), "1");
    assert!(subject.end().success());
}

#[test]
fn only_the_last_part_of_a_path_counts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("ntbwin");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    let switch = Switch::new();
    let mut subject = Subject::start(Some(&switch.path));
    subject.send(&format!("map {folder}/ntbwin-port1 0 1000"));
    assert_eq!(switch.accept().hello.window, "ntbwin-port1");
    subject.answer().unwrap();
    // A folder does not make its files windows.
    subject.ask(&format!("map {folder}/ram 0 1000")).unwrap();
    subject.write(1, 0, 5);
    assert_eq!(subject.read(1, 0), 5);
}

#[test]
fn other_mappings_are_left_alone() {
    let switch = Switch::new();
    let mut subject = Subject::start(Some(&switch.path));
    subject.ask("map ram 0 100000").unwrap();
    subject.write(0, 0x1000, 7);
    assert_eq!(subject.read(0, 0x1000), 7);
    subject.ask("unmap 0").unwrap();
    assert!(subject.end().success());
    rustix::fs::fcntl_setfl(&switch.listener, rustix::fs::OFlags::NONBLOCK).unwrap();
    let nobody = accept_with(&switch.listener, SocketFlags::CLOEXEC);
    assert_eq!(nobody.map(drop), Err(Errno::AGAIN));

    // Without a switch in the environment a window is ordinary memory.
    let mut subject = Subject::start(None);
    subject.ask("map ntbwin-port0 0 1000").unwrap();
    subject.write(0, 0, 7);
    assert_eq!(subject.read(0, 0), 7);
}

#[test]
fn dead_pages() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    assert_eq!(subject.read(0, 0), ONES);
    assert_eq!(subject.read(0, MIB - 8), ONES);
    assert!(link.dead_accesses() >= 2);

    // A write vanishes: at once or after a while, but for good.
    subject.write(0, 0x3008, 5);
    let deadline = Instant::now() + LONG;
    while subject.read(0, 0x3008) != ONES {
        assert!(
            Instant::now() < deadline,
            "a dead page keeps what is written"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    // When the 0xff pages are gone, one mapping is left of it all.
    while subject.number("mappings 0") != 1 {
        assert!(Instant::now() < deadline, "0xff pages stay");
        std::thread::sleep(Duration::from_millis(2));
    }
    let before = link.dead_accesses();
    assert_eq!(subject.number("sweep 0"), MIB / PAGE);
    assert!(link.dead_accesses() >= before + MIB / PAGE);
}

#[test]
fn pieces_show_files() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    let a = memory(MIB, 0xa_0000);
    let b = memory(MIB, 0xb_0000);
    link.show(&[file(0x2000, 0x3000, 0x10000)], Some(&a));
    assert_eq!(subject.read(0, 0x1000), ONES);
    assert_eq!(subject.read(0, 0x2000), 0xa_0010);
    assert_eq!(subject.read(0, 0x4000), 0xa_0012);
    assert_eq!(subject.read(0, 0x5000), ONES);
    subject.write(0, 0x3010, 77);
    assert_eq!(word(&a, 0x11010), 77);

    // Over a part of it another file; then nothing; the pieces of one update in their order.
    link.show(&[file(0x3000, 0x1000, 0)], Some(&b));
    assert_eq!(subject.read(0, 0x2000), 0xa_0010);
    assert_eq!(subject.read(0, 0x3000), 0xb_0000);
    assert_eq!(subject.read(0, 0x4000), 0xa_0012);
    let pieces = [dead(0, MIB), file(0x8000, 0x2000, 0), dead(0x9000, 0x1000)];
    link.show(&pieces, Some(&b));
    assert_eq!(subject.read(0, 0x2000), ONES);
    assert_eq!(subject.read(0, 0x8000), 0xb_0000);
    assert_eq!(subject.read(0, 0x9000), ONES);
    subject.write(0, 0x3010, 78);
    assert_eq!(word(&a, 0x11010), 77);

    // The whole window.
    link.show(&[file(0, MIB, 0)], Some(&a));
    assert_eq!(subject.number("sweep 0"), 0);
    assert_eq!(subject.number("mappings 0"), 1);
    assert!(subject.end().success());
    assert!(link.is_closed());
}

/// An update of a page that shows 0xff for the moment is not undone when that moment is over.
#[test]
fn an_update_beats_the_scrubber() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    let a = memory(MIB, 0xa_0000);
    for _ in 0..200 {
        subject.read(0, 0x1000);
        link.show(&[file(0x1000, 0x1000, 0x1000)], Some(&a));
        assert_eq!(subject.read(0, 0x1000), 0xa_0001);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(subject.read(0, 0x1000), 0xa_0001);
        link.show(&[dead(0x1000, 0x1000)], None);
        assert_eq!(subject.read(0, 0x1000), ONES);
    }
}

/// Threads use the window all the time while it is re-pointed: they see one of the right values, and nothing crashes.
#[test]
fn changes_under_load() {
    let switch = Switch::new();
    let len = 64 * PAGE;
    let (mut subject, mut link) = switch.one_window(len);
    // The same word in every page, so that all that a page may show is known.
    let same = |tag: u64| {
        let memory = memory(len, 0);
        for page in 0..64 {
            let bytes = tag.to_le_bytes();
            assert_eq!(rustix::io::pwrite(&memory, &bytes, page * PAGE), Ok(8));
        }
        memory
    };
    let (a, b) = (same(0xaaaa), same(0xbbbb));
    subject.ask("hammer 0 aaaa bbbb ffffffffffffffff").unwrap();
    for round in 0..600_u64 {
        let at = round * 7 % 48 * PAGE;
        let size = (1 + round % 16) * PAGE;
        match round % 3 {
            0 => link.show(&[file(at, size, 0)], Some(&a)),
            1 => link.show(&[file(at, size, PAGE)], Some(&b)),
            _ => link.show(&[dead(at, size)], None),
        };
    }
    let answer = subject.ask("rest").unwrap();
    let (rounds, bad) = answer.split_once(' ').unwrap();
    assert_ne!(rounds, "0");
    assert_eq!(bad, "0");
    let caught = link.show(&[dead(0, len)], None);
    assert!(caught > 0);
    assert_eq!(subject.number("sweep 0"), 64);
    assert!(subject.end().success());
}

#[test]
fn unmapping_ends_the_connection() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    let a = memory(MIB, 0xa_0000);
    link.show(&[file(0, MIB, 0)], Some(&a));
    subject.ask("unmap 0").unwrap();
    assert!(link.is_closed());

    // The same again, at probably the same place: dead, and with a connection and a count of its own.
    subject.send("map ntbwin-port3 0 100000");
    let mut link = switch.accept();
    subject.answer().unwrap();
    assert_eq!(link.dead_accesses(), 0);
    assert_eq!(subject.read(1, 0), ONES);
    link.show(&[file(0, PAGE, 0)], Some(&a));
    assert_eq!(subject.read(1, 0), 0xa_0000);

    // Something else mapped over it, as hot-unplugging may do.
    subject.ask("map-over 1").unwrap();
    assert!(link.is_closed());
    assert_eq!(subject.read(1, 0), 0);

    // Unmapped in part: the rest is no window any more, and does not show the other node's memory.
    subject.send("map ntbwin-port3 0 100000");
    let mut link = switch.accept();
    subject.answer().unwrap();
    link.show(&[file(0, MIB, 0)], Some(&a));
    subject.ask("unmap-part 2 4000 4000").unwrap();
    assert!(link.is_closed());
    assert_eq!(subject.read(2, 0), 0);
    assert_eq!(subject.read(2, 0x8000), 0);
    assert!(subject.end().success());
}

/// A switch that gives a window up, because its process was stopped for a while, gets it back with nothing in it.
#[test]
fn a_window_that_was_given_up_comes_back_dead() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    let a = memory(MIB, 0xa_0000);
    for _ in 0..3 {
        link.show(&[file(0, MIB, 0)], Some(&a));
        assert_eq!(subject.read(0, 0x1000), 0xa_0001);
        drop(link);
        link = switch.accept();
        assert_eq!(link.hello.window, "ntbwin-port3");
        assert_eq!(subject.read(0, 0x1000), ONES);
    }
    subject.ask("unmap 0").unwrap();
    assert!(link.is_closed());
    assert!(subject.end().success());
}

#[test]
fn many_windows_come_and_go() {
    let switch = Switch::new();
    let mut subject = Subject::start(Some(&switch.path));
    for round in 0..40 {
        subject.send("map ntbwin-port0 0 4000");
        let mut link = switch.accept();
        subject.answer().unwrap();
        let a = memory(4 * PAGE, 0xa_0000);
        link.show(&[file(0, 4 * PAGE, 0)], Some(&a));
        assert_eq!(subject.read(round, 0x1000), 0xa_0001);
        subject.ask(&format!("unmap {round:x}")).unwrap();
        assert!(link.is_closed());
    }
    let mut links = Vec::new();
    for _ in 0..16 {
        subject.send("map ntbwin-port0 0 4000");
        links.push(switch.accept());
        subject.answer().unwrap();
    }
    // No room for a 17th: that is said, not hidden.
    assert_eq!(subject.ask("map ntbwin-port0 0 4000"), Err(12));
}

#[test]
fn the_switch_dies() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    let a = memory(MIB, 0xa_0000);
    link.show(&[file(0, MIB, 0)], Some(&a));
    assert_eq!(subject.read(0, 0), 0xa_0000);
    drop(link);
    let deadline = Instant::now() + LONG;
    while subject.read(0, 0) != ONES {
        assert!(Instant::now() < deadline, "the window stays");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(subject.number("sweep 0"), MIB / PAGE);
    subject.ask("unmap 0").unwrap();

    // No switch at all: the window is there, and dead.
    drop(switch);
    subject.ask("map ntbwin-port3 0 4000").unwrap();
    assert_eq!(subject.read(1, 0), ONES);
    subject.ask("unmap 1").unwrap();
    assert!(subject.end().success());
}

/// What cannot be done leaves the whole window dead; the connection goes on.
#[test]
fn updates_that_fail() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    let a = memory(MIB, 0xa_0000);
    let directory = rustix::fs::open(
        "/",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let invalid = 22;
    let wrong: [(&[Piece], Option<&OwnedFd>); 7] = [
        // Outside the window.
        (&[file(MIB, PAGE, 0)], Some(&a)),
        (&[file(0, PAGE, 0), dead(MIB - PAGE, 2 * PAGE)], Some(&a)),
        (&[dead(u64::MAX - PAGE + 1 - PAGE, PAGE)], None),
        // Behind the end of the file.
        (&[file(0, PAGE, MIB)], Some(&a)),
        // A file too few, one too many, one that is none.
        (&[file(0, PAGE, 0)], None),
        (&[dead(0, PAGE)], Some(&a)),
        (&[file(0, PAGE, 0)], Some(&directory)),
    ];
    for (pieces, with) in wrong {
        link.show(&[file(0, MIB, 0)], Some(&a));
        assert_eq!(subject.read(0, 0x5000), 0xa_0005);
        let done = link.update(pieces, with);
        assert_eq!(done.status, invalid, "{pieces:?}");
        assert_eq!(subject.read(0, 0x5000), ONES);
    }
    link.show(&[file(0, MIB, 0)], Some(&a));
    assert_eq!(subject.read(0, 0), 0xa_0000);
    // More files than one.
    let update = Update {
        id: 1,
        pieces: vec![file(0, PAGE, 0)],
    };
    link.send(&update.encode().unwrap(), &[a.as_fd(), a.as_fd()]);
    let done = Done::decode(&receive(&link.socket).unwrap()).unwrap();
    assert_eq!((done.id, done.status), (1, 22));
    assert!(subject.end().success());
}

/// What is no packet ends the connection and leaves the window dead.
#[test]
fn packets_that_are_none() {
    let update = Update {
        id: 1,
        pieces: vec![dead(0, PAGE)],
    };
    let good = update.encode().unwrap();
    let mut wrong_kind = good.clone();
    wrong_kind[4] = 9;
    let mut unaligned = good.clone();
    unaligned[24] = 1;
    let mut many = good.clone();
    many[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    let long = [&good[..], &[0; MAX_PACKET]].concat();
    let packets: [&[u8]; 7] = [
        b"x",
        &good[..good.len() - 1],
        &good[..10],
        &wrong_kind,
        &unaligned,
        &many,
        &long,
    ];
    let switch = Switch::new();
    let a = memory(MIB, 0xa_0000);
    for packet in packets {
        let (mut subject, mut link) = switch.one_window(MIB);
        link.show(&[file(0, MIB, 0)], Some(&a));
        link.send(packet, &[]);
        assert!(link.is_closed());
        assert_eq!(subject.read(0, 0), ONES);
        assert!(subject.end().success());
    }
    // More files than a packet can bring.
    let (mut subject, mut link) = switch.one_window(MIB);
    link.show(&[file(0, MIB, 0)], Some(&a));
    link.send(&good, &[a.as_fd(); 8]);
    assert!(link.is_closed());
    assert_eq!(subject.read(0, 0), ONES);
}

/// A window of the largest size costs nothing as long as it is dead, and can be swept without running out of mappings.
#[test]
fn a_large_window() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(1 << 30);
    assert_eq!(subject.number("mappings 0"), 1);
    assert_eq!(subject.read(0, (1 << 30) - 8), ONES);
    let a = memory(MIB, 0xa_0000);
    link.show(&[file((1 << 30) - MIB, MIB, 0)], Some(&a));
    assert_eq!(subject.read(0, (1 << 30) - MIB), 0xa_0000);
    assert!(subject.number("mappings 0") <= 4);
    // More dead pages at a time than may show 0xff at a time.
    subject.send("map ntbwin-port4 0 1000000");
    let mut other = switch.accept();
    subject.answer().unwrap();
    assert_eq!(subject.number("sweep 1"), 16 * MIB / PAGE);
    assert!(subject.number("mappings 1") <= 2 * 512 + 1);
    assert!(other.dead_accesses() >= 16 * MIB / PAGE);
    // One page more than the largest.
    subject.send("map ntbwin-port3 0 40001000");
    assert_eq!(subject.answer(), Err(27));
    assert!(subject.end().success());
}

/// A system call cannot be helped: it is told that there is no memory.
#[test]
fn system_calls_and_dead_pages() {
    let switch = Switch::new();
    let (mut subject, mut link) = switch.one_window(MIB);
    assert_eq!(subject.ask("pread 0 3000"), Err(14));
    let a = memory(MIB, 0xa_0000);
    link.show(&[file(0, MIB, 0)], Some(&a));
    assert_eq!(subject.ask("pread 0 3000").unwrap(), "8");
    // What every program file begins with.
    assert_eq!(word(&a, 0x3000).to_le_bytes()[..4], *b"\x7fELF");
}

/// An access that has nothing to do with windows ends the program as it always did.
#[test]
fn other_faults_are_passed_on() {
    let switch = Switch::new();
    let (mut subject, _link) = switch.one_window(MIB);
    assert_eq!(subject.read(0, 0), ONES);
    subject.send("crash");
    let status = subject.end();
    assert_eq!(status.signal(), Some(11));
}
