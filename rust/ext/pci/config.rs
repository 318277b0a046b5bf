// SPDX-License-Identifier: GPL-2.0

//! What a PCI function tells of itself, and its configuration space for somebody who does not drive it.
//!
//! Nothing of what the PCI core has read from the function at its enumeration changes afterwards. Reads and writes of the
//! configuration space here are those of user space: they wait for a reset of the function that is under way.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::{
    Device,
    Id, //
};
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Bits of a capability's register that name the BAR of an MSI-X table or of its pending bits.
const MSIX_BAR: u32 = 7;

impl Device {
    /// The number of the PCI domain.
    pub fn domain(&self) -> u32 {
        self.domain
    }

    /// Class, subclass and programming interface: 24 bits.
    pub fn class(&self) -> u32 {
        // SAFETY:
        // - By the type's invariant the pointer is valid; the class is that of enumeration.
        unsafe { (*self.as_raw()).class & 0x00ff_ffff }
    }

    /// The revision.
    pub fn revision(&self) -> u8 {
        // SAFETY:
        // - As in `class`.
        unsafe { (*self.as_raw()).revision }
    }

    /// Subsystem vendor and subsystem id.
    pub fn subsystem(&self) -> Id {
        // SAFETY:
        // - As in `class`.
        let (vendor, device) = unsafe {
            (
                (*self.as_raw()).subsystem_vendor,
                (*self.as_raw()).subsystem_device,
            )
        };

        Id { vendor, device }
    }

    /// What the Device Serial Number capability says, if the function has one.
    pub fn serial(&self) -> Option<u64> {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        let serial = unsafe { bindings::pci_get_dsn(self.as_raw()) };

        (serial != 0).then_some(serial)
    }

    /// Physical address and length of a BAR; `None` if it is not one of memory or has not been given an address.
    pub fn bar(&self, bar: u8) -> Option<(u64, u64)> {
        let (start, bytes, flags) = self.resource(bar).ok()?;
        let memory = flags & u64::from(bindings::IORESOURCE_MEM) != 0;
        let placed = flags & u64::from(bindings::IORESOURCE_UNSET) == 0 && start != 0;

        (memory && placed && bytes != 0).then_some((start, bytes))
    }

    /// Interrupt vectors that the function can have: those of MSI-X, else those of MSI, else none.
    pub fn vectors_max(&self) -> u32 {
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        let msix = unsafe { bindings::pci_msix_vec_count(self.as_raw()) };
        // SAFETY:
        // - As above.
        let msi = || unsafe { bindings::pci_msi_vec_count(self.as_raw()) };

        u32::try_from(msix)
            .or_else(|_| u32::try_from(msi()))
            .unwrap_or(0)
    }

    /// Byte offset in BAR `bar` of the first page that holds a part of the MSI-X table or of the pending bits; who writes to
    /// the table makes the function write where it likes. `None` if neither starts in that BAR.
    pub fn msix_pages(&self, bar: u8) -> Option<u64> {
        // CAST: A capability's id.
        let capability = self.find_capability(bindings::PCI_CAP_ID_MSIX as u8)?;
        // CAST: Offsets within the capability.
        let registers = [
            bindings::PCI_MSIX_TABLE as u16,
            bindings::PCI_MSIX_PBA as u16,
        ];

        registers
            .into_iter()
            .filter_map(|register| {
                let value = self.config_read32(capability.checked_add(register)?);

                (value & MSIX_BAR == u32::from(bar)).then_some(u64::from(value & !MSIX_BAR))
            })
            .min()
            // CAST: Widening.
            .map(|offset| offset & !(PAGE_SIZE as u64 - 1))
    }

    /// Whether requests of one function get to the other: the same root complex joins them. Whether it, and the switches
    /// below it, let them through is a matter of ACS and of the machine.
    pub fn same_root(&self, other: &Device) -> bool {
        core::ptr::eq(self.root, other.root)
    }

    /// Reads `width` (1, 2 or 4) bytes of the configuration space; ones where it has ended or if the function does not
    /// answer. `offset` is a multiple of `width`. May sleep.
    pub fn config_read(&self, offset: u16, width: u8) -> Result<u32> {
        let end = self.config_end(offset, width)?;
        let ones = u32::MAX >> (32 - 8 * u32::from(width));
        if end > self.config_bytes() {
            return Ok(ones);
        }
        let (dev, at) = (self.as_raw(), c_int::from(offset));
        let (mut byte, mut word, mut dword) = (u8::MAX, u16::MAX, u32::MAX);

        // Errors leave all ones, which is what a function that is gone reads as.
        // SAFETY:
        // - By the type's invariant the pointer is valid; the value is valid for writing.
        unsafe {
            match width {
                1 => bindings::pci_user_read_config_byte(dev, at, &mut byte),
                2 => bindings::pci_user_read_config_word(dev, at, &mut word),
                _ => bindings::pci_user_read_config_dword(dev, at, &mut dword),
            }
        };
        Ok(match width {
            1 => byte.into(),
            2 => word.into(),
            _ => dword,
        })
    }

    /// Writes `width` (1, 2 or 4) bytes of the configuration space, the lower ones of `value`. `offset` is a multiple of
    /// `width`; [`EINVAL`] behind the end. May sleep.
    pub fn config_write(&self, offset: u16, width: u8, value: u32) -> Result {
        if self.config_end(offset, width)? > self.config_bytes() {
            return Err(EINVAL);
        }
        let (dev, at) = (self.as_raw(), c_int::from(offset));

        // CAST: The lower bytes are meant.
        // SAFETY:
        // - By the type's invariant the pointer is valid.
        to_result(unsafe {
            match width {
                1 => bindings::pci_user_write_config_byte(dev, at, value as u8),
                2 => bindings::pci_user_write_config_word(dev, at, value as u16),
                _ => bindings::pci_user_write_config_dword(dev, at, value),
            }
        })
    }

    /// Where an access ends.
    fn config_end(&self, offset: u16, width: u8) -> Result<u32> {
        if !matches!(width, 1 | 2 | 4) || offset % u16::from(width) != 0 {
            return Err(EINVAL);
        }
        Ok(u32::from(offset) + u32::from(width))
    }

    /// The length of the configuration space: 256, or 4096 bytes.
    fn config_bytes(&self) -> u32 {
        // SAFETY:
        // - By the type's invariant the pointer is valid; the length is that of enumeration.
        u32::try_from(unsafe { (*self.as_raw()).cfg_size }).unwrap_or(0)
    }
}
