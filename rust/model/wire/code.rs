// SPDX-License-Identifier: GPL-2.0
//! How each message lies in an entry.

use crate::addr::Extent;

use super::bytes::Reader;
use super::bytes::Writer;
use super::*;

mod lend;
mod op;

/// Bytes of an extent: bus address, length.
pub(super) const EXTENT_BYTES: usize = 16;

/// Bytes of [`Message::Extents`] before its ranges.
pub(super) const EXTENTS_HEAD: usize = 16;

/// Bytes of [`Message::ConnectReply`] before its ranges.
const REPLY_HEAD: usize = 32;

/// Ranges that a [`ConnectReply`] carries.
pub(super) const EXTENTS_A_REPLY: usize = (PAYLOAD_BYTES - REPLY_HEAD) / EXTENT_BYTES;

/// "SKIF", read as bytes.
const MAGIC: u32 = u32::from_le_bytes(*b"SKIF");

/// Bits of the flags of a request to connect.
const FLAG_READ_ONLY: u32 = 1;
const FLAG_KERNELS: u32 = 2;

fn put_extents(out: &mut Writer<'_>, extents: &Extents, room: usize) {
    for extent in extents.iter().take(room) {
        out.u64(extent.bus().get()).u64(extent.bytes());
    }
}

fn put(message: &Message, out: &mut Writer<'_>) {
    match message {
        Message::Hello(hello) => {
            out.u32(MAGIC)
                .u16(hello.version_min)
                .u16(hello.version_max)
                .u64(hello.generation.get())
                .u32(hello.session.get())
                .u32(hello.echo.map_or(0, SessionId::get))
                .u32(hello.node.get())
                .u32(u32::from(hello.adapter.get()))
                .u32(u32::from(hello.nonce.get()))
                .u32(match hello.phase {
                    Phase::Greeting => 0,
                    Phase::Up => 1,
                })
                .u32(hello.start);
        }
        Message::Goodbye | Message::ResumeEnd => {}
        Message::ConnectRequest {
            request,
            segment,
            uid,
            gid,
            access,
            space,
        } => {
            let access = match access {
                Access::ReadWrite => 0,
                Access::ReadOnly => FLAG_READ_ONLY,
            };
            let space = match space {
                Space::Programs => 0,
                Space::Kernels => FLAG_KERNELS,
            };
            out.u32(request.get())
                .u32(segment.get())
                .u32(uid.get())
                .u32(gid.get())
                .u32(access | space);
        }
        Message::ConnectReply(reply) => put_reply(reply, out),
        Message::Extents {
            request,
            first,
            extents,
        } => {
            // CAST: There are few places.
            out.u32(request.get())
                .u32(*first)
                .u32(extents.len() as u32)
                .u32(0);
            put_extents(out, extents, EXTENTS_A_MESSAGE);
        }
        Message::QueryRequest {
            request,
            from,
            uid,
            gid,
        } => {
            out.u32(request.get())
                .u32(from.get())
                .u32(uid.get())
                .u32(gid.get());
        }
        Message::QueryReply { request, found } => {
            out.u32(request.get());
            match found {
                Ok(found) => out
                    .u32(Status::Ok.code())
                    .u32(found.segment.get())
                    .u32(found.uid.get())
                    .u32(found.mode)
                    .u32(0)
                    .u64(found.bytes),
                Err(refused) => out
                    .u32(refused.status().code())
                    .u32(0)
                    .u32(0)
                    .u32(0)
                    .u32(0)
                    .u64(0),
            };
        }
        Message::Disconnect { lease }
        | Message::Revoke { lease }
        | Message::RevokeDone { lease }
        | Message::Resume { lease } => {
            out.u32(lease.get());
        }
        Message::Notice { lease, kind } => {
            out.u32(lease.get()).u32(match kind {
                NoticeKind::Unavailable => 1,
                NoticeKind::Removed => 2,
            });
        }
        Message::ResumeReply { lease, status } => {
            out.u32(lease.get()).u32(status.code());
        }
        Message::SlotSet { slot, bus, mode } => {
            out.u32(u32::from(*slot))
                .u32(match mode {
                    CacheMode::Wc => 0,
                    CacheMode::Uc => 1,
                })
                .u64(bus.get());
        }
        Message::SlotClear { slot } => {
            out.u32(u32::from(*slot));
        }
        Message::SlotDone { slot, status } => {
            out.u32(u32::from(*slot)).u32(status.code());
        }
        Message::ClientMessage { channel, bytes } => {
            out.u32(channel.get()).put(bytes.as_slice());
        }
        Message::ClientRefused { channel } => {
            out.u32(channel.get());
        }
        Message::Offer(_)
        | Message::Withdraw { .. }
        | Message::BorrowRequest { .. }
        | Message::BorrowReply { .. }
        | Message::DeviceRequest { .. }
        | Message::DeviceReply { .. }
        | Message::Ended { .. }
        | Message::SharerGone { .. }
        | Message::GivenUp { .. }
        | Message::Interrupt { .. } => lend::put(message, out),
    }
}

