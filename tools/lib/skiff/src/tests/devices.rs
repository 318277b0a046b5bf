// SPDX-License-Identifier: GPL-2.0
//! Lending, finding and borrowing: what the kernel is asked for, and what its answers become.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;

use super::context;
use crate::size_of_abi;
use crate::sys::fake::Call;
use crate::sys::fake::Fake;
use crate::uapi;
use crate::Attempt;
use crate::BadName;
use crate::BorrowOptions;
use crate::Borrowed;
use crate::Containment;
use crate::DeviceMemory;
use crate::DeviceState;
use crate::Fdid;
use crate::Filter;
use crate::Hints;
use crate::LendOptions;
use crate::Mastering;
use crate::PciAddress;
use crate::Protection;
use crate::Refusal;
use crate::SegmentOptions;
use crate::Share;
use crate::Width;
use crate::Withdrawal;

#[test]
fn devices_have_names_as_people_write_them() {
    assert_eq!(
        Fdid::of(1, 0).map(|fdid| fdid.to_string()),
        Some("80000".into())
    );
    assert_eq!("0x8000a".parse(), Ok(Fdid::from(0x8000a)));
    assert_eq!(
        "fc0001".parse::<Fdid>().map(|fdid| fdid.node()),
        Ok(Some(62))
    );
    let last = Fdid::of(63, 0xffff).expect("a node");
    assert_eq!(
        (last.raw(), last.node(), last.index()),
        (0x100_ffff, Some(63), 0xffff)
    );
    assert_eq!(Fdid::of(64, 0), None);
    for nobody in [0, 0x3_0000, 0x5_0000, 0x104_0000, u32::MAX] {
        assert_eq!(Fdid::from(nobody).node(), None, "{nobody:#x}");
    }
    for bad in ["", "0x", "+1", "-1", "8000g", "123456789"] {
        assert_eq!(bad.parse::<Fdid>(), Err(BadName::Fdid), "{bad}");
    }
    for (text, domain, bdf, printed) in [
        ("03:00.0", 0, 0x0300, "0000:03:00.0"),
        ("0000:ff:1f.7", 0, 0xffff, "0000:ff:1f.7"),
        ("10000:1:2.3", 0x10000, 0x0113, "10000:01:02.3"),
    ] {
        let address: PciAddress = text.parse().expect(text);
        assert_eq!((address.domain(), address.bdf()), (domain, bdf));
        assert_eq!(address.to_string(), printed);
    }
    for bad in [
        "",
        "3",
        "03:00",
        "03:20.0",
        "03:00.8",
        "100:00.0",
        "0:0:0:0.0",
        "a:+1.0",
        "03:00.0 ",
    ] {
        assert_eq!(bad.parse::<PciAddress>(), Err(BadName::PciAddress), "{bad}");
    }
}

#[test]
fn lending_reaches_the_kernel() {
    let (context, fake) = context();
    let function = PciAddress::new(1, 0x0300);
    let options = LendOptions::new().mode(0o660).nodes(&[0, 63]);
    let fdid = context.lend_add(function, &options).expect("added");
    assert_eq!(fdid, Fdid::of(2, 1).expect("node 2"));
    let added = uapi::skiff_lend_add {
        size: size_of_abi::<uapi::skiff_lend_add>(),
        domain: 1,
        bdf: 0x0300,
        mode: 0o660,
        nodes: (1 << 63) | 1,
        ..Default::default()
    };
    assert_eq!(fake.calls(), [Call::LendAdd(added)]);

    context
        .lend_available(fdid, Protection::Required)
        .expect("available");
    context
        .lend_available(fdid, Protection::Waived)
        .expect("available");
    context
        .lend_unavailable(fdid, Withdrawal::IfIdle)
        .expect("unavailable");
    context
        .lend_unavailable(fdid, Withdrawal::Force)
        .expect("unavailable");
    context
        .lend_remove(fdid, Withdrawal::IfIdle)
        .expect("removed");
    context
        .lend_remove(fdid, Withdrawal::Force)
        .expect("removed");
    let device = |flags| uapi::skiff_lend_device {
        size: 16,
        flags,
        fdid: fdid.raw(),
        refusal: 0,
    };
    assert_eq!(
        fake.calls(),
        [
            Call::LendAvailable(device(0)),
            Call::LendAvailable(device(uapi::SKIFF_LEND_UNSAFE)),
            Call::LendUnavailable(device(0)),
            Call::LendUnavailable(device(uapi::SKIFF_LEND_FORCE)),
            Call::LendRemove(device(0)),
            Call::LendRemove(device(uapi::SKIFF_LEND_FORCE)),
        ]
    );

    context.lend_connect(1).expect("connected");
    context.lend_disconnect(1).expect("disconnected");
    let peer = uapi::skiff_lend_peer {
        size: 16,
        node: 1,
        ..Default::default()
    };
    assert_eq!(
        fake.calls(),
        [Call::LendConnect(peer), Call::LendDisconnect(peer)]
    );

    let none = LendOptions::new().nodes(&[64]);
    let error = context.lend_add(function, &none).expect_err("no node");
    assert_eq!(error.errno(), libc::EINVAL);
    assert!(fake.calls().is_empty());
}

