// SPDX-License-Identifier: GPL-2.0

//! How a controller is told of what was submitted and of what was read: by doorbells, and where it takes them by shadows of
//! these in memory of this node, so that most doorbells need not be rung.
//!
//! Both pages are here, so the order of each side's store and load is that of one path. This CPU stores a shadow, then loads the event
//! index of its own memory, with a full barrier between. The controller stores the event index, then loads the shadow, and its load
//! does not pass its store. So one of the two sees what the other one has stored.
//!
//! # Locking
//!
//! None. Each doorbell has one user at a time: who holds the lock of its queue.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use skiff_client::{
    dma_mb,
    wmb,
    Borrowed,
    Place, //
};
use skiff_nvme_model::{
    doorbell::{
        Doorbell,
        Stride, //
    },
    queue::Moved,
    shadow,
    PAGE, //
};

use crate::{
    memory::Part,
    owner::PAIRS,
    registers::Registers, //
};

/// The two pages.
struct Shadows {
    values: Part,
    events: Part,
    stride: Stride,
    /// The controller looks at them.
    used: Atomic<bool>,
}

impl Shadows {
    fn place(&self, doorbell: Doorbell) -> Result<usize> {
        Ok(usize::try_from(shadow::place(self.stride, doorbell))?)
    }

    fn store(&self, doorbell: Doorbell, value: u16) -> Result {
        self.values.write32(self.place(doorbell)?, value.into())
    }

    /// Whether the controller wants to be told, now that the shadow has been stored.
    fn wanted(&self, doorbell: Doorbell, moved: Moved) -> Result<bool> {
        let place = self.place(doorbell)?;

        dma_mb();
        Ok(shadow::wanted(self.events.read32(place)?, moved))
    }
}

/// The doorbells of a controller.
pub(crate) struct Bells {
    registers: Arc<Registers>,
    shadows: Option<Shadows>,
}

impl Bells {
    /// Those in its registers only.
    pub(crate) fn new(registers: Arc<Registers>) -> Self {
        Self {
            registers,
            shadows: None,
        }
    }

    /// With shadows, which the controller is to be told of; without, if they do not fit into a page. Process context.
    pub(crate) fn with_shadows(registers: Arc<Registers>, device: &Arc<Borrowed>) -> Result<Self> {
        let stride = registers.stride();

        if !shadow::fits(stride, PAIRS) {
            return Ok(Self::new(registers));
        }

        let page = PAGE as usize;
        let pages = Part::new(device, 2 * page, Place::Cpu)?;

        Ok(Self {
            registers,
            shadows: Some(Shadows {
                values: pages.part(0, page)?,
                events: pages.part(page, page)?,
                stride,
                used: Atomic::new(false),
            }),
        })
    }

    /// The registers.
    pub(crate) fn registers(&self) -> &Registers {
        &self.registers
    }

    /// The addresses of the pages of shadows and of event indices, if there are any.
    pub(crate) fn pages(&self) -> Option<(u64, u64)> {
        let shadows = self.shadows.as_ref()?;

        Some((shadows.values.address(), shadows.events.address()))
    }

    /// Whether the controller looks at shadows.
    pub(crate) fn shadowed(&self) -> bool {
        self.used().is_some()
    }

    fn used(&self) -> Option<&Shadows> {
        self.shadows
            .as_ref()
            .filter(|shadows| shadows.used.load(Relaxed))
    }

    /// The controller looks at shadows from here on.
    pub(crate) fn use_shadows(&self) {
        if let Some(shadows) = &self.shadows {
            shadows.used.store(true, Relaxed);
        }
    }

    /// The controller was reset: it looks at no shadows, and they begin anew.
    pub(crate) fn restart(&self) -> Result {
        if let Some(shadows) = &self.shadows {
            shadows.used.store(false, Relaxed);
            shadows.values.clear()?;
            shadows.events.clear()?;
        }
        Ok(())
    }

    /// The controller is about to be told of a pair of queues, which are empty.
    pub(crate) fn clear(&self, queue: u16) -> Result {
        if let Some(shadows) = &self.shadows {
            for doorbell in [Doorbell::Tail(queue), Doorbell::Head(queue)] {
                let place = shadows.place(doorbell)?;

                shadows.values.write32(place, 0)?;
                shadows.events.write32(place, 0)?;
            }
        }
        Ok(())
    }

    /// Has the controller know, by the shadow alone if that will do; what was written to memory of the lender before is seen first.
    /// Any context.
    pub(crate) fn tell(&self, doorbell: Doorbell, moved: Moved) -> Result {
        if let Some(shadows) = self.used() {
            // What was written elsewhere comes before, as the controller's load of the shadow pushes it.
            wmb();
            shadows.store(doorbell, moved.to)?;
            if !shadows.wanted(doorbell, moved)? {
                return Ok(());
            }
        }
        self.registers.ring(doorbell, moved.to)
    }

    /// Lets the controller find it when it looks at the shadow; [`Bells::tell`] follows some time. Any context.
    pub(crate) fn note(&self, doorbell: Doorbell, value: u16) -> Result {
        match self.used() {
            Some(shadows) => shadows.store(doorbell, value),
            None => Ok(()),
        }
    }

    /// Rings a doorbell of the admin queue, whose shadow says the same at any time, but nobody waits for its event index.
    pub(crate) fn ring(&self, doorbell: Doorbell, value: u16) -> Result {
        if let Some(shadows) = &self.shadows {
            wmb();
            shadows.store(doorbell, value)?;
        }
        self.registers.ring(doorbell, value)
    }
}
