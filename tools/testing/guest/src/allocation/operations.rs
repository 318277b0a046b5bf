// SPDX-License-Identifier: GPL-2.0
//! The calls whose allocations fail, each with what must be there before it.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use crate::abi::layout;
use crate::abi::layout::lent;
use crate::abi::layout::Command;
use crate::abi::layout::Role;
use crate::abi::objects;
use crate::abi::raw;
use crate::abi::raw::Argument;
use crate::abi::raw::Map;
use crate::abi::raw::Pages;
use crate::abi::raw::Pipe;
use crate::abi::raw::PAGE;

/// Pages of a segment: more than one chunk of anything is small.
const PAGES: usize = 64;
/// Id of the own segment.
const ID: u64 = 7700;
/// Id of the segment that the peer offers (the host's test makes it).
pub const PEER_ID: u64 = 7701;

/// What an operation works on. Everything is closed when it is dropped.
#[derive(Debug)]
pub struct Stage {
    node: u64,
    pub context: File,
    pub local: Option<OwnedFd>,
    pub remote: Option<OwnedFd>,
    pub map: Option<Map>,
    pipe: Pipe,
    memory: Pages,
    argument: Option<Argument>,
    /// A borrowed device.
    pub device: Option<OwnedFd>,
    /// A device of the pool that is taken out of it in the end.
    pub added: Option<u64>,
}

impl Stage {
    /// A context and nothing else; connections go to `node`.
    pub fn new(node: u64) -> Result<Self> {
        let memory = Pages::new(PAGES)?;
        Ok(Self {
            node,
            context: raw::open()?,
            local: None,
            remote: None,
            map: None,
            pipe: Pipe::new()?,
            memory,
            argument: None,
            device: None,
            added: None,
        })
    }

    fn id(&self) -> u64 {
        match self.node {
            layout::NODE_LOCAL => ID,
            _ => PEER_ID,
        }
    }

    pub fn create(&mut self) -> Result<()> {
        self.local = Some(objects::create(&self.context, ID, (PAGES * PAGE) as u64)?);
        Ok(())
    }

    pub fn publish(&mut self) -> Result<()> {
        self.create()?;
        objects::publish(self.local()?)
    }

    /// A segment to connect to, where the peer does not offer one.
    fn offer(&mut self) -> Result<()> {
        match self.node {
            layout::NODE_LOCAL => self.publish(),
            _ => Ok(()),
        }
    }

    fn connect(&mut self) -> Result<()> {
        self.offer()?;
        self.remote = Some(objects::connect(&self.context, self.node, self.id())?);
        Ok(())
    }

    pub fn local(&self) -> Result<&OwnedFd> {
        self.local.as_ref().context("no local segment")
    }

    /// Makes the argument, so that the call itself does nothing but call.
    pub fn argue(&mut self, command: &Command, fields: &[(&str, u64)]) -> Result<()> {
        let mut argument = Argument::of(command)?;
        for (name, value) in fields {
            argument.set(command.field(name)?, *value);
        }
        self.argument = Some(argument);
        Ok(())
    }

