// SPDX-License-Identifier: GPL-2.0
//! What a borrower may write to the configuration space of a device.
//!
//! Everything that decides where the device is, what it reaches and how it interrupts stays the lender's. What is left are
//! registers of the header that do nothing in PCI Express, some bits of device control, and capabilities of the vendor.
//!
//! Sources: PCI Express Base Specification, 7.5.1 to 7.5.3 and 7.9.4; include/uapi/linux/pci_regs.h.

use crate::wire::Width;

/// Bytes that have registers which may be written: those that plain PCI knows.
const BYTES: u16 = 256;

/// Where capabilities may be.
const CAPABILITIES: u8 = 0x40;

/// Double words of [`BYTES`].
const WORDS: usize = BYTES as usize / 4;

/// The dword with command and status.
const COMMAND: u8 = 0x04;
/// Status, in that dword: there are capabilities.
const HAS_CAPABILITIES: u32 = 1 << 20;

/// The dword with cache line size, latency timer, header type and BIST.
const CACHE_LINE: u8 = 0x0c;
/// Cache line size and latency timer.
const CACHE_LINE_AND_LATENCY: u32 = 0xffff;
/// Header type, in that dword: its layout.
const LAYOUT: u32 = 0x7f << 16;

/// The dword with the first capability's place.
const FIRST: u8 = 0x34;

/// The dword with interrupt line and pin.
const INTERRUPT: u8 = 0x3c;
/// Interrupt line.
const LINE: u32 = 0xff;

/// Capability of PCI Express.
const EXPRESS: u8 = 0x10;
/// Device control and status, in it.
const DEVICE_CONTROL: u8 = 8;
/// Reporting of errors, relaxed ordering, no snoop, size of read requests. Not the size of payloads: one that is larger than
/// what the ports above take is an error of theirs. Not extended tags and phantom functions: what the device sends would be
/// somebody else's. Not the reset.
const HARMLESS: u32 = 0x000f | 0x0010 | 0x0800 | 0x7000;

/// Capability of the vendor.
const VENDOR: u8 = 0x09;
/// Bytes of it that come before the vendor's: id, next, length.
const VENDOR_HEAD: u8 = 3;
/// The next byte is the type, if the vendor is virtio's. Source: Virtual I/O Device (VIRTIO) 1.2, 4.1.4.
const VIRTIO_TYPE: u8 = 3;
/// The type of the capability that is a window to all BARs, the MSI-X table included.
const VIRTIO_WINDOW: u8 = 5;
/// Vendor id of virtio's functions.
const VIRTIO: u32 = 0x1af4;

/// The dword with vendor and device id.
const ID: u8 = 0;
/// Vendor id, in that dword.
const VENDOR_ID: u32 = 0xffff;

/// A set of the dwords of the first 256 bytes.
#[derive(Clone, Copy, Default)]
struct Words(u64);

impl Words {
    const fn contains(self, at: u8) -> bool {
        self.0 & Self::bit(at) != 0
    }

    fn insert(&mut self, at: u8) {
        self.0 |= Self::bit(at);
    }

    const fn bit(at: u8) -> u64 {
        // A byte has 64 dwords: no bit is shifted out.
        1 << (at / 4)
    }
}

/// The configuration space of a function, as far as it matters for what may be written.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    /// What is there.
    values: [u32; WORDS],
    /// Bits that may be written.
    writable: [u32; WORDS],
}

impl ConfigSpace {
    /// Looks at the space that `read` reads: it is given the offsets of dwords, none twice.
    ///
    /// Whatever it says, a list of capabilities is followed to its end, and no further than there are places.
    pub fn read(mut read: impl FnMut(u16) -> u32) -> Self {
        let mut space = Self {
            values: [0; WORDS],
            writable: [0; WORDS],
        };

        for (at, value) in (0..).step_by(4).zip(&mut space.values) {
            *value = read(at);
        }
        // Bridges are not lent, and nobody is there if all bits are set.
        if space.value(CACHE_LINE) & LAYOUT == 0 {
            space.open(CACHE_LINE, CACHE_LINE_AND_LATENCY);
            space.open(INTERRUPT, LINE);
            space.open_capabilities();
        }
        space
    }