#[test]
fn a_device_that_cannot_be_lent_is_refused_with_a_reason() {
    let (context, fake) = context();
    fake.fail(Errno::EOPNOTSUPP);
    let error = context
        .lend_available(0x80000, Protection::Required)
        .expect_err("no IOMMU");
    assert_eq!(error.refusal(), Some(Refusal::NoIommu));
    assert!(error
        .to_string()
        .contains("cannot make device 80000 available: no IOMMU"));
    assert!(error.mend().is_some_and(|mend| mend.contains("--unsafe")));
    fake.fail(Errno::EBUSY);
    let error = context
        .lend_available(0x80000, Protection::Required)
        .expect_err("busy");
    assert_eq!(error.refusal(), None);
    for raw in [
        uapi::SKIFF_REFUSAL_GROUP,
        uapi::SKIFF_REFUSAL_NO_RESET,
        uapi::SKIFF_REFUSAL_NO_PATH,
    ] {
        assert!(
            Refusal::from_raw(raw).is_some_and(|refusal| refusal.mend().is_some()),
            "{raw}"
        );
    }
}

#[test]
fn devices_are_found_one_after_the_other() {
    let (context, fake) = context();
    let filter = Filter::new()
        .node(1)
        .state(DeviceState::Available)
        .class(0x01_0800, 0xff_ff00)
        .vendor(2)
        .device(3)
        .subvendor(4)
        .subdevice(5)
        .serial(6)
        .function(PciAddress::new(7, 0x0308));
    let found = context.devices(&filter).expect("devices");
    let ids: Vec<_> = found.iter().map(|device| device.fdid.raw()).collect();
    assert_eq!(ids, [0x8_0000, 0x8_0001, 0xc_0000]);
    let asked = |from| {
        Call::DeviceQuery(uapi::skiff_device_query {
            size: size_of_abi::<uapi::skiff_device_query>(),
            match_: 0x1ff,
            from,
            class_mask: 0xff_ff00,
            device: uapi::skiff_device {
                node: 1,
                state: uapi::SKIFF_DEVICE_AVAILABLE,
                class_code: 0x01_0800,
                vendor: 2,
                device: 3,
                subvendor: 4,
                subdevice: 5,
                serial: 6,
                domain: 7,
                bdf: 0x0308,
                ..Default::default()
            },
        })
    };
    assert_eq!(
        fake.calls(),
        [asked(0), asked(0x8_0001), asked(0x8_0002), asked(0xc_0001)]
    );

    let one = context.device(0x8_0001).expect("asked").expect("there");
    assert_eq!((one.node, one.state), (1, DeviceState::Exclusive));
    assert_eq!(one.containment, Containment::Contained);
    assert_eq!(one.function.to_string(), "0001:03:03.1");
    assert_eq!(
        (one.class, one.vendor, one.device),
        (0x01_0802, 0x8086, 0xf1a5)
    );
    assert_eq!((one.serial, one.bars[0], one.vectors), (None, 0x4000, 16));
    assert_eq!(context.device(0x8_0002), Ok(None));
    assert_eq!(context.device(0xc_0001), Ok(None));
    fake.fail(Errno::EPERM);
    assert!(context.devices(&Filter::new()).is_err());
}

fn borrowed(options: &BorrowOptions) -> (Borrowed, crate::Context, &'static Fake) {
    let (context, fake) = context();
    let device = context.borrow(0x8_0001, options).expect("borrowed");
    (device, context, fake)
}

