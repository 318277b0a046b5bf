// SPDX-License-Identifier: GPL-2.0
//! Steps of lenders and borrowers: the pool, and what borrowed devices are asked for.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Result;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use nix::errno::Errno;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::eventfd::EfdFlags;
use nix::sys::eventfd::EventFd;
use serde_json::json;
use serde_json::Value;
use skiff::BorrowOptions;
use skiff::Containment;
use skiff::DeviceInfo;
use skiff::DeviceMemory;
use skiff::Filter;
use skiff::Hints;
use skiff::LendOptions;
use skiff::Mastering;
use skiff::PciAddress;
use skiff::Protection;
use skiff::Share;
use skiff::Width;
use skiff::Withdrawal;

use super::objects::errno;
use super::objects::Object;
use super::objects::Objects;
use crate::number;

/// Bytes of a configuration space.
const CONFIG: u32 = 4096;

/// What devices are looked for.
#[derive(Debug, Args)]
pub struct Wanted {
    #[arg(long)]
    node: Option<u32>,
    /// Class code and which of its bits count.
    #[arg(long, num_args = 2, value_parser = number)]
    class: Vec<u64>,
    #[arg(long, value_parser = number)]
    vendor: Option<u64>,
    #[arg(long, value_parser = number)]
    device: Option<u64>,
    #[arg(long)]
    function: Option<PciAddress>,
    /// Only those that can be borrowed and are not.
    #[arg(long)]
    available: bool,
}

/// Segments of a device.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// A BAR.
    Bar,
    /// Memory of this borrow.
    Private,
    /// Memory of all borrowers.
    Shared,
}

/// Who reads and writes memory of a device.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Hint {
    /// The device.
    DeviceReads,
    /// The device.
    DeviceWrites,
    /// CPUs of the borrower.
    HostReads,
    /// CPUs of the borrower.
    HostWrites,
    /// CPUs of several nodes.
    ManyHosts,
    /// Other devices.
    OtherDevices,
}

/// On or off.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// What an actor does with devices.
#[derive(Debug, Subcommand)]
pub enum Step {
    /// Add a function of this node to the pool; tells its fdid.
    LendAdd {
        function: PciAddress,
        /// Who may borrow it, octal.
        #[arg(long, default_value = "600")]
        mode: String,
        /// Nodes that may.
        #[arg(long)]
        node: Vec<u32>,
    },
    /// Let others borrow it.
    LendAvailable {
        fdid: u32,
        #[arg(long)]
        waive: bool,
    },
    /// Ask for that, which must fail; tells why the device cannot be lent.
    LendRefusal {
        fdid: u32,
        #[arg(long)]
        waive: bool,
    },
    /// Let nobody borrow it.
    LendUnavailable {
        fdid: u32,
        #[arg(long)]
        force: bool,
    },
    /// Take it out of the pool.
    LendRemove {
        fdid: u32,
        #[arg(long)]
        force: bool,
    },
    /// Let a node see the pool.
    LendConnect { node: u32 },
    /// Let it see the pool no more.
    LendDisconnect { node: u32 },
    /// Tell of the devices that this node sees.
    Devices(Wanted),
    /// Borrow a device.
    Borrow {
        name: String,
        fdid: u32,
        #[arg(long)]
        exclusive: bool,
        #[arg(long, default_value_t = 5000)]
        timeout: u64,
    },
    /// Give it back.
    Return { device: String },
    /// Let others borrow it as well.
    ReleaseExclusive { device: String },
    /// Reset it.
    DeviceReset { device: String },
    /// Let it read and write memory, or not.
    BusMaster { device: String, state: Switch },
    /// Tell of a borrowed device.
    DeviceInfo { device: String },
    /// Make memory of a device.
    DeviceCreate {
        device: String,
        kind: Kind,
        id: u32,
        #[arg(value_parser = number)]
        bytes: u64,
        /// Who reads and writes it.
        #[arg(long, value_enum, value_delimiter = ',')]
        hints: Vec<Hint>,
    },
    /// Connect to a segment of a device; tells its length.
    DeviceConnect {
        name: String,
        device: String,
        kind: Kind,
        id: u32,
    },
    /// Map a segment for a device; tells the address.
    DeviceMap {
        name: String,
        device: String,
        object: String,
        #[arg(long, default_value_t = 0, value_parser = number)]
        offset: u64,
        /// Without it all that follows the offset.
        #[arg(long, value_parser = number)]
        bytes: Option<u64>,
    },
    /// Take that away.
    DeviceUnmap { device: String, name: String },
    /// Read the configuration space.
    ConfigRead {
        device: String,
        #[arg(value_parser = number)]
        offset: u64,
        width: u32,
    },
    /// Write it.
    ConfigWrite {
        device: String,
        #[arg(value_parser = number)]
        offset: u64,
        width: u32,
        #[arg(value_parser = number)]
        value: u64,
    },
    /// Read so much of the configuration space; tells its words.
    ConfigDump {
        device: String,
        #[arg(value_parser = number)]
        bytes: u64,
    },
    /// Write each of its first bytes as it is; tells which could be written. All others are EPERM.
    ConfigSweep {
        device: String,
        #[arg(value_parser = number)]
        bytes: u64,
    },
    /// Ask for interrupt vectors; tells how many there are.
    Vectors { device: String, count: u32 },
    /// Have an eventfd signalled by a vector.
    Vector {
        name: String,
        device: String,
        index: u32,
    },
    /// Wait for that; tells how often it was since it was asked last.
    Signalled {
        name: String,
        #[arg(long, default_value_t = 5000)]
        timeout: u16,
    },
    /// Load a word of a map.
    Peek {
        map: String,
        #[arg(value_parser = number)]
        offset: u64,
    },
    /// Store a word in a map.
    Poke {
        map: String,
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(value_parser = number)]
        value: u64,
        /// Eight bytes instead of four.
        #[arg(long)]
        long: bool,
    },
}

