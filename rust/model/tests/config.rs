// SPDX-License-Identifier: GPL-2.0
//! What may be written to the configuration space of a lent device, offset by offset.

use proptest::prelude::*;
use skiff_model::lend::ConfigSpace;
use skiff_model::wire::Width;

const WIDTHS: [Width; 3] = [Width::One, Width::Two, Width::Four];

const POWER: u8 = 0x01;
const VPD: u8 = 0x03;
const MSI: u8 = 0x05;
const VENDOR: u8 = 0x09;
const EXPRESS: u8 = 0x10;
const MSIX: u8 = 0x11;

/// A capability: id, place, bytes.
type Capability = (u8, u8, u8);

/// The first 256 bytes of a function's space.
type Space = [u8; 256];

/// A space with these capabilities, in the order of the list, and `filler` everywhere else.
fn space(filler: u8, capabilities: &[Capability]) -> Space {
    let mut space = [filler; 256];
    space[0x06] |= 0x10;
    space[0x0e] = 0x80;
    let mut last = 0x34;
    for (id, at, bytes) in capabilities {
        // The lower two bits mean nothing.
        space[last] = at | 3;
        let at = usize::from(*at);
        space[at] = *id;
        last = at + 1;
        if *id == VENDOR {
            space[at + 2] = *bytes;
        }
    }
    space[last] = 0;
    space
}

fn dword(space: &Space, offset: u16) -> u32 {
    let at = usize::from(offset);
    u32::from_le_bytes(space[at..at + 4].try_into().unwrap())
}

fn look(space: &Space) -> ConfigSpace {
    ConfigSpace::read(|offset| dword(space, offset))
}

/// Bits of each byte that may be written, said plainly.
fn plain(capabilities: &[Capability]) -> [u8; 4096] {
    let mut bits = [0; 4096];
    bits[0x0c] = 0xff;
    bits[0x0d] = 0xff;
    bits[0x3c] = 0xff;
    for (id, at, bytes) in capabilities {
        let at = usize::from(*at);
        match *id {
            EXPRESS => {
                bits[at + 8] = 0x1f;
                bits[at + 9] = 0x78;
            }
            VENDOR => bits[at + 3..at + usize::from(*bytes)].fill(0xff),
            _ => {}
        }
    }
    bits
}

/// Says whether each access at each offset does what the bits of the bytes say.
fn check(space: &Space, bits: &[u8; 4096]) {
    let config = look(space);
    for offset in 0..=u16::MAX {
        for width in WIDTHS {
            let bytes = u16::from(width.bytes());
            let at = usize::from(offset);
            if offset >= 4096 || offset % bytes != 0 {
                assert_eq!(config.writable(offset, width), 0);
                assert!(!config.may_write(offset, width, 0));
                continue;
            }
            let covered = &bits[at..at + usize::from(bytes)];
            let wanted = covered
                .iter()
                .rev()
                .fold(0, |word, byte| (word << 8) | u32::from(*byte));
            assert_eq!(
                config.writable(offset, width),
                wanted,
                "{offset:#x} {width:?}"
            );
            let now = match offset {
                0..256 => (dword(space, offset & !3) >> (8 * (offset % 4))) & width.mask(),
                _ => 0,
            };
            let may = covered.iter().all(|byte| *byte != 0);
            let what = format!("{offset:#x} {width:?}");
            assert_eq!(config.may_write(offset, width, now), may, "{what}");
            for bit in 0..32 {
                let value = now ^ (1 << bit);
                let may = may && wanted & (1 << bit) != 0;
                assert_eq!(
                    config.may_write(offset, width, value),
                    may,
                    "{what} bit {bit}"
                );
            }
            let all = now ^ wanted;
            assert_eq!(config.may_write(offset, width, all), may, "{what} all");
        }
    }
}

