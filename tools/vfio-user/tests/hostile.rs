// SPDX-License-Identifier: GPL-2.0
//! Random and malicious clients: whatever comes, the server answers or ends the connection.

mod common;

use std::io::{Read, Write};

use common::{start, start_shaken, wait_until, Seen};
use proptest::collection::vec;
use proptest::prelude::*;
use skiff_vfio_user::wire::{Command, Header, Kind, Reply};
use skiff_vfio_user::{fuzz, Ended};

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..400)) {
        fuzz::feed(&bytes);
    }

    /// Framed messages with small numbers in them, which pass more checks than random ones.
    #[test]
    fn likely_bytes(bytes in vec(prop_oneof![3 => Just(0_u8), 2 => 0_u8..40, 1 => any::<u8>()], 0..400), mode in 0_u8..4) {
        let mut input = vec![mode];
        input.extend_from_slice(&bytes);
        fuzz::feed(&input);
    }
}

fn header(command: u16, size: u32, kind: Kind) -> [u8; 16] {
    Header {
        id: 1,
        command,
        size,
        kind,
    }
    .encode()
}

/// A length is judged before memory is set aside for it.
#[test]
fn a_message_of_4_gib() {
    let (device, connection, mut peer) = start_shaken();
    let wanted = Kind::Command(Reply::Wanted);
    let head = header(Command::RegionWrite as u16, u32::MAX, wanted);
    peer.socket.write_all(&head).unwrap();
    assert!(matches!(connection.join(), Ended::Protocol(_)));
    assert_eq!(device.seen(), [Seen::Gone]);
    let mut end = Vec::new();
    assert_eq!(peer.socket.read_to_end(&mut end).unwrap(), 0);
}

#[test]
fn headers_that_are_none() {
    let good = header(Command::Version as u16, 16, Kind::Reply);
    let mut short = good;
    short[4] = 15;
    let mut kind = good;
    kind[8] = 7;
    for head in [short, kind] {
        let (_device, connection, mut peer) = start();
        peer.socket.write_all(&head).unwrap();
        assert!(matches!(connection.join(), Ended::Protocol(_)));
    }
}

/// A fault in the device ends its connection, and the device still learns that the client is gone.
#[test]
fn a_device_that_panics() {
    for (offset, reply) in [
        (common::PANIC, Reply::Wanted),
        (common::PANIC_AT_ONCE, Reply::Unwanted),
    ] {
        let (device, connection, mut peer) = start_shaken();
        let write = skiff_vfio_user::wire::RegionData {
            offset,
            region: 0,
            data: &[1],
        };
        let payload = write.encode().unwrap();
        peer.command(Command::RegionWrite as u16, reply, &payload, &[]);
        assert_eq!(connection.join(), Ended::Device);
        assert_eq!(device.seen(), [Seen::Gone]);
        assert_eq!(peer.socket.read(&mut [0; 16]).unwrap(), 0);
    }
}

/// A client that writes faster than the device takes it is slowed down; nothing is lost, and what waits is bounded.
#[test]
fn a_flood_of_posted_writes() {
    const WRITES: u32 = 20_000;
    let (device, _connection, mut peer) = start_shaken();
    let stopped = device.memory.lock().unwrap();
    let flood = std::thread::spawn(move || {
        for number in 0..WRITES {
            let write = skiff_vfio_user::wire::RegionData {
                offset: 0,
                region: 0,
                data: &number.to_le_bytes(),
            };
            let payload = write.encode().unwrap();
            peer.command(Command::RegionWrite as u16, Reply::Unwanted, &payload, &[]);
        }
        peer
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!flood.is_finished(), "queues without end");
    drop(stopped);
    let mut peer = flood.join().unwrap();
    peer.ask(Command::DeviceReset, &[]).unwrap();
    let seen = device.seen();
    assert_eq!(seen.len(), WRITES as usize + 1);
    for (number, seen) in (0..WRITES).zip(seen) {
        assert_eq!(seen, Seen::Write(0, 0, number.to_le_bytes().to_vec()));
    }
}

/// Replies to nothing, of the right and of wrong shape, are dropped.
#[test]
fn replies_to_nothing() {
    let (device, _connection, mut peer) = start_shaken();
    for command in [0, 1, 11, 12, 99] {
        for kind in [Kind::Reply, Kind::ErrorReply { errno: u32::MAX }] {
            let head = Header {
                id: 0,
                command,
                size: 0,
                kind,
            };
            peer.send(head, &[1, 2, 3], &[]);
        }
    }
    assert!(peer.ask(Command::DeviceReset, &[]).is_ok());
    assert_eq!(device.seen(), [Seen::Reset]);
}

/// More file descriptors than agreed end the connection, and none of them stays open.
#[test]
fn too_many_fds() {
    let (_device, connection, peer) = start_shaken();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let fds = [&writer; 8];
    // Spread over one message: eight with the header, eight with each half of the payload.
    let wanted = Kind::Command(Reply::Wanted);
    let head = header(Command::DmaMap as u16, 48, wanted);
    send_bytes(&peer, &head, &fds);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(!connection.is_finished());
    send_bytes(&peer, &[0; 16], &fds);
    send_bytes(&peer, &[0; 16], &fds);
    assert!(matches!(connection.join(), Ended::Protocol(_)));
    // Neither do those that it never got to read.
    drop(writer);
    let mut end = Vec::new();
    // Would wait for ever if a copy of the writing end were left.
    assert_eq!(
        std::fs::File::from(reader).read_to_end(&mut end).unwrap(),
        0
    );
}

fn send_bytes(peer: &common::Peer, bytes: &[u8], fds: &[&std::os::fd::OwnedFd]) {
    use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    use std::os::fd::AsFd;
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let bytes = [std::io::IoSlice::new(bytes)];
    sendmsg(&peer.socket, &bytes, &mut control, SendFlags::NOSIGNAL).unwrap();
}

/// File descriptors that come with a command that has no use for them are closed.
#[test]
fn unwanted_fds_are_closed() {
    let (_device, _connection, mut peer) = start_shaken();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    peer.ask_with(Command::DeviceReset as u16, &[], &[&writer, &writer])
        .unwrap();
    drop(writer);
    let mut end = Vec::new();
    assert_eq!(
        std::fs::File::from(reader).read_to_end(&mut end).unwrap(),
        0
    );
}

/// A client that asks and asks but never takes a reply is thrown out; what waits for it is bounded.
#[test]
fn replies_that_nobody_takes() {
    let (_device, connection, mut peer) = start_shaken();
    peer.socket.set_write_timeout(Some(common::LONG)).unwrap();
    let question = skiff_vfio_user::wire::RegionRange {
        offset: 0,
        region: 0,
        count: 2048,
    };
    let kind = Kind::Command(Reply::Wanted);
    let message = Header {
        id: 1,
        command: Command::RegionRead as u16,
        size: 0,
        kind,
    }
    .message(&question.encode())
    .unwrap();
    // 32 MiB are 16 Ki replies; the rest is what sockets and queues hold on top.
    for _ in 0..40_000 {
        if peer.socket.write_all(&message).is_err() {
            break;
        }
    }
    wait_until("the end of the connection", || connection.is_finished());
    assert!(matches!(connection.join(), Ended::Protocol(_)));
}
