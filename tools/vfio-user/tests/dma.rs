// SPDX-License-Identifier: GPL-2.0
//! The server uses the client's bus: answers, errors, both directions at once, clients that stop, are late or vanish.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::*;
use skiff_vfio_user::wire::*;
use skiff_vfio_user::{Client, DmaError, Errno};

/// A client's memory: 1 MiB at this address.
const BASE: u64 = 0x8000_0000;
const SHORT: Duration = Duration::from_millis(50);

/// Answers one access to the bus as QEMU does.
fn answer(peer: &mut Peer, memory: &mut [u8], message: &Received) {
    let place = |addr: u64, len: usize| {
        let start = usize::try_from(addr.checked_sub(BASE)?).ok()?;
        Some(start..start.checked_add(len)?)
    };
    let header = &message.header;
    if header.command == Command::DmaRead as u16 {
        let range = DmaRange::decode(&message.payload).unwrap();
        let bytes = place(range.addr, range.count as usize).and_then(|range| memory.get(range));
        match bytes {
            Some(data) => {
                let addr = range.addr;
                peer.reply(header, &DmaData { addr, data }.encode());
            }
            None => peer.refuse(header, Errno::NODEV),
        }
    } else {
        assert_eq!(header.command, Command::DmaWrite as u16);
        let data = DmaData::decode(&message.payload).unwrap();
        let wanted = header.kind == Kind::Command(Reply::Wanted);
        let bytes = place(data.addr, data.data.len()).and_then(|range| memory.get_mut(range));
        match bytes {
            Some(bytes) => {
                bytes.copy_from_slice(data.data);
                if wanted {
                    peer.reply(header, &data.range().encode());
                }
            }
            None if wanted => peer.refuse(header, Errno::NODEV),
            None => {}
        }
    }
}

/// Serves `count` accesses on a thread of its own and gives the memory back.
fn serve_bus(mut peer: Peer, count: usize) -> thread::JoinHandle<(Peer, Vec<u8>)> {
    thread::spawn(move || {
        let mut memory = vec![0x5a; 1 << 20];
        for _ in 0..count {
            let message = peer.receive();
            answer(&mut peer, &mut memory, &message);
        }
        (peer, memory)
    })
}

#[test]
fn reads_and_writes() {
    let (device, _connection, peer) = start_shaken();
    let client = device.client();
    let bus = serve_bus(peer, 6);
    client.dma_write(BASE + 3, b"hello", LONG).unwrap();
    let mut buf = [0; 7];
    client.dma_read(BASE + 2, &mut buf, LONG).unwrap();
    assert_eq!(&buf, b"Zhello\x5a");
    client.dma_write_posted(BASE + 4, b"a").unwrap();
    client.dma_read(BASE + 2, &mut buf, LONG).unwrap();
    assert_eq!(&buf, b"Zhallo\x5a");
    let fault = Err(DmaError::Fault(Errno::NODEV));
    assert_eq!(client.dma_read(0x1000, &mut buf, LONG), fault);
    assert_eq!(client.dma_write(0x1000, &buf, LONG), fault);
    assert!(!client.is_stalled());
    // The client stays: without it every access would be refused, and only that.
    let _bus = bus.join().unwrap();
    // Nothing is sent for these.
    client.dma_read(BASE, &mut [], LONG).unwrap();
    client.dma_write_posted(BASE, &[]).unwrap();
    let wraps = Err(DmaError::Fault(Errno::FAULT));
    assert_eq!(client.dma_read(u64::MAX - 3, &mut buf, LONG), wraps);
}

/// A large access goes in pieces that the client takes, larger than the socket holds.
#[test]
fn large_accesses() {
    let (device, _connection, mut peer) = start();
    let agreed = peer.shake_hands(Capabilities {
        max_data_xfer_size: Some(400_000),
        ..Capabilities::default()
    });
    assert_eq!(agreed.capabilities.max_data_xfer_size, Some(400_000));
    let client = device.client();
    let bus = serve_bus(peer, 6);
    let pattern: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 7) as u8).collect();
    client.dma_write(BASE + 5, &pattern, LONG).unwrap();
    let mut buf = vec![0; pattern.len()];
    client.dma_read(BASE + 5, &mut buf, LONG).unwrap();
    assert_eq!(buf, pattern);
    let (_, memory) = bus.join().unwrap();
    assert_eq!(memory[5..][..pattern.len()], pattern);
}

#[test]
fn no_bus_before_the_handshake() {
    let (device, _connection, mut peer) = start();
    let client = device.client();
    let mut buf = [0; 4];
    let gone = Err(DmaError::Disconnected);
    assert_eq!(client.dma_read(BASE, &mut buf, LONG), gone);
    assert_eq!(client.dma_write_posted(BASE, &buf), gone);
    peer.shake_hands(Capabilities::default());
    client.dma_write_posted(BASE, &buf).unwrap();
}

