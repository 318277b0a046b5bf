// SPDX-License-Identifier: GPL-2.0

//! What programs say of devices, checked once and made into types of the rooms below.

use kernel::prelude::*;
use skiff_ext::cred::{
    capable,
    Capability, //
};
use skiff_model::{
    access::{
        NodeMask,
        Rights, //
    },
    ids::{
        Fdid,
        SegmentId, //
    },
    lend::Hints,
    wire::{
        DeviceMemory,
        DeviceOp,
        Mastering,
        Raw,
        MODE_BITS, //
    },
};

use super::{
    arguments::{
        who,
        zero, //
    },
    uapi, //
};
use crate::lend::{
    Borrow,
    Containment,
    NewMemory,
    Refusal,
    TakeFrom, //
};
use crate::uapi::{
    devices,
    numbers::{
        share,
        timeout, //
    },
};

/// Error `EPERM` for who may not lend.
pub(super) fn may_lend() -> Result {
    if capable(Capability::SysAdmin) {
        Ok(())
    } else {
        Err(EPERM)
    }
}

/// Rights on a device. Error: `EINVAL`.
pub(super) fn rights(argument: &uapi::skiff_lend_add) -> Result<Rights> {
    zero(&[argument.flags, argument.mode & !MODE_BITS])?;
    let (uid, gid) = who();
    Ok(Rights {
        uid,
        gid,
        mode: argument.mode,
        nodes: NodeMask::from_bits(argument.nodes),
    })
}

/// The place of a function: domain, bus, device and function. Error: `EINVAL`.
pub(super) fn place(argument: &uapi::skiff_lend_add) -> Result<(u32, u8, u8)> {
    let [devfn, bus, 0, 0] = argument.bdf.to_le_bytes() else {
        return Err(EINVAL);
    };
    Ok((argument.domain, bus, devfn))
}

/// Whether a device without an IOMMU may be lent. Errors: `EINVAL`, `EPERM` for who may not do that.
pub(super) fn containment(argument: &uapi::skiff_lend_device) -> Result<Containment> {
    match argument.flags {
        0 => Ok(Containment::Wanted),
        uapi::skiff_lend_flags_SKIFF_LEND_UNSAFE => {
            if capable(Capability::SysRawio) {
                Ok(Containment::Waived)
            } else {
                Err(EPERM)
            }
        }
        _ => Err(EINVAL),
    }
}

/// From whom a device may be taken. Error: `EINVAL`.
pub(super) fn take_from(argument: &uapi::skiff_lend_device) -> Result<TakeFrom> {
    match argument.flags {
        0 => Ok(TakeFrom::Nobody),
        uapi::skiff_lend_flags_SKIFF_LEND_FORCE => Ok(TakeFrom::Borrowers),
        _ => Err(EINVAL),
    }
}

/// The number of a refusal.
pub(super) fn refusal(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::NoIommu => uapi::skiff_lend_refusal_SKIFF_REFUSAL_NO_IOMMU,
        Refusal::Group => uapi::skiff_lend_refusal_SKIFF_REFUSAL_GROUP,
        Refusal::NoReset => uapi::skiff_lend_refusal_SKIFF_REFUSAL_NO_RESET,
        Refusal::NoPath => uapi::skiff_lend_refusal_SKIFF_REFUSAL_NO_PATH,
    }
}

/// How a device is to be borrowed. Error: `EINVAL`.
pub(super) fn borrow(argument: &uapi::skiff_device_borrow) -> Result<Borrow> {
    zero(&[argument.__reserved])?;
    let (uid, gid) = who();
    Ok(Borrow {
        fdid: Fdid::new(argument.fdid),
        share: share(argument.flags)?,
        raw: if capable(Capability::SysRawio) {
            Raw::Yes
        } else {
            Raw::No
        },
        timeout_ms: timeout(argument.timeout_ms)?,
        uid,
        gid,
    })
}

/// The kind of a device's memory. Error: `EINVAL`.
fn memory(kind: u32) -> Result<DeviceMemory> {
    match kind {
        uapi::skiff_device_memory_SKIFF_DEVICE_PRIVATE => Ok(DeviceMemory::Private),
        uapi::skiff_device_memory_SKIFF_DEVICE_SHARED => Ok(DeviceMemory::Shared),
        _ => Err(EINVAL),
    }
}

// The model has the bits of the ABI.
const _: () = assert!(
    Hints::DEVICE_READ == uapi::skiff_access_hints_SKIFF_HINT_DEVICE_READ
        && Hints::DEVICE_WRITE == uapi::skiff_access_hints_SKIFF_HINT_DEVICE_WRITE
        && Hints::HOST_READ == uapi::skiff_access_hints_SKIFF_HINT_HOST_READ
        && Hints::HOST_WRITE == uapi::skiff_access_hints_SKIFF_HINT_HOST_WRITE
        && Hints::MULTIHOST == uapi::skiff_access_hints_SKIFF_HINT_MULTIHOST
        && Hints::PEER == uapi::skiff_access_hints_SKIFF_HINT_PEER
);

/// A segment of a device to be made. Error: `EINVAL`.
pub(super) fn segment_create(argument: &uapi::skiff_device_segment) -> Result<(NewMemory, u32)> {
    if argument.bytes == 0 || argument.fd != 0 {
        return Err(EINVAL);
    }
    let what = NewMemory {
        kind: memory(argument.memory)?,
        id: SegmentId::new(argument.id),
        bytes: argument.bytes,
        hints: Hints::from_bits(argument.flags).ok_or(EINVAL)?,
    };
    Ok((what, timeout(argument.timeout_ms)?))
}

/// A segment of a device to be connected to. Errors: `EINVAL`, `ENOENT` for a BAR that no device has.
pub(super) fn segment_connect(argument: &uapi::skiff_device_segment) -> Result<(DeviceOp, u32)> {
    zero(&[argument.flags])?;
    let op = match argument.memory {
        uapi::skiff_device_memory_SKIFF_DEVICE_BAR if argument.id < uapi::SKIFF_DEVICE_BARS => {
            DeviceOp::Bar(u8::try_from(argument.id)?)
        }
        uapi::skiff_device_memory_SKIFF_DEVICE_BAR => return Err(ENOENT),
        kind => DeviceOp::Memory {
            kind: memory(kind)?,
            id: SegmentId::new(argument.id),
        },
    };
    Ok((op, timeout(argument.timeout_ms)?))
}

/// A value to be read. Error: `EINVAL`.
pub(super) fn config_read(argument: &uapi::skiff_device_config) -> Result<(DeviceOp, u32)> {
    zero(&[argument.flags])?;
    let op = devices::config_read(argument.offset, argument.width)?;
    Ok((op, timeout(argument.timeout_ms)?))
}

/// A value to be written. Error: `EINVAL`.
pub(super) fn config_write(argument: &uapi::skiff_device_config) -> Result<(DeviceOp, u32)> {
    zero(&[argument.flags])?;
    let op = devices::config_write(argument.offset, argument.width, argument.value)?;
    Ok((op, timeout(argument.timeout_ms)?))
}

/// What to make of bus mastering. Error: `EINVAL`.
pub(super) fn bus_master(argument: &uapi::skiff_device_bus_master) -> Result<(DeviceOp, u32)> {
    zero(&[argument.__reserved])?;
    let mastering = match argument.flags {
        0 => Mastering::Off,
        uapi::skiff_bus_master_flags_SKIFF_BUS_MASTER_ON => Mastering::On,
        _ => return Err(EINVAL),
    };
    Ok((
        DeviceOp::BusMaster(mastering),
        timeout(argument.timeout_ms)?,
    ))
}
