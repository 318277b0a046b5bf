// SPDX-License-Identifier: GPL-2.0
//! A driver of NVMe controllers in user space, as far as tests need one. What controllers say and are told is skiff_nvme's model;
//! registers, queues and memory are driven by code of its own.
//!
//! It is told where registers and memory are; whether these are a few cables away is not its business. A [`Controller`] owns
//! the admin queue, a [`Lane`] an I/O queue; each is used by one thread at a time.

mod lane;
pub mod local;
mod queue;
mod region;
mod registers;

use std::sync::Arc;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_nvme_model::command::Command;
use skiff_nvme_model::command::Signal;
use skiff_nvme_model::identify;
use skiff_nvme_model::identify::Namespace;

pub use self::lane::Extent;
pub use self::lane::Lane;
pub use self::queue::Counter;
pub use self::queue::QueuePair;
pub use self::queue::Wait;
pub use self::region::Region;
pub use self::region::View;
pub use self::registers::Registers;

/// Bytes of a page of the controller, and of ours.
pub const PAGE: usize = identify::BYTES;

/// A controller that runs.
#[derive(Debug)]
pub struct Controller {
    registers: Arc<Registers>,
    admin: QueuePair,
}

impl Controller {
    /// Resets a controller and starts it with an admin queue. `line` says that it would pull its interrupt line else.
    pub fn start(registers: View, admin: QueuePair, line: Line) -> Result<Self> {
        let registers = Arc::new(Registers::new(registers)?);
        ensure!(
            u32::from(admin.entries()) <= registers.capabilities().entries,
            "{registers:?}"
        );
        registers.disable().context("reset")?;
        if line == Line::Masked {
            registers.mask_interrupt()?;
        }
        let (submission, completion) = admin.addresses();
        registers
            .enable(admin.entries(), submission, completion)
            .context("start")?;
        Ok(Self { registers, admin })
    }

    /// Its registers.
    pub fn registers(&self) -> &Arc<Registers> {
        &self.registers
    }

    /// Has one admin command done.
    fn run(&mut self, command: &Command) -> Result<()> {
        self.admin.run(&self.registers, command)
    }

    /// Has it say something of itself; `memory`, where it does so, is a page.
    fn ask(&mut self, command: &Command, memory: &Region) -> Result<[u8; PAGE]> {
        self.run(command)?;
        let mut bytes = [0; PAGE];
        memory.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// What it is; `memory` is a page.
    pub fn identify(&mut self, memory: &Region) -> Result<identify::Controller> {
        let bytes = self.ask(&Command::identify_controller(memory.address()), memory)?;
        Ok(identify::Controller::read(&bytes)?)
    }

    /// What a namespace is.
    pub fn identify_namespace(&mut self, id: u32, memory: &Region) -> Result<Namespace> {
        let bytes = self.ask(&Command::identify_namespace(id, memory.address()), memory)?;
        Ok(Namespace::read(id, &bytes)?)
    }

    /// Asks for so many I/O queue pairs.
    pub fn set_queues(&mut self, count: u16) -> Result<()> {
        self.run(&Command::set_queues(count))
    }

    /// Makes an I/O queue pair known, with its completions signalled by a vector or not at all.
    pub fn create(&mut self, queue: &QueuePair, vector: Option<u16>) -> Result<()> {
        let (submission, completion) = queue.addresses();
        let (id, entries) = (queue.id(), queue.entries());
        let signal = vector.map_or(Signal::None, Signal::Vector);
        self.run(&Command::create_completions(
            id, entries, completion, signal,
        ))?;
        self.run(&Command::create_submissions(id, entries, submission))
    }

    /// Has the controller forget an I/O queue pair.
    pub fn delete(&mut self, queue: &QueuePair) -> Result<()> {
        self.run(&Command::delete_submissions(queue.id()))?;
        self.run(&Command::delete_completions(queue.id()))
    }

    /// Interrupts of the admin queue.
    pub fn interrupts(&self) -> u64 {
        self.admin.interrupts()
    }

    /// Stops it: no memory is used any more.
    pub fn stop(&self) -> Result<()> {
        self.registers.disable()
    }
}

/// What becomes of the controller's interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// MSI or MSI-X is on: there is none.
    Unused,
    /// It stays low.
    Masked,
}

/// The serial number of a controller.
pub fn serial(identity: &identify::Controller) -> String {
    String::from_utf8_lossy(&identity.serial).trim().to_owned()
}
