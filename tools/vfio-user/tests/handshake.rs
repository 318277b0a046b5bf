// SPDX-License-Identifier: GPL-2.0
//! A client goes through the protocol as QEMU does: version, regions, interrupts, memory, accesses, reset.

mod common;

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use common::*;
use rustix::event::{eventfd, EventfdFlags};
use skiff_vfio_user::wire::*;
use skiff_vfio_user::{
    serve_with, Device, DmaAccess, DmaMap, DmaUnmap, Ended, Errno, IrqAction, Limits,
};

fn errno(errno: Errno) -> u32 {
    errno.raw_os_error() as u32
}

fn region(peer: &mut Peer, index: u32, argsz: u32) -> Result<(RegionInfoMessage, Received), u32> {
    let question = RegionInfoMessage {
        argsz,
        index,
        ..RegionInfoMessage::default()
    };
    let answer = peer.ask(Command::DeviceGetRegionInfo, &question.encode())?;
    Ok((RegionInfoMessage::decode(&answer.payload).unwrap(), answer))
}

#[test]
fn version_comes_first_and_once() {
    let (device, _connection, mut peer) = start();
    let question = DeviceInfoMessage {
        argsz: 16,
        ..DeviceInfoMessage::default()
    };
    let early = peer.ask(Command::DeviceGetInfo, &question.encode());
    assert_eq!(early.map(drop), Err(errno(Errno::INVAL)));
    let wrong = Version {
        major: 1,
        ..Version::default()
    };
    let refused = peer.ask(Command::Version, &wrong.encode().unwrap());
    assert_eq!(refused.map(drop), Err(errno(Errno::INVAL)));
    let answer = peer.shake_hands(Capabilities {
        max_data_xfer_size: Some(8192),
        ..Capabilities::default()
    });
    assert_eq!((answer.major, answer.minor), (0, 0));
    assert_eq!(answer.capabilities.max_data_xfer_size, Some(8192));
    assert_eq!(answer.capabilities.max_msg_fds, Some(16));
    assert_eq!(answer.capabilities.max_dma_maps, Some(65535));
    assert_eq!(answer.capabilities.pgsizes, Some(4096));
    assert_eq!(answer.capabilities.write_multiple, Some(true));
    let again = peer.ask(Command::Version, &Version::default().encode().unwrap());
    assert_eq!(again.map(drop), Err(errno(Errno::INVAL)));
    assert_eq!(device.seen(), []);
}

#[test]
fn limits_are_checked() {
    for limits in [
        Limits {
            max_data_xfer_size: 16,
            ..Limits::default()
        },
        Limits {
            max_msg_fds: 0,
            ..Limits::default()
        },
        Limits {
            max_msg_fds: 1000,
            ..Limits::default()
        },
    ] {
        let (server, _client) = UnixStream::pair().unwrap();
        assert!(serve_with(server, Recorder::new() as Arc<dyn Device>, limits).is_err());
    }
}