fn put_reply(reply: &ConnectReply, out: &mut Writer<'_>) {
    out.u32(reply.request.get());
    match &reply.granted {
        Ok(grant) => {
            out.u32(Status::Ok.code())
                .u32(grant.lease.get())
                .u32(match grant.class {
                    WindowClass::Memory => 0,
                    WindowClass::Registers => 1,
                })
                .u64(grant.bytes)
                .u32(grant.total)
                .u32(0);
            put_extents(out, &grant.first, EXTENTS_A_REPLY);
        }
        Err(refused) => {
            out.u32(refused.status().code())
                .u32(0)
                .u32(0)
                .u64(0)
                .u32(0)
                .u32(0);
        }
    }
}

pub(super) fn encode(message: &Message, session: Option<SessionId>, seq: u32) -> (Entry, usize) {
    let mut payload = [0; PAYLOAD_BYTES];
    let mut out = Writer::new(&mut payload);
    put(message, &mut out);
    let length = out.len();
    let session = match message {
        Message::Hello(_) => 0,
        _ => session.map_or(0, SessionId::get),
    };
    let mut entry = [0; ENTRY_BYTES];
    let (head, body) = entry.split_at_mut(HEADER_BYTES);
    body.copy_from_slice(&payload);
    let words = [
        session,
        seq,
        u32::from(message.kind()) | (u32::from(length) << 16),
        0,
    ];
    for (place, word) in head.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    (entry, HEADER_BYTES.saturating_add(usize::from(length)))
}

pub(super) fn decode(entry: &Entry) -> Result<Incoming, WireError> {
    let mut head = Reader::new(entry);
    let session = SessionId::new(head.u32()?);
    let seq = head.u32()?;
    let kind = head.u16()?;
    let length = usize::from(head.u16()?);
    head.zero()?;
    let payload = entry.get(HEADER_BYTES..).unwrap_or_default();
    let mut input = Reader::new(payload.get(..length).ok_or(WireError::Length)?);
    let message = get(kind, &mut input)?;
    input.finish()?;
    match (&message, session) {
        (Message::Hello(_), None) => {}
        (Message::Hello(_), Some(_)) | (_, None) => return Err(WireError::Field("session")),
        (_, Some(_)) => {}
    }
    Ok(Incoming {
        session,
        seq,
        message,
    })
}

