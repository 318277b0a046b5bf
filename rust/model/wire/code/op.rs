// SPDX-License-Identifier: GPL-2.0
//! How operations on borrowed devices and their answers lie in a message.

use crate::addr::PAGE;
use crate::ids::MapId;

use super::*;

/// Operations, as [`Message::DeviceRequest`] says them.
mod code {
    pub(super) const RETURN: u32 = 1;
    pub(super) const RELEASE_EXCLUSIVE: u32 = 2;
    pub(super) const RESET: u32 = 3;
    pub(super) const BUS_MASTER: u32 = 4;
    pub(super) const BAR: u32 = 5;
    pub(super) const MEMORY: u32 = 6;
    pub(super) const CREATE_MEMORY: u32 = 7;
    pub(super) const MAP: u32 = 8;
    pub(super) const UNMAP: u32 = 9;
    pub(super) const CONFIG_READ: u32 = 10;
    pub(super) const CONFIG_WRITE: u32 = 11;
    pub(super) const VECTORS: u32 = 12;
    pub(super) const LISTEN: u32 = 13;
    pub(super) const REMOVE_MEMORY: u32 = 14;
    pub(super) const AIM: u32 = 15;
}

/// Answers, as [`Message::DeviceReply`] says them.
mod answer {
    pub(super) const DONE: u32 = 1;
    pub(super) const SEGMENT: u32 = 2;
    pub(super) const MAPPED: u32 = 3;
    pub(super) const VALUE: u32 = 4;
    pub(super) const VECTORS: u32 = 5;
}

/// What a device is to reach, as [`DeviceOp::Map`] says it.
mod what {
    pub(super) const PUBLISHED: u32 = 1;
    pub(super) const LEASE: u32 = 2;
    pub(super) const OTHER: u32 = 3;
    pub(super) const RAM: u32 = 4;
}

fn put_memory(kind: DeviceMemory, id: SegmentId, out: &mut Writer<'_>) {
    out.u32(match kind {
        DeviceMemory::Private => 2,
        DeviceMemory::Shared => 4,
    })
    .u32(id.get());
}

pub(super) fn put_op(operation: &DeviceOp, out: &mut Writer<'_>) {
    match operation {
        DeviceOp::Return => {
            out.u32(code::RETURN);
        }
        DeviceOp::ReleaseExclusive => {
            out.u32(code::RELEASE_EXCLUSIVE);
        }
        DeviceOp::Reset => {
            out.u32(code::RESET);
        }
        DeviceOp::BusMaster(mastering) => {
            out.u32(code::BUS_MASTER).u32(match mastering {
                Mastering::Off => 0,
                Mastering::On => 1,
            });
        }
        DeviceOp::Bar(bar) => {
            out.u32(code::BAR).u32(u32::from(*bar));
        }
        DeviceOp::Memory { kind, id } => {
            out.u32(code::MEMORY);
            put_memory(*kind, *id, out);
        }
        DeviceOp::CreateMemory { kind, id, bytes } => {
            out.u32(code::CREATE_MEMORY);
            put_memory(*kind, *id, out);
            out.u64(*bytes);
        }
        DeviceOp::Map {
            what,
            offset,
            bytes,
        } => {
            out.u32(code::MAP);
            put_what(what, out);
            out.u64(*offset).u64(*bytes);
        }
        DeviceOp::Unmap(map) => {
            out.u32(code::UNMAP).u32(map.get());
        }
        DeviceOp::ConfigRead { offset, width } => {
            out.u32(code::CONFIG_READ)
                .u32(u32::from(*offset))
                .u32(u32::from(width.bytes()));
        }
        DeviceOp::ConfigWrite {
            offset,
            width,
            value,
        } => {
            out.u32(code::CONFIG_WRITE)
                .u32(u32::from(*offset))
                .u32(u32::from(width.bytes()))
                .u32(*value);
        }
        DeviceOp::Vectors(count) => {
            out.u32(code::VECTORS).u32(*count);
        }
        DeviceOp::Listen { vectors } => {
            out.u32(code::LISTEN).u64(*vectors);
        }
        DeviceOp::RemoveMemory(id) => {
            out.u32(code::REMOVE_MEMORY).u32(id.get());
        }
        DeviceOp::Aim {
            vector,
            map,
            offset,
            data,
        } => {
            out.u32(code::AIM)
                .u32(*vector)
                .u32(map.get())
                .u64(*offset)
                .u32(*data);
        }
    }
}