    pub fn call(&mut self, command: &Command) -> Result<(), Errno> {
        let fd = match command.kind {
            layout::Kind::Context => self.context.as_fd(),
            layout::Kind::Local => self.local.as_ref().ok_or(Errno::EBADF)?.as_fd(),
            layout::Kind::Remote => self.remote.as_ref().ok_or(Errno::EBADF)?.as_fd(),
            layout::Kind::Device => self.device.as_ref().ok_or(Errno::EBADF)?.as_fd(),
        };
        let argument = self.argument.as_mut().ok_or(Errno::EDOM)?;
        argument.call(fd, command)?;
        if command.number == lent::ADD.number {
            let fdid = lent::ADD.field("fdid").map_err(|_| Errno::EDOM)?;
            self.added = Some(argument.get(fdid));
        }
        let mut fields = command.fields.iter();
        let Some(field) = fields.find(|field| field.role == Role::Descriptor) else {
            return Ok(());
        };
        let made = raw::adopt(argument.get(field)).map_err(|_| Errno::EBADF)?;
        match command.number {
            number if number == layout::CREATE.number => self.local = Some(made),
            number if number == lent::BORROW.number => self.device = Some(made),
            _ => self.remote = Some(made),
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(fdid) = self.added {
            // That the pool is as before is looked at afterwards.
            let fields = [("fdid", fdid)];
            let _ = objects::attempt(self.context.as_fd(), &lent::REMOVE, &fields);
        }
    }
}

/// A call.
pub struct Operation {
    /// Name for the report.
    pub name: &'static str,
    /// Whether it concerns another node.
    pub far: bool,
    /// Whether it cannot do without memory.
    pub allocates: bool,
    /// What must be there before.
    pub prepare: fn(&mut Stage) -> Result<()>,
    /// The call.
    pub call: fn(&mut Stage) -> Result<(), Errno>,
    /// The same once more, after it has failed.
    pub again: fn(&mut Stage) -> Result<()>,
    /// Errors besides ENOMEM and EFAULT.
    pub errors: &'static [Errno],
}

/// An operation that is a command with some fields. What is retried is the call itself.
macro_rules! command {
    ($name:literal, $command:expr, $prepare:expr, $fields:expr) => {
        command!($name, false, $command, $prepare, $fields)
    };
    ($name:literal, $far:literal, $command:expr, $prepare:expr, $fields:expr) => {
        Operation {
            name: $name,
            far: $far,
            allocates: false,
            prepare: |stage| {
                let prepare: fn(&mut Stage) -> Result<()> = $prepare;
                prepare(stage)?;
                let fields: fn(&Stage) -> Vec<(&'static str, u64)> = $fields;
                let fields = fields(stage);
                stage.argue(&$command, &fields)
            },
            call: |stage| stage.call(&$command),
            again: |stage| Ok(stage.call(&$command)?),
            errors: $command.errors,
        }
    };
}

/// The same for what cannot do without memory.
macro_rules! allocating {
    ($($arguments:tt)*) => {
        Operation { allocates: true, ..command!($($arguments)*) }
    };
}

pub fn none(_: &mut Stage) -> Result<()> {
    Ok(())
}

fn kernel_memory(_: &Stage) -> Vec<(&'static str, u64)> {
    vec![
        ("id", ID),
        ("mode", 0o666),
        ("bytes", (PAGES * PAGE) as u64),
    ]
}

fn user_memory(stage: &Stage) -> Vec<(&'static str, u64)> {
    let mut fields = kernel_memory(stage);
    fields.extend([
        ("flags", layout::USER),
        ("user_addr", stage.memory.address()),
    ]);
    fields
}

fn any(_: &Stage) -> Vec<(&'static str, u64)> {
    vec![("adapter", layout::ADAPTER_ANY)]
}

pub fn nothing(_: &Stage) -> Vec<(&'static str, u64)> {
    vec![]
}

fn target(stage: &Stage) -> Vec<(&'static str, u64)> {
    vec![
        ("node", stage.node),
        ("adapter", layout::ADAPTER_ANY),
        ("id", stage.id()),
    ]
}

fn map(stage: &mut Stage, remote: bool) -> Result<(), Errno> {
    let object = if remote { &stage.remote } else { &stage.local };
    let fd = object.as_ref().ok_or(Errno::EBADF)?.as_fd();
    stage.map = Some(Map::shared(fd, PAGES * PAGE, 0)?);
    Ok(())
}

/// A load from each end of the map: the faults insert pages.
fn touch(stage: &mut Stage) -> Result<(), Errno> {
    let map = stage.map.as_ref().ok_or(Errno::EDOM)?;
    map.load(&stage.pipe, 0)?;
    map.load(&stage.pipe, (PAGES - 1) * PAGE)?;
    Ok(())
}

pub(super) use allocating;
pub(super) use command;

/// Every operation.
pub const ALL: &[Operation] = &[
    Operation {
        name: "open",
        far: false,
        allocates: true,
        prepare: none,
        call: |stage| {
            let path = c"/dev/skiff";
            // SAFETY: The path is a string that ends with a zero.
            let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
            let fd = Errno::result(fd)?;
            let fd = u64::try_from(fd).map_err(|_| Errno::EBADF)?;
            stage.context = raw::adopt(fd).map_err(|_| Errno::EBADF)?.into();
            Ok(())
        },
        again: |stage| {
            stage.context = raw::open()?;
            Ok(())
        },
        errors: &[],
    },
    command!("INFO", layout::INFO, none, nothing),
    command!("ADAPTER_INFO", layout::ADAPTER_INFO, none, nothing),
    command!("NODE_INFO", layout::NODE_INFO, none, |_| vec![(
        "node",
        layout::NODE_LOCAL
    )]),
    allocating!("SEGMENT_CREATE", layout::CREATE, none, kernel_memory),
    allocating!(
        "SEGMENT_CREATE of user memory",
        layout::CREATE,
        none,
        user_memory
    ),
    command!("SEGMENT_PREPARE", layout::PREPARE, Stage::create, any),
    command!(
        "SEGMENT_PREPARE of user memory",
        layout::PREPARE,
        |stage| {
            let fields = user_memory(stage);
            stage.local = Some(objects::make(
                stage.context.as_fd(),
                &layout::CREATE,
                &fields,
            )?);
            Ok(())
        },
        any
    ),
    command!(
        "SEGMENT_SET_AVAILABLE",
        layout::SET_AVAILABLE,
        |stage| {
            stage.create()?;
            let fd = stage.local()?.as_fd();
            objects::call(fd, &layout::PREPARE, &any(stage)).map(drop)
        },
        any
    ),
    command!(
        "SEGMENT_SET_UNAVAILABLE of a connected one",
        layout::SET_UNAVAILABLE,
        Stage::connect,
        any
    ),
    command!(
        "SEGMENT_INFO",
        layout::SEGMENT_INFO,
        Stage::publish,
        nothing
    ),
    allocating!(
        "SEGMENT_CONNECT to the own node",
        layout::CONNECT,
        Stage::offer,
        target
    ),
    allocating!(
        "SEGMENT_CONNECT to a peer",
        true,
        layout::CONNECT,
        Stage::offer,
        target
    ),
    command!(
        "SEGMENT_QUERY of the own node",
        layout::QUERY,
        Stage::offer,
        target
    ),
    command!(
        "SEGMENT_QUERY of a peer",
        true,
        layout::QUERY,
        Stage::offer,
        target
    ),
    command!("SEGMENT_REVOKE", layout::REVOKE, Stage::connect, |_| vec![
        ("node", layout::NODE_LOCAL)
    ]),
    command!(
        "SEGMENT_REMOVE of a connected one",
        layout::REMOVE,
        Stage::connect,
        |_| vec![("flags", layout::FORCE)]
    ),
    command!("REMOTE_INFO", layout::REMOTE_INFO, Stage::connect, nothing),
    command!(
        "REMOTE_DISCONNECT from a peer",
        true,
        layout::DISCONNECT,
        Stage::connect,
        nothing
    ),
    Operation {
        name: "mmap of a local segment",
        far: false,
        allocates: true,
        prepare: Stage::create,
        call: |stage| map(stage, false),
        again: |stage| Ok(map(stage, false)?),
        errors: &[],
    },
    Operation {
        name: "mmap of a peer's segment",
        far: true,
        allocates: true,
        prepare: Stage::connect,
        call: |stage| map(stage, true),
        again: |stage| Ok(map(stage, true)?),
        errors: &[Errno::ENOSPC],
    },
    Operation {
        name: "page faults in a local segment",
        far: false,
        allocates: true,
        prepare: |stage| {
            stage.create()?;
            Ok(map(stage, false)?)
        },
        call: touch,
        again: |stage| Ok(touch(stage)?),
        errors: &[],
    },
    Operation {
        name: "page faults in a peer's segment",
        far: true,
        allocates: true,
        prepare: |stage| {
            stage.connect()?;
            Ok(map(stage, true)?)
        },
        call: touch,
        again: |stage| Ok(touch(stage)?),
        errors: &[],
    },
    Operation {
        name: "munmap and close of a peer's segment",
        far: true,
        allocates: false,
        prepare: |stage| {
            stage.connect()?;
            map(stage, true)?;
            Ok(touch(stage)?)
        },
        call: |stage| {
            stage.map = None;
            stage.remote = None;
            Ok(())
        },
        again: none,
        errors: &[],
    },
    Operation {
        name: "close of a segment that is connected",
        far: false,
        allocates: false,
        prepare: |stage| {
            stage.connect()?;
            map(stage, true)?;
            Ok(touch(stage)?)
        },
        call: |stage| {
            stage.local = None;
            Ok(())
        },
        again: none,
        errors: &[],
    },
    Operation {
        name: "poll and read of events",
        far: false,
        allocates: false,
        prepare: Stage::connect,
        call: |stage| {
            let fd = stage.local.as_ref().ok_or(Errno::EBADF)?.as_raw_fd();
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: One structure, as is said.
            Errno::result(unsafe { libc::poll(&mut poll, 1, 0) })?;
            let mut event = [0_u8; layout::EVENT_BYTES];
            // SAFETY: The buffer is as long as is said.
            let done = unsafe { libc::read(fd, event.as_mut_ptr().cast(), event.len()) };
            Errno::result(done).map(drop)
        },
        again: |stage| {
            let fd = stage.local()?.as_raw_fd();
            let mut event = [0_u8; layout::EVENT_BYTES];
            // SAFETY: The buffer is as long as is said.
            let done = unsafe { libc::read(fd, event.as_mut_ptr().cast(), event.len()) };
            Ok(Errno::result(done).map(drop)?)
        },
        errors: &[],
    },
];