#[test]
fn shape_of_the_device() {
    let (_device, _connection, mut peer) = start_shaken();
    let question = DeviceInfoMessage {
        argsz: 16,
        ..DeviceInfoMessage::default()
    };
    let answer = peer
        .ask(Command::DeviceGetInfo, &question.encode())
        .unwrap();
    let info = DeviceInfoMessage::decode(&answer.payload).unwrap();
    assert_eq!((info.flags, info.num_regions, info.num_irqs), (3, 9, 5));

    let (info, answer) = region(&mut peer, 0, 32).unwrap();
    assert_eq!((info.size, info.flags, info.argsz), (REGISTERS, 3, 32));
    assert!(answer.fds.is_empty());

    // The first question has no room for the areas, as QEMU's.
    let (info, answer) = region(&mut peer, MAPPED, 32).unwrap();
    assert_eq!((info.argsz, info.flags), (32 + 16 + 32, 7));
    assert!(info.areas.is_empty() && answer.fds.is_empty());
    let (info, answer) = region(&mut peer, MAPPED, info.argsz).unwrap();
    assert_eq!((info.offset, info.areas.len()), (0x3000, 2));
    assert_eq!(info.areas[1].offset, 0x2000);
    assert_eq!(answer.fds.len(), 1);
    assert_eq!(rustix::fs::fstat(&answer.fds[0]).unwrap().st_size, 1 << 20);

    let (info, answer) = region(&mut peer, WHOLE, 32).unwrap();
    assert_eq!((info.argsz, info.flags), (32, 7));
    assert_eq!(answer.fds.len(), 1);

    let (info, _) = region(&mut peer, 8, 32).unwrap();
    assert_eq!((info.size, info.flags), (0, 0));
    assert_eq!(region(&mut peer, 9, 32).map(drop), Err(errno(Errno::INVAL)));
    assert_eq!(region(&mut peer, 5, 32).map(drop), Err(errno(Errno::NOMEM)));
    assert_eq!(region(&mut peer, 0, 31).map(drop), Err(errno(Errno::INVAL)));

    let question = IrqInfoMessage {
        argsz: 16,
        index: 1,
        ..IrqInfoMessage::default()
    };
    let answer = peer
        .ask(Command::DeviceGetIrqInfo, &question.encode())
        .unwrap();
    let info = IrqInfoMessage::decode(&answer.payload).unwrap();
    assert_eq!((info.index, info.count, info.flags), (1, VECTORS, 9));
    let question = IrqInfoMessage {
        index: 5,
        ..question
    };
    let answer = peer.ask(Command::DeviceGetIrqInfo, &question.encode());
    assert_eq!(answer.map(drop), Err(errno(Errno::INVAL)));

    for command in [Command::DeviceGetRegionIoFds as u16, 14, 16, 17, 18, 999] {
        let answer = peer.ask_with(command, &[0; 32], &[]);
        assert_eq!(answer.map(drop), Err(errno(Errno::OPNOTSUPP)), "{command}");
    }
    for command in [Command::DmaRead, Command::DmaWrite] {
        let answer = peer.ask(command, &[0; 16]);
        assert_eq!(answer.map(drop), Err(errno(Errno::OPNOTSUPP)));
    }
}

fn read(peer: &mut Peer, region: u32, offset: u64, count: u32) -> Result<Vec<u8>, u32> {
    let range = RegionRange {
        offset,
        region,
        count,
    };
    let answer = peer.ask(Command::RegionRead, &range.encode())?;
    let data = RegionData::decode(&answer.payload).unwrap();
    assert_eq!(data.range(), Ok(range));
    Ok(data.data.to_vec())
}

fn write(peer: &mut Peer, region: u32, offset: u64, data: &[u8]) -> Result<(), u32> {
    let write = RegionData {
        offset,
        region,
        data,
    };
    let answer = peer.ask(Command::RegionWrite, &write.encode().unwrap())?;
    assert_eq!(RegionRange::decode(&answer.payload), write.range());
    Ok(())
}

#[test]
fn register_accesses() {
    let (device, _connection, mut peer) = start_shaken();
    write(&mut peer, 0, 8, &[1, 2, 3, 4]).unwrap();
    assert_eq!(read(&mut peer, 0, 6, 8).unwrap(), [0, 0, 1, 2, 3, 4, 0, 0]);
    let expected = [Seen::Write(0, 8, vec![1, 2, 3, 4]), Seen::Read(0, 6, 8)];
    assert_eq!(device.seen(), expected);

    // An error of the device comes back as it is.
    assert_eq!(read(&mut peer, 0, FAULTY, 4), Err(errno(Errno::NODEV)));
    assert_eq!(write(&mut peer, 0, FAULTY, &[0]), Err(errno(Errno::NODEV)));
    device.seen();

    // What lies outside never reaches the device.
    let invalid = errno(Errno::INVAL);
    assert_eq!(read(&mut peer, 0, REGISTERS - 3, 4), Err(invalid));
    assert_eq!(read(&mut peer, 0, 0, 0), Err(invalid));
    assert_eq!(read(&mut peer, 0, 0, u32::MAX), Err(invalid));
    assert_eq!(read(&mut peer, 0, u64::MAX, 4), Err(invalid));
    assert_eq!(read(&mut peer, 8, 0, 1), Err(invalid));
    assert_eq!(read(&mut peer, u32::MAX, 0, 1), Err(invalid));
    assert_eq!(write(&mut peer, 0, REGISTERS, &[0]), Err(invalid));
    let denied = Err(errno(Errno::PERM));
    assert_eq!(write(&mut peer, READ_ONLY, 0, &[0]), denied);
    assert_eq!(device.seen(), []);
    assert_eq!(read(&mut peer, READ_ONLY, 0, 2).unwrap(), [0, 0]);
}

