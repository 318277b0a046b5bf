// SPDX-License-Identifier: GPL-2.0
//! The control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use ntb_switch::control::{ControlClient, ControlError, SpacePiece, ViewPiece, MAX_TRANSFER};
use sha2::{Digest, Sha256};

use crate::support::{Fabric, DEVICE, RAM, SLOT};

#[test]
fn a_nodes_memory_can_be_read_written_and_summed_up() {
    let fabric = Fabric::trapped(2);
    let (_a, b) = (fabric.node(0), fabric.node(1));
    let control = &fabric.control;
    // More than one request moves: the first part shows at another place of the address space, too.
    b.map(RAM, RAM, 0, &b.ram).unwrap();
    let data: Vec<u8> = (0..MAX_TRANSFER + 5000)
        .map(|n| ((n * n) >> 3) as u8)
        .collect();
    let len = data.len() as u64;
    let addr = 2 * RAM - len;
    control.memory_write(1, addr, &data).unwrap();
    let start = data.len() - RAM as usize;
    assert_eq!(b.ram(0, RAM as usize), data[start..]);
    assert_eq!(control.memory_read(1, RAM, RAM).unwrap(), data[start..]);
    let digest = hex::encode(Sha256::digest(&data[start..]));
    assert_eq!(control.memory_digest(1, RAM, RAM).unwrap(), digest);

    // What is not memory goes to the node, which knows its devices.
    control
        .memory_write(1, DEVICE + 0x10, &[1, 2, 3, 4])
        .unwrap();
    assert_eq!(b.device(0x10, 4), [1, 2, 3, 4]);
    assert_eq!(
        control.memory_read(1, DEVICE + 0x10, 4).unwrap(),
        [1, 2, 3, 4]
    );
    for error in [
        control.memory_read(1, 2 * RAM - 4, 8).unwrap_err(),
        control.memory_write(1, u64::MAX - 2, &[0; 8]).unwrap_err(),
        control.memory_digest(1, u64::MAX, 2).unwrap_err(),
        control.memory_read(7, 0, 4).unwrap_err(),
    ] {
        assert!(matches!(error, ControlError::Refused(_)), "{error}");
    }
}

#[test]
fn spaces_and_views_are_told() {
    let fabric = Fabric::trapped(2);
    let (a, b) = (fabric.node(0), fabric.node(1));
    b.unmap(0x1000, 0x1000);
    let space = fabric.control.space(1).unwrap();
    let file = space[0].file;
    let piece = |addr, len| SpacePiece {
        addr,
        len,
        file,
        file_offset: addr,
    };
    assert_eq!(space, [piece(0, 0x1000), piece(0x2000, RAM - 0x2000)]);
    a.program(2, 1, 1, 0);
    let piece = |offset, len| ViewPiece {
        offset: SLOT + offset,
        len,
        file,
        file_offset: offset,
    };
    assert_eq!(
        fabric.control.view(0, 2).unwrap(),
        [piece(0, 0x1000), piece(0x2000, SLOT - 0x2000)]
    );
    assert!(fabric.control.view(0, 4).unwrap().is_empty());
    assert!(fabric.control.view(0, 0).is_err());
}

#[test]
fn registers_can_be_used_from_outside() {
    let fabric = Fabric::trapped(2);
    let a = fabric.node(0);
    let control = &fabric.control;
    let before = control.counters(0).unwrap();
    assert_eq!(control.register_read(0, 0).unwrap(), 0x808f_111d);
    control.register_write(0, 0x42c, 0x1234).unwrap();
    assert_eq!(a.register(0x42c), 0x1234);
    assert!(control.register_read(0, 2).is_err());
    assert!(control.register_write(2, 0, 0).is_err());
    assert!(control.poison(0, 2, 12, true).is_err());
    let after = control.counters(0).unwrap().since(&before);
    assert_eq!(
        (after.register_reads, after.register_writes),
        (1, 0),
        "only the node's own are counted"
    );
}

#[test]
fn several_clients_and_nonsense_are_borne() {
    let fabric = Fabric::trapped(1);
    let path = fabric.socket("control.sock");
    let others: Vec<_> = (0..8)
        .map(|_| ControlClient::connect(&path).unwrap())
        .collect();
    for other in &others {
        assert_eq!(other.status().unwrap().ports.len(), 1);
    }
    let mut raw = BufReader::new(UnixStream::connect(&path).unwrap());
    for (line, answer) in [
        ("{\"do\":\"status\"}\n", "{\"ok\":{"),
        ("nonsense\n", "{\"error\":\"not a request"),
        ("\n", "{\"error\":\"not a request"),
        (
            "{\"do\":\"counters\",\"port\":9}\n",
            "{\"error\":\"the switch has no port 9\"}",
        ),
        ("{\"do\":\"plug\",\"port\":0}\n", "{\"ok\":null}"),
    ] {
        raw.get_mut().write_all(line.as_bytes()).unwrap();
        let mut text = String::new();
        raw.read_line(&mut text).unwrap();
        assert!(text.starts_with(answer), "{line}{text}");
    }
    // A line without an end ends the client, not the switch.
    let mut endless = UnixStream::connect(&path).unwrap();
    let junk = vec![b'x'; 1 << 20];
    while endless.write_all(&junk).is_ok() {}
    assert!(others[0].status().is_ok());
}