#[test]
fn options_of_a_borrow_reach_the_kernel() {
    let raw = |flags, timeout_ms| {
        Call::Borrow(uapi::skiff_device_borrow {
            size: size_of_abi::<uapi::skiff_device_borrow>(),
            flags,
            fdid: 0x8_0001,
            timeout_ms,
            ..Default::default()
        })
    };
    let (_device, _context, fake) = borrowed(&BorrowOptions::new());
    assert_eq!(fake.calls(), [raw(0, 0)]);
    let limit = Duration::from_millis(7);
    let (_device, _context, fake) = borrowed(&BorrowOptions::new().exclusive().timeout(limit));
    assert_eq!(fake.calls(), [raw(uapi::SKIFF_BORROW_EXCLUSIVE, 7)]);
}

#[test]
fn a_borrowed_device_tells_of_itself() {
    let (device, _context, fake) = borrowed(&BorrowOptions::new());
    let info = device.info().expect("info");
    assert_eq!(
        (info.share, info.maps, info.vectors),
        (Share::Exclusive, 2, 5)
    );
    assert_eq!(info.device.fdid.raw(), 0x8_0001);
    fake.fail(Errno::ECONNRESET);
    let error = device.info().expect_err("ended");
    assert!(error.cause().starts_with("the borrow has ended"));
    assert_eq!(error.mend(), Some("borrow it again"));
}

#[test]
fn what_is_done_with_a_device_waits_as_long_as_its_borrower_wants() {
    let limit = Duration::from_millis(7);
    let (device, _context, fake) = borrowed(&BorrowOptions::new().timeout(limit));
    fake.calls();
    device.give_back().expect("returned");
    device.release_exclusive().expect("released");
    device.reset().expect("reset");
    let plain = |name| {
        let raw = uapi::skiff_device_plain {
            size: 16,
            timeout_ms: 7,
            ..Default::default()
        };
        Call::DevicePlain(name, raw)
    };
    assert_eq!(
        fake.calls(),
        [plain("return"), plain("release"), plain("reset")]
    );

    device.bus_master(Mastering::On).expect("on");
    device.bus_master(Mastering::Off).expect("off");
    let master = |flags| {
        Call::BusMaster(uapi::skiff_device_bus_master {
            size: 16,
            flags,
            timeout_ms: 7,
            ..Default::default()
        })
    };
    assert_eq!(fake.calls(), [master(uapi::SKIFF_BUS_MASTER_ON), master(0)]);

    assert_eq!(device.config_read(2, Width::Two), Ok(0x8086));
    device.config_write(0x0c, Width::One, 16).expect("written");
    let config = |offset, width, value| uapi::skiff_device_config {
        size: 24,
        offset,
        width,
        value,
        timeout_ms: 7,
        ..Default::default()
    };
    let (read, write) = (config(2, 2, 0), config(0x0c, 1, 16));
    assert_eq!(
        fake.calls(),
        [Call::ConfigRead(read), Call::ConfigWrite(write)]
    );

    assert_eq!(device.vectors(8), Ok(4));
    device.vector(3, Some(device.as_fd())).expect("set");
    device.vector(3, None).expect("cleared");
    let vector = |fd| {
        Call::Vector(uapi::skiff_device_vector {
            size: 16,
            index: 3,
            fd,
            ..Default::default()
        })
    };
    let wanted = uapi::skiff_device_vectors {
        size: 16,
        count: 8,
        timeout_ms: 7,
        ..Default::default()
    };
    let fd = device.as_fd().as_raw_fd();
    assert_eq!(
        fake.calls(),
        [Call::Vectors(wanted), vector(fd), vector(-1)]
    );
}