#[test]
fn posted_writes_are_not_answered() {
    let (device, _connection, mut peer) = start_shaken();
    for offset in [4, FAULTY, REGISTERS] {
        let write = RegionData {
            offset,
            region: 0,
            data: &[7],
        };
        let payload = write.encode().unwrap();
        let command = Command::RegionWrite as u16;
        peer.command(command, Reply::Unwanted, &payload, &[]);
    }
    peer.command(999, Reply::Unwanted, &[], &[]);
    // The next thing that comes is the answer to this, and it sees the write.
    assert_eq!(read(&mut peer, 0, 4, 1).unwrap(), [7]);
    assert_eq!(device.seen().len(), 3);
}

fn post(peer: &mut Peer, offset: u64, data: &[u8]) {
    let write = RegionData {
        offset,
        region: 0,
        data,
    };
    let payload = write.encode().unwrap();
    peer.command(Command::RegionWrite as u16, Reply::Unwanted, &payload, &[]);
}

/// What the device does at once does not wait for the worker, unless that has something to do: the order stays.
#[test]
fn posted_writes_that_are_done_at_once() {
    let (device, connection, mut peer) = start_shaken();
    let client = connection.client();
    post(&mut peer, AT_ONCE, &[1]);
    wait_until("the write", || device.seen.lock().unwrap().len() == 1);
    assert_eq!(device.seen(), [Seen::Post(0, AT_ONCE, vec![1])]);
    wait_until("the end of it", || client.is_settled());
    // Waiting for what was done so ends at once.
    post(&mut peer, AT_ONCE, &[2]);
    let begun = std::time::Instant::now();
    client.settle(LONG);
    assert!(begun.elapsed() < LONG / 2);
    wait_until("the write", || device.seen.lock().unwrap().len() == 1);
    device.seen();

    let stopped = device.memory.lock().unwrap();
    post(&mut peer, 0, &[3]);
    wait_until("the worker", || device.seen.lock().unwrap().len() == 1);
    post(&mut peer, AT_ONCE, &[4]);
    peer.command(Command::DeviceReset as u16, Reply::Unwanted, &[], &[]);
    // Time to receive all of it. None is done past the worker.
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(device.seen(), [Seen::Write(0, 0, vec![3])]);
    drop(stopped);
    wait_until("the end of it", || client.is_settled());
    let expected = [Seen::Write(0, AT_ONCE, vec![4]), Seen::Reset];
    assert_eq!(device.seen(), expected);

    // Neither outside of the region nor where an answer is wanted.
    post(&mut peer, AT_ONCE, &[0; REGISTERS as usize]);
    write(&mut peer, 0, AT_ONCE, &[5]).unwrap();
    assert_eq!(device.seen(), [Seen::Write(0, AT_ONCE, vec![5])]);
}

#[test]
fn several_writes_at_once() {
    let (device, _connection, mut peer) = start_shaken();
    let small = |offset, count, byte| SmallWrite {
        range: RegionRange {
            offset,
            region: 0,
            count,
        },
        data: [byte; MULTI_DATA],
    };
    let multi = RegionWriteMulti {
        writes: vec![small(0, 4, 1), small(16, 8, 2), small(2, 1, 3)],
    };
    let answer = peer
        .ask(Command::RegionWriteMulti, &multi.encode())
        .unwrap();
    assert_eq!(answer.payload, 3_u64.to_le_bytes());
    let expected = [
        Seen::Write(0, 0, vec![1; 4]),
        Seen::Write(0, 16, vec![2; 8]),
        Seen::Write(0, 2, vec![3]),
    ];
    assert_eq!(device.seen(), expected);
    let outside = RegionWriteMulti {
        writes: vec![small(REGISTERS, 1, 1)],
    };
    let answer = peer.ask(Command::RegionWriteMulti, &outside.encode());
    assert_eq!(answer.map(drop), Err(errno(Errno::INVAL)));
    assert_eq!(device.seen(), []);
}

