// SPDX-License-Identifier: GPL-2.0

//! Interrupts of a borrowed device that come to this node without the lender's CPU: the device stores the message of an
//! interrupt of the adapter, one for each vector.
//!
//! Nobody depends on it. A vector that cannot be had so comes by the lender's message, as all of them do at first; and one that is
//! had so comes that way again when the lender has to recall it.
//!
//! # Locking
//!
//! `Device::lines` is held while the lender is asked. Interrupts are given back with nothing held, for that waits for the client.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    errno::Errno,
    irq::Called, //
};
use skiff_model::{
    ids::MapId,
    ntb::WindowClass,
    wire::{
        DeviceOp,
        VECTORS_MAX, //
    },
};

use super::device::Device;
use crate::{
    bus,
    fabric::{
        Adapter,
        Spare, //
    },
    lend::{
        Caller,
        Memory,
        Own, //
    },
};

/// Whether interrupts may come without the lender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupts {
    /// They may.
    Direct,
    /// They may not.
    Forwarded,
}

/// Who hears of one vector.
struct Ear {
    caller: Arc<Caller>,
    /// Bit n: of vector n.
    vector: u64,
}

impl Called for Ear {
    fn called(&self) {
        self.caller.interrupt(self.vector);
    }
}

/// An interrupt of the adapter that is there for a vector.
struct Line {
    vector: u32,
    spare: Spare,
}

/// Where the device stores messages.
struct Target {
    map: MapId,
    _own: Own,
}

/// What a borrow has of it. Once a vector has an interrupt it keeps it, also while the client does not listen to it: to give it
/// back is to wait for the client.
pub(super) struct Lines {
    lines: KVec<Line>,
    // Behind the lines: nothing is stored there any more for them.
    target: Option<Target>,
}

/// Whether the lender has said no, and has not done it.
fn refused(error: Error) -> bool {
    error != EINTR && error != ETIMEDOUT
}

impl Lines {
    /// None.
    pub(super) const fn none() -> Self {
        Self {
            lines: KVec::new(),
            target: None,
        }
    }

    /// Has those of `vectors` come directly that can, all of which the lender tells of at the moment.
    pub(super) fn straighten(&mut self, device: &Device, vectors: u64, timeout_ms: u32) {
        let Some(id) = device.borrowed().adapter() else {
            return;
        };
        let Ok(adapter) = device.node().fabric.adapter(id) else {
            return;
        };

        for vector in (0..VECTORS_MAX).filter(|vector| vectors & 1 << vector != 0) {
            match self.line(device, &adapter, vector, timeout_ms) {
                Ok(()) => {}
                // Somebody else listens to it, too.
                Err(error) if error == EBUSY => {}
                // What one cannot have the others cannot have either, or nobody is there to ask.
                Err(_) => return,
            }
        }
    }

    /// Has one of them do so.
    fn line(
        &mut self,
        device: &Device,
        adapter: &Arc<Adapter>,
        vector: u32,
        timeout_ms: u32,
    ) -> Result {
        let known = self.lines.iter().position(|line| line.vector == vector);
        let (index, new) = match known {
            Some(index) => (index, false),
            None => (self.add(device, adapter, vector)?, true),
        };
        let done = self.aim(device, index, timeout_ms);

        match done {
            // Nobody was interrupted by it, so that nobody is waited for.
            Err(error) if new && refused(error) => drop(self.lines.remove(index)),
            Ok(()) | Err(_) => {}
        }
        done
    }

    /// Claims an interrupt of the adapter for a vector: its index.
    fn add(&mut self, device: &Device, adapter: &Arc<Adapter>, vector: u32) -> Result<usize> {
        let ear = Ear {
            caller: device.borrowed().caller().clone(),
            vector: 1 << vector,
        };

        self.lines.reserve(1, GFP_KERNEL)?;
        let spare = adapter.claim_interrupt(Arc::new(ear, GFP_KERNEL)?)?;

        self.lines.push(Line { vector, spare }, GFP_KERNEL)?;
        Ok(self.lines.len() - 1)
    }

    /// Has the device raise the interrupt.
    ///
    /// Errors: `EOPNOTSUPP` when its message goes elsewhere; `ECONNRESET`, `EINVAL`, `ENODEV`, `ENOMEM`, `ENOSPC`, those of asking.
    fn aim(&mut self, device: &Device, index: usize, timeout_ms: u32) -> Result {
        let line = self.lines.get(index).ok_or(EINVAL)?;
        let signal = line.spare.signal();
        let offset = bus::Memory::message_at(signal.at).ok_or(Errno::NotSupported)?;
        let target = match &self.target {
            Some(target) => target,
            None => self.target.insert(Target::new(device, timeout_ms)?),
        };
        let aim = DeviceOp::Aim {
            vector: line.vector,
            map: target.map,
            offset,
            data: signal.data,
        };

        device.borrowed().order(aim, timeout_ms)
    }
}

impl Target {
    /// Lets the device reach where this node takes messages. Errors: those of the segment and of asking.
    fn new(device: &Device, timeout_ms: u32) -> Result<Self> {
        let memory = bus::Memory::messages()?;
        let own = Own::whole(device.borrowed(), &memory, WindowClass::Registers)?;
        let what = Memory::Foreign(own.local().clone());
        let (map, _) = device.borrowed().map(&what, 0, 0, timeout_ms)?;

        Ok(Self { map, _own: own })
    }
}