/// Several threads of the server use the bus while the client uses the registers, all over one socket.
#[test]
fn both_directions_at_once() {
    const THREADS: usize = 3;
    const ROUNDS: usize = 300;
    let (device, _connection, mut peer) = start_shaken();
    let workers: Vec<_> = (0..THREADS)
        .map(|number| {
            let client = device.client();
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    let addr = BASE + (number * 64) as u64;
                    let value = [number as u8, round as u8, 1, 2];
                    client.dma_write(addr, &value, LONG).unwrap();
                    let mut back = [0; 4];
                    client.dma_read(addr, &mut back, LONG).unwrap();
                    assert_eq!(back, value);
                }
            })
        })
        .collect();
    let mut memory = vec![0; 1 << 20];
    let mut from_server = 0;
    for round in 0..ROUNDS {
        let data = [round as u8; 4];
        let write = RegionData {
            offset: 64,
            region: 0,
            data: &data,
        };
        let command = Command::RegionWrite as u16;
        peer.command(command, Reply::Unwanted, &write.encode().unwrap(), &[]);
        let range = RegionRange {
            offset: 64,
            region: 0,
            count: 4,
        };
        let command = Command::RegionRead as u16;
        let id = peer.command(command, Reply::Wanted, &range.encode(), &[]);
        loop {
            let message = peer.receive();
            if message.header.kind == Kind::Reply {
                assert_eq!(message.header.id, id);
                assert_eq!(RegionData::decode(&message.payload).unwrap().data, data);
                break;
            }
            answer(&mut peer, &mut memory, &message);
            from_server += 1;
        }
    }
    while from_server < THREADS * ROUNDS * 2 {
        let message = peer.receive();
        answer(&mut peer, &mut memory, &message);
        from_server += 1;
    }
    for worker in workers {
        worker.join().unwrap();
    }
}

/// Answers may come in another order than the questions.
#[test]
fn answers_out_of_order() {
    let (device, _connection, mut peer) = start_shaken();
    let ask = |addr: u64| {
        let client = device.client();
        thread::spawn(move || {
            let mut buf = [0; 1];
            client.dma_read(addr, &mut buf, LONG).map(|()| buf[0])
        })
    };
    let first = ask(BASE);
    let a = peer.receive();
    let second = ask(BASE + 1);
    let b = peer.receive();
    let mut memory = vec![0; 1 << 20];
    memory[..2].copy_from_slice(&[10, 20]);
    answer(&mut peer, &mut memory, &b);
    assert_eq!(second.join().unwrap(), Ok(20));
    answer(&mut peer, &mut memory, &a);
    assert_eq!(first.join().unwrap(), Ok(10));
}

/// Answers of the wrong kind, place or length.
#[test]
fn answers_that_are_wrong() {
    let (device, _connection, mut peer) = start_shaken();
    let read = |client: Client| thread::spawn(move || client.dma_read(BASE, &mut [0; 8], LONG));
    let wrong = Err(DmaError::Fault(Errno::PROTO));
    for (addr, len) in [(BASE + 1, 8), (BASE, 7), (BASE, 9)] {
        let reader = read(device.client());
        let question = peer.receive();
        let data = vec![1; len];
        let data = &data;
        peer.reply(&question.header, &DmaData { addr, data }.encode());
        assert_eq!(reader.join().unwrap(), wrong);
    }
    let reader = read(device.client());
    let question = peer.receive();
    peer.reply(&question.header, &[1, 2, 3]);
    assert_eq!(reader.join().unwrap(), wrong);

    // Another command's answer is nobody's; the right one still counts.
    let reader = read(device.client());
    let question = peer.receive();
    let other = Header {
        command: Command::DmaWrite as u16,
        ..question.header
    };
    peer.refuse(&other, Errno::IO);
    let data = &[1; 8];
    peer.reply(&question.header, &DmaData { addr: BASE, data }.encode());
    assert_eq!(reader.join().unwrap(), Ok(()));

    let writer = device.client();
    let writer = thread::spawn(move || writer.dma_write(BASE, &[0; 8], LONG));
    let question = peer.receive();
    let answer = DmaRange {
        addr: BASE,
        count: 7,
    };
    peer.reply(&question.header, &answer.encode());
    assert_eq!(writer.join().unwrap(), wrong);
}

