// SPDX-License-Identifier: GPL-2.0
//! How the messages between lenders and borrowers lie in an entry.

use crate::ids::RequesterId;

use super::op::get_answer;
use super::op::get_op;
use super::op::put_answer;
use super::op::put_op;
use super::*;

/// Writes one of the messages of this file; others have nothing to be written.
pub(super) fn put(message: &Message, out: &mut Writer<'_>) {
    match message {
        Message::Offer(info) => put_info(info, out),
        Message::Withdraw { index } => {
            out.u32(u32::from(index.get()));
        }
        Message::BorrowRequest {
            request,
            index,
            uid,
            gid,
            share,
            raw,
        } => {
            out.u32(request.get())
                .u32(u32::from(index.get()))
                .u32(uid.get())
                .u32(gid.get())
                .u32(match share {
                    Share::Shared => 0,
                    Share::Exclusive => 1,
                })
                .u32(match raw {
                    Raw::No => 0,
                    Raw::Yes => 1,
                });
        }
        Message::BorrowReply { request, granted } => {
            let (status, borrow) = match granted {
                Ok(borrow) => (Status::Ok, borrow.get()),
                Err(refused) => (refused.status(), 0),
            };
            out.u32(request.get()).u32(status.code()).u32(borrow);
        }
        Message::DeviceRequest {
            request,
            borrow,
            op,
        } => {
            out.u32(request.get()).u32(borrow.get());
            put_op(op, out);
        }
        Message::DeviceReply { request, done } => {
            out.u32(request.get());
            match done {
                Ok(answer) => {
                    out.u32(Status::Ok.code());
                    put_answer(answer, out);
                }
                Err(refused) => {
                    out.u32(refused.status().code());
                }
            }
        }
        Message::Ended { borrow }
        | Message::SharerGone { borrow }
        | Message::GivenUp { borrow } => {
            out.u32(borrow.get());
        }
        Message::Interrupt { borrow, vectors } => {
            out.u32(borrow.get()).u32(0).u64(*vectors);
        }
        _ => {}
    }
}

fn put_info(info: &DeviceInfo, out: &mut Writer<'_>) {
    out.u32(u32::from(info.index.get()))
        .u32(match info.state {
            DeviceState::Unavailable => 0,
            DeviceState::Available => 1,
            DeviceState::Borrowed => 2,
            DeviceState::Exclusive => 3,
            DeviceState::Broken => 4,
        })
        .u32(match info.contained {
            Contained::No => 0,
            Contained::Yes => 1,
        })
        .u32(info.domain)
        .u32(u32::from(info.bdf.get()))
        .u32(info.class)
        .u32(u32::from(info.revision))
        .u32(info.vectors)
        .u16(info.vendor)
        .u16(info.device)
        .u16(info.subvendor)
        .u16(info.subdevice)
        .u64(info.serial);
    for bytes in info.bars {
        out.u64(bytes);
    }
    out.u32(info.borrowers).u32(0);
}

/// Reads the message of a kind of this file.
pub(super) fn get(kind: u16, input: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(match kind {
        kind::OFFER => Message::Offer(get_info(input)?),
        kind::WITHDRAW => Message::Withdraw {
            index: get_index(input)?,
        },
        kind::BORROW_REQUEST => Message::BorrowRequest {
            request: RequestId::new(input.u32()?),
            index: get_index(input)?,
            uid: Uid::new(input.u32()?),
            gid: Gid::new(input.u32()?),
            share: match input.u32()? {
                0 => Share::Shared,
                1 => Share::Exclusive,
                _ => return Err(WireError::Field("share")),
            },
            raw: match input.u32()? {
                0 => Raw::No,
                1 => Raw::Yes,
                _ => return Err(WireError::Field("raw")),
            },
        },
        kind::BORROW_REPLY => {
            let request = RequestId::new(input.u32()?);
            let status = Status::decode(input.u32()?)?;
            let borrow = get_borrow(input)?;
            let granted = match Refused::new(status) {
                None => Ok(borrow),
                Some(_) if borrow.get() != 0 => return Err(WireError::Field("refusal")),
                Some(refused) => Err(refused),
            };
            Message::BorrowReply { request, granted }
        }
        kind::DEVICE_REQUEST => Message::DeviceRequest {
            request: RequestId::new(input.u32()?),
            borrow: get_borrow(input)?,
            op: get_op(input)?,
        },
        kind::DEVICE_REPLY => {
            let request = RequestId::new(input.u32()?);
            let done = match Refused::new(Status::decode(input.u32()?)?) {
                None => Ok(get_answer(input)?),
                Some(refused) => Err(refused),
            };
            Message::DeviceReply { request, done }
        }
        kind::ENDED => Message::Ended {
            borrow: get_borrow(input)?,
        },
        kind::SHARER_GONE => Message::SharerGone {
            borrow: get_borrow(input)?,
        },
        kind::GIVEN_UP => Message::GivenUp {
            borrow: get_borrow(input)?,
        },
        kind::INTERRUPT => {
            let borrow = get_borrow(input)?;
            input.zero()?;
            let vectors = input.u64()?;
            if vectors == 0 {
                return Err(WireError::Field("vectors"));
            }
            Message::Interrupt { borrow, vectors }
        }
        other => return Err(WireError::Kind(other)),
    })
}

fn get_borrow(input: &mut Reader<'_>) -> Result<BorrowId, WireError> {
    input.u32().map(BorrowId::new)
}

fn get_index(input: &mut Reader<'_>) -> Result<DeviceIndex, WireError> {
    match u16::try_from(input.u32()?) {
        Ok(index) => Ok(DeviceIndex::new(index)),
        Err(_) => Err(WireError::Field("index")),
    }
}

fn get_info(input: &mut Reader<'_>) -> Result<DeviceInfo, WireError> {
    let index = get_index(input)?;
    let state = match input.u32()? {
        0 => DeviceState::Unavailable,
        1 => DeviceState::Available,
        2 => DeviceState::Borrowed,
        3 => DeviceState::Exclusive,
        4 => DeviceState::Broken,
        _ => return Err(WireError::Field("state")),
    };
    let contained = match input.u32()? {
        0 => Contained::No,
        1 => Contained::Yes,
        _ => return Err(WireError::Field("contained")),
    };
    let domain = input.u32()?;
    let bdf = u16::try_from(input.u32()?).map_err(|_| WireError::Field("bdf"))?;
    let class = input.u32()?;
    if class & !CLASS_BITS != 0 {
        return Err(WireError::Field("class"));
    }
    let revision = u8::try_from(input.u32()?).map_err(|_| WireError::Field("revision"))?;
    let vectors = input.u32()?;
    if vectors > MSIX_MAX {
        return Err(WireError::Field("vectors"));
    }
    let vendor = input.u16()?;
    let device = input.u16()?;
    let subvendor = input.u16()?;
    let subdevice = input.u16()?;
    let serial = input.u64()?;
    let mut bars = [0; BARS as usize];
    for bytes in &mut bars {
        *bytes = input.u64()?;
    }
    let borrowers = input.u32()?;
    input.zero()?;
    Ok(DeviceInfo {
        index,
        state,
        contained,
        domain,
        bdf: RequesterId::new(bdf),
        class,
        revision,
        vendor,
        device,
        subvendor,
        subdevice,
        serial,
        bars,
        vectors,
        borrowers,
    })
}
