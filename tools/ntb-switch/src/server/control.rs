// SPDX-License-Identifier: GPL-2.0
//! The control socket's server side: carries out the requests of [`crate::control`], one thread a client.
//!
//! Requests take the switch's lock for as long as one register access or one chunk of memory takes.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use skiff_vfio_user::{Client, DmaError};

use super::fabric::Fabric;
use super::stale::Stale;
use super::state::State;
use crate::control::{
    LinkState, MessageFaultKind, PortStatus, Request, Response, SpacePiece, Status, ViewPiece,
    MAX_TRANSFER,
};
use crate::counters::Counters;
use crate::model::{Bar, Layout, Link, MessageFault, Port, Windows};
use crate::space::Access;

/// Longest request: a `memory-write` in hexadecimal and what is around it, in bytes.
const MAX_LINE: u64 = 2 * MAX_TRANSFER + 4096;
/// How much of a node's memory is copied at a time under the lock, in bytes.
const CHUNK: usize = 64 << 10;

/// Serves one client until it closes its end.
pub(super) fn serve(fabric: &Fabric, stream: UnixStream) -> io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut requests = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        if (&mut requests)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let response = match serde_json::from_slice(&line) {
            Ok(request) if whole => answer(fabric, &request),
            Ok(_) => Response::Error("the request does not end".into()),
            Err(error) => Response::Error(format!("not a request: {error}")),
        };
        let mut text = serde_json::to_string(&response)?;
        text.push('\n');
        answers.write_all(text.as_bytes())?;
        if !whole {
            // What follows is the rest of a request that is too long.
            return Ok(());
        }
    }
}

fn answer(fabric: &Fabric, request: &Request) -> Response {
    match carry_out(fabric, request) {
        Ok(value) => Response::Ok(value),
        Err(why) => Response::Error(why),
    }
}

fn carry_out(fabric: &Fabric, request: &Request) -> Result<Value, String> {
    let port = |number: u8| find_port(&fabric.lock(), number);
    match *request {
        Request::Status => to_json(&status(fabric)),
        Request::Counters { port: None } => {
            let ports = fabric.lock().switch.ports();
            to_json(&counters(fabric, &ports))
        }
        Request::Counters { port: Some(number) } => to_json(&counters(fabric, &[port(number)?])),
        Request::CountersReset => {
            fabric.ask_dead_accesses();
            let mut state = fabric.lock();
            state.switch.reset_counts();
            state
                .counters
                .iter()
                .for_each(crate::counters::PortCounters::reset);
            Ok(Value::Null)
        }
        Request::Link {
            port: number,
            state,
        } => {
            let link = match state {
                LinkState::Up => Link::Up,
                LinkState::Down => Link::Down,
            };
            fabric.set_link(port(number)?, link);
            Ok(Value::Null)
        }
        Request::Unplug { port: number } => {
            fabric.unplug(port(number)?);
            Ok(Value::Null)
        }
        Request::Plug { port: number } => {
            fabric.plug(port(number)?);
            Ok(Value::Null)
        }
        Request::Poison {
            port: number,
            bar,
            slot,
            on,
        } => {
            let mut state = fabric.lock();
            let port = find_port(&state, number)?;
            let effects = state
                .switch
                .poison(port, find_window(bar)?, slot, on)
                .map_err(|e| e.to_string())?;
            fabric.settle(&mut state, effects, Stale::window(port));
            Ok(Value::Null)
        }
        Request::MessageFault {
            from,
            to,
            fault,
            count,
        } => {
            let fault = match fault {
                MessageFaultKind::None => None,
                MessageFaultKind::Lose => Some(MessageFault::Lose),
                MessageFaultKind::DelayMs(ms) => {
                    Some(MessageFault::Delay(Duration::from_millis(ms)))
                }
            };
            let mut state = fabric.lock();
            let (from, to) = (find_port(&state, from)?, find_port(&state, to)?);
            state
                .switch
                .message_fault(from, to, fault, count)
                .map_err(|e| e.to_string())?;
            Ok(Value::Null)
        }
        Request::MemoryRead {
            port: number,
            addr,
            len,
        } => {
            let mut data = buffer(len)?;
            read_memory(fabric, port(number)?, addr, &mut data)?;
            Ok(json!(hex::encode(data)))
        }
        Request::MemoryWrite {
            port: number,
            addr,
            ref data,
        } => {
            let data = hex::decode(data).map_err(|e| e.to_string())?;
            write_memory(fabric, port(number)?, addr, &data)?;
            Ok(Value::Null)
        }
        Request::MemoryDigest {
            port: number,
            addr,
            len,
        } => {
            let port = port(number)?;
            let end = addr.checked_add(len).ok_or("the range wraps")?;
            let mut digest = Sha256::new();
            let mut chunk = vec![0; CHUNK];
            let mut at = addr;
            while at < end {
                let part = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
                read_memory(fabric, port, at, &mut chunk[..part])?;
                digest.update(&chunk[..part]);
                at += part as u64;
            }
            Ok(json!(hex::encode(digest.finalize())))
        }
        Request::RegisterRead {
            port: number,
            offset,
        } => {
            let state = fabric.lock();
            let port = find_port(&state, number)?;
            Ok(json!(state.switch.register_read(port, register(offset)?)))
        }
        Request::RegisterWrite {
            port: number,
            offset,
            value,
        } => {
            let mut state = fabric.lock();
            let port = find_port(&state, number)?;
            let effects = state.switch.register_write(port, register(offset)?, value);
            fabric.settle(&mut state, effects, Stale::default());
            Ok(Value::Null)
        }
        Request::Space { port: number } => {
            let state = fabric.lock();
            let port = find_port(&state, number)?;
            to_json(&space(&state, port))
        }
        Request::View { port: number, bar } => {
            let state = fabric.lock();
            let port = find_port(&state, number)?;
            to_json(&view(&state, port, find_window(bar)?))
        }
        Request::Shutdown => {
            fabric.ask_to_stop();
            Ok(Value::Null)
        }
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|e| e.to_string())
}