fn put_what(place: &MapWhat, out: &mut Writer<'_>) {
    let (kind, id, node, uid, gid) = match place {
        MapWhat::Published(segment) => (what::PUBLISHED, segment.get(), 0, 0, 0),
        MapWhat::Lease(lease) => (what::LEASE, lease.get(), 0, 0, 0),
        MapWhat::Other {
            node,
            segment,
            uid,
            gid,
        } => (what::OTHER, segment.get(), node.get(), uid.get(), gid.get()),
        MapWhat::Ram(segment) => (what::RAM, segment.get(), 0, 0, 0),
    };
    out.u32(kind).u32(id).u32(node).u32(uid).u32(gid);
}

pub(super) fn put_answer(done: &DeviceAnswer, out: &mut Writer<'_>) {
    match done {
        DeviceAnswer::Done => {
            out.u32(answer::DONE);
        }
        DeviceAnswer::Segment { segment, bytes } => {
            out.u32(answer::SEGMENT).u32(segment.get()).u64(*bytes);
        }
        DeviceAnswer::Mapped { map, address } => {
            out.u32(answer::MAPPED).u32(map.get()).u64(address.get());
        }
        DeviceAnswer::Value(value) => {
            out.u32(answer::VALUE).u32(*value);
        }
        DeviceAnswer::Vectors(count) => {
            out.u32(answer::VECTORS).u32(*count);
        }
    }
}

fn get_segment(input: &mut Reader<'_>) -> Result<SegmentId, WireError> {
    input.u32().map(SegmentId::new)
}

fn get_bytes(input: &mut Reader<'_>) -> Result<u64, WireError> {
    match input.u64()? {
        0 => Err(WireError::Field("bytes")),
        bytes => Ok(bytes),
    }
}

fn get_vectors(input: &mut Reader<'_>) -> Result<u32, WireError> {
    match input.u32()? {
        count @ 1..=VECTORS_MAX => Ok(count),
        _ => Err(WireError::Field("vectors")),
    }
}