fn get(kind: u16, input: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(match kind {
        kind::HELLO => Message::Hello(get_hello(input)?),
        kind::GOODBYE => Message::Goodbye,
        kind::CONNECT_REQUEST => get_connect(input)?,
        kind::CONNECT_REPLY => Message::ConnectReply(get_reply(input)?),
        kind::EXTENTS => {
            let request = RequestId::new(input.u32()?);
            let first = input.u32()?;
            let count = input.u32()?;
            input.zero()?;
            let extents = get_extents(input, EXTENTS_A_MESSAGE)?;
            // CAST: There are few places.
            if extents.len() as u32 != count || count == 0 {
                return Err(WireError::Field("count"));
            }
            match first.checked_add(count) {
                Some(end) if end <= EXTENTS_MAX => {}
                _ => return Err(WireError::Field("first")),
            }
            Message::Extents {
                request,
                first,
                extents,
            }
        }
        kind::DISCONNECT => Message::Disconnect {
            lease: get_lease(input)?,
        },
        kind::QUERY_REQUEST => Message::QueryRequest {
            request: RequestId::new(input.u32()?),
            from: SegmentId::new(input.u32()?),
            uid: Uid::new(input.u32()?),
            gid: Gid::new(input.u32()?),
        },
        kind::QUERY_REPLY => Message::QueryReply {
            request: RequestId::new(input.u32()?),
            found: get_found(input)?,
        },
        kind::REVOKE => Message::Revoke {
            lease: get_lease(input)?,
        },
        kind::REVOKE_DONE => Message::RevokeDone {
            lease: get_lease(input)?,
        },
        kind::NOTICE => Message::Notice {
            lease: get_lease(input)?,
            kind: match input.u32()? {
                1 => NoticeKind::Unavailable,
                2 => NoticeKind::Removed,
                _ => return Err(WireError::Field("notice")),
            },
        },
        kind::RESUME => Message::Resume {
            lease: get_lease(input)?,
        },
        kind::RESUME_REPLY => Message::ResumeReply {
            lease: get_lease(input)?,
            status: Status::decode(input.u32()?)?,
        },
        kind::RESUME_END => Message::ResumeEnd,
        kind::SLOT_SET => Message::SlotSet {
            slot: get_slot(input)?,
            mode: match input.u32()? {
                0 => CacheMode::Wc,
                1 => CacheMode::Uc,
                _ => return Err(WireError::Field("mode")),
            },
            bus: BusAddr::new(input.u64()?),
        },
        kind::SLOT_CLEAR => Message::SlotClear {
            slot: get_slot(input)?,
        },
        kind::SLOT_DONE => Message::SlotDone {
            slot: get_slot(input)?,
            status: Status::decode(input.u32()?)?,
        },
        kind::CLIENT_MESSAGE => Message::ClientMessage {
            channel: ChannelId::new(input.u32()?),
            bytes: ClientBytes::new(input.rest()).ok_or(WireError::Length)?,
        },
        kind::CLIENT_REFUSED => Message::ClientRefused {
            channel: ChannelId::new(input.u32()?),
        },
        other => return lend::get(other, input),
    })
}

fn get_connect(input: &mut Reader<'_>) -> Result<Message, WireError> {
    let request = RequestId::new(input.u32()?);
    let segment = SegmentId::new(input.u32()?);
    let uid = Uid::new(input.u32()?);
    let gid = Gid::new(input.u32()?);
    let flags = input.u32()?;
    if flags & !(FLAG_READ_ONLY | FLAG_KERNELS) != 0 {
        return Err(WireError::Field("flags"));
    }
    Ok(Message::ConnectRequest {
        request,
        segment,
        uid,
        gid,
        access: match flags & FLAG_READ_ONLY {
            0 => Access::ReadWrite,
            _ => Access::ReadOnly,
        },
        space: match flags & FLAG_KERNELS {
            0 => Space::Programs,
            _ => Space::Kernels,
        },
    })
}

fn get_lease(input: &mut Reader<'_>) -> Result<LeaseId, WireError> {
    input.u32().map(LeaseId::new)
}

fn get_slot(input: &mut Reader<'_>) -> Result<u8, WireError> {
    match u8::try_from(input.u32()?) {
        Ok(slot) if slot < SLOTS_MAX => Ok(slot),
        _ => Err(WireError::Field("slot")),
    }
}