fn find_port(state: &State, number: u8) -> Result<Port, String> {
    Port::new(number)
        .filter(|port| port.index() < state.ports.len())
        .ok_or_else(|| format!("the switch has no port {number}"))
}

fn find_window(number: u8) -> Result<Bar, String> {
    Bar::from_number(number.into())
        .filter(|bar| Bar::WINDOWS.contains(bar))
        .ok_or_else(|| format!("BAR{number} is no window"))
}

fn register(offset: u32) -> Result<u32, String> {
    if offset % 4 == 0 {
        Ok(offset)
    } else {
        Err(format!("{offset:#x} is not the offset of a register"))
    }
}

fn buffer(len: u64) -> Result<Vec<u8>, String> {
    match usize::try_from(len) {
        Ok(size) if len <= MAX_TRANSFER => Ok(vec![0; size]),
        _ => Err(format!("more than {MAX_TRANSFER} bytes at once")),
    }
}

fn status(fabric: &Fabric) -> Status {
    let state = fabric.lock();
    let ports = state
        .ports
        .iter()
        .filter_map(|slot| {
            let config = state.switch.config(slot.port)?;
            let model = state.switch.status(slot.port);
            Some(PortStatus {
                port: u8::try_from(slot.port.index()).ok()?,
                attached: slot.connection.is_some(),
                plugged: slot.plugged,
                pid: slot
                    .connection
                    .as_ref()
                    .and_then(|connection| connection.process),
                link: if model.link_up {
                    LinkState::Up
                } else {
                    LinkState::Down
                },
                layout: match config.layout {
                    Layout::Chip => "chip",
                    Layout::Companion => "companion",
                }
                .into(),
                windows: match config.windows {
                    Windows::Lut12 => "lut12",
                    Windows::Lut24Direct => "lut24-direct",
                }
                .into(),
                window: state.window_state(slot.port),
                aperture: config.memory_aperture,
                device_aperture: config.device_aperture,
                stalled: slot
                    .connection
                    .as_ref()
                    .is_some_and(|connection| connection.client.is_stalled()),
                attachments: slot.attachments,
            })
        })
        .collect();
    Status {
        pid: std::process::id(),
        ports,
    }
}

