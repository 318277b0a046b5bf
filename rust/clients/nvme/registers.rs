// SPDX-License-Identifier: GPL-2.0

//! BAR 0 of a controller: its registers and doorbells, mapped by whoever has borrowed it.

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};
use skiff_client::{
    wmb,
    Borrowed,
    IoMap, //
};
use skiff_nvme_model::{
    doorbell::{
        Doorbell,
        Stride, //
    },
    registers::{
        admin_queues,
        is_shut_down,
        Capabilities,
        State,
        ACQ,
        AQA,
        ASQ,
        CAP,
        CC,
        CC_SHUTDOWN,
        CC_START,
        CC_STOP,
        CSTS,
        GONE,
        VS, //
    }, //
};

/// Milliseconds between two looks at a register that is to change.
const STEP_MS: i64 = 2;

/// Milliseconds that a register reads as all ones before the controller is taken for gone.
const DOUBT_MS: i64 = 500;

/// BAR 0.
pub(crate) struct Registers {
    map: IoMap,
    stride: Stride,
}

impl Registers {
    /// Maps so many bytes of it. Process context.
    pub(crate) fn map(device: &Arc<Borrowed>, stride: Stride, bytes: usize) -> Result<Self> {
        Ok(Self {
            map: device.bar(0, 0, bytes)?,
            stride,
        })
    }

    /// Bytes between doorbells.
    pub(crate) fn stride(&self) -> Stride {
        self.stride
    }

    /// What the controller can do. Loads across the fabric.
    pub(crate) fn capabilities(&self) -> Result<Capabilities> {
        let (low, high) = (self.load_surely(CAP)?, self.load_surely(CAP + 4)?);

        Capabilities::read(low, high).map_err(|wrong| {
            pr_err!("{}\n", wrong.0);
            ENODEV
        })
    }

    /// Version of the specification: major << 16 | minor << 8.
    pub(crate) fn version(&self) -> Result<u32> {
        self.load_surely(VS)
    }

    fn load(&self, register: u32) -> Result<u32> {
        self.map.read32(register as usize)
    }

    fn store(&self, register: u32, value: u32) -> Result {
        self.map.write32(register as usize, value)
    }

    fn store_long(&self, register: u32, value: u64) -> Result {
        // CAST: The two halves.
        self.store(register, value as u32)?;
        self.store(register + 4, (value >> 32) as u32)
    }

    /// Rings a doorbell; what was written to memory of the lender before is seen first. Any context.
    pub(crate) fn ring(&self, doorbell: Doorbell, value: u16) -> Result {
        let at = usize::try_from(self.stride.register(doorbell))?;

        wmb();
        self.map.write32(at, value.into())
    }

    /// Loads a register; what was lost on the way reads as all ones, so these are believed only when they last.
    fn load_surely(&self, register: u32) -> Result<u32> {
        let started = Instant::<Monotonic>::now();

        loop {
            let value = self.load(register)?;

            if value != GONE || started.elapsed().as_millis() > DOUBT_MS {
                return Ok(value);
            }
            fsleep(Delta::from_millis(STEP_MS));
        }
    }

    /// Waits until `is` says so of CSTS.
    fn wait(&self, limit_ms: u32, is: impl Fn(u32) -> bool) -> Result {
        let started = Instant::<Monotonic>::now();

        loop {
            let status = self.load_surely(CSTS)?;

            if State::read(status) == State::Gone {
                return Err(ENODEV);
            }
            if is(status) {
                return Ok(());
            }
            if started.elapsed().as_millis() > i64::from(limit_ms) {
                return Err(ETIMEDOUT);
            }
            fsleep(Delta::from_millis(STEP_MS));
        }
    }

    /// Stops the controller: it touches no memory, and has no queues, when this returns. Process context.
    pub(crate) fn disable(&self, limit_ms: u32) -> Result {
        if self.load_surely(CC)? == GONE {
            return Err(ENODEV);
        }
        self.store(CC, CC_STOP)?;
        self.wait(limit_ms, |status| {
            matches!(State::read(status), State::Stopped)
                || (State::read(status) == State::Failed && status & 1 == 0)
        })
    }

    /// Starts the controller, which is stopped, with admin queues of so many entries each. Process context.
    pub(crate) fn enable(
        &self,
        limit_ms: u32,
        entries: u16,
        submissions: u64,
        completions: u64,
    ) -> Result {
        self.store(AQA, admin_queues(entries))?;
        self.store_long(ASQ, submissions)?;
        self.store_long(ACQ, completions)?;
        wmb();
        self.store(CC, CC_START)?;
        self.wait(limit_ms, |status| State::read(status) != State::Stopped)?;
        match State::read(self.load_surely(CSTS)?) {
            State::Ready => Ok(()),
            _ => Err(EIO),
        }
    }

    /// Has the controller bring to the disk what it has not, and stops it. Process context.
    pub(crate) fn shut_down(&self, limit_ms: u32) -> Result {
        self.store(CC, CC_SHUTDOWN)?;
        // Not to end so is no reason to let it run.
        let _ = self.wait(limit_ms, is_shut_down);
        self.disable(limit_ms)
    }

    /// How it stands with the controller. Loads across the fabric. Process context.
    pub(crate) fn state(&self) -> State {
        self.load_surely(CSTS).map_or(State::Gone, State::read)
    }
}
