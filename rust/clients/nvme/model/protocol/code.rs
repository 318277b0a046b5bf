// SPDX-License-Identifier: GPL-2.0
//! Messages to bytes and back: a header of 16 bytes, and what a kind of message has of its own; little endian.

use super::Answer;
use super::Body;
use super::Event;
use super::Limits;
use super::Message;
use super::Pair;
use super::Refusal;
use super::Request;
use super::Token;
use super::MOST;
use super::VERSION;
use crate::bytes::Reader;
use crate::bytes::Writer;
use crate::doorbell::Stride;
use crate::identify::Abilities;
use crate::identify::Namespace;
use crate::queue::ENTRIES;
use crate::Wrong;
use crate::PAGE;

const ATTACH: u16 = 1;
const DETACH: u16 = 2;
const CREATE_QUEUE: u16 = 3;
const NAMESPACE: u16 = 4;
const ABORT: u16 = 5;
const RESET: u16 = 6;
const ATTACHED: u16 = 32;
const QUEUE: u16 = 33;
const THIS_NAMESPACE: u16 = 34;
const DONE: u16 = 35;
const REFUSED: u16 = 36;
const STOPPED: u16 = 64;
const RESTARTED: u16 = 65;
const GONE: u16 = 66;
const NOTHING: u16 = 67;

impl Refusal {
    const ALL: [(Self, u32); 5] = [
        (Self::NotOwned, 1),
        (Self::Stale, 2),
        (Self::NotYours, 3),
        (Self::Exhausted, 4),
        (Self::Failed, 5),
    ];

    fn number(self) -> u32 {
        let found = Self::ALL.iter().find(|(refusal, _)| *refusal == self);
        found.map_or(0, |(_, number)| *number)
    }

    fn read(number: u32) -> Result<Self, Wrong> {
        let found = Self::ALL.iter().find(|(_, of)| *of == number);
        found
            .map(|(refusal, _)| *refusal)
            .ok_or(Wrong("why it is refused"))
    }
}

impl Message {
    /// The bytes of it, and how many they are.
    pub fn encode(&self) -> ([u8; MOST], usize) {
        let mut bytes = [0; MOST];
        let mut writer = Writer::new(&mut bytes);
        let (kind, token) = self.kind();
        writer.u16(VERSION).u16(kind).u32(self.fdid);
        writer.u32(self.generation).u32(token);
        match self.body {
            Body::Request(_, request) => request.put(&mut writer),
            Body::Answer(_, answer) => answer.put(&mut writer),
            Body::Event(_) => {}
        }
        let length = writer.len();
        (bytes, length)
    }

    fn kind(&self) -> (u16, u32) {
        match self.body {
            Body::Request(token, request) => (request.kind(), token.0),
            Body::Answer(token, answer) => (answer.kind(), token.0),
            Body::Event(event) => (event.kind(), 0),
        }
    }

    /// Of the bytes of a message; each field is as it may be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Wrong> {
        let mut reader = Reader::new(bytes);
        if reader.u16()? != VERSION {
            return Err(Wrong("version"));
        }
        let kind = reader.u16()?;
        let (fdid, generation, token) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let token_of = || match token {
            0 => Err(Wrong("token")),
            token => Ok(Token(token)),
        };
        let body = match kind {
            ATTACH..=RESET => Body::Request(token_of()?, Request::read(kind, &mut reader)?),
            ATTACHED..=REFUSED => Body::Answer(token_of()?, Answer::read(kind, &mut reader)?),
            _ if token != 0 => return Err(Wrong("token")),
            STOPPED => Body::Event(Event::Stopped),
            RESTARTED => Body::Event(Event::Restarted),
            GONE => Body::Event(Event::Gone),
            NOTHING => Body::Event(Event::Nothing),
            _ => return Err(Wrong("kind")),
        };
        let free = matches!(
            body,
            Body::Request(_, Request::Attach) | Body::Answer(_, Answer::Refused(_))
        );
        if generation == 0 && !free {
            return Err(Wrong("generation"));
        }
        reader.finish()?;
        Ok(Self {
            fdid,
            generation,
            body,
        })
    }
}

impl Event {
    fn kind(self) -> u16 {
        match self {
            Self::Stopped => STOPPED,
            Self::Restarted => RESTARTED,
            Self::Gone => GONE,
            Self::Nothing => NOTHING,
        }
    }
}