pub(super) fn get_op(input: &mut Reader<'_>) -> Result<DeviceOp, WireError> {
    Ok(match input.u32()? {
        code::RETURN => DeviceOp::Return,
        code::RELEASE_EXCLUSIVE => DeviceOp::ReleaseExclusive,
        code::RESET => DeviceOp::Reset,
        code::BUS_MASTER => DeviceOp::BusMaster(match input.u32()? {
            0 => Mastering::Off,
            1 => Mastering::On,
            _ => return Err(WireError::Field("mastering")),
        }),
        code::BAR => match u8::try_from(input.u32()?) {
            Ok(bar) if bar < BARS => DeviceOp::Bar(bar),
            _ => return Err(WireError::Field("bar")),
        },
        code::MEMORY => DeviceOp::Memory {
            kind: get_memory(input)?,
            id: get_segment(input)?,
        },
        code::CREATE_MEMORY => DeviceOp::CreateMemory {
            kind: get_memory(input)?,
            id: get_segment(input)?,
            bytes: get_bytes(input)?,
        },
        code::MAP => {
            let what = get_what(input)?;
            let offset = input.u64()?;
            let bytes = get_bytes(input)?;
            if offset % PAGE != 0 {
                return Err(WireError::Field("offset"));
            }
            if bytes % PAGE != 0 || offset.checked_add(bytes).is_none() {
                return Err(WireError::Field("bytes"));
            }
            DeviceOp::Map {
                what,
                offset,
                bytes,
            }
        }
        code::UNMAP => DeviceOp::Unmap(MapId::new(input.u32()?)),
        code::CONFIG_READ => {
            let (offset, width) = get_config(input)?;
            DeviceOp::ConfigRead { offset, width }
        }
        code::CONFIG_WRITE => {
            let (offset, width) = get_config(input)?;
            let value = input.u32()?;
            if value & !width.mask() != 0 {
                return Err(WireError::Field("value"));
            }
            DeviceOp::ConfigWrite {
                offset,
                width,
                value,
            }
        }
        code::VECTORS => DeviceOp::Vectors(get_vectors(input)?),
        code::LISTEN => DeviceOp::Listen {
            vectors: input.u64()?,
        },
        code::REMOVE_MEMORY => DeviceOp::RemoveMemory(get_segment(input)?),
        code::AIM => {
            let vector = input.u32()?;
            let map = MapId::new(input.u32()?);
            let offset = input.u64()?;
            if vector >= VECTORS_MAX {
                return Err(WireError::Field("vector"));
            }
            if offset % 4 != 0 {
                return Err(WireError::Field("offset"));
            }
            DeviceOp::Aim {
                vector,
                map,
                offset,
                data: input.u32()?,
            }
        }
        _ => return Err(WireError::Field("op")),
    })
}

fn get_memory(input: &mut Reader<'_>) -> Result<DeviceMemory, WireError> {
    match input.u32()? {
        2 => Ok(DeviceMemory::Private),
        4 => Ok(DeviceMemory::Shared),
        _ => Err(WireError::Field("memory")),
    }
}

fn get_what(input: &mut Reader<'_>) -> Result<MapWhat, WireError> {
    let kind = input.u32()?;
    let id = input.u32()?;
    let node = input.u32()?;
    let uid = input.u32()?;
    let gid = input.u32()?;
    let nobody = node == 0 && uid == 0 && gid == 0;
    match kind {
        what::PUBLISHED if nobody => Ok(MapWhat::Published(SegmentId::new(id))),
        what::LEASE if nobody => Ok(MapWhat::Lease(LeaseId::new(id))),
        what::RAM if nobody => Ok(MapWhat::Ram(SegmentId::new(id))),
        what::PUBLISHED | what::LEASE | what::RAM => Err(WireError::Field("reserved")),
        what::OTHER => Ok(MapWhat::Other {
            node: NodeId::try_from(node).map_err(|_| WireError::Field("node"))?,
            segment: SegmentId::new(id),
            uid: Uid::new(uid),
            gid: Gid::new(gid),
        }),
        _ => Err(WireError::Field("what")),
    }
}

fn get_config(input: &mut Reader<'_>) -> Result<(u16, Width), WireError> {
    let offset = u16::try_from(input.u32()?).map_err(|_| WireError::Field("offset"))?;
    let width = Width::new(input.u32()?).ok_or(WireError::Field("width"))?;
    if width.is_config_offset(offset) {
        Ok((offset, width))
    } else {
        Err(WireError::Field("offset"))
    }
}

pub(super) fn get_answer(input: &mut Reader<'_>) -> Result<DeviceAnswer, WireError> {
    Ok(match input.u32()? {
        answer::DONE => DeviceAnswer::Done,
        answer::SEGMENT => DeviceAnswer::Segment {
            segment: get_segment(input)?,
            bytes: get_bytes(input)?,
        },
        answer::MAPPED => DeviceAnswer::Mapped {
            map: MapId::new(input.u32()?),
            address: BusAddr::new(input.u64()?),
        },
        answer::VALUE => DeviceAnswer::Value(input.u32()?),
        answer::VECTORS => DeviceAnswer::Vectors(get_vectors(input)?),
        _ => return Err(WireError::Field("answer")),
    })
}