#[test]
fn what_is_harmless_is_all_that_may_be_written() {
    let capabilities = [
        (POWER, 0x40, 8),
        (MSI, 0x48, 24),
        (VENDOR, 0x60, 16),
        (EXPRESS, 0x70, 60),
        (MSIX, 0xac, 12),
        (VENDOR, 0xb8, 5),
        (VPD, 0xc0, 8),
        (VENDOR, 0xf0, 16),
    ];
    for filler in [0, 0xff, 0xa5] {
        let space = space(filler, &capabilities);
        check(&space, &plain(&capabilities));
    }
}

#[test]
fn registers_that_let_a_device_out_stay_the_lenders() {
    let capabilities = [(EXPRESS, 0x40, 60), (MSI, 0x80, 24), (MSIX, 0xa0, 12)];
    let config = look(&space(0, &capabilities));
    let forbidden = [
        // Command, status, BARs, ROM.
        (0x04, Width::Two, 0x0004),
        (0x06, Width::Two, 0xf900),
        (0x10, Width::Four, 0xfee0_0000),
        (0x30, Width::Four, 0x0000_0001),
        // Size of payloads, extended tags, phantom functions, auxiliary power, reset.
        (0x48, Width::Two, 0x0020),
        (0x48, Width::Two, 0x0100),
        (0x48, Width::Two, 0x0200),
        (0x48, Width::Two, 0x0400),
        (0x48, Width::Two, 0x8000),
        (0x49, Width::One, 0x80),
        // Device status, link control, device control 2.
        (0x4a, Width::Two, 0x000f),
        (0x50, Width::Two, 0x0010),
        (0x68, Width::Two, 0x0020),
        // MSI and its address, MSI-X.
        (0x82, Width::Two, 0x0001),
        (0x84, Width::Four, 0xfee0_0000),
        (0xa2, Width::Two, 0x8000),
        (0xa4, Width::Four, 0x0000_1000),
        // Extended capabilities: ATS, say.
        (0x106, Width::Two, 0x8000),
    ];
    for (offset, width, value) in forbidden {
        assert!(!config.may_write(offset, width, value), "{offset:#x}");
    }
    for value in [0x000f, 0x0010, 0x0800, 0x5000, 0x581f] {
        assert!(config.may_write(0x48, Width::Two, value), "{value:#x}");
    }
}

#[test]
fn what_is_written_beside_must_stay() {
    let capabilities = [(EXPRESS, 0x40, 60)];
    let mut space = space(0, &capabilities);
    space[0x48..0x4a].copy_from_slice(&0x0120_u16.to_le_bytes());
    let config = look(&space);
    assert!(config.may_write(0x48, Width::Two, 0x5120));
    assert!(!config.may_write(0x48, Width::Two, 0x5020));
    assert!(!config.may_write(0x48, Width::Two, 0x5100));
    // Errors that device status has would go away.
    assert!(!config.may_write(0x48, Width::Four, 0x5120));
    // What does not fit is no value.
    assert!(!config.may_write(0x0c, Width::One, 0x100));
}

#[test]
fn a_bridge_and_nobody_have_nothing_to_be_written() {
    let capabilities = [(VENDOR, 0x40, 16), (EXPRESS, 0x50, 60)];
    let mut bridge = space(0, &capabilities);
    bridge[0x0e] = 0x01;
    for space in [bridge, [0xff; 256]] {
        check(&space, &[0; 4096]);
    }
}

#[test]
fn a_list_that_is_not_announced_is_none() {
    let capabilities = [(VENDOR, 0x40, 16), (EXPRESS, 0x50, 60)];
    let mut space = space(0, &capabilities);
    space[0x06] &= !0x10;
    check(&space, &plain(&[]));
}

#[test]
fn a_list_that_leads_back_ends() {
    let capabilities = [(VENDOR, 0x40, 16), (EXPRESS, 0x50, 60), (POWER, 0xa0, 8)];
    for back in [0x40, 0x50, 0xa0] {
        let mut space = space(0, &capabilities);
        space[0xa1] = back;
        check(&space, &plain(&capabilities));
    }
    // Into the header: the end.
    for end in [0x00, 0x04, 0x10, 0x3c, 0x3f] {
        let mut space = space(0, &capabilities);
        space[0xa1] = end;
        check(&space, &plain(&capabilities));
    }
}

