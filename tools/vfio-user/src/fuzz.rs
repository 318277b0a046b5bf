// SPDX-License-Identifier: GPL-2.0
//! One entry for fuzzers: any bytes through every decoder, and as a client's messages through a served connection.
//!
//! The first byte chooses how the rest is read: as a raw stream, or as a list of well-framed messages with arbitrary content, which reach the
//! device far more often. Everything that is started is also ended before [`feed`] returns.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::wire::{
    Capabilities, Command, DeviceInfoMessage, DmaData, DmaMapMessage, DmaRange, DmaUnmapMessage,
    Header, IrqInfoMessage, Kind, RegionData, RegionInfoMessage, RegionRange, RegionWriteMulti,
    Reply, Request, SetIrqsMessage, Version, HEADER_SIZE,
};
use crate::{
    serve, Client, Device, DeviceInfo, DmaMap, DmaUnmap, Ended, Errno, IrqFlags, IrqInfo,
    RegionInfo, SetIrqs,
};

/// Longest an access of the dummy device to the client's bus may take.
const PATIENCE: Duration = Duration::from_millis(1);
/// The region whose accesses wait for the client's bus; writes to the others go there posted.
const REGION_WITH_BUS: u32 = 0;

/// Decodes `bytes` as every message there is, then sends them to a served connection.
///
/// # Panics
/// When a decoder or the connection has a fault, or the machine has no sockets or threads left.
pub fn feed(bytes: &[u8]) {
    decode(bytes);
    let Some((mode, rest)) = bytes.split_first() else {
        return;
    };
    let stream = match mode & 1 {
        0 => rest.to_vec(),
        _ => frame(rest),
    };
    drive(&stream, mode & 2 == 0);
}

fn decode(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk::<HEADER_SIZE>() {
        if let Ok(header) = Header::decode(head) {
            let again = Header::decode(&header.encode());
            assert_eq!(again, Ok(header), "a header changes on its way");
        }
    }
    for command in 0..=16 {
        // Total: what matters is that it comes back.
        let _ = Request::decode(command, bytes);
    }
    // The decoders of a client are total too.
    let _ = Version::decode(bytes);
    let _ = DeviceInfoMessage::decode(bytes);
    let _ = RegionInfoMessage::decode(bytes);
    let _ = IrqInfoMessage::decode(bytes);
    let _ = SetIrqsMessage::decode(bytes);
    let _ = DmaMapMessage::decode(bytes);
    let _ = DmaUnmapMessage::decode(bytes);
    let _ = DmaRange::decode(bytes);
    let _ = DmaData::decode(bytes);
    let _ = RegionRange::decode(bytes);
    let _ = RegionData::decode(bytes);
    let _ = RegionWriteMulti::decode(bytes);
}

/// Reads pieces {kind, command, length, payload} and gives each the header that it needs to get past the reader.
fn frame(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((&[kind, command, len], rest)) = bytes.split_first_chunk::<3>() {
        let (payload, rest) = rest.split_at(rest.len().min(len.into()));
        bytes = rest;
        let kind = match kind % 4 {
            0 => Kind::Command(Reply::Unwanted),
            1 => Kind::Reply,
            2 => Kind::ErrorReply { errno: kind.into() },
            _ => Kind::Command(Reply::Wanted),
        };
        let header = Header {
            id: u16::from(command >> 4),
            command: u16::from(command & 15),
            size: 0,
            kind,
        };
        out.extend(header.message(payload).expect("less than 256 bytes"));
    }
    out
}

/// Sends a stream to a served connection, after the handshake if asked for, and waits for the connection to end.
fn drive(stream: &[u8], handshake: bool) {
    let (server, mut client) = UnixStream::pair().expect("a pair of sockets");
    let device = Arc::new(Dummy::default());
    let connection = serve(server, device).expect("two threads");
    let mut replies = client.try_clone().expect("a file descriptor");
    // Takes all replies, so that the server is never stopped by this side; ends with the connection.
    let drain = std::thread::spawn(move || {
        let mut buf = [0; 4096];
        while matches!(replies.read(&mut buf), Ok(1..)) {}
    });
    if handshake {
        let version = Version {
            major: 0,
            minor: 0,
            capabilities: Capabilities::default(),
        };
        let payload = version.encode().expect("plain numbers");
        let header = Header {
            id: 0,
            command: Command::Version as u16,
            size: 0,
            kind: Kind::Command(Reply::Wanted),
        };
        let message = header.message(&payload).expect("a short message");
        // The server may end the connection at any byte of what follows: then there is nobody to write to.
        let _ = client.write_all(&message);
    }
    let _ = client.write_all(stream);
    let _ = client.shutdown(Shutdown::Write);
    assert_ne!(connection.join(), Ended::Device, "the device panicked");
    drain.join().expect("no panic in a read loop");
}

/// A device that accepts everything and uses the client's bus at each register access.
#[derive(Default)]
struct Dummy {
    client: OnceLock<Client>,
}

impl Device for Dummy {
    fn connected(&self, client: &Client) {
        let _ = self.client.set(client.clone());
    }

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo::PCI
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        Ok(match index {
            0..=2 => RegionInfo::trapped(1 << 16),
            _ => RegionInfo::ABSENT,
        })
    }

    fn irq_info(&self, _index: u32) -> Result<IrqInfo, Errno> {
        Ok(IrqInfo {
            count: 4,
            flags: IrqFlags::EVENTFD,
        })
    }

    fn region_read(&self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        let client = self.client.get().ok_or(Errno::NXIO)?;
        if index == REGION_WITH_BUS {
            // Every outcome is right: the fuzzer is the client.
            let _ = client.dma_read(offset, data, PATIENCE);
        }
        Ok(())
    }

    fn region_write(&self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let client = self.client.get().ok_or(Errno::NXIO)?;
        let _ = match index {
            REGION_WITH_BUS => client.dma_write(offset, data, PATIENCE),
            _ => client.dma_write_posted(offset, data),
        };
        Ok(())
    }

    fn region_post(&self, index: u32, offset: u64, data: &[u8]) -> bool {
        index != REGION_WITH_BUS && self.region_write(index, offset, data).is_ok()
    }

    fn set_irqs(&self, set: SetIrqs) -> Result<(), Errno> {
        assert!(
            set.start.checked_add(set.count).is_some_and(|end| end <= 4),
            "vectors that are not there: {set:?}"
        );
        Ok(())
    }

    fn dma_map(&self, map: DmaMap, _fd: Option<OwnedFd>) -> Result<(), Errno> {
        assert!(map.addr.checked_add(map.size).is_some() && map.size > 0);
        Ok(())
    }

    fn dma_unmap(&self, unmap: DmaUnmap) -> Result<(), Errno> {
        if let DmaUnmap::Range { addr, size } = unmap {
            assert!(addr.checked_add(size).is_some() && size > 0);
        }
        Ok(())
    }

    fn reset(&self) -> Result<(), Errno> {
        Ok(())
    }
}
