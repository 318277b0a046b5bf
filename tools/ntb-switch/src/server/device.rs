// SPDX-License-Identifier: GPL-2.0
//! One connection of a port as the PCI function that the node sees: its regions, its interrupts, and its memory.
//!
//! Of the vectors of MSI-X (companion layout) the switch signals the first alone. The table is the client's: which message a
//! vector has is between the node and whom it tells.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use skiff_vfio_user::device::{IRQ_MSI, IRQ_MSIX, REGION_BAR0, REGION_CONFIG};
use skiff_vfio_user::{
    Client, Device, DeviceInfo, DmaMap, DmaUnmap, Errno, IrqAction, IrqData, IrqFlags, IrqInfo,
    RegionInfo, RegionMapping, SetIrqs,
};

use super::fabric::{Attachment, Fabric};
use super::state::{Window, WindowFile};
use crate::model::{Bar, VECTORS_BAR, VECTORS_BYTES};

/// Bytes of configuration space (PCI Express).
const CONFIG_SIZE: u64 = 4096;

/// A connection of a port.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) fabric: Arc<Fabric>,
    pub(super) who: Attachment,
}

/// A region of the function that can be accessed.
enum Region {
    Config,
    Bar(Bar),
    /// What is around the table of MSI-X: nothing.
    Vectors,
}

impl Region {
    fn new(index: u32) -> Option<Self> {
        if index == REGION_CONFIG {
            return Some(Self::Config);
        }
        let number = usize::try_from(index.checked_sub(REGION_BAR0)?).ok()?;
        if number == VECTORS_BAR {
            return Some(Self::Vectors);
        }
        Bar::from_number(number).map(Self::Bar)
    }
}

impl Function {
    /// Vectors of MSI-X.
    fn vectors(&self) -> Result<u32, Errno> {
        Ok(self
            .fabric
            .lock_for(self.who)?
            .switch
            .vectors(self.who.port))
    }
}

impl Device for Function {
    fn connected(&self, client: &Client) {
        self.fabric.attach(self.who, client.clone());
    }

    fn disconnected(&self) {
        self.fabric.detach(self.who);
    }

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo::PCI
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        let bar = match Region::new(index) {
            Some(Region::Config) => return Ok(RegionInfo::trapped(CONFIG_SIZE)),
            Some(Region::Vectors) if self.vectors()? != 0 => {
                return Ok(RegionInfo::trapped(VECTORS_BYTES))
            }
            Some(Region::Bar(bar)) => bar,
            Some(Region::Vectors) | None => return Ok(RegionInfo::ABSENT),
        };
        let mut state = self.fabric.lock_for(self.who)?;
        let size = state.switch.bar_size(self.who.port, bar);
        if size == 0 {
            return Ok(RegionInfo::ABSENT);
        }
        let mapping = match (bar, &state.port(self.who.port).window) {
            (
                Bar::Memory,
                Window::Mapped {
                    file: WindowFile::Offered(fd),
                    ..
                },
            ) => Some(RegionMapping {
                fd: Arc::clone(fd),
                offset: 0,
                areas: Vec::new(),
            }),
            _ => None,
        };
        Ok(RegionInfo {
            mapping,
            ..RegionInfo::trapped(size)
        })
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        let (count, flags) = match index {
            IRQ_MSI => (1, IrqFlags::EVENTFD | IrqFlags::NORESIZE),
            IRQ_MSIX => (self.vectors()?, IrqFlags::EVENTFD),
            _ => return Ok(IrqInfo::ABSENT),
        };
        Ok(IrqInfo { count, flags })
    }

    fn region_read(&self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        let port = self.who.port;
        match Region::new(index).ok_or(Errno::INVAL)? {
            Region::Config => {
                let offset = u16::try_from(offset).map_err(|_| Errno::INVAL)?;
                self.fabric
                    .lock_for(self.who)?
                    .switch
                    .config_read(port, offset, data);
            }
            Region::Bar(Bar::Registers) => {
                let offset = u32::try_from(offset).map_err(|_| Errno::INVAL)?;
                self.fabric
                    .lock_for(self.who)?
                    .switch
                    .bar0_read(port, offset, data);
            }
            Region::Bar(bar) => self.fabric.window_read(self.who, bar, offset, data)?,
            Region::Vectors => data.fill(0),
        }
        Ok(())
    }

    fn region_write(&self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let port = self.who.port;
        match Region::new(index).ok_or(Errno::INVAL)? {
            Region::Config => {
                let offset = u16::try_from(offset).map_err(|_| Errno::INVAL)?;
                self.fabric.change(self.who, |state| {
                    state.switch.config_write(port, offset, data)
                })
            }
            Region::Bar(Bar::Registers) => {
                let offset = u32::try_from(offset).map_err(|_| Errno::INVAL)?;
                self.fabric.change(self.who, |state| {
                    state.switch.bar0_write(port, offset, data)
                })
            }
            Region::Bar(bar) => self.fabric.window_write(self.who, bar, offset, data),
            Region::Vectors => Ok(()),
        }
    }

    fn region_post(&self, index: u32, offset: u64, data: &[u8]) -> bool {
        match Region::new(index) {
            // A change of registers may have windows follow, for which their helpers are waited for.
            Some(Region::Config | Region::Bar(Bar::Registers)) | None => false,
            Some(Region::Bar(bar)) => self.fabric.window_post(self.who, bar, offset, data),
            Some(Region::Vectors) => true,
        }
    }

    fn set_irqs(&self, set: SetIrqs) -> Result<(), Errno> {
        if !matches!(set.index, IRQ_MSI | IRQ_MSIX) || set.action != IrqAction::Trigger {
            return Err(Errno::INVAL);
        }
        // The port's interrupt is the first vector; what is set for others has nobody who would signal it.
        let first = set.start == 0;
        match set.data {
            IrqData::None if set.count == 0 => self.fabric.set_interrupt(self.who, None),
            IrqData::None if first => self.fabric.fire_interrupt(self.who),
            IrqData::Bool(which) if first && which.first() == Some(&true) => {
                self.fabric.fire_interrupt(self.who)
            }
            IrqData::Eventfds(fds) if first => {
                self.fabric.set_interrupt(self.who, fds.into_iter().next())
            }
            IrqData::None | IrqData::Bool(_) | IrqData::Eventfds(_) => Ok(()),
        }
    }

    fn dma_map(&self, map: DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno> {
        self.fabric.dma_map(self.who, map, fd)
    }

    fn dma_unmap(&self, unmap: DmaUnmap) -> Result<(), Errno> {
        self.fabric.dma_unmap(self.who, unmap)
    }

    fn reset(&self) -> Result<(), Errno> {
        self.fabric
            .change(self.who, |state| state.switch.reset_port(self.who.port))
    }
}