#[test]
fn the_vendors_bytes_end_where_another_capability_starts() {
    let claimed = [(MSI, 0x60, 24), (VENDOR, 0x40, 0xff), (EXPRESS, 0x80, 60)];
    let real = [(MSI, 0x60, 24), (VENDOR, 0x40, 0x20), (EXPRESS, 0x80, 60)];
    check(&space(0, &claimed), &plain(&real));
    // At the end of the space, too, and with nothing in it.
    let mut last = space(0, &[(VENDOR, 0xf8, 0xff), (VENDOR, 0x40, 0)]);
    check(&last, &plain(&[(VENDOR, 0xf8, 8), (VENDOR, 0x40, 3)]));
    last[0x42] = 3;
    check(&last, &plain(&[(VENDOR, 0xf8, 8), (VENDOR, 0x40, 3)]));
    // Device control of one that starts too late is nowhere.
    check(&space(0, &[(EXPRESS, 0xf8, 8)]), &plain(&[]));
}

#[test]
fn the_window_of_virtio_stays_the_lenders() {
    let capabilities = [(VENDOR, 0x40, 20), (VENDOR, 0x60, 20)];
    let mut virtio = space(0, &capabilities);
    virtio[0..2].copy_from_slice(&0x1af4_u16.to_le_bytes());
    virtio[0x43] = 1;
    virtio[0x63] = 5;
    check(&virtio, &plain(&capabilities[..1]));
    // To others that byte is one like any other.
    virtio[0..2].copy_from_slice(&0x8086_u16.to_le_bytes());
    check(&virtio, &plain(&capabilities));
}

/// Capabilities that do not overlap, in any order.
fn capabilities() -> impl Strategy<Value = Vec<Capability>> {
    let one = (
        prop::sample::select(vec![
            POWER, VPD, MSI, VENDOR, EXPRESS, MSIX, 0x12, 0x00, 0xff,
        ]),
        0..4_u8,
        3..40_u8,
    );
    prop::collection::vec(one, 0..20)
        .prop_map(|wanted| {
            let mut at = 0x40_usize;
            let mut all = Vec::new();
            for (id, gap, length) in wanted {
                let length = match id {
                    VENDOR => length,
                    EXPRESS => 60,
                    _ => 8,
                };
                at += 4 * usize::from(gap);
                if at + usize::from(length) > 256 {
                    break;
                }
                all.push((id, at as u8, length));
                at = (at + usize::from(length)).next_multiple_of(4);
            }
            all
        })
        .prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_capabilities_offset_by_offset(capabilities in capabilities(), filler: u8) {
        check(&space(filler, &capabilities), &plain(&capabilities));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes_leave_the_lenders_registers_alone(bytes in prop::collection::vec(any::<u8>(), 256), value: u32) {
        let mut space: Space = bytes.try_into().unwrap();
        space[0x06] |= 0x10;
        space[0x0e] &= 0x80;
        // Short ways round.
        for at in (0x41..256).step_by(4) {
            space[at] &= 0x7c;
        }
        let mut reads = [0; 64];
        let config = ConfigSpace::read(|offset| {
            reads[usize::from(offset / 4)] += 1;
            dword(&space, offset)
        });
        prop_assert_eq!(reads, [1; 64]);
        for offset in (0..0x40).chain(0x100..0x1000) {
            if !matches!(offset, 0x0c | 0x0d | 0x3c) {
                prop_assert!(!config.may_write(offset, Width::One, value & 0xff), "{:#x}", offset);
            }
        }
        prop_assert!(!config.may_write(0x04, Width::Four, value));
        prop_assert!(!config.may_write(0x3c, Width::Two, value & 0xffff));
    }
}