fn counters(fabric: &Fabric, ports: &[Port]) -> BTreeMap<usize, Counters> {
    fabric.ask_dead_accesses();
    let state = fabric.lock();
    ports
        .iter()
        .map(|port| {
            let model = state.switch.counts(*port);
            (port.index(), fabric.counters[port.index()].snapshot(&model))
        })
        .collect()
}

fn space(state: &State, port: Port) -> Vec<SpacePiece> {
    state.ports[port.index()]
        .space
        .mapped()
        .filter_map(|extent| {
            extent.backing.map(|backing| SpacePiece {
                addr: extent.addr,
                len: extent.len,
                file: backing.file.0.into(),
                file_offset: backing.offset,
            })
        })
        .collect()
}

fn view(state: &State, port: Port, bar: Bar) -> Vec<ViewPiece> {
    state
        .view(port, bar)
        .pieces()
        .iter()
        .filter_map(|piece| {
            piece.shown.map(|shown| ViewPiece {
                offset: piece.offset,
                len: piece.len,
                file: shown.file.0.into(),
                file_offset: shown.offset,
            })
        })
        .collect()
}

/// Where a piece of a node's memory is, as far as this request is concerned.
enum Place {
    /// It has been copied under the lock.
    Copied,
    /// The node has to be asked.
    Ask(Client),
}

/// One step of a transfer: how many of `len` bytes at `addr`, copied by `copy` from file and offset if they are memory.
fn step(
    fabric: &Fabric,
    port: Port,
    addr: u64,
    len: usize,
    copy: impl FnOnce(
        &super::memory::RamFile,
        u64,
        usize,
        Access,
    ) -> Option<Result<(), super::memory::Truncated>>,
) -> Result<(usize, Place), String> {
    let state = fabric.lock();
    let slot = &state.ports[port.index()];
    let connection = slot
        .connection
        .as_ref()
        .ok_or_else(|| format!("no node at port {port}"))?;
    let extent = slot.space.lookup(addr);
    let len = usize::try_from(extent.len)
        .map_or(len, |reach| len.min(reach))
        .min(CHUNK);
    let file = extent
        .backing
        .and_then(|backing| Some((state.files.get(backing.file)?, backing)));
    let copied = file.and_then(|(file, backing)| copy(file, backing.offset, len, backing.access));
    match copied {
        Some(Ok(())) => Ok((len, Place::Copied)),
        Some(Err(_)) => Err(format!("the file behind {addr:#x} is too short")),
        None => Ok((len, Place::Ask(connection.client.clone()))),
    }
}

fn refused(addr: u64, error: DmaError) -> String {
    format!("{addr:#x}: {error}")
}

fn read_memory(fabric: &Fabric, port: Port, addr: u64, data: &mut [u8]) -> Result<(), String> {
    let mut rest = data;
    let mut addr = addr;
    while !rest.is_empty() {
        let (len, place) = step(fabric, port, addr, rest.len(), |file, offset, len, _| {
            Some(file.read(offset, &mut rest[..len]))
        })?;
        let (part, more) = rest.split_at_mut(len);
        if let Place::Ask(client) = place {
            client
                .dma_read(addr, part, fabric.limits.read)
                .map_err(|e| refused(addr, e))?;
        }
        rest = more;
        addr = addr.wrapping_add(len as u64);
    }
    Ok(())
}

fn write_memory(fabric: &Fabric, port: Port, addr: u64, data: &[u8]) -> Result<(), String> {
    let mut rest = data;
    let mut addr = addr;
    while !rest.is_empty() {
        let (len, place) = step(
            fabric,
            port,
            addr,
            rest.len(),
            |file, offset, len, access| {
                (access == Access::ReadWrite).then(|| file.write(offset, &rest[..len]))
            },
        )?;
        let (part, more) = rest.split_at(len);
        if let Place::Ask(client) = place {
            client
                .dma_write(addr, part, fabric.limits.read)
                .map_err(|e| refused(addr, e))?;
        }
        rest = more;
        addr = addr.wrapping_add(len as u64);
    }
    Ok(())
}
