// SPDX-License-Identifier: GPL-2.0
//! Lists of devices: what the kernel knows of the pools, without changing anything.

use serde::Serialize;
use skiff::Containment;
use skiff::Context;
use skiff::DeviceInfo;
use skiff::Fdid;
use skiff::Filter;

use super::filter::Hex;
use super::names::Names;
use crate::arguments::device::List;
use crate::error::Error;
use crate::output::length;
use crate::output::Output;

/// A device as JSON and text have it.
#[derive(Debug, Serialize)]
pub struct Row {
    fdid: String,
    node: u32,
    local: bool,
    state: String,
    contained: bool,
    function: String,
    class: String,
    revision: u32,
    vendor: String,
    device: String,
    subvendor: String,
    subdevice: String,
    serial: Option<String>,
    bars: [u64; 6],
    vectors: u32,
    borrowers: u32,
    class_name: String,
    device_name: String,
}

impl Row {
    fn new(device: &DeviceInfo, own: u32, names: &Names) -> Self {
        let (class_name, device_name) = names.of(device.class, device.vendor, device.device);
        Self {
            fdid: device.fdid.to_string(),
            node: device.node,
            local: device.node == own,
            state: device.state.to_string(),
            contained: device.containment == Containment::Contained,
            function: device.function.to_string(),
            class: format!("{:06x}", device.class),
            revision: device.revision,
            vendor: format!("{:04x}", device.vendor),
            device: format!("{:04x}", device.device),
            subvendor: format!("{:04x}", device.subvendor),
            subdevice: format!("{:04x}", device.subdevice),
            serial: device.serial.map(|serial| format!("{serial:016x}")),
            bars: device.bars,
            vectors: device.vectors,
            borrowers: device.borrowers,
            class_name,
            device_name,
        }
    }

    /// The line that smartio_tool prints, on which scripts rely.
    pub fn line(&self) -> String {
        let Self {
            fdid,
            class_name,
            device_name,
            state,
            ..
        } = self;
        format!("{fdid}: {class_name} {device_name} [{state}]")
    }

    /// All that is known, a line each.
    fn lines(&self) -> String {
        let mut lines = vec![
            self.line(),
            format!(
                "  lender: node {}{}, {}",
                self.node,
                if self.local { " (local)" } else { "" },
                self.function
            ),
            format!(
                "  ids: {}:{} (subsystem {}:{}), class {}, revision {:02x}",
                self.vendor, self.device, self.subvendor, self.subdevice, self.class, self.revision
            ),
            format!("  contained: {}", if self.contained { "yes" } else { "no" }),
            format!("  borrowers: {}", self.borrowers),
            format!("  interrupt vectors: {}", self.vectors),
        ];
        lines.extend(
            self.serial
                .iter()
                .map(|serial| format!("  serial: {serial}")),
        );
        let bars = self
            .bars
            .iter()
            .enumerate()
            .filter(|(_, bytes)| **bytes != 0);
        lines.extend(bars.map(|(bar, bytes)| format!("  BAR {bar}: {}", length(*bytes))));
        lines.join("\n")
    }
}

/// The devices that this node sees, in words.
pub fn rows(context: &Context, filter: &Filter) -> Result<Vec<Row>, Error> {
    let own = context.info()?.node;
    let names = Names::of_system();
    let devices = context.devices(filter)?;
    let rows = devices.iter().map(|device| Row::new(device, own, &names));
    Ok(rows.collect())
}

/// `skiff device list`
pub fn list(wanted: &List, output: &Output) -> Result<(), Error> {
    let mut filter = Filter::new();
    if let Some(node) = wanted.node {
        filter = filter.node(node);
    }
    if let Some((class, mask)) = wanted.class.map(Hex::class) {
        filter = filter.class(class, mask);
    }
    if let Some(vendor) = wanted.vendor {
        filter = filter.vendor(vendor.id());
    }
    if let Some(device) = wanted.device {
        filter = filter.device(device.id());
    }
    if let Some(serial) = wanted.serial {
        filter = filter.serial(serial.value);
    }
    let rows = rows(&Context::open()?, &filter)?;
    let head = ["fdid", "node", "function", "state", "contained", "device"];
    output.table(&rows, head, |row| {
        [
            row.fdid.clone(),
            format!("{}{}", row.node, if row.local { " (local)" } else { "" }),
            row.function.clone(),
            row.state.clone(),
            String::from(if row.contained { "yes" } else { "no" }),
            format!("{}: {}", row.class_name, row.device_name),
        ]
    })
}

/// `skiff device info`
pub fn info(fdid: Fdid, output: &Output) -> Result<(), Error> {
    let context = Context::open()?;
    let own = context.info()?.node;
    let device = context.device(fdid)?.ok_or(Error::NoDevice { fdid })?;
    let row = Row::new(&device, own, &Names::of_system());
    output.line(&row, Row::lines)
}

/// Prints the line of a device that was just added.
pub fn print_new(context: &Context, fdid: Fdid, output: &Output) -> Result<(), Error> {
    let own = context.info()?.node;
    let device = context.device(fdid)?.ok_or(Error::NoDevice { fdid })?;
    let row = Row::new(&device, own, &Names::of_system());
    output.line(&row, Row::line)
}

#[cfg(test)]
mod tests {
    use skiff::DeviceState;
    use skiff::PciAddress;

    use super::*;

    fn row() -> Row {
        let device = DeviceInfo {
            fdid: 0x8_0000.into(),
            node: 1,
            state: DeviceState::Available,
            containment: Containment::NotContained,
            function: PciAddress::new(0, 0x0300),
            class: 0x01_0802,
            revision: 2,
            vendor: 0x8086,
            device: 0xf1a5,
            subvendor: 0x8086,
            subdevice: 0x390a,
            serial: Some(0x1234),
            bars: [0x4000, 0, 0, 0, 0, 0],
            vectors: 16,
            borrowers: 0,
        };
        Row::new(&device, 0, &Names::default())
    }

    #[test]
    fn the_line_is_the_one_that_scripts_know() {
        assert_eq!(
            row().line(),
            "80000: Class 0108 Device 8086:f1a5 [available]"
        );
    }

    #[test]
    fn all_that_is_known_is_said() {
        assert_eq!(
            row().lines(),
            "80000: Class 0108 Device 8086:f1a5 [available]\n  \
             lender: node 1, 0000:03:00.0\n  \
             ids: 8086:f1a5 (subsystem 8086:390a), class 010802, revision 02\n  \
             contained: no\n  borrowers: 0\n  interrupt vectors: 16\n  \
             serial: 0000000000001234\n  BAR 0: 16 KiB"
        );
    }

    #[test]
    fn ids_are_hexadecimal_in_json() {
        let row = serde_json::to_value(row()).expect("JSON");
        assert_eq!(row["fdid"], "80000");
        assert_eq!(row["class"], "010802");
        assert_eq!(row["vendor"], "8086");
        assert_eq!(row["bars"][0], 0x4000);
    }
}
