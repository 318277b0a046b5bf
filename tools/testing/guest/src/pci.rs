// SPDX-License-Identifier: GPL-2.0
//! PCI functions as sysfs shows them: found by id, enabled, their BARs mapped.
//!
//! Mapping a BAR while a kernel driver owns it needs `iomem=relaxed` on stock kernels (IO_STRICT_DEVMEM).

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::ptr::NonNull;

use anyhow::anyhow;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::sys::mman::mmap;
use nix::sys::mman::munmap;
use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;

/// Offset of the command register in configuration space (PCI local bus specification, 6.2.2).
const COMMAND: u64 = 0x04;
/// Memory space enable and bus master enable of the command register.
const COMMAND_MEMORY_AND_MASTER: u16 = 0x0006;

/// A PCI function of this node.
#[derive(Debug)]
pub struct Function {
    folder: PathBuf,
}

impl Function {
    /// All functions whose sysfs attribute `attribute` reads `value`, in bus order.
    fn all(attribute: &str, value: &str) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/bus/pci/devices")? {
            let folder = entry?.path();
            if fs::read_to_string(folder.join(attribute))?.trim() == value {
                found.push(Self { folder });
            }
        }
        found.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(found)
    }

    /// The `index`th function with this vendor id.
    pub fn by_vendor(vendor: u16, index: usize) -> Result<Self> {
        Self::all("vendor", &format!("0x{vendor:04x}"))?
            .into_iter()
            .nth(index)
            .with_context(|| format!("no PCI function number {index} of vendor {vendor:04x}"))
    }

    /// The `index`th function of this class code.
    pub fn by_class(class: u32, index: usize) -> Result<Self> {
        Self::all("class", &format!("0x{class:06x}"))?
            .into_iter()
            .nth(index)
            .with_context(|| format!("no PCI function number {index} of class {class:06x}"))
    }

    /// Name of the function: domain:bus:device.function.
    pub fn name(&self) -> String {
        self.folder
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// The function at the same device address with another function number.
    pub fn sibling(&self, function: u8) -> Result<Self> {
        let name = self.name();
        let (device, _) = name
            .rsplit_once('.')
            .context("a PCI name without function number")?;
        let folder = self.folder.with_file_name(format!("{device}.{function}"));
        ensure!(folder.exists(), "no PCI function {device}.{function}");
        Ok(Self { folder })
    }

    /// The function of this name.
    pub fn by_name(name: &str) -> Result<Self> {
        let folder = PathBuf::from("/sys/bus/pci/devices").join(name);
        ensure!(folder.exists(), "no PCI function {name}");
        Ok(Self { folder })
    }

    /// Takes the function from its driver, if it has one, and has another one bind to it; none: whatever fits.
    pub fn bind(&self, driver: Option<&str>) -> Result<()> {
        let name = self.name();
        let bound = self.folder.join("driver");
        if bound.exists() {
            fs::write(bound.join("unbind"), &name)?;
        }
        fs::write(
            self.folder.join("driver_override"),
            format!("{}\n", driver.unwrap_or_default()),
        )?;
        fs::write("/sys/bus/pci/drivers_probe", &name)?;
        if let Some(driver) = driver {
            let target = fs::read_link(&bound);
            let target = target.with_context(|| format!("{driver} did not bind to {name}"))?;
            ensure!(
                target.ends_with(driver),
                "{} is bound to {name}",
                target.display()
            );
        }
        Ok(())
    }

    /// Lets the function decode memory and master the bus, as `pci_enable_device` and `pci_set_master` do.
    pub fn enable(&self) -> Result<()> {
        let config = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.folder.join("config"))?;
        let mut raw = [0; 2];
        config.read_exact_at(&mut raw, COMMAND)?;
        let command = u16::from_le_bytes(raw) | COMMAND_MEMORY_AND_MASTER;
        config.write_all_at(&command.to_le_bytes(), COMMAND)?;
        Ok(())
    }

    /// Bus address and size in bytes of a BAR.
    pub fn bar(&self, bar: usize) -> Result<(u64, u64)> {
        let table = fs::read_to_string(self.folder.join("resource"))?;
        let line = table
            .lines()
            .nth(bar)
            .with_context(|| format!("no BAR {bar}"))?;
        let mut words = line
            .split_whitespace()
            .map(|w| u64::from_str_radix(w.trim_start_matches("0x"), 16));
        let mut next = || {
            words
                .next()
                .ok_or_else(|| anyhow!("short line in resource"))?
                .map_err(anyhow::Error::from)
        };
        let (start, end) = (next()?, next()?);
        ensure!(end > start, "BAR {bar} of {} is not assigned", self.name());
        Ok((start, end - start + 1))
    }

    /// Maps a whole BAR uncached.
    pub fn map(&self, bar: usize) -> Result<Mapping> {
        let (_, size) = self.bar(bar)?;
        Mapping::open(self.folder.join(format!("resource{bar}")), size)
    }

    /// Maps `size` bytes of a BAR; they begin at a page.
    pub fn map_part(&self, bar: usize, offset: u64, size: usize) -> Result<Mapping> {
        Mapping::device(self.folder.join(format!("resource{bar}")), offset, size)
    }
}