#[test]
fn interrupts() {
    let (device, _connection, mut peer) = start_shaken();
    let first = eventfd(0, EventfdFlags::empty()).unwrap();
    let second = eventfd(0, EventfdFlags::empty()).unwrap();
    let mut set = SetIrqsMessage {
        index: 1,
        start: 1,
        count: 2,
        action: IrqAction::Trigger,
        data: IrqDataKind::Eventfds,
    };
    let command = Command::DeviceSetIrqs as u16;
    let fds = [&first, &second];
    peer.ask_with(command, &set.encode().unwrap(), &fds)
        .unwrap();
    for fd in fds {
        let mut count = [0; 8];
        rustix::io::read(fd, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
    // No eventfds at all take the old ones away; another number than vectors is wrong.
    peer.ask_with(command, &set.encode().unwrap(), &[]).unwrap();
    let answer = peer.ask_with(command, &set.encode().unwrap(), &[&first]);
    assert_eq!(answer.map(drop), Err(errno(Errno::INVAL)));
    set.data = IrqDataKind::Bool(&[1, 0]);
    peer.ask_with(command, &set.encode().unwrap(), &[]).unwrap();
    set.data = IrqDataKind::None;
    set.action = IrqAction::Mask;
    peer.ask_with(command, &set.encode().unwrap(), &[]).unwrap();
    // Off.
    set.action = IrqAction::Trigger;
    (set.start, set.count) = (0, 0);
    peer.ask_with(command, &set.encode().unwrap(), &[]).unwrap();
    let irqs = |fds, text: &str| Seen::Irqs {
        fds,
        text: text.into(),
    };
    let expected = [
        irqs(2, "1:1+2 Trigger eventfds"),
        irqs(0, "1:1+2 Trigger eventfds"),
        irqs(0, "1:1+2 Trigger Bool([true, false])"),
        irqs(0, "1:1+2 Mask None"),
        irqs(0, "1:0+0 Trigger None"),
    ];
    assert_eq!(device.seen(), expected);

    // Vectors, indices and flags that are not there.
    for (index, start, count) in [(1, 1, 4), (0, 0, 1), (5, 0, 1), (1, u32::MAX, 1)] {
        (set.index, set.start, set.count) = (index, start, count);
        let answer = peer.ask_with(command, &set.encode().unwrap(), &[]);
        assert_eq!(answer.map(drop), Err(errno(Errno::INVAL)));
    }
    assert_eq!(device.seen(), []);
}

#[test]
fn memory_comes_and_goes() {
    let (device, _connection, mut peer) = start_shaken();
    let map = DmaMap {
        addr: 0x10_0000,
        size: 0x2000,
        offset: 0x1000,
        access: DmaAccess::READ | DmaAccess::WRITE,
    };
    let command = Command::DmaMap as u16;
    let payload = DmaMapMessage(map).encode();
    let file = device.file.try_clone().unwrap();
    let answer = peer.ask_with(command, &payload, &[&file]).unwrap();
    assert!(answer.payload.is_empty());
    peer.ask_with(command, &payload, &[]).unwrap();
    let refused = peer.ask_with(command, &payload, &[&file, &file]);
    assert_eq!(refused.map(drop), Err(errno(Errno::INVAL)));
    let range = DmaUnmap::Range {
        addr: 0x10_1000,
        size: 0x1000,
    };
    let mut expected = vec![Seen::Map(map, true), Seen::Map(map, false)];
    for unmap in [range, DmaUnmap::All] {
        let payload = DmaUnmapMessage(unmap).encode();
        let answer = peer.ask(Command::DmaUnmap, &payload).unwrap();
        assert_eq!(answer.payload, payload);
        expected.push(Seen::Unmap(unmap));
    }
    peer.ask(Command::DeviceReset, &[]).unwrap();
    expected.push(Seen::Reset);
    assert_eq!(device.seen(), expected);
}

#[test]
fn the_client_leaves() {
    let (device, connection, mut peer) = start_shaken();
    write(&mut peer, 0, 0, &[1]).unwrap();
    // What it has posted before it leaves still counts.
    let last = RegionData {
        offset: 1,
        region: 0,
        data: &[2],
    };
    let command = Command::RegionWrite as u16;
    peer.command(command, Reply::Unwanted, &last.encode().unwrap(), &[]);
    drop(peer);
    assert_eq!(connection.join(), Ended::ByClient);
    let expected = [
        Seen::Write(0, 0, vec![1]),
        Seen::Write(0, 1, vec![2]),
        Seen::Gone,
    ];
    assert_eq!(device.seen(), expected);
}

#[test]
fn the_server_leaves() {
    let (device, connection, peer) = start_shaken();
    connection.close();
    assert_eq!(connection.join(), Ended::Closed);
    assert_eq!(device.seen(), [Seen::Gone]);
    drop(peer);
    // Dropping the connection is enough.
    let (device, connection, _peer) = start_shaken();
    drop(connection);
    assert_eq!(device.seen(), [Seen::Gone]);
}
