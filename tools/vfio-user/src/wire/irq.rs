// SPDX-License-Identifier: GPL-2.0
//! DEVICE_SET_IRQS: struct vfio_irq_set.

use super::bytes::{Input, Output};
use super::WireError;
use crate::device::IrqAction;

/// DEVICE_SET_IRQS, client to server. The answer has no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetIrqsMessage<'a> {
    /// Which interrupt.
    pub index: u32,
    /// First vector.
    pub start: u32,
    /// Number of vectors.
    pub count: u32,
    /// What to do.
    pub action: IrqAction,
    /// What `action` goes by.
    pub data: IrqDataKind<'a>,
}

/// What a [`SetIrqsMessage`] goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqDataKind<'a> {
    /// All vectors of the range.
    None,
    /// Those vectors whose byte is not 0; `count` bytes.
    Bool(&'a [u8]),
    /// The eventfds that come with the message.
    Eventfds,
}

const SIZE: usize = 20;
const DATA_NONE: u32 = 1 << 0;
const DATA_BOOL: u32 = 1 << 1;
const DATA_EVENTFD: u32 = 1 << 2;
const DATA_MASK: u32 = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
const ACTION_MASK: u32 = 1 << 3;
const ACTION_UNMASK: u32 = 1 << 4;
const ACTION_TRIGGER: u32 = 1 << 5;

impl<'a> SetIrqsMessage<'a> {
    /// Lays the message out.
    ///
    /// # Errors
    /// The message would be longer than a message can be.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let (kind, bytes): (u32, &[u8]) = match self.data {
            IrqDataKind::None => (DATA_NONE, &[]),
            IrqDataKind::Bool(bytes) => (DATA_BOOL, bytes),
            IrqDataKind::Eventfds => (DATA_EVENTFD, &[]),
        };
        let action = match self.action {
            IrqAction::Mask => ACTION_MASK,
            IrqAction::Unmask => ACTION_UNMASK,
            IrqAction::Trigger => ACTION_TRIGGER,
        };
        let size = SIZE.checked_add(bytes.len()).ok_or(WireError::Size)?;
        let mut out = Vec::with_capacity(size);
        out.put32(u32::try_from(size).map_err(|_| WireError::Size)?);
        out.put32(kind | action);
        out.put32(self.index);
        out.put32(self.start);
        out.put32(self.count);
        out.extend_from_slice(bytes);
        Ok(out)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It or its `argsz` is too short, its flags do not name exactly one kind of data and one action, or its range overflows.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut input = Input::new(payload);
        let argsz = input.u32()?;
        let flags = input.u32()?;
        let index = input.u32()?;
        let start = input.u32()?;
        let count = input.u32()?;
        if usize::try_from(argsz).map_or(true, |argsz| argsz < SIZE) {
            return Err(WireError::Size);
        }
        start.checked_add(count).ok_or(WireError::Range)?;
        let data = match flags & DATA_MASK {
            DATA_NONE => IrqDataKind::None,
            DATA_BOOL => {
                let count = usize::try_from(count).map_err(|_| WireError::Size)?;
                IrqDataKind::Bool(input.take(count)?)
            }
            DATA_EVENTFD => IrqDataKind::Eventfds,
            _ => return Err(WireError::Value),
        };
        let action = match flags & !DATA_MASK {
            ACTION_MASK => IrqAction::Mask,
            ACTION_UNMASK => IrqAction::Unmask,
            ACTION_TRIGGER => IrqAction::Trigger,
            _ => return Err(WireError::Value),
        };
        Ok(Self {
            index,
            start,
            count,
            action,
            data,
        })
    }
}
