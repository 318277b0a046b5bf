// SPDX-License-Identifier: GPL-2.0
//! One connection of a port as the PCI function that the node sees: its regions, its one MSI, and its memory.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use skiff_vfio_user::device::{IRQ_MSI, REGION_BAR0, REGION_CONFIG};
use skiff_vfio_user::{
    Client, Device, DeviceInfo, DmaMap, DmaUnmap, Errno, IrqAction, IrqData, IrqFlags, IrqInfo,
    RegionInfo, RegionMapping, SetIrqs,
};

use super::fabric::{Attachment, Fabric};
use super::state::{Window, WindowFile};
use crate::model::Bar;

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
}

impl Region {
    fn new(index: u32) -> Option<Self> {
        if index == REGION_CONFIG {
            return Some(Self::Config);
        }
        let number = usize::try_from(index.checked_sub(REGION_BAR0)?).ok()?;
        Bar::from_number(number).map(Self::Bar)
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
            Some(Region::Bar(bar)) => bar,
            None => return Ok(RegionInfo::ABSENT),
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
        if index == IRQ_MSI {
            Ok(IrqInfo {
                count: 1,
                flags: IrqFlags::EVENTFD | IrqFlags::NORESIZE,
            })
        } else {
            Ok(IrqInfo::ABSENT)
        }
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
        }
    }

    fn set_irqs(&self, set: SetIrqs) -> Result<(), Errno> {
        if set.index != IRQ_MSI || set.action != IrqAction::Trigger {
            return Err(Errno::INVAL);
        }
        match set.data {
            IrqData::None if set.count == 0 => self.fabric.set_interrupt(self.who, None),
            IrqData::None => self.fabric.fire_interrupt(self.who),
            IrqData::Bool(which) if which.contains(&true) => self.fabric.fire_interrupt(self.who),
            IrqData::Bool(_) => Ok(()),
            IrqData::Eventfds(fds) => self.fabric.set_interrupt(self.who, fds.into_iter().next()),
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
