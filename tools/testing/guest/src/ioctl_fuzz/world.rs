// SPDX-License-Identifier: GPL-2.0
//! The objects and maps that the threads share, and the steps that they do with them.
//!
//! A thread takes a counted reference out of a list and calls without holding the list's lock: so any two calls meet on
//! an object, and a descriptor is never closed under a call that uses it.

mod maps;

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;
use nix::sys::eventfd::EfdFlags;
use nix::sys::eventfd::EventFd;

use self::maps::Shown;
use super::tally::Tally;
use super::values;
use super::values::Surroundings;
use crate::abi::layout;
use crate::abi::layout::lent;
use crate::abi::layout::Command;
use crate::abi::layout::Kind;
use crate::abi::objects;
use crate::abi::raw;
use crate::abi::raw::Pages;
use crate::abi::raw::Pipe;
use crate::random::Random;

/// Most objects at a time.
const OBJECTS: usize = 48;
/// Pages that segments of user memory are made of.
const MEMORY: usize = 16;
/// Most mappings for devices that are remembered.
const MAPPINGS: usize = 16;

/// An object, or another file.
#[derive(Debug)]
struct Object {
    fd: OwnedFd,
    kind: Option<Kind>,
    /// It is a BAR.
    registers: bool,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    objects: Mutex<Vec<Arc<Object>>>,
    maps: Mutex<Vec<Arc<Shown>>>,
    pipe: Mutex<Pipe>,
    memory: Pages,
    nodes: u64,
    /// What can be lent.
    function: u64,
    eventfd: EventFd,
    /// What devices were told to reach, the last ones.
    mappings: Mutex<VecDeque<u64>>,
}

// SAFETY: The address of the memory is only given to the kernel; nobody accesses it.
unsafe impl Sync for World {}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a descriptor.
fn number(fd: &impl AsRawFd) -> u64 {
    // CAST: It is not negative.
    fd.as_raw_fd() as u64
}

impl World {
    /// A context, and a file of another kind.
    pub fn new(context: &File, function: u64) -> Result<Self> {
        let object = |file: File, kind| {
            Arc::new(Object {
                fd: file.into(),
                kind,
                registers: false,
            })
        };
        let first = vec![
            object(context.try_clone()?, Some(Kind::Context)),
            object(File::open("/dev/null")?, None),
        ];
        Ok(Self {
            objects: Mutex::new(first),
            maps: Mutex::default(),
            pipe: Mutex::new(Pipe::new()?),
            memory: Pages::new(MEMORY)?,
            nodes: objects::ask(context.as_fd(), &layout::INFO, &[], "nodes")?,
            function,
            eventfd: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            mappings: Mutex::default(),
        })
    }

    /// One call of a random kind.
    pub fn step(&self, random: &mut Random, tally: &Tally) -> Result<()> {
        match random.below(100) {
            0..=66 => self.command(random, tally),
            67..=75 => self.map(random, tally),
            76..=86 => self.access(random, tally),
            87..=90 => self.read(random, tally),
            91..=92 => self.poll(random, tally),
            93..=96 => {
                self.unmap(random);
                Ok(())
            }
            97 => self.change_map(random, tally),
            _ => {
                self.close(random);
                Ok(())
            }
        }
    }

    /// An object of a kind if there is one, but not always.
    fn object(&self, random: &mut Random, kind: Kind) -> Arc<Object> {
        let objects = locked(&self.objects);
        let right: Vec<&Arc<Object>> = objects
            .iter()
            .filter(|object| object.kind == Some(kind))
            .collect();
        if right.is_empty() || random.percent(3) {
            return Arc::clone(&objects[random.index(objects.len())]);
        }
        Arc::clone(right[random.index(right.len())])
    }

    /// Whether there is an object of a kind.
    fn has(&self, kind: Kind) -> bool {
        let objects = locked(&self.objects);
        objects.iter().any(|object| object.kind == Some(kind))
    }

    fn keep(&self, fd: OwnedFd, kind: Kind, registers: bool, random: &mut Random) {
        locked(&self.objects).push(Arc::new(Object {
            fd,
            kind: Some(kind),
            registers,
        }));
        if locked(&self.objects).len() > OBJECTS {
            self.close(random);
        }
    }