fn protection(waive: bool) -> Protection {
    if waive {
        Protection::Waived
    } else {
        Protection::Required
    }
}

fn withdrawal(force: bool) -> Withdrawal {
    if force {
        Withdrawal::Force
    } else {
        Withdrawal::IfIdle
    }
}

fn width(bytes: u32) -> Result<Width> {
    Ok(match bytes {
        1 => Width::One,
        2 => Width::Two,
        4 => Width::Four,
        other => bail!("{other} bytes are no width"),
    })
}

fn described(info: &DeviceInfo) -> Value {
    json!({
        "fdid": info.fdid.raw(),
        "node": info.node,
        "state": format!("{:?}", info.state),
        "contained": info.containment == Containment::Contained,
        "function": info.function.to_string(),
        "class": info.class,
        "vendor": info.vendor,
        "device": info.device,
        "bars": info.bars,
        "vectors": info.vectors,
        "borrowers": info.borrowers,
    })
}

impl Hint {
    fn add(hints: Hints, hint: Self) -> Hints {
        match hint {
            Self::DeviceReads => hints.device_reads(),
            Self::DeviceWrites => hints.device_writes(),
            Self::HostReads => hints.host_reads(),
            Self::HostWrites => hints.host_writes(),
            Self::ManyHosts => hints.many_hosts(),
            Self::OtherDevices => hints.other_devices(),
        }
    }
}

impl Kind {
    fn memory(self) -> Result<DeviceMemory> {
        match self {
            Self::Private => Ok(DeviceMemory::Private),
            Self::Shared => Ok(DeviceMemory::Shared),
            Self::Bar => bail!("a BAR is no memory"),
        }
    }
}

impl Wanted {
    fn filter(&self) -> Result<Filter> {
        let mut filter = Filter::new();
        if let Some(node) = self.node {
            filter = filter.node(node);
        }
        if let [class, mask] = self.class[..] {
            filter = filter.class(u32::try_from(class)?, u32::try_from(mask)?);
        }
        if let Some(vendor) = self.vendor {
            filter = filter.vendor(u16::try_from(vendor)?);
        }
        if let Some(device) = self.device {
            filter = filter.device(u16::try_from(device)?);
        }
        if let Some(function) = self.function {
            filter = filter.function(function);
        }
        if self.available {
            filter = filter.state(skiff::DeviceState::Available);
        }
        Ok(filter)
    }
}

