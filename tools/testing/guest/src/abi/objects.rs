// SPDX-License-Identifier: GPL-2.0
//! Objects of /dev/skiff to call commands on, and what must be as before when they are gone.

use std::fs;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use super::layout;
use super::layout::lent;
use super::layout::Command;
use super::layout::Kind;
use super::raw;
use super::raw::Argument;
use super::raw::PAGE;
use crate::pci::Function;

/// How long a peer may take to let go of what it was told to.
const MOMENT: Duration = Duration::from_secs(2);

/// How long a device may be busy being reset.
const RESET: Duration = Duration::from_secs(10);

/// A command with some fields; the rest is zero.
pub fn call(fd: BorrowedFd<'_>, command: &Command, fields: &[(&str, u64)]) -> Result<Argument> {
    let (argument, result) = attempt(fd, command, fields)?;
    result.with_context(|| format!("{} {fields:x?}", command.name))?;
    Ok(argument)
}

/// The same, whatever the kernel says.
pub fn attempt(
    fd: BorrowedFd<'_>,
    command: &Command,
    fields: &[(&str, u64)],
) -> Result<(Argument, Result<i32, Errno>)> {
    let mut argument = Argument::of(command)?;
    for (name, value) in fields {
        argument.set(command.field(name)?, *value);
    }
    let result = argument.call(fd, command);
    Ok((argument, result))
}

/// A field of the answer of a command without arguments but `fields`.
pub fn ask(
    fd: BorrowedFd<'_>,
    command: &Command,
    fields: &[(&str, u64)],
    name: &str,
) -> Result<u64> {
    Ok(call(fd, command, fields)?.get(command.field(name)?))
}

/// A command that makes a descriptor.
pub fn make(fd: BorrowedFd<'_>, command: &Command, fields: &[(&str, u64)]) -> Result<OwnedFd> {
    let argument = call(fd, command, fields)?;
    raw::adopt(argument.get(command.field("fd")?))
}

/// Makes a segment of `bytes` bytes for everybody.
pub fn create(context: &File, id: u64, bytes: u64) -> Result<OwnedFd> {
    make(
        context.as_fd(),
        &layout::CREATE,
        &[("id", id), ("mode", 0o666), ("bytes", bytes)],
    )
}

/// Prepares a segment for all adapters and makes it available.
pub fn publish(segment: &OwnedFd) -> Result<()> {
    for command in [&layout::PREPARE, &layout::SET_AVAILABLE] {
        call(
            segment.as_fd(),
            command,
            &[("adapter", layout::ADAPTER_ANY)],
        )?;
    }
    Ok(())
}

/// Connects to a segment by any adapter.
pub fn connect(context: &File, node: u64, id: u64) -> Result<OwnedFd> {
    make(
        context.as_fd(),
        &layout::CONNECT,
        &[("node", node), ("adapter", layout::ADAPTER_ANY), ("id", id)],
    )
}

/// One object of each kind and state, of the own node.
#[derive(Debug)]
pub struct Objects {
    /// A context.
    pub context: File,
    /// A segment of two pages that is connected to.
    pub local: OwnedFd,
    /// The connection, by way of the own node.
    pub remote: OwnedFd,
    /// A segment of the same size that is neither prepared nor available.
    pub bare: OwnedFd,
    /// A segment without id.
    pub private: OwnedFd,
    /// The connected segment again, by the number that [`Self::LOCAL_FD`] says.
    _placed: OwnedFd,
    /// A device that this node lends to itself.
    pub lent: Lent,
}

impl Objects {
    /// Id of the connected segment.
    pub const LOCAL: u64 = 7001;
    /// Id of the one that is not available.
    pub const BARE: u64 = 7002;
    /// Bytes of each of them.
    pub const BYTES: usize = 2 * PAGE;
    /// A descriptor of the connected segment.
    pub const LOCAL_FD: u64 = 700;

    /// Makes them; `function` is a function of this node that has a memory BAR and an interrupt.
    pub fn new(function: &str) -> Result<Self> {
        let context = raw::open()?;
        let bytes = Self::BYTES as u64;
        let local = create(&context, Self::LOCAL, bytes)?;
        publish(&local)?;
        let remote = connect(&context, layout::NODE_LOCAL, Self::LOCAL)?;
        let bare = create(&context, Self::BARE, bytes)?;
        let private = make(
            context.as_fd(),
            &layout::CREATE,
            &[
                ("flags", layout::PRIVATE),
                ("mode", 0o666),
                ("bytes", bytes),
            ],
        )?;
        let placed = place(&local, Self::LOCAL_FD)?;
        let lent = Lent::new(&context, function)?;
        Ok(Self {
            context,
            local,
            remote,
            bare,
            private,
            _placed: placed,
            lent,
        })
    }

    /// The object of a kind.
    pub fn of(&self, kind: Kind) -> BorrowedFd<'_> {
        match kind {
            Kind::Context => self.context.as_fd(),
            Kind::Local => self.local.as_fd(),
            Kind::Remote => self.remote.as_fd(),
            Kind::Device => self.lent.borrowed.as_fd(),
        }
    }
}

/// Another descriptor of the same object, with a number that tables can name.
fn place(fd: &OwnedFd, number: u64) -> Result<OwnedFd> {
    let lowest = i32::try_from(number)?;
    // SAFETY: the command takes a number, and makes a descriptor that nobody else knows.
    let made = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    let placed = raw::adopt(u64::try_from(Errno::result(made)?)?)?;
    ensure!(made == lowest, "descriptor {number} is taken");
    Ok(placed)
}