    fn command(&self, random: &mut Random, tally: &Tally) -> Result<()> {
        let mut command = self.choice(random, tally);
        if !self.has(command.kind) && random.percent(90) {
            command = match command.kind {
                Kind::Device => &lent::BORROW,
                Kind::Remote => &layout::CONNECT,
                Kind::Local | Kind::Context => &layout::CREATE,
            };
        }
        let kind = random.pick(&[Kind::Local, Kind::Local, Kind::Remote]);
        let segment = self.object(random, kind);
        let surroundings = Surroundings {
            nodes: self.nodes,
            memory: self.memory.address(),
            pages: MEMORY as u64,
            function: self.function,
            segment: number(&segment.fd),
            eventfd: number(&self.eventfd),
            mapping: self.a_mapping(random),
        };
        let mut argument = values::argument(random, command, surroundings)?;
        let object = self.object(random, command.kind);
        let said = argument.bytes().to_vec();
        let result = argument.call(object.fd.as_fd(), command);
        tally.count(command.name, &result);
        match result {
            Err(error) => ensure!(
                command.documents(error),
                "{} gave {error:?}; its argument was {said:02x?}",
                command.name
            ),
            Ok(value) => ensure!(value == 0, "{} gave {value}", command.name),
        }
        if result.is_err() {
            return Ok(());
        }
        let made = match command.name {
            "SEGMENT_CREATE" => Kind::Local,
            "SEGMENT_CONNECT" | "DEVICE_SEGMENT_CONNECT" => Kind::Remote,
            "DEVICE_BORROW" => Kind::Device,
            "DEVICE_MAP" => {
                let mut mappings = locked(&self.mappings);
                mappings.push_back(argument.get(command.field("map")?));
                while mappings.len() > MAPPINGS {
                    mappings.pop_front();
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let fd = raw::adopt(argument.get(command.field("fd")?))
            .with_context(|| format!("{}: argument {said:02x?}", command.name))?;
        let registers = command.name == "DEVICE_SEGMENT_CONNECT"
            && argument.get(command.field("memory")?) == lent::BAR;
        self.keep(fd, made, registers, random);
        Ok(())
    }

    /// A mapping that was made, if there is one.
    fn a_mapping(&self, random: &mut Random) -> u64 {
        let mappings = locked(&self.mappings);
        let index = random.index(mappings.len());
        mappings.get(index).copied().unwrap_or_default()
    }

    /// A command; what makes and shows more often than what ends, and most seldom what takes a device from all. Now and then one that
    /// has not succeeded yet, so that it does not take luck until all have.
    fn choice(&self, random: &mut Random, tally: &Tally) -> &'static Command {
        let missing = tally.missing();
        if !missing.is_empty() && random.percent(20) {
            return missing[random.index(missing.len())];
        }
        loop {
            let rooms: &[&'static [Command]] = &[layout::ALL, lent::ALL];
            let commands = random.pick(rooms);
            let command = &commands[random.index(commands.len())];
            let percent = match command.name {
                "SEGMENT_SET_UNAVAILABLE"
                | "SEGMENT_REMOVE"
                | "REMOTE_DISCONNECT"
                | "SEGMENT_REVOKE" => 30,
                "LEND_REMOVE"
                | "LEND_UNAVAILABLE"
                | "LEND_DISCONNECT"
                | "DEVICE_RETURN"
                | "DEVICE_RELEASE_EXCLUSIVE" => 15,
                _ => 100,
            };
            if random.percent(percent) {
                return command;
            }
        }
    }

    fn read(&self, random: &mut Random, tally: &Tally) -> Result<()> {
        let kind = random.pick(&[Kind::Context, Kind::Local, Kind::Remote, Kind::Device]);
        let object = self.object(random, kind);
        let fd = object.fd.as_raw_fd();
        // SAFETY: The command takes a number.
        Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) })?;
        let mut buffer = [0_u8; 256];
        let room = random.index(buffer.len() + 1);
        // SAFETY: The buffer is at least as long as is said.
        let result = Errno::result(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), room) });
        if object.kind.is_some() {
            tally.count("read", &result);
        }
        match result {
            Ok(done) => {
                let done = usize::try_from(done)?;
                ensure!(
                    done <= room && done % layout::EVENT_BYTES == 0,
                    "a read of {room} bytes gave {done}"
                );
            }
            Err(error) => ensure!(
                matches!(error, Errno::EAGAIN | Errno::EINVAL | Errno::ECONNRESET),
                "a read of {room} bytes: {error:?}"
            ),
        }
        Ok(())
    }

    fn poll(&self, random: &mut Random, tally: &Tally) -> Result<()> {
        let kind = random.pick(&[Kind::Context, Kind::Local, Kind::Remote, Kind::Device]);
        let object = self.object(random, kind);
        let mut poll = libc::pollfd {
            fd: object.fd.as_raw_fd(),
            events: random.next() as i16,
            revents: 0,
        };
        let limit = random.pick(&[0, 0, 1, 10]);
        // SAFETY: One structure, as is said.
        let result = Errno::result(unsafe { libc::poll(&mut poll, 1, limit) });
        tally.count("poll", &result);
        ensure!(
            poll.revents & libc::POLLNVAL == 0 && result.is_ok(),
            "{:#x}, {result:?}",
            poll.revents
        );
        Ok(())
    }

    /// Closes an object, but neither the first context nor the foreign file.
    fn close(&self, random: &mut Random) {
        let mut objects = locked(&self.objects);
        if objects.len() > 2 {
            let index = 2 + random.index(objects.len() - 2);
            let object = objects.swap_remove(index);
            drop(objects);
            drop(object);
        }
    }
}