impl Step {
    /// Does it.
    pub fn run(self, objects: &Objects) -> Result<Value> {
        let context = &objects.context;
        match self {
            Self::LendAdd {
                function,
                mode,
                node,
            } => {
                let mode = u32::from_str_radix(&mode, 8)?;
                let options = LendOptions::new().mode(mode).nodes(&node);
                return Ok(json!(context.lend_add(function, &options)?.raw()));
            }
            Self::LendAvailable { fdid, waive } => {
                context.lend_available(fdid, protection(waive))?;
            }
            Self::LendRefusal { fdid, waive } => {
                return match context.lend_available(fdid, protection(waive)) {
                    Ok(()) => bail!("it can be lent"),
                    Err(error) => match error.refusal() {
                        Some(refusal) => Ok(json!(format!("{refusal:?}"))),
                        None => Err(error.into()),
                    },
                };
            }
            Self::LendUnavailable { fdid, force } => {
                context.lend_unavailable(fdid, withdrawal(force))?;
            }
            Self::LendRemove { fdid, force } => context.lend_remove(fdid, withdrawal(force))?,
            Self::LendConnect { node } => context.lend_connect(node)?,
            Self::LendDisconnect { node } => context.lend_disconnect(node)?,
            Self::Devices(wanted) => {
                let found = context.devices(&wanted.filter()?)?;
                return Ok(found.iter().map(described).collect());
            }
            Self::Borrow {
                name,
                fdid,
                exclusive,
                timeout,
            } => {
                let mut options = BorrowOptions::new().timeout(Duration::from_millis(timeout));
                if exclusive {
                    options = options.exclusive();
                }
                let device = context.borrow(fdid, &options)?;
                return objects.put(&name, Object::Borrowed(Arc::new(device)));
            }
            Self::Return { device } => objects.borrowed(&device)?.give_back()?,
            Self::ReleaseExclusive { device } => objects.borrowed(&device)?.release_exclusive()?,
            Self::DeviceReset { device } => objects.borrowed(&device)?.reset()?,
            Self::BusMaster { device, state } => {
                objects.borrowed(&device)?.bus_master(match state {
                    Switch::On => Mastering::On,
                    Switch::Off => Mastering::Off,
                })?;
            }
            Self::DeviceInfo { device } => {
                let info = objects.borrowed(&device)?.info()?;
                return Ok(json!({
                    "exclusive": info.share == Share::Exclusive,
                    "maps": info.maps,
                    "vectors": info.vectors,
                    "device": described(&info.device),
                }));
            }
            Self::DeviceCreate {
                device,
                kind,
                id,
                bytes,
                hints,
            } => {
                let device = objects.borrowed(&device)?;
                let hints = hints.into_iter().fold(Hints::new(), Hint::add);
                device.create_segment(kind.memory()?, id, bytes, hints)?;
            }
            Self::DeviceConnect {
                name,
                device,
                kind,
                id,
            } => {
                let device = objects.borrowed(&device)?;
                let segment = match kind {
                    Kind::Bar => device.connect_bar(id)?,
                    Kind::Private | Kind::Shared => device.connect_segment(kind.memory()?, id)?,
                };
                let bytes = segment.bytes();
                objects.put(&name, Object::Remote(Arc::new(segment)))?;
                return Ok(json!(bytes));
            }
            Self::DeviceMap {
                name,
                device,
                object,
                offset,
                bytes,
            } => {
                let device = objects.borrowed(&device)?;
                let segment = objects.segment(&object)?;
                let mapped = match bytes {
                    Some(bytes) => device.map(&segment, offset..offset + bytes)?,
                    None => device.map(&segment, offset..)?,
                };
                objects.put(&name, Object::DeviceMap(mapped))?;
                return Ok(json!(mapped.address()));
            }
            Self::DeviceUnmap { device, name } => {
                let device = objects.borrowed(&device)?;
                device.unmap(objects.device_map(&name)?)?;
            }
            Self::ConfigRead {
                device,
                offset,
                width: bytes,
            } => {
                let device = objects.borrowed(&device)?;
                let value = device.config_read(u32::try_from(offset)?, width(bytes)?)?;
                return Ok(json!(value));
            }
            Self::ConfigWrite {
                device,
                offset,
                width: bytes,
                value,
            } => {
                let device = objects.borrowed(&device)?;
                let (offset, value) = (u32::try_from(offset)?, u32::try_from(value)?);
                device.config_write(offset, width(bytes)?, value)?;
            }
            Self::ConfigDump { device, bytes } => return config_dump(objects, &device, bytes),
            Self::ConfigSweep { device, bytes } => return config_sweep(objects, &device, bytes),
            Self::Vectors { device, count } => {
                return Ok(json!(objects.borrowed(&device)?.vectors(count)?));
            }
            Self::Vector {
                name,
                device,
                index,
            } => {
                let device = objects.borrowed(&device)?;
                let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
                let eventfd = EventFd::from_value_and_flags(0, flags)?;
                device.vector(index, Some(eventfd.as_fd()))?;
                return objects.put(&name, Object::Eventfd(Arc::new(eventfd)));
            }
            Self::Signalled { name, timeout } => {
                let eventfd = objects.eventfd(&name)?;
                let mut fds = [PollFd::new(eventfd.as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut fds, PollTimeout::from(timeout))?;
                return Ok(json!(if ready == 0 { 0 } else { eventfd.read()? }));
            }
            Self::Peek { map, offset } => {
                let map = objects.map_of(&map)?;
                return Ok(json!(map.load_u32(usize::try_from(offset)?)?));
            }
            Self::Poke {
                map,
                offset,
                value,
                long,
            } => {
                let (map, offset) = (objects.map_of(&map)?, usize::try_from(offset)?);
                match long {
                    true => map.store_u64(offset, value)?,
                    false => map.store_u32(offset, u32::try_from(value)?)?,
                }
                map.flush();
            }
        }
        Ok(Value::Null)
    }
}

fn config_dump(objects: &Objects, device: &str, bytes: u64) -> Result<Value> {
    let bytes = u32::try_from(bytes)?;
    ensure!(bytes <= CONFIG && bytes % 4 == 0, "{bytes} bytes");
    let device = objects.borrowed(device)?;
    let words: Result<Vec<u32>, _> = (0..bytes)
        .step_by(4)
        .map(|offset| device.config_read(offset, Width::Four))
        .collect();
    Ok(json!(words?))
}

fn config_sweep(objects: &Objects, device: &str, bytes: u64) -> Result<Value> {
    let device = objects.borrowed(device)?;
    let mut writable = Vec::new();
    for offset in 0..u32::try_from(bytes)? {
        let now = device.config_read(offset, Width::One)?;
        match device.config_write(offset, Width::One, now) {
            Ok(()) => writable.push(offset),
            Err(error) if errno(&error) == Errno::EPERM => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(json!(writable))
}
