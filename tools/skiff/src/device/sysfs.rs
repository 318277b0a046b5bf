// SPDX-License-Identifier: GPL-2.0
//! Functions of this node and their drivers, as /sys/bus/pci has them.
//!
//! Who binds and unbinds is the kernel; what is written here only tells it to.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use skiff::PciAddress;

use super::filter::Ids;
use crate::error::Error;

/// The driver by which skiff has a function.
pub const STUB: &str = "skiff_lend";

/// Files of /sys/bus/pci, which the kernel reacts to.
pub trait Files: Debug {
    /// Whether there is such a file.
    fn exists(&self, path: &Path) -> bool;
    /// What a file says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Tells the kernel something.
    fn write(&self, path: &Path, text: &str) -> io::Result<()>;
    /// The last word of what a link leads to.
    fn link(&self, path: &Path) -> io::Result<String>;
    /// The names in a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
}

/// Those of this machine.
#[derive(Debug)]
pub struct System;

/// Where they are.
const PCI: &str = "/sys/bus/pci";

impl Files for System {
    fn exists(&self, path: &Path) -> bool {
        Path::new(PCI).join(path).exists()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(Path::new(PCI).join(path))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        // Without creating it: what is not there must not be made.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(Path::new(PCI).join(path))?;
        io::Write::write_all(&mut file, text.as_bytes())
    }

    fn link(&self, path: &Path) -> io::Result<String> {
        let target = fs::read_link(Path::new(PCI).join(path))?;
        let name = target.file_name().ok_or(io::ErrorKind::InvalidData)?;
        Ok(name.to_string_lossy().into_owned())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(Path::new(PCI).join(path))?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}

/// A function of this node.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a> {
    files: &'a dyn Files,
    address: PciAddress,
}

/// All functions of this node that `wanted` likes, ascending by their address.
pub fn functions(
    files: &dyn Files,
    wanted: impl Fn(Ids) -> bool,
) -> Result<Vec<Function<'_>>, Error> {
    let folder = Path::new("devices");
    let names = files.list(folder).map_err(failed("list", folder))?;
    let mut found = Vec::new();
    for address in names.iter().filter_map(|name| name.parse().ok()) {
        let function = Function { files, address };
        if wanted(function.ids()?) {
            found.push(function);
        }
    }
    found.sort_by_key(|function| function.address);
    Ok(found)
}

impl<'a> Function<'a> {
    /// The function at an address, if there is one.
    pub fn find(files: &'a dyn Files, address: PciAddress) -> Option<Self> {
        let function = Self { files, address };
        files.exists(&function.path("")).then_some(function)
    }

    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// The name of its driver, if it has one.
    pub fn driver(&self) -> Result<Option<String>, Error> {
        let path = self.path("driver");
        match self.files.link(&path) {
            Ok(name) => Ok(Some(name)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed("look at", &path)(cause)),
        }
    }

    /// The only driver that may have it, if one is set.
    pub fn driver_override(&self) -> Result<Option<String>, Error> {
        let text = self.read("driver_override")?;
        Ok(match text.trim() {
            "" | "(null)" => None,
            name => Some(name.to_owned()),
        })
    }

    /// Sets the only driver that may have it, or lets any.
    pub fn set_driver_override(&self, driver: Option<&str>) -> Result<(), Error> {
        self.write("driver_override", driver.unwrap_or("\n"))
    }

    /// Takes it from its driver.
    pub fn unbind(&self) -> Result<(), Error> {
        self.write("driver/unbind", &self.address.to_string())
    }

    /// Gives it to a driver, which must be one for it.
    pub fn bind(&self, driver: &str) -> Result<(), Error> {
        let path = Path::new("drivers").join(driver).join("bind");
        let written = self.files.write(&path, &self.address.to_string());
        written.map_err(failed("write", &path))
    }

    /// Lets the kernel look for a driver. That it has found one is not said.
    pub fn probe(&self) -> Result<(), Error> {
        let path = Path::new("drivers_probe");
        let written = self.files.write(path, &self.address.to_string());
        written.map_err(failed("write", path))
    }

    /// Whether the driver of skiff is there.
    pub fn has_stub(&self) -> bool {
        self.files.exists(&Path::new("drivers").join(STUB))
    }

    /// Its configuration space, as far as the kernel gives it.
    pub fn config(&self) -> Result<Vec<u8>, Error> {
        let path = self.path("config");
        self.files.read(&path).map_err(failed("read", &path))
    }

    fn ids(&self) -> Result<Ids, Error> {
        // CAST: the kernel prints four digits.
        Ok(Ids {
            vendor: self.number("vendor")? as u16,
            device: self.number("device")? as u16,
            class: self.number("class")?,
        })
    }

    fn number(&self, file: &str) -> Result<u32, Error> {
        let text = self.read(file)?;
        let digits = text.trim().trim_start_matches("0x");
        u32::from_str_radix(digits, 16)
            .map_err(|_| failed("read", &self.path(file))(io::ErrorKind::InvalidData.into()))
    }

    fn read(&self, file: &str) -> Result<String, Error> {
        let path = self.path(file);
        let bytes = self.files.read(&path).map_err(failed("read", &path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.path(file);
        self.files
            .write(&path, text)
            .map_err(failed("write", &path))
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("devices")
            .join(self.address.to_string())
            .join(file)
    }
}

fn failed<'p>(what: &'static str, path: &'p Path) -> impl Fn(io::Error) -> Error + 'p {
    move |cause| Error::File {
        what,
        path: Path::new(PCI).join(path),
        cause,
    }
}
