// SPDX-License-Identifier: GPL-2.0
//! Every message survives its own encoding, and no bytes upset the decoders.

use proptest::collection::vec;
use proptest::prelude::*;
use skiff_vfio_user::wire::*;
use skiff_vfio_user::{DmaAccess, DmaMap, DmaUnmap, IrqAction, MappableArea};

/// A range that does not overflow.
fn range(least: u64) -> impl Strategy<Value = (u64, u64)> {
    any::<(u64, u64)>().prop_map(move |(a, b)| {
        let addr = a.min(u64::MAX - least);
        (addr, (b % (u64::MAX - addr).max(1)).max(least))
    })
}

fn region_range() -> impl Strategy<Value = RegionRange> {
    any::<(u64, u32, u32)>().prop_map(|(offset, region, count)| RegionRange {
        offset: offset.min(u64::MAX - u64::from(count)),
        region,
        count,
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Command(Reply::Wanted)),
        Just(Kind::Command(Reply::Unwanted)),
        Just(Kind::Reply),
        any::<u32>().prop_map(|errno| Kind::ErrorReply { errno }),
    ]
}

fn action() -> impl Strategy<Value = IrqAction> {
    prop_oneof![
        Just(IrqAction::Mask),
        Just(IrqAction::Unmask),
        Just(IrqAction::Trigger)
    ]
}

