// SPDX-License-Identifier: GPL-2.0
//! Any command that a client sends, told apart by its number.

use super::{
    Command, DeviceInfoMessage, DmaMapMessage, DmaUnmapMessage, IrqInfoMessage, RegionData,
    RegionInfoMessage, RegionRange, RegionWriteMulti, SetIrqsMessage, Version, WireError,
};

/// A command from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// VERSION.
    Version(Version),
    /// DMA_MAP.
    DmaMap(DmaMapMessage),
    /// DMA_UNMAP.
    DmaUnmap(DmaUnmapMessage),
    /// DEVICE_GET_INFO.
    DeviceInfo(DeviceInfoMessage),
    /// DEVICE_GET_REGION_INFO.
    RegionInfo(RegionInfoMessage),
    /// DEVICE_GET_REGION_IO_FDS; its payload is of no interest here.
    RegionIoFds,
    /// DEVICE_GET_IRQ_INFO.
    IrqInfo(IrqInfoMessage),
    /// DEVICE_SET_IRQS.
    SetIrqs(SetIrqsMessage<'a>),
    /// REGION_READ.
    RegionRead(RegionRange),
    /// REGION_WRITE.
    RegionWrite(RegionData<'a>),
    /// REGION_WRITE_MULTI.
    RegionWriteMulti(RegionWriteMulti),
    /// DEVICE_RESET.
    Reset,
}

impl<'a> Request<'a> {
    /// Reads the payload of a command of this number.
    ///
    /// # Errors
    /// [`WireError::Command`] for a number that no client sends; otherwise what the payload's type says.
    pub fn decode(command: u16, payload: &'a [u8]) -> Result<Self, WireError> {
        let unknown = WireError::Command(command);
        Ok(match Command::from_number(command).ok_or(unknown)? {
            Command::Version => Self::Version(Version::decode(payload)?),
            Command::DmaMap => Self::DmaMap(DmaMapMessage::decode(payload)?),
            Command::DmaUnmap => Self::DmaUnmap(DmaUnmapMessage::decode(payload)?),
            Command::DeviceGetInfo => Self::DeviceInfo(DeviceInfoMessage::decode(payload)?),
            Command::DeviceGetRegionInfo => Self::RegionInfo(RegionInfoMessage::decode(payload)?),
            Command::DeviceGetRegionIoFds => Self::RegionIoFds,
            Command::DeviceGetIrqInfo => Self::IrqInfo(IrqInfoMessage::decode(payload)?),
            Command::DeviceSetIrqs => Self::SetIrqs(SetIrqsMessage::decode(payload)?),
            Command::RegionRead => Self::RegionRead(RegionRange::decode(payload)?),
            Command::RegionWrite => Self::RegionWrite(RegionData::decode(payload)?),
            Command::RegionWriteMulti => Self::RegionWriteMulti(RegionWriteMulti::decode(payload)?),
            Command::DeviceReset if payload.is_empty() => Self::Reset,
            Command::DeviceReset => return Err(WireError::Long),
            Command::DmaRead | Command::DmaWrite => return Err(unknown),
        })
    }
}
