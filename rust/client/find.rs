// SPDX-License-Identifier: GPL-2.0

//! Which devices can be borrowed.

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::bindings;

/// A device that is lent, as `struct skiff_device` of the ABI says it.
pub type Device = bindings::skiff_device;

/// What a device must be like. The default: any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Find {
    /// The lowest fdid to look at.
    pub from: u32,
    /// The node that lends it.
    pub node: Option<u32>,
    /// The class, and which of its bits count.
    pub class: Option<(u32, u32)>,
    /// Vendor and device id.
    pub id: Option<(u16, u16)>,
}

/// The device with the lowest fdid that is like that: `ENOENT` if there is none. Asks no peer.
pub fn find_device(find: &Find) -> Result<Device> {
    let mut query = bindings::skiff_device_query {
        from: find.from,
        ..Default::default()
    };

    if let Some(node) = find.node {
        query.match_ |= bindings::skiff_device_match_SKIFF_MATCH_NODE;
        query.device.node = node;
    }
    if let Some((class, mask)) = find.class {
        query.match_ |= bindings::skiff_device_match_SKIFF_MATCH_CLASS;
        query.device.class_code = class;
        query.class_mask = mask;
    }
    if let Some((vendor, device)) = find.id {
        query.match_ |= bindings::skiff_device_match_SKIFF_MATCH_VENDOR
            | bindings::skiff_device_match_SKIFF_MATCH_DEVICE;
        query.device.vendor = vendor;
        query.device.device = device;
    }
    // SAFETY:
    // - The query is valid for reads and writes.
    to_result(unsafe { bindings::skiff_find_device(&mut query) })?;
    Ok(query.device)
}

/// The device with an fdid, `ENOENT` if there is none.
pub fn device(fdid: u32) -> Result<Device> {
    let found = find_device(&Find {
        from: fdid,
        ..Find::default()
    })?;

    if found.fdid == fdid {
        Ok(found)
    } else {
        Err(ENOENT)
    }
}