proptest! {
    #[test]
    fn header(id: u16, command: u16, size in 16_u32.., kind in kind()) {
        let header = Header { id, command, size, kind };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn version(major: u16, minor: u16, fds: Option<u64>, size: Option<u64>, pages: Option<u64>, maps: Option<u64>, multi: Option<bool>) {
        let capabilities = Capabilities {
            max_msg_fds: fds,
            max_data_xfer_size: size,
            pgsizes: pages,
            max_dma_maps: maps,
            write_multiple: multi,
        };
        let version = Version { major, minor, capabilities };
        prop_assert_eq!(Version::decode(&version.encode().unwrap()), Ok(version));
    }

    #[test]
    fn device_info(argsz in 16_u32.., flags: u32, num_regions: u32, num_irqs: u32) {
        let message = DeviceInfoMessage { argsz, flags, num_regions, num_irqs };
        prop_assert_eq!(DeviceInfoMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn irq_info(argsz in 16_u32.., flags: u32, index: u32, count: u32) {
        let message = IrqInfoMessage { argsz, flags, index, count };
        prop_assert_eq!(IrqInfoMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn region_info(argsz in 32_u32.., flags: u32, index: u32, size: u64, offset: u64, areas in vec(any::<(u64, u64)>(), 0..9)) {
        let areas = areas.into_iter().map(|(offset, size)| MappableArea { offset, size }).collect();
        let flags = flags & !RegionInfoMessage::FLAG_CAPS;
        let message = RegionInfoMessage { argsz, flags, index, size, offset, areas };
        let bytes = message.encode();
        prop_assert_eq!(bytes.len(), message.full_size());
        prop_assert_eq!(RegionInfoMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn set_irqs(index: u32, start: u32, flags in vec(any::<u8>(), 0..64), count: u32, action in action(), kind in 0..3) {
        let (count, data) = match kind {
            0 => (count, IrqDataKind::None),
            1 => (u32::try_from(flags.len()).unwrap(), IrqDataKind::Bool(&flags)),
            _ => (count, IrqDataKind::Eventfds),
        };
        let start = start.min(u32::MAX - count);
        let message = SetIrqsMessage { index, start, count, action, data };
        let bytes = message.encode().unwrap();
        prop_assert_eq!(SetIrqsMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn region_ranges(message in region_range()) {
        prop_assert_eq!(RegionRange::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn region_data(offset: u64, region: u32, data in vec(any::<u8>(), 0..100)) {
        let offset = offset.min(u64::MAX - 100);
        let message = RegionData { offset, region, data: &data };
        let bytes = message.encode().unwrap();
        prop_assert_eq!(RegionData::decode(&bytes), Ok(message));
    }

    #[test]
    fn region_write_multi(writes in vec((region_range(), any::<[u8; MULTI_DATA]>()), 0..=MULTI_MAX)) {
        let writes = writes.into_iter().map(|(range, data)| {
            let count = range.count % 9;
            SmallWrite { range: RegionRange { count, ..range }, data }
        }).collect();
        let message = RegionWriteMulti { writes };
        prop_assert_eq!(RegionWriteMulti::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn dma_map((addr, size) in range(1), offset: u64, access in 0_u32..4) {
        let offset = offset.min(u64::MAX - size);
        let access = DmaAccess::from_bits(access).unwrap();
        let message = DmaMapMessage(DmaMap { addr, size, offset, access });
        prop_assert_eq!(DmaMapMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn dma_unmap((addr, size) in range(1), all: bool) {
        let message = DmaUnmapMessage(if all { DmaUnmap::All } else { DmaUnmap::Range { addr, size } });
        prop_assert_eq!(DmaUnmapMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn dma_range((addr, count) in range(0)) {
        let message = DmaRange { addr, count };
        prop_assert_eq!(DmaRange::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn dma_data(addr: u64, data in vec(any::<u8>(), 0..100)) {
        let message = DmaData { addr: addr.min(u64::MAX - 100), data: &data };
        let bytes = message.encode();
        prop_assert_eq!(DmaData::decode(&bytes), Ok(message));
    }

    /// A message that lost bytes at its end is refused or still makes sense, but does not panic; most fixed ones must be refused.
    #[test]
    fn cut_short(offset: u64, cut in 1_usize..16) {
        let bytes = RegionRange { offset: offset.min(u64::MAX - 8), region: 0, count: 8 }.encode();
        prop_assert_eq!(RegionRange::decode(&bytes[..16 - cut]), Err(WireError::Short));
        let bytes = DmaUnmapMessage(DmaUnmap::All).encode();
        prop_assert_eq!(DmaUnmapMessage::decode(&bytes[..24 - cut]), Err(WireError::Short));
    }
}

/// The layout is the protocol's, not only our own: bytes as in libvfio-user's document.
#[test]
fn layouts() {
    let header = Header {
        id: 0x1234,
        command: Command::RegionWrite as u16,
        size: 0x24,
        kind: Kind::Command(Reply::Unwanted),
    };
    let expected = [0x34, 0x12, 10, 0, 0x24, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(header.encode(), expected);
    let header = Header {
        kind: Kind::ErrorReply { errno: 19 },
        ..header
    };
    let expected = [0x34, 0x12, 10, 0, 0x24, 0, 0, 0, 0x21, 0, 0, 0, 19, 0, 0, 0];
    assert_eq!(header.encode(), expected);

    let map = DmaMapMessage(DmaMap {
        addr: 0x1_0000_0000,
        size: 0x2000,
        offset: 0x8000_0000,
        access: DmaAccess::READ | DmaAccess::WRITE,
    });
    let expected = [
        32, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x20, 0, 0,
        0, 0, 0, 0,
    ];
    assert_eq!(map.encode(), expected);

    let region = RegionInfoMessage {
        argsz: 64,
        flags: 7,
        index: 2,
        size: 0x8000,
        offset: 0,
        areas: vec![MappableArea {
            offset: 0x1000,
            size: 0x7000,
        }],
    };
    let expected = [
        64, 0, 0, 0, 15, 0, 0, 0, 2, 0, 0, 0, 32, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, // the capability: id 1, version 1, no next; one area, reserved
        1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x70, 0, 0,
        0, 0, 0, 0,
    ];
    assert_eq!(region.encode(), expected);

    let irqs = SetIrqsMessage {
        index: 1,
        start: 0,
        count: 1,
        action: IrqAction::Trigger,
        data: IrqDataKind::Eventfds,
    };
    let expected = [
        20, 0, 0, 0, 0x24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
    ];
    assert_eq!(irqs.encode().unwrap(), expected);
}

/// What QEMU 11.1 sends as its first message, with members that are of no interest here.
#[test]
fn version_text_of_a_client() {
    let text = br#"{"capabilities": {"migration": {"pgsize": 4096, "max_bitmap_size": 268435456}, "max_dma_maps": 65535, "max_msg_fds": 8, "max_data_xfer_size": 1048576, "pgsizes": 4096, "write_multiple": true}}"#;
    let mut payload = vec![0, 0, 0, 0];
    payload.extend_from_slice(text);
    payload.push(0);
    let version = Version::decode(&payload).unwrap();
    assert_eq!(version.capabilities.max_msg_fds, Some(8));
    assert_eq!(version.capabilities.write_multiple, Some(true));

    let bad: [&[u8]; 5] = [
        b"{\0",
        b"{}",
        b"[[[[[[\0",
        b"{\"capabilities\": {\"max_msg_fds\": -1}}\0",
        b"\xff\0",
    ];
    for text in bad {
        let payload = [&[0; 4], text].concat();
        assert_eq!(Version::decode(&payload), Err(WireError::Text), "{text:?}");
    }
    assert_eq!(
        Version::decode(&[0; 4]).unwrap().capabilities,
        Capabilities::default()
    );
    assert_eq!(
        Version::decode(&vec![0; MAX_VERSION_TEXT + 5]),
        Err(WireError::Long)
    );
    // Deep nesting must not overflow the stack.
    let mut deep = vec![0; 4];
    deep.extend(std::iter::repeat_n(b'[', MAX_VERSION_TEXT - 1));
    deep.push(0);
    assert_eq!(Version::decode(&deep), Err(WireError::Text));
}

/// A client may take a whole address space away in halves.
#[test]
fn unmap_up_to_the_end() {
    let half = 1_u64 << 63;
    let mut bytes = vec![24, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&half.to_le_bytes());
    bytes.extend_from_slice(&half.to_le_bytes());
    let expected = DmaUnmap::Range {
        addr: half,
        size: half - 1,
    };
    assert_eq!(
        DmaUnmapMessage::decode(&bytes),
        Ok(DmaUnmapMessage(expected))
    );
    bytes[8] = 1;
    assert_eq!(DmaUnmapMessage::decode(&bytes), Err(WireError::Range));
}

/// A chain of capabilities that leads back or outside ends.
#[test]
fn capability_chains() {
    let message = RegionInfoMessage {
        argsz: 64,
        areas: vec![MappableArea { offset: 0, size: 1 }],
        ..RegionInfoMessage::default()
    };
    let mut bytes = message.encode();
    bytes[32] = 9;
    assert_eq!(RegionInfoMessage::decode(&bytes).unwrap().areas, []);
    bytes[36] = 32;
    assert_eq!(RegionInfoMessage::decode(&bytes), Err(WireError::Value));
    bytes[36..40].fill(0xff);
    assert_eq!(RegionInfoMessage::decode(&bytes), Err(WireError::Short));
    bytes[32] = 1;
    bytes[40..44].fill(0xff);
    assert_eq!(RegionInfoMessage::decode(&bytes), Err(WireError::Short));
}