    /// Bits that may be written with an access: all of them in bytes that are nobody else's.
    pub fn writable(&self, offset: u16, width: Width) -> u32 {
        Self::part(&self.writable, offset, width).unwrap_or(0)
    }

    /// Whether `value` may be written.
    ///
    /// Bytes that have nothing to be written must not be touched, for there are registers that do something whatever is
    /// written to them. Bits beside those that may be written must stay as they are.
    pub fn may_write(&self, offset: u16, width: Width, value: u32) -> bool {
        let Some(writable) = Self::part(&self.writable, offset, width) else {
            return false;
        };
        let Some(now) = Self::part(&self.values, offset, width) else {
            return false;
        };
        let mut touched = writable.to_le_bytes().into_iter();

        touched
            .by_ref()
            .take(usize::from(width.bytes()))
            .all(|byte| byte != 0)
            && (value ^ now) & !writable == 0
    }

    /// What an access of `width` at `offset` covers of `words`, if it is within.
    fn part(words: &[u32; WORDS], offset: u16, width: Width) -> Option<u32> {
        if !width.is_config_offset(offset) {
            return None;
        }
        let word = words.get(usize::from(offset / 4))?;
        let shift = u32::from(offset % 4).checked_mul(8)?;

        Some(word.checked_shr(shift)? & width.mask())
    }

    /// The dword that byte `at` is in.
    fn value(&self, at: u8) -> u32 {
        self.values
            .get(usize::from(at / 4))
            .copied()
            .unwrap_or_default()
    }

    /// Byte `at`.
    fn byte(&self, at: u8) -> u8 {
        let [zero, one, two, three] = self.value(at).to_le_bytes();

        match at % 4 {
            0 => zero,
            1 => one,
            2 => two,
            _ => three,
        }
    }

    /// Lets `bits` of the dword at `at` be written.
    fn open(&mut self, at: u8, bits: u32) {
        if let Some(writable) = self.writable.get_mut(usize::from(at / 4)) {
            *writable |= bits;
        }
    }

    /// Where the capability behind the one that says `next` is, if there is another one.
    const fn place(next: u8) -> Option<u8> {
        // The lower two bits are reserved.
        let at = next & 0xfc;

        if at < CAPABILITIES {
            None
        } else {
            Some(at)
        }
    }

    /// Follows the list and lets be written what may be in capabilities.
    fn open_capabilities(&mut self) {
        if self.value(COMMAND) & HAS_CAPABILITIES == 0 {
            return;
        }
        let mut found = Words::default();
        let mut next = Self::place(self.byte(FIRST));

        while let Some(at) = next {
            // A list that leads back is at its end.
            if found.contains(at) {
                break;
            }
            found.insert(at);
            next = Self::place(self.byte(at | 1));
        }
        for at in (CAPABILITIES..=u8::MAX).step_by(4) {
            if !found.contains(at) {
                continue;
            }
            match self.byte(at) {
                EXPRESS => {
                    // One that has no room for it is none.
                    if let Some(control) = at.checked_add(DEVICE_CONTROL) {
                        self.open(control, HARMLESS);
                    }
                }
                VENDOR => self.open_vendor(at, found),
                _ => {}
            }
        }
    }

    /// Lets the vendor's bytes of the capability at `at` be written: as far as it says that it is long, but for what is
    /// another one's of those that were `found`.
    fn open_vendor(&mut self, at: u8, found: Words) {
        let length = self.byte(at | 2);
        let virtio = self.value(ID) & VENDOR_ID == VIRTIO;

        if virtio && self.byte(at | VIRTIO_TYPE) == VIRTIO_WINDOW {
            return;
        }
        for offset in VENDOR_HEAD..length {
            let Some(byte) = at.checked_add(offset) else {
                return;
            };
            if offset >= 4 && found.contains(byte) {
                return;
            }
            let shift = u32::from(byte % 4).saturating_mul(8);

            self.open(byte, 0xff_u32.checked_shl(shift).unwrap_or(0));
        }
    }
}