/// No answer in time: the next accesses fail at once, until the client says anything. Its late answer meets nobody.
#[test]
fn a_late_answer() {
    let (device, _connection, mut peer) = start_shaken();
    let client = device.client();
    let mut buf = [0; 4];
    let begin = Instant::now();
    let timeout = Err(DmaError::Timeout);
    assert_eq!(client.dma_read(BASE, &mut buf, SHORT), timeout);
    assert!(begin.elapsed() >= SHORT);
    assert!(client.is_stalled());
    let stalled = Err(DmaError::Stalled);
    assert_eq!(client.dma_read(BASE, &mut buf, LONG), stalled);
    assert_eq!(client.dma_write(BASE, &buf, LONG), stalled);
    assert_eq!(client.dma_write_posted(BASE, &buf), stalled);

    let question = peer.receive();
    let data = &[9; 4];
    let late = DmaData { addr: BASE, data }.encode();
    peer.reply(&question.header, &late);
    wait_until("the end of the stall", || !client.is_stalled());

    let reader = thread::spawn(move || {
        let mut buf = [0; 4];
        client.dma_read(BASE, &mut buf, LONG).map(|()| buf)
    });
    let next = peer.receive();
    assert_ne!(next.header.id, question.header.id);
    // The late answer once more: dropped.
    peer.reply(&question.header, &late);
    let data = &[3; 4];
    peer.reply(&next.header, &DmaData { addr: BASE, data }.encode());
    assert_eq!(reader.join().unwrap(), Ok([3; 4]));
}

/// A command of the client, too, shows that it lives, even before its late answer.
#[test]
fn a_command_ends_the_stall() {
    let (device, _connection, mut peer) = start_shaken();
    let client = device.client();
    let timeout = Err(DmaError::Timeout);
    assert_eq!(client.dma_read(BASE, &mut [0; 4], SHORT), timeout);
    assert!(client.is_stalled());
    peer.command(Command::DeviceReset as u16, Reply::Unwanted, &[], &[]);
    wait_until("the end of the stall", || !client.is_stalled());
}

/// A client that takes no messages: posted writes are refused and never block, and it can come back.
#[test]
fn a_client_that_stops_reading() {
    let (device, _connection, mut peer) = start_shaken();
    let client = device.client();
    let begin = Instant::now();
    let mut sent = 0_u64;
    let refused = loop {
        match client.dma_write_posted(BASE + 8 * sent, &sent.to_le_bytes()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100_000, "a socket without end");
    };
    assert_eq!(refused, DmaError::WouldBlock);
    assert!(client.is_stalled());
    let stalled = Err(DmaError::Stalled);
    assert_eq!(client.dma_write_posted(BASE, &[1]), stalled);
    assert_eq!(client.dma_read(BASE, &mut [0; 4], LONG), stalled);
    assert!(begin.elapsed() < LONG);

    // Not one of the messages that were taken is lost, cut or out of order.
    for number in 0..sent {
        let message = peer.receive();
        assert_eq!(message.header.kind, Kind::Command(Reply::Unwanted));
        let data = DmaData::decode(&message.payload).unwrap();
        assert_eq!(
            (data.addr, data.data),
            (BASE + 8 * number, &number.to_le_bytes()[..])
        );
    }
    // It has taken its messages, so it lives, though it has said nothing.
    wait_until("the end of the stall", || !client.is_stalled());
    client.dma_write_posted(BASE, &[1]).unwrap();
    assert_eq!(peer.receive().payload.len(), 17);
}

/// The same with messages that do not fit the socket whole: the rest of one is sent as soon as there is room.
#[test]
fn a_message_larger_than_the_socket() {
    let (device, _connection, mut peer) = start_shaken();
    let client = device.client();
    let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    client.dma_write_posted(BASE, &data).unwrap();
    let refused = Err(DmaError::WouldBlock);
    assert_eq!(client.dma_write_posted(BASE, &[1]), refused);
    // A reply waits in line behind it, and comes.
    let id = peer.command(Command::DeviceReset as u16, Reply::Wanted, &[], &[]);
    let message = peer.receive();
    assert_eq!(DmaData::decode(&message.payload).unwrap().data, data);
    let reply = peer.receive();
    assert_eq!((reply.header.id, reply.header.kind), (id, Kind::Reply));
    wait_until("the end of the stall", || !client.is_stalled());
}

/// A client that vanishes: those who wait learn it at once, later ones too.
#[test]
fn a_client_that_vanishes() {
    let (device, connection, mut peer) = start_shaken();
    let client = device.client();
    let waiting = device.client();
    let begin = Instant::now();
    let waiter = thread::spawn(move || waiting.dma_read(BASE, &mut [0; 4], LONG * 10));
    peer.receive();
    drop(peer);
    let gone = Err(DmaError::Disconnected);
    assert_eq!(waiter.join().unwrap(), gone);
    assert!(begin.elapsed() < LONG);
    connection.join();
    assert_eq!(client.dma_read(BASE, &mut [0; 4], LONG), gone);
    assert_eq!(client.dma_write(BASE, &[0; 4], LONG), gone);
    assert_eq!(client.dma_write_posted(BASE, &[0; 4]), gone);
    assert_eq!(device.seen(), [Seen::Gone]);
}

/// Closing by the server does the same.
#[test]
fn a_connection_that_is_closed() {
    let (device, connection, mut peer) = start_shaken();
    let waiting = device.client();
    let waiter = thread::spawn(move || waiting.dma_write(BASE, &[0; 4], LONG * 10));
    peer.receive();
    device.client().close();
    assert_eq!(waiter.join().unwrap(), Err(DmaError::Disconnected));
    connection.join();
}
