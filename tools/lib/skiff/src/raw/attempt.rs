// SPDX-License-Identifier: GPL-2.0
//! What a command tries, as far as its argument can be believed.

use std::ffi::c_void;

use crate::error::Attempt;
use crate::uapi;
use crate::DeviceMemory;
use crate::PciAddress;

/// What a command tries; [`Attempt::Command`] when that cannot be told.
///
/// # Safety
///
/// - `argument` is null, or leads to as many bytes as its first field says, at least 4.
pub(crate) unsafe fn of(request: u32, argument: *mut c_void) -> Attempt {
    // SAFETY: the caller promises the same.
    unsafe { told(request, argument) }.unwrap_or(Attempt::Command { request })
}

/// # Safety
///
/// As for [`of`].
unsafe fn told(request: u32, argument: *mut c_void) -> Option<Attempt> {
    if argument.is_null() {
        return None;
    }
    // SAFETY: the caller promises that there are at least 4 bytes.
    let size = unsafe { argument.cast::<u32>().read_unaligned() };
    /// Copies the argument if it is as long as it should be.
    macro_rules! read {
        ($name:ident) => {{
            if (size as usize) < size_of::<uapi::$name>() {
                return None;
            }
            // SAFETY: the caller promises that there are `size` bytes.
            unsafe { argument.cast::<uapi::$name>().read_unaligned() }
        }};
    }
    Some(match request {
        uapi::SKIFF_IOC_INFO => Attempt::Info,
        uapi::SKIFF_IOC_ADAPTER_INFO => Attempt::AdapterInfo {
            adapter: read!(skiff_adapter_info).adapter,
        },
        uapi::SKIFF_IOC_NODE_INFO => Attempt::NodeInfo {
            node: read!(skiff_node_info).node.into(),
        },
        uapi::SKIFF_IOC_SEGMENT_CREATE => {
            let raw = read!(skiff_segment_create);
            let nameless = uapi::SKIFF_SEGMENT_ANY_ID | uapi::SKIFF_SEGMENT_PRIVATE;
            Attempt::Create {
                id: (raw.flags & nameless == 0).then_some(raw.id),
                bytes: raw.bytes,
            }
        }
        uapi::SKIFF_IOC_SEGMENT_CONNECT => {
            let raw = read!(skiff_segment_connect);
            Attempt::Connect {
                node: raw.node.into(),
                id: raw.id,
            }
        }
        uapi::SKIFF_IOC_SEGMENT_QUERY => {
            let raw = read!(skiff_segment_query);
            Attempt::Query {
                node: raw.node.into(),
                from: raw.id,
            }
        }
        uapi::SKIFF_IOC_SEGMENT_PREPARE => Attempt::Prepare {
            adapter: read!(skiff_segment_adapter).adapter.into(),
        },
        uapi::SKIFF_IOC_SEGMENT_SET_AVAILABLE => Attempt::SetAvailable {
            adapter: read!(skiff_segment_adapter).adapter.into(),
        },
        uapi::SKIFF_IOC_SEGMENT_SET_UNAVAILABLE => Attempt::SetUnavailable {
            adapter: read!(skiff_segment_adapter).adapter.into(),
        },
        uapi::SKIFF_IOC_SEGMENT_REMOVE => Attempt::Remove,
        uapi::SKIFF_IOC_SEGMENT_REVOKE => Attempt::Revoke {
            node: read!(skiff_segment_revoke).node.into(),
        },
        uapi::SKIFF_IOC_SEGMENT_INFO | uapi::SKIFF_IOC_REMOTE_INFO => Attempt::SegmentInfo,
        uapi::SKIFF_IOC_REMOTE_DISCONNECT => Attempt::Disconnect,
        uapi::SKIFF_IOC_LEND_ADD => {
            let raw = read!(skiff_lend_add);
            // CAST: the kernel takes no more than 16 bits.
            let function = PciAddress::new(raw.domain, raw.bdf as u16);
            Attempt::LendAdd { function }
        }
        uapi::SKIFF_IOC_LEND_REMOVE => Attempt::LendRemove {
            fdid: read!(skiff_lend_device).fdid.into(),
        },
        uapi::SKIFF_IOC_LEND_AVAILABLE => Attempt::LendAvailable {
            fdid: read!(skiff_lend_device).fdid.into(),
        },
        uapi::SKIFF_IOC_LEND_UNAVAILABLE => Attempt::LendUnavailable {
            fdid: read!(skiff_lend_device).fdid.into(),
        },
        uapi::SKIFF_IOC_LEND_CONNECT => Attempt::LendConnect {
            node: read!(skiff_lend_peer).node.into(),
        },
        uapi::SKIFF_IOC_LEND_DISCONNECT => Attempt::LendDisconnect {
            node: read!(skiff_lend_peer).node.into(),
        },
        uapi::SKIFF_IOC_DEVICE_QUERY => Attempt::Devices,
        uapi::SKIFF_IOC_DEVICE_BORROW => Attempt::Borrow {
            fdid: read!(skiff_device_borrow).fdid.into(),
        },
        uapi::SKIFF_IOC_DEVICE_INFO => Attempt::BorrowInfo,
        uapi::SKIFF_IOC_DEVICE_RETURN => Attempt::GiveBack,
        uapi::SKIFF_IOC_DEVICE_RELEASE_EXCLUSIVE => Attempt::ReleaseExclusive,
        uapi::SKIFF_IOC_DEVICE_RESET => Attempt::ResetDevice,
        uapi::SKIFF_IOC_DEVICE_SEGMENT_CREATE => {
            let raw = read!(skiff_device_segment);
            Attempt::DeviceCreate {
                memory: DeviceMemory::from_raw(raw.memory)?,
                id: raw.id,
                bytes: raw.bytes,
            }
        }
        uapi::SKIFF_IOC_DEVICE_SEGMENT_CONNECT => {
            let raw = read!(skiff_device_segment);
            match raw.memory {
                uapi::SKIFF_DEVICE_BAR => Attempt::DeviceBar { bar: raw.id },
                memory => Attempt::DeviceConnect {
                    memory: DeviceMemory::from_raw(memory)?,
                    id: raw.id,
                },
            }
        }
        uapi::SKIFF_IOC_DEVICE_MAP => {
            let raw = read!(skiff_device_map);
            Attempt::DeviceMap {
                offset: raw.offset,
                bytes: raw.bytes,
            }
        }
        uapi::SKIFF_IOC_DEVICE_UNMAP => Attempt::DeviceUnmap,
        uapi::SKIFF_IOC_DEVICE_CONFIG_READ => Attempt::ConfigRead {
            offset: read!(skiff_device_config).offset,
        },
        uapi::SKIFF_IOC_DEVICE_CONFIG_WRITE => Attempt::ConfigWrite {
            offset: read!(skiff_device_config).offset,
        },
        uapi::SKIFF_IOC_DEVICE_BUS_MASTER => Attempt::BusMaster,
        uapi::SKIFF_IOC_DEVICE_VECTORS => Attempt::Vectors {
            count: read!(skiff_device_vectors).count,
        },
        uapi::SKIFF_IOC_DEVICE_VECTOR => Attempt::Vector {
            index: read!(skiff_device_vector).index,
        },
        _ => return None,
    })
}