/// A device of this node that is lent, and borrowed by this process.
#[derive(Debug)]
pub struct Lent {
    context: File,
    function: Function,
    /// Bus, device and function in one number.
    pub bdf: u64,
    /// The borrowed device; it has one interrupt vector.
    pub borrowed: OwnedFd,
}

impl Lent {
    /// Its fabric device id: the first one of node 0.
    pub const FDID: u64 = lent::fdid(0, 0);

    /// Binds the driver of skiff, adds the function to the pool, lends and borrows it.
    pub fn new(context: &File, name: &str) -> Result<Self> {
        let function = Function::by_name(name)?;
        let bdf = bdf(name).with_context(|| format!("{name} is no function"))?;
        function.bind(Some("skiff_lend"))?;
        let added = ask(
            context.as_fd(),
            &lent::ADD,
            &[("bdf", bdf), ("mode", 0o666)],
            "fdid",
        )?;
        ensure!(added == Self::FDID, "its fdid is {added:#x}");
        call(
            context.as_fd(),
            &lent::AVAILABLE,
            &[("flags", lent::UNSAFE), ("fdid", added)],
        )?;
        let borrowed = Self::borrow(context, 0)?;
        call(borrowed.as_fd(), &lent::VECTORS, &[("count", 1)])?;
        Ok(Self {
            context: context.try_clone()?,
            function,
            bdf,
            borrowed,
        })
    }

    /// Takes it from all who have borrowed it, this process among them.
    pub fn take(&self) -> Result<()> {
        Self::make_unavailable(&self.context)
    }

    /// The same, also if it is not available; waits until that is over.
    pub fn make_unavailable(context: &File) -> Result<()> {
        let fields = [("flags", lent::FORCE), ("fdid", Self::FDID)];
        let start = Instant::now();
        loop {
            let (_, result) = attempt(context.as_fd(), &lent::UNAVAILABLE, &fields)?;
            let state = ask(context.as_fd(), &lent::QUERY, &[], "state")?;
            if state == 0 {
                return Ok(());
            }
            ensure!(start.elapsed() < RESET, "its state is {state}: {result:?}");
            thread::sleep(MOMENT / 100);
        }
    }

    /// Borrows it once more.
    pub fn borrow(context: &File, flags: u64) -> Result<OwnedFd> {
        let fields = [("flags", flags), ("fdid", Self::FDID)];
        make(context.as_fd(), &lent::BORROW, &fields)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; that the node is as before is looked at afterwards.
        let _ = attempt(
            self.context.as_fd(),
            &lent::UNAVAILABLE,
            &[("flags", lent::FORCE), ("fdid", Self::FDID)],
        );
        let fdid = [("fdid", Self::FDID)];
        let _ = attempt(self.context.as_fd(), &lent::REMOVE, &fdid);
        let _ = self.function.bind(None);
    }
}

/// Bus, device and function of a name such as 0000:03:00.0.
pub fn bdf(name: &str) -> Option<u64> {
    let (_, rest) = name.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some((number(bus)? << 8) | (number(device)? << 3) | number(function)?)
}

/// What a node holds: it must be the same before and after a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    exported_bytes: u64,
    quarantined_bytes: u64,
    slots_pinned: u64,
    connections_in: u64,
    connections_out: u64,
    /// Devices in the pools that this node sees.
    devices: u64,
    /// Who has borrowed them.
    borrowers: u64,
    descriptors: usize,
}

impl Held {
    /// Asks a context.
    pub fn now(context: &File) -> Result<Self> {
        let fd = context.as_fd();
        let adapter = call(fd, &layout::ADAPTER_INFO, &[])?;
        let adapter = |name| Ok::<_, anyhow::Error>(adapter.get(layout::ADAPTER_INFO.field(name)?));
        let (mut connections_in, mut connections_out) = (0, 0);
        let nodes = ask(fd, &layout::INFO, &[], "nodes")?;
        for node in (0..64).filter(|node| nodes & (1 << node) != 0) {
            let node = call(fd, &layout::NODE_INFO, &[("node", node)])?;
            connections_in += node.get(layout::NODE_INFO.field("connections_in")?);
            connections_out += node.get(layout::NODE_INFO.field("connections_out")?);
        }
        let (mut devices, mut borrowers, mut from) = (0, 0, 0);
        loop {
            let (found, result) = attempt(fd, &lent::QUERY, &[("from", from)])?;
            match result {
                Ok(_) => {}
                Err(Errno::ENOENT) => break,
                Err(error) => return Err(error).context("the devices"),
            }
            devices += 1;
            borrowers += found.get(lent::QUERY.field("borrowers")?);
            from = found.get(lent::QUERY.field("fdid")?) + 1;
        }
        Ok(Self {
            exported_bytes: adapter("exported_bytes")?,
            quarantined_bytes: adapter("quarantined_bytes")?,
            slots_pinned: adapter("slots_pinned")?,
            connections_in,
            connections_out,
            devices,
            borrowers,
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
        })
    }

    /// The same without any device.
    pub fn without_devices(self) -> Self {
        Self {
            devices: 0,
            borrowers: 0,
            ..self
        }
    }

    /// Asks again until it is the same: what a peer has to confirm takes a moment.
    pub fn same(&self, context: &File) -> Result<()> {
        self.same_within(context, MOMENT)
    }

    /// The same with another limit.
    pub fn same_within(&self, context: &File, limit: Duration) -> Result<()> {
        let start = Instant::now();
        let mut now = Self::now(context)?;
        while now != *self && start.elapsed() < limit {
            thread::sleep(MOMENT / 100);
            now = Self::now(context)?;
        }
        ensure!(now == *self, "held before: {self:?}; now: {now:?}");
        Ok(())
    }
}