fn get_hello(input: &mut Reader<'_>) -> Result<Hello, WireError> {
    if input.u32()? != MAGIC {
        return Err(WireError::Field("magic"));
    }
    let version_min = input.u16()?;
    let version_max = input.u16()?;
    if version_min == 0 || version_min > version_max {
        return Err(WireError::Field("version"));
    }
    Ok(Hello {
        version_min,
        version_max,
        generation: Generation::new(input.u64()?).ok_or(WireError::Field("generation"))?,
        session: SessionId::new(input.u32()?).ok_or(WireError::Field("session"))?,
        echo: SessionId::new(input.u32()?),
        node: NodeId::try_from(input.u32()?).map_err(|_| WireError::Field("node"))?,
        adapter: AdapterId::try_from(input.u32()?).map_err(|_| WireError::Field("adapter"))?,
        nonce: match u8::try_from(input.u32()?) {
            Ok(number) if Nonce::of(number).get() == number => Nonce::of(number),
            _ => return Err(WireError::Field("nonce")),
        },
        phase: match input.u32()? {
            0 => Phase::Greeting,
            1 => Phase::Up,
            _ => return Err(WireError::Field("phase")),
        },
        start: input.u32()?,
    })
}

fn get_extents(input: &mut Reader<'_>, room: usize) -> Result<Extents, WireError> {
    let mut extents = Extents::new();
    while extents.len() < room && !input.is_empty() {
        let bus = BusAddr::new(input.u64()?);
        let extent = Extent::new(bus, input.u64()?).map_err(|_| WireError::Field("extent"))?;
        extents.push(extent);
    }
    Ok(extents)
}

fn get_reply(input: &mut Reader<'_>) -> Result<ConnectReply, WireError> {
    let request = RequestId::new(input.u32()?);
    let status = Status::decode(input.u32()?)?;
    let lease = get_lease(input)?;
    let class = match input.u32()? {
        0 => WindowClass::Memory,
        1 => WindowClass::Registers,
        _ => return Err(WireError::Field("class")),
    };
    let bytes = input.u64()?;
    let total = input.u32()?;
    input.zero()?;
    let first = get_extents(input, EXTENTS_A_REPLY)?;
    let granted = match Refused::new(status) {
        None => {
            if bytes == 0 {
                return Err(WireError::Field("bytes"));
            }
            // CAST: There are few places.
            if total > EXTENTS_MAX || first.is_empty() || first.len() as u32 > total {
                return Err(WireError::Field("extents"));
            }
            Ok(Grant {
                lease,
                class,
                bytes,
                total,
                first,
            })
        }
        Some(refused) => {
            let none = class == WindowClass::Memory && first.is_empty();
            if lease.get() != 0 || bytes != 0 || total != 0 || !none {
                return Err(WireError::Field("refusal"));
            }
            Err(refused)
        }
    };
    Ok(ConnectReply { request, granted })
}

fn get_found(input: &mut Reader<'_>) -> Result<Result<Found, Refused>, WireError> {
    let status = Status::decode(input.u32()?)?;
    let segment = SegmentId::new(input.u32()?);
    let uid = Uid::new(input.u32()?);
    let mode = input.u32()?;
    input.zero()?;
    let bytes = input.u64()?;
    Ok(match Refused::new(status) {
        None => {
            if mode & !MODE_BITS != 0 {
                return Err(WireError::Field("mode"));
            }
            if bytes == 0 {
                return Err(WireError::Field("bytes"));
            }
            Ok(Found {
                segment,
                uid,
                mode,
                bytes,
            })
        }
        Some(refused) => {
            if segment.get() != 0 || uid.get() != 0 || mode != 0 || bytes != 0 {
                return Err(WireError::Field("refusal"));
            }
            Err(refused)
        }
    })
}