#[test]
fn segments_of_a_device_are_made_and_connected() {
    let (device, _context, fake) = borrowed(&BorrowOptions::new());
    fake.calls();
    device
        .create_segment(DeviceMemory::Shared, 5, 4097, Hints::new())
        .expect("made");
    let hints = Hints::new().device_writes().host_reads();
    device
        .create_segment(DeviceMemory::Private, 6, 1, hints)
        .expect("made");
    let shared = device
        .connect_segment(DeviceMemory::Private, 6)
        .expect("connected");
    let bar = device.connect_bar(2).expect("connected");
    assert_eq!((shared.bytes(), bar.bytes()), (0x4000, 0x4000));
    let segment = |memory, id, bytes| uapi::skiff_device_segment {
        size: 32,
        memory,
        id,
        bytes,
        ..Default::default()
    };
    assert_eq!(
        fake.calls(),
        [
            Call::DeviceCreate(segment(uapi::SKIFF_DEVICE_SHARED, 5, 4097)),
            Call::DeviceCreate(uapi::skiff_device_segment {
                flags: uapi::SKIFF_HINT_DEVICE_WRITE | uapi::SKIFF_HINT_HOST_READ,
                ..segment(uapi::SKIFF_DEVICE_PRIVATE, 6, 1)
            }),
            Call::DeviceConnect(segment(uapi::SKIFF_DEVICE_PRIVATE, 6, 0)),
            Call::DeviceConnect(segment(uapi::SKIFF_DEVICE_BAR, 2, 0)),
        ]
    );
    fake.fail(Errno::ENOENT);
    let error = device.connect_bar(2).expect_err("no BAR");
    assert_eq!(error.attempt(), Attempt::DeviceBar { bar: 2 });
}

#[test]
fn ranges_are_mapped_for_a_device() {
    let (device, context, fake) = borrowed(&BorrowOptions::new());
    let memory = context.create(&SegmentOptions::new(0x4000)).expect("made");
    fake.calls();
    let ranges = [
        device.map(&memory, ..),
        device.map(&memory, 0x1000..),
        device.map(&memory, 0x1000..0x3000),
        device.map(&memory, ..=0xfff),
    ];
    for map in &ranges {
        assert_eq!(map.as_ref().map(|map| map.address()), Ok(0x1_0000_0000));
    }
    let map = |offset, bytes| {
        Call::DeviceMap(uapi::skiff_device_map {
            size: 48,
            fd: memory.as_fd().as_raw_fd(),
            offset,
            bytes,
            ..Default::default()
        })
    };
    assert_eq!(
        fake.calls(),
        [
            map(0, 0),
            map(0x1000, 0),
            map(0x1000, 0x2000),
            map(0, 0x1000)
        ]
    );
    // To the kernel length 0 is all of the segment.
    #[expect(clippy::reversed_empty_ranges, reason = "they must be refused")]
    for empty in [0..0, 0x1000..0x1000, 0x2000..0x1000] {
        let error = device.map(&memory, empty).expect_err("nothing");
        assert_eq!(error.errno(), libc::EINVAL);
    }
    assert!(device.map(&memory, 0..=u64::MAX).is_err());
    assert!(fake.calls().is_empty());

    let [map, ..] = ranges;
    device.unmap(map.expect("mapped")).expect("unmapped");
    let unmap = uapi::skiff_device_unmap {
        size: 16,
        map: 6,
        ..Default::default()
    };
    assert_eq!(fake.calls(), [Call::DeviceUnmap(unmap)]);
}

#[test]
fn commands_of_other_languages_are_told_apart() {
    fn told<T>(request: u32, raw: &mut T) -> Attempt {
        // SAFETY: the structure begins with its size, or with a smaller one.
        unsafe { crate::raw::attempt::of(request, std::ptr::from_mut(raw).cast()) }
    }
    let mut segment = uapi::skiff_device_segment {
        size: 32,
        memory: uapi::SKIFF_DEVICE_BAR,
        id: 2,
        ..Default::default()
    };
    let connect = uapi::SKIFF_IOC_DEVICE_SEGMENT_CONNECT;
    assert_eq!(told(connect, &mut segment), Attempt::DeviceBar { bar: 2 });
    segment.memory = uapi::SKIFF_DEVICE_SHARED;
    let memory = DeviceMemory::Shared;
    let expected = Attempt::DeviceConnect { memory, id: 2 };
    assert_eq!(told(connect, &mut segment), expected);
    segment.memory = 3;
    let unknown = Attempt::Command { request: connect };
    assert_eq!(told(connect, &mut segment), unknown);
    segment.memory = uapi::SKIFF_DEVICE_SHARED;
    segment.size = 31;
    assert_eq!(told(connect, &mut segment), unknown);

    let mut add = uapi::skiff_lend_add {
        size: size_of_abi::<uapi::skiff_lend_add>(),
        domain: 1,
        bdf: 0x0300,
        ..Default::default()
    };
    let function = PciAddress::new(1, 0x0300);
    let added = told(uapi::SKIFF_IOC_LEND_ADD, &mut add);
    assert_eq!(added, Attempt::LendAdd { function });
}
