// SPDX-License-Identifier: GPL-2.0
//! The driver on a controller of this node itself, without skiff.ko: what goes wrong here is no matter of lending.
//!
//! Its memory is a huge page, whose physical address the controller uses: this is for nodes without an IOMMU.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::ensure;
use anyhow::Result;
use clap::Args;
use nix::sys::mman::mmap_anonymous;
use nix::sys::mman::munmap;
use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;
use serde_json::json;
use skiff::Access;
use skiff::Memory;
use skiff_nvme_model::command::Direction;

use super::serial;
use super::Controller;
use super::Extent;
use super::Lane;
use super::Line;
use super::QueuePair;
use super::Region;
use super::Wait;
use super::PAGE;
use crate::number;
use crate::pci::Function;
use crate::pci::Mapping;
use crate::share::physical;

/// PCI class of NVMe controllers.
const CLASS: u32 = 0x01_0802;
/// Bytes of a huge page; the node must have one to spare (vm.nr_hugepages).
const HUGE: usize = 2 << 20;

/// What is to be done.
#[derive(Debug, Args)]
pub struct Options {
    /// Where on the disk, in bytes.
    #[arg(value_parser = number)]
    from: u64,
    /// How much.
    #[arg(value_parser = number)]
    bytes: u64,
    /// What.
    seed: u64,
    /// Bytes of a command.
    #[arg(long, default_value = "0x10000", value_parser = number)]
    chunk: u64,
    /// Which of the controllers, in bus order.
    #[arg(long, default_value_t = 0)]
    index: usize,
}

/// A BAR of this node as memory.
#[derive(Debug)]
struct Bar {
    _mapping: Mapping,
    memory: Memory,
}

impl Bar {
    fn new(mapping: Mapping) -> Result<Self> {
        let start = NonNull::new(mapping.as_ptr()).ok_or(nix::errno::Errno::EFAULT)?;
        // SAFETY:
        // - The mapping lives beside the memory, and may be written.
        // - It is accessed through the memory only.
        let memory = unsafe { Memory::new(start, mapping.size(), Access::ReadWrite) };
        Ok(Self {
            _mapping: mapping,
            memory,
        })
    }
}

impl Deref for Bar {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

/// A huge page of this process.
struct Huge {
    start: NonNull<u8>,
    memory: Memory,
}

// SAFETY: The page belongs to the process, not to a thread.
unsafe impl Send for Huge {}
// SAFETY: As above; `Memory` may be used by several threads at once.
unsafe impl Sync for Huge {}

impl Huge {
    /// Takes one; gives its physical address as well.
    fn new() -> Result<(Self, u64)> {
        let length = NonZeroUsize::new(HUGE).ok_or(nix::errno::Errno::EINVAL)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_HUGETLB | MapFlags::MAP_LOCKED;
        // SAFETY: No address is asked for, so nothing is replaced.
        let start = unsafe { mmap_anonymous(None, length, prot, flags) }?.cast::<u8>();
        // SAFETY:
        // - The page was just mapped with this length, and stays as long as the value that owns the memory.
        // - Nothing but the memory reaches it.
        let memory = unsafe { Memory::new(start, HUGE, Access::ReadWrite) };
        memory.fill(0, HUGE, 0)?;
        let places = physical(start.as_ptr() as usize, 1)?;
        Ok((Self { start, memory }, places[0]))
    }
}

impl Deref for Huge {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

impl Drop for Huge {
    fn drop(&mut self) {
        // SAFETY: This is what was mapped, and references to the memory borrow the value.
        let unmapped = unsafe { munmap(self.start.cast(), HUGE) };
        debug_assert!(unmapped.is_ok());
    }
}

impl fmt::Debug for Huge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}

/// Starts the controller, writes, flushes, reads back, compares, and stops it; prints JSON.
pub fn run(options: &Options) -> Result<()> {
    let function = Function::by_class(CLASS, options.index)?;
    function.enable()?;
    let registers = Arc::new(Bar::new(function.map(0)?)?);
    let (page, address) = Huge::new()?;
    let memory = Region::new(Arc::new(page), address);
    let (queues, data) = memory.split(5 * PAGE)?;
    let (lists, data) = data.split(64 * PAGE)?;
    let page = |index: usize| queues.part(index * PAGE, PAGE);
    let admin = QueuePair::new(0, page(0)?, page(1)?, Wait::Poll)?;
    let mut controller = Controller::start(registers, admin, Line::Masked)?;
    let identity = controller.identify(&page(2)?)?;
    let namespace = controller.identify_namespace(1, &page(2)?)?;
    controller.set_queues(1)?;
    let queue = QueuePair::new(1, page(3)?, page(4)?, Wait::Poll)?;
    controller.create(&queue, None)?;
    let mut lane = Lane::new(queue, data, lists, usize::try_from(options.chunk)?)?;
    let extent = Extent {
        from: options.from,
        bytes: options.bytes,
        seed: options.seed,
    };
    let registers = Arc::clone(controller.registers());
    let written = lane.transfer(&registers, namespace, Direction::Write, extent)?;
    lane.flush(&registers, namespace)?;
    let read = lane.transfer(&registers, namespace, Direction::Read, extent)?;
    let version = registers.version()?;
    controller.delete(lane.queue())?;
    controller.stop()?;
    ensure!(read.wrong == 0, "{read:?}");
    println!(
        "{}",
        json!({ "version": version, "serial": serial(&identity), "blocks": namespace.blocks(), "written": written, "read": read })
    );
    Ok(())
}