/// A shared mapping of device registers or of a peer's memory.
///
/// Accessed with volatile loads and stores only: whatever is behind it changes by itself.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: The range belongs to the process, not to a thread, and all accesses are volatile.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `size` bytes of the file at `path`.
    pub fn open(path: PathBuf, size: u64) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Self::of(&file, size).with_context(|| format!("cannot map {}", path.display()))
    }

    /// Maps `size` bytes of a device's memory from `offset` on.
    pub fn device(path: PathBuf, offset: u64, size: usize) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Self::part(&file, offset, size)
            .with_context(|| format!("cannot map {size:#x} bytes of {}", path.display()))
    }

    /// Maps the first `size` bytes of an open file.
    pub fn of(file: &File, size: u64) -> Result<Self> {
        Self::part(file, 0, usize::try_from(size)?)
    }

    /// Maps `size` bytes from `offset` on.
    fn part(file: &File, offset: u64, size: usize) -> Result<Self> {
        let length = NonZeroUsize::new(size).context("nothing to map")?;
        let offset = i64::try_from(offset)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: No address is asked for, so no mapping of this process is replaced; the new one is owned by the value
        // that is returned.
        let start = unsafe { mmap(None, length, prot, MapFlags::MAP_SHARED, file, offset) }?;
        Ok(Self {
            start: start.cast(),
            size,
        })
    }

    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    fn at<T: Word>(&self, offset: usize) -> Result<*mut T> {
        let size = std::mem::size_of::<T>();
        let end = offset.checked_add(size).context("offset overflows")?;
        ensure!(
            end <= self.size,
            "offset {offset:#x} is outside the mapping of {:#x} bytes",
            self.size
        );
        ensure!(
            offset % size == 0,
            "offset {offset:#x} is not aligned to {size}"
        );
        Ok(self.start.as_ptr().wrapping_add(offset).cast())
    }

    /// Loads the word at `offset`.
    pub fn read<T: Word>(&self, offset: usize) -> Result<T> {
        let at = self.at::<T>(offset)?;
        // SAFETY: `at` checked that the word is aligned and lies inside the mapping, which lives as long as `self`.
        Ok(unsafe { at.read_volatile() })
    }

    /// Stores the word at `offset`.
    pub fn write<T: Word>(&self, offset: usize, value: T) -> Result<()> {
        let at = self.at::<T>(offset)?;
        // SAFETY: As in `read`; the mapping is writable.
        unsafe { at.write_volatile(value) };
        Ok(())
    }

    /// First byte, for copies that must cost what a plain `memcpy` costs. The callee sees to bounds and aliasing.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The range is exactly what `mmap` gave, and nothing borrows from it any more.
        let unmapped = unsafe { munmap(self.start.cast(), self.size) };
        debug_assert!(unmapped.is_ok());
    }
}

/// An integer that one load or store moves: any bit pattern is a value.
pub trait Word: Copy {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}
