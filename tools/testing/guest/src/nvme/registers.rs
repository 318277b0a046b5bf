// SPDX-License-Identifier: GPL-2.0
//! The registers of a controller, read and written 32 bits at a time, which every controller allows.

use std::fmt;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Result;
use skiff_nvme_model::doorbell::Doorbell;
use skiff_nvme_model::registers::admin_queues;
use skiff_nvme_model::registers::Capabilities;
use skiff_nvme_model::registers::State;
use skiff_nvme_model::registers::ACQ;
use skiff_nvme_model::registers::AQA;
use skiff_nvme_model::registers::ASQ;
use skiff_nvme_model::registers::CAP;
use skiff_nvme_model::registers::CC;
use skiff_nvme_model::registers::CC_START;
use skiff_nvme_model::registers::CC_STOP;
use skiff_nvme_model::registers::CSTS;
use skiff_nvme_model::registers::VS;

use super::region::View;

/// Interrupt mask set.
const INTMS: u32 = 0x0c;

/// BAR 0 of a controller.
pub struct Registers {
    view: View,
    capabilities: Capabilities,
}

impl Registers {
    /// Looks at the controller behind a mapped BAR 0.
    pub fn new(view: View) -> Result<Self> {
        let half = |register: u32| view.load_u32(register as usize);
        let capabilities = Capabilities::read(half(CAP)?, half(CAP + 4)?)?;
        Ok(Self { view, capabilities })
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Version of the specification: major << 16 | minor << 8.
    pub fn version(&self) -> Result<u32> {
        self.load(VS)
    }

    fn load(&self, register: u32) -> Result<u32> {
        Ok(self.view.load_u32(register as usize)?)
    }

    fn store(&self, register: u32, value: u32) -> Result<()> {
        Ok(self.view.store_u32(register as usize, value)?)
    }

    fn store_long(&self, register: u32, value: u64) -> Result<()> {
        // CAST: The two halves.
        self.store(register, value as u32)?;
        self.store(register + 4, (value >> 32) as u32)
    }

    fn state(&self) -> Result<State> {
        Ok(State::read(self.load(CSTS)?))
    }

    /// Fails unless the controller is there, and runs.
    pub fn alive(&self) -> Result<()> {
        let state = self.state()?;
        ensure!(state == State::Ready, "the controller is {state:?}");
        Ok(())
    }

    fn wait(&self, wanted: State) -> Result<()> {
        let patience = Duration::from_millis(self.capabilities.patience.into());
        let started = Instant::now();
        loop {
            match self.state()? {
                state if state == wanted => return Ok(()),
                State::Stopped | State::Ready => {}
                // A controller that has failed takes its time to stop.
                State::Failed if wanted == State::Stopped => {}
                state => bail!("the controller is {state:?}"),
            }
            ensure!(started.elapsed() < patience, "it does not get {wanted:?}");
            sleep(Duration::from_millis(1));
        }
    }

    /// Stops the controller.
    pub fn disable(&self) -> Result<()> {
        self.store(CC, CC_STOP)?;
        self.wait(State::Stopped)
    }

    /// Starts the controller with an admin queue pair of so many entries. It was stopped before.
    pub fn enable(&self, entries: u16, submission: u64, completion: u64) -> Result<()> {
        self.store(AQA, admin_queues(entries))?;
        self.store_long(ASQ, submission)?;
        self.store_long(ACQ, completion)?;
        self.store(CC, CC_START)?;
        self.wait(State::Ready)
    }

    /// Keeps it from pulling its interrupt line. Not to be used with MSI-X.
    pub fn mask_interrupt(&self) -> Result<()> {
        self.store(INTMS, u32::MAX)
    }

    /// Has a doorbell say something.
    pub fn ring(&self, doorbell: Doorbell, value: u16) -> Result<()> {
        let register = self.capabilities.stride.register(doorbell);
        self.store(u32::try_from(register)?, value.into())
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capabilities.fmt(f)
    }
}
