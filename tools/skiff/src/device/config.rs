// SPDX-License-Identifier: GPL-2.0
//! A device's configuration space as lspci dumps it, which lspci itself can read and explain.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::process::Command;

use skiff::BorrowOptions;
use skiff::Context;
use skiff::DeviceInfo;
use skiff::Fdid;
use skiff::Width;

use super::names::Names;
use super::sysfs::Function;
use super::sysfs::System;
use crate::error::Error;

/// Bytes of the configuration space of conventional PCI.
const CONVENTIONAL: u32 = 256;
/// Bytes of the configuration space of PCI Express.
const EXTENDED: u32 = 4096;

/// Prints the configuration space of a device; with options of lspci, has lspci explain it.
pub fn run(fdid: Fdid, options: &[OsString]) -> Result<(), Error> {
    let context = Context::open()?;
    let device = context.device(fdid)?.ok_or(Error::NoDevice { fdid })?;
    let config = config(&context, &device)?;
    let dump = dump(&device, &Names::of_system(), &config);
    if options.is_empty() {
        let mut stdout = io::stdout().lock();
        return stdout.write_all(dump.as_bytes()).map_err(Error::Print);
    }
    lspci(&dump, options).map_err(Error::Lspci)?
}

/// What the configuration space holds: from sysfs on the lender, else from the borrowed device.
fn config(context: &Context, device: &DeviceInfo) -> Result<Vec<u8>, Error> {
    if context.info()?.node == device.node {
        let function = device.function;
        let found = Function::find(&System, function).ok_or(Error::NoFunction { function })?;
        return found.config();
    }
    let borrowed = context.borrow(device.fdid, &BorrowOptions::new())?;
    let mut config = Vec::new();
    for offset in (0..EXTENDED).step_by(4) {
        let word = borrowed.config_read(offset, Width::Four)?;
        if offset == CONVENTIONAL && (word == 0 || word == u32::MAX) {
            // It ends here, or has nothing from here on.
            break;
        }
        config.extend(word.to_le_bytes());
    }
    Ok(borrowed.give_back().map(|()| config)?)
}

/// The bytes in the form of `lspci -xxxx`.
fn dump(device: &DeviceInfo, names: &Names, config: &[u8]) -> String {
    let (class, name) = names.of(device.class, device.vendor, device.device);
    let mut dump = format!("{} {class}: {name}\n", device.function);
    for (line, bytes) in config.chunks(16).enumerate() {
        // Writing to a string does not fail.
        let _ = write!(dump, "{:02x}:", line * 16);
        for byte in bytes {
            let _ = write!(dump, " {byte:02x}");
        }
        dump.push('\n');
    }
    dump.push('\n');
    dump
}

/// Has lspci read a dump. It wants a file with a name.
fn lspci(dump: &str, options: &[OsString]) -> io::Result<Result<(), Error>> {
    let mut file = memory_file()?;
    file.write_all(dump.as_bytes())?;
    let status = Command::new("lspci")
        .arg("-F")
        .arg(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            file.as_raw_fd()
        ))
        .args(options)
        .status()?;
    Ok(if status.success() {
        Ok(())
    } else {
        Err(Error::LspciFailed { status })
    })
}

/// A file without a place on any disk.
fn memory_file() -> io::Result<std::fs::File> {
    use nix::sys::memfd::memfd_create;
    use nix::sys::memfd::MFdFlags;
    let file = memfd_create("config", MFdFlags::MFD_CLOEXEC)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use skiff::Containment;
    use skiff::DeviceState;
    use skiff::PciAddress;

    use super::*;

    #[test]
    fn a_dump_is_that_of_lspci() {
        let device = DeviceInfo {
            fdid: 0x8_0000.into(),
            node: 1,
            state: DeviceState::Available,
            containment: Containment::Contained,
            function: PciAddress::new(1, 0x0319),
            class: 0x01_0802,
            revision: 0,
            vendor: 0x8086,
            device: 0xf1a5,
            subvendor: 0,
            subdevice: 0,
            serial: None,
            bars: [0; 6],
            vectors: 0,
            borrowers: 0,
        };
        let config: Vec<u8> = (0..32).collect();
        assert_eq!(
            dump(&device, &Names::default(), &config),
            "0001:03:03.1 Class 0108: Device 8086:f1a5\n\
             00: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n\
             10: 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f\n\n"
        );
        let extended = dump(&device, &Names::default(), &[0; 4096]);
        assert!(extended.ends_with("ff0: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n\n"));
    }
}
