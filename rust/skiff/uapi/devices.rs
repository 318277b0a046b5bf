// SPDX-License-Identifier: GPL-2.0

//! Devices as the ABI describes them, searches for them, and their configuration space.

use kernel::prelude::*;
use skiff_model::{
    ids::{
        Fdid,
        NodeId,
        RequesterId, //
    },
    lend::Filter,
    wire::{
        Contained,
        DeviceInfo,
        DeviceOp,
        DeviceState,
        Width, //
    },
};

/// A device as others than this module get it.
pub(crate) fn describe(fdid: Fdid, info: &DeviceInfo) -> super::skiff_device {
    super::skiff_device {
        fdid: fdid.get(),
        node: fdid
            .node()
            .map_or(super::SKIFF_NODE_LOCAL, |node| node.get()),
        state: match info.state {
            DeviceState::Unavailable => super::skiff_device_state_SKIFF_DEVICE_UNAVAILABLE,
            DeviceState::Available => super::skiff_device_state_SKIFF_DEVICE_AVAILABLE,
            DeviceState::Borrowed => super::skiff_device_state_SKIFF_DEVICE_BORROWED,
            DeviceState::Exclusive => super::skiff_device_state_SKIFF_DEVICE_EXCLUSIVE,
            DeviceState::Broken => super::skiff_device_state_SKIFF_DEVICE_BROKEN,
        },
        flags: match info.contained {
            Contained::Yes => super::skiff_device_flags_SKIFF_DEVICE_CONTAINED,
            Contained::No => 0,
        },
        domain: info.domain,
        bdf: info.bdf.get().into(),
        class_code: info.class,
        revision: info.revision.into(),
        vendor: info.vendor,
        device: info.device,
        subvendor: info.subvendor,
        subdevice: info.subdevice,
        serial: info.serial,
        bars: info.bars,
        vectors: info.vectors,
        borrowers: info.borrowers,
    }
}

/// A search: where it starts, and what it looks for. Errors: `EINVAL`, `ENOENT` for a node that cannot be.
pub(crate) fn query(argument: &super::skiff_device_query) -> Result<(Fdid, Filter)> {
    const ALL: u32 = (super::skiff_device_match_SKIFF_MATCH_BDF << 1) - 1;
    let (bits, mask) = (argument.match_, argument.class_mask);
    let wanted = &argument.device;
    let has = |bit| bits & bit != 0;
    let by_class = has(super::skiff_device_match_SKIFF_MATCH_CLASS);
    if bits & !ALL != 0 || by_class == (mask == 0) {
        return Err(EINVAL);
    }
    let node = match has(super::skiff_device_match_SKIFF_MATCH_NODE) {
        true => Some(NodeId::new(wanted.node).ok_or(ENOENT)?),
        false => None,
    };
    let state = match has(super::skiff_device_match_SKIFF_MATCH_STATE) {
        true => Some(device_state(wanted.state)?),
        false => None,
    };
    let place = match has(super::skiff_device_match_SKIFF_MATCH_BDF) {
        true => {
            let bdf = u16::try_from(wanted.bdf).map_err(|_| EINVAL)?;
            Some((wanted.domain, RequesterId::new(bdf)))
        }
        false => None,
    };
    let filter = Filter {
        node,
        state,
        class: by_class.then_some((wanted.class_code, mask)),
        vendor: has(super::skiff_device_match_SKIFF_MATCH_VENDOR).then_some(wanted.vendor),
        device: has(super::skiff_device_match_SKIFF_MATCH_DEVICE).then_some(wanted.device),
        subvendor: has(super::skiff_device_match_SKIFF_MATCH_SUBVENDOR).then_some(wanted.subvendor),
        subdevice: has(super::skiff_device_match_SKIFF_MATCH_SUBDEVICE).then_some(wanted.subdevice),
        serial: has(super::skiff_device_match_SKIFF_MATCH_SERIAL).then_some(wanted.serial),
        place,
    };
    Ok((Fdid::new(argument.from), filter))
}

/// The state with a number. Error: `EINVAL`.
fn device_state(number: u32) -> Result<DeviceState> {
    match number {
        super::skiff_device_state_SKIFF_DEVICE_UNAVAILABLE => Ok(DeviceState::Unavailable),
        super::skiff_device_state_SKIFF_DEVICE_AVAILABLE => Ok(DeviceState::Available),
        super::skiff_device_state_SKIFF_DEVICE_BORROWED => Ok(DeviceState::Borrowed),
        super::skiff_device_state_SKIFF_DEVICE_EXCLUSIVE => Ok(DeviceState::Exclusive),
        super::skiff_device_state_SKIFF_DEVICE_BROKEN => Ok(DeviceState::Broken),
        _ => Err(EINVAL),
    }
}

/// A place in the configuration space. Error: `EINVAL`.
fn config(offset: u32, width: u32) -> Result<(u16, Width)> {
    let width = Width::new(width).ok_or(EINVAL)?;
    let offset = u16::try_from(offset).map_err(|_| EINVAL)?;
    if width.is_config_offset(offset) {
        Ok((offset, width))
    } else {
        Err(EINVAL)
    }
}

/// Reads a value of the configuration space. Error: `EINVAL`.
pub(crate) fn config_read(offset: u32, width: u32) -> Result<DeviceOp> {
    let (offset, width) = config(offset, width)?;
    Ok(DeviceOp::ConfigRead { offset, width })
}

/// Writes a value to the configuration space. Error: `EINVAL`, also for a value that is too wide.
pub(crate) fn config_write(offset: u32, width: u32, value: u32) -> Result<DeviceOp> {
    let (offset, width) = config(offset, width)?;
    if value & !width.mask() != 0 {
        return Err(EINVAL);
    }
    Ok(DeviceOp::ConfigWrite {
        offset,
        width,
        value,
    })
}
