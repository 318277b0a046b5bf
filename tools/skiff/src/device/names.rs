// SPDX-License-Identifier: GPL-2.0
//! Names of classes, vendors and devices, as the file pci.ids has them; numbers where it has none or is not there.

use std::fs;

/// Where distributions have the file.
const PLACES: &[&str] = &[
    "/var/lib/pciutils/pci.ids",
    "/usr/share/misc/pci.ids",
    "/usr/share/hwdata/pci.ids",
];

/// What pci.ids says.
#[derive(Debug, Default)]
pub struct Names {
    text: String,
}

impl Names {
    /// The names that this machine has.
    pub fn of_system() -> Self {
        let found = PLACES.iter().find_map(|place| fs::read(place).ok());
        Self {
            text: String::from_utf8_lossy(&found.unwrap_or_default()).into_owned(),
        }
    }

    /// A function in the words of lspci: `Non-Volatile memory controller`, `Intel Corporation Device f1a5`.
    pub fn of(&self, class: u32, vendor: u16, device: u16) -> (String, String) {
        let (subclass, class) = ((class >> 8) & 0xff, class >> 16);
        let class_name = self
            .find(&format!("C {class:02x}"), &format!("{subclass:02x}"))
            .or_else(|| self.head(&format!("C {class:02x}")))
            .map_or_else(|| format!("Class {class:02x}{subclass:02x}"), str::to_owned);
        let vendor = format!("{vendor:04x}");
        let device_name = match (
            self.head(&vendor),
            self.find(&vendor, &format!("{device:04x}")),
        ) {
            (Some(vendor), Some(device)) => format!("{vendor} {device}"),
            (Some(vendor), None) => format!("{vendor} Device {device:04x}"),
            (None, _) => format!("Device {vendor}:{device:04x}"),
        };
        (class_name, device_name)
    }

    /// The name of a vendor or class.
    fn head(&self, id: &str) -> Option<&str> {
        self.text.lines().find_map(|line| name(line, id))
    }

    /// The name of a device or subclass: a line with one tab below its head.
    fn find(&self, head: &str, id: &str) -> Option<&str> {
        self.text
            .lines()
            .skip_while(|line| name(line, head).is_none())
            .skip(1)
            .take_while(|line| line.is_empty() || line.starts_with(['\t', '#']))
            .find_map(|line| name(line.strip_prefix('\t')?, id))
    }
}

/// The name in a line that begins with `id`.
fn name<'a>(line: &'a str, id: &str) -> Option<&'a str> {
    line.strip_prefix(id)?.strip_prefix("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A comment
1af4  Red Hat, Inc.
\t1000  Virtio network device
\t\t1af4 0001  Subsystem
8086  Intel Corporation
# A comment
\t0953  PCIe Data Center SSD
\t\t8086 f1a5  Not a device

8087  Other
\tf1a5  Of the other

C 01  Mass storage controller
\t06  SATA controller
\t\t01  AHCI 1.0
\t08  Non-Volatile memory controller
C 02  Network controller
\t00  Ethernet controller
";

    #[test]
    fn names_are_those_of_the_file() {
        let names = Names { text: TEXT.into() };
        let of = |class, vendor, device| {
            let (class, device) = names.of(class, vendor, device);
            format!("{class}: {device}")
        };
        assert_eq!(
            of(0x01_0802, 0x8086, 0x0953),
            "Non-Volatile memory controller: Intel Corporation PCIe Data Center SSD"
        );
        assert_eq!(
            of(0x01_0802, 0x8086, 0xf1a5),
            "Non-Volatile memory controller: Intel Corporation Device f1a5"
        );
        assert_eq!(
            of(0x01_0000, 0x8087, 0xf1a5),
            "Mass storage controller: Other Of the other"
        );
        assert_eq!(
            of(0xff_0000, 0x1234, 0x11e8),
            "Class ff00: Device 1234:11e8"
        );
    }

    #[test]
    fn without_the_file_there_are_numbers() {
        let (class, device) = Names::default().of(0x01_0802, 0x8086, 0xf1a5);
        assert_eq!(
            (class.as_str(), device.as_str()),
            ("Class 0108", "Device 8086:f1a5")
        );
    }
}