impl Request {
    fn kind(self) -> u16 {
        match self {
            Self::Attach => ATTACH,
            Self::Detach => DETACH,
            Self::CreateQueue(_) => CREATE_QUEUE,
            Self::Namespace { .. } => NAMESPACE,
            Self::Abort { .. } => ABORT,
            Self::Reset => RESET,
        }
    }

    fn put(self, writer: &mut Writer<'_>) {
        match self {
            Self::Attach | Self::Detach | Self::Reset => {}
            Self::CreateQueue(pair) => {
                writer.u64(pair.submissions).u64(pair.completions);
                writer.u16(pair.entries).u16(pair.polled.into());
            }
            Self::Namespace { after } => {
                writer.u32(after);
            }
            Self::Abort { queue, command } => {
                writer.u16(queue).u16(command);
            }
        }
    }

    fn read(kind: u16, reader: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(match kind {
            ATTACH => Self::Attach,
            DETACH => Self::Detach,
            CREATE_QUEUE => {
                let (submissions, completions) = (reader.u64()?, reader.u64()?);
                let (entries, polled) = (reader.u16()?, flag(reader.u16()?)?);
                Self::CreateQueue(Pair::new(submissions, completions, entries, polled)?)
            }
            NAMESPACE => Self::Namespace {
                after: reader.u32()?,
            },
            ABORT => Self::Abort {
                queue: queue(reader.u16()?)?,
                command: reader.u16()?,
            },
            RESET => Self::Reset,
            _ => return Err(Wrong("kind")),
        })
    }
}

impl Answer {
    fn kind(self) -> u16 {
        match self {
            Self::Attached(_) => ATTACHED,
            Self::Queue { .. } => QUEUE,
            Self::Namespace(_) => THIS_NAMESPACE,
            Self::Done => DONE,
            Self::Refused(_) => REFUSED,
        }
    }

    fn put(self, writer: &mut Writer<'_>) {
        match self {
            Self::Attached(limits) => {
                writer.u16(limits.entries).u16(limits.queues);
                writer.u32(limits.most);
                writer.u32(limits.stride.power().into());
                writer.u32(limits.abilities.0);
            }
            Self::Queue { queue, vector } => {
                writer.u16(queue).u16(vector);
            }
            Self::Namespace(namespace) => {
                writer.u32(namespace.id()).u32(namespace.power().into());
                writer.u64(namespace.blocks());
            }
            Self::Done => {}
            Self::Refused(refusal) => {
                writer.u32(refusal.number());
            }
        }
    }

    fn read(kind: u16, reader: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(match kind {
            ATTACHED => Self::Attached(Limits::read(reader)?),
            QUEUE => Self::Queue {
                queue: queue(reader.u16()?)?,
                vector: reader.u16()?,
            },
            THIS_NAMESPACE => {
                let (id, power) = (reader.u32()?, reader.u32()?);
                let power = u8::try_from(power).map_err(|_| Wrong("bytes of a block"))?;
                Self::Namespace(Namespace::new(id, reader.u64()?, power)?)
            }
            DONE => Self::Done,
            REFUSED => Self::Refused(Refusal::read(reader.u32()?)?),
            _ => return Err(Wrong("kind")),
        })
    }
}

impl Limits {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Wrong> {
        let (entries, queues, most) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let (stride, abilities) = (reader.u32()?, reader.u32()?);
        if !ENTRIES.contains(&entries) {
            return Err(Wrong("entries of a queue"));
        }
        if queues == 0 {
            return Err(Wrong("number of queues"));
        }
        if most == 0 || most % PAGE != 0 || most > crate::data::MOST {
            return Err(Wrong("bytes of a command"));
        }
        if abilities & !Abilities::ALL != 0 {
            return Err(Wrong("abilities"));
        }
        let stride = match u8::try_from(stride) {
            Ok(power) if power < 16 => Stride::of(power),
            _ => return Err(Wrong("stride of doorbells")),
        };
        Ok(Self {
            entries,
            queues,
            most,
            stride,
            abilities: Abilities(abilities),
        })
    }
}

/// The number of a pair of I/O queues.
fn queue(number: u16) -> Result<u16, Wrong> {
    match number {
        0 | u16::MAX => Err(Wrong("number of a queue")),
        number => Ok(number),
    }
}

fn flag(number: u16) -> Result<bool, Wrong> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Wrong("flag")),
    }
}
