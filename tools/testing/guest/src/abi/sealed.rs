// SPDX-License-Identifier: GPL-2.0
//! Arguments in memory that cannot be written: a command that fails for that has changed nothing.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

use super::format::plausible;
use super::layout;
use super::layout::lent;
use super::layout::Command;
use super::layout::Role;
use super::objects;
use super::objects::Lent;
use super::objects::Objects;
use super::raw::Argument;
use super::raw::PAGE;
use crate::ktap::Report;

/// Id of the segments that are made here.
const ID: u64 = 7800;

/// Tests of every command.
pub fn run(report: &mut Report, objects: &Objects) {
    for command in layout::every() {
        let name = format!(
            "abi: {}: a read-only argument is EFAULT and changes nothing, or does not matter",
            command.name
        );
        report.test(&name, || sealed(objects, command));
    }
}

/// What a call may have changed: the state of the objects made for it.
#[derive(Debug, PartialEq, Eq)]
struct State {
    local: Result<Vec<u8>, Errno>,
    remote: Result<Vec<u8>, Errno>,
}

/// The answer of a command that only asks.
fn answer(fd: BorrowedFd<'_>, command: &Command) -> Result<Result<Vec<u8>, Errno>> {
    let (argument, result) = objects::attempt(fd, command, &[])?;
    Ok(result.map(|_| argument.bytes().to_vec()))
}

impl State {
    fn of(local: &OwnedFd, remote: &OwnedFd) -> Result<Self> {
        Ok(Self {
            local: answer(local.as_fd(), &layout::SEGMENT_INFO)?,
            remote: answer(remote.as_fd(), &layout::REMOTE_INFO)?,
        })
    }
}

fn sealed(objects: &Objects, command: &Command) -> Result<()> {
    let local = objects::create(&objects.context, ID, PAGE as u64)?;
    let unprepared = command.number == layout::PREPARE.number;
    if unprepared {
        // There is no connection to what is not prepared: one to another segment takes its place.
        let remote = objects::connect(&objects.context, layout::NODE_LOCAL, Objects::LOCAL)?;
        return call(objects, command, &local, &remote);
    }
    let call_of = |what: &Command| {
        objects::call(local.as_fd(), what, &[("adapter", layout::ADAPTER_ANY)]).map(drop)
    };
    call_of(&layout::PREPARE)?;
    call_of(&layout::SET_AVAILABLE)?;
    let remote = objects::connect(&objects.context, layout::NODE_LOCAL, ID)?;
    if command.number == layout::SET_AVAILABLE.number {
        call_of(&layout::SET_UNAVAILABLE)?;
    }
    call(objects, command, &local, &remote)
}

fn call(objects: &Objects, command: &Command, local: &OwnedFd, remote: &OwnedFd) -> Result<()> {
    let mut argument = Argument::of(command)?;
    for (name, value) in plausible(command) {
        argument.set(command.field(name)?, value);
    }
    if command.number == layout::REVOKE.number {
        argument.set(command.field("node")?, layout::NODE_LOCAL);
    }
    argument.seal()?;
    let before = State::of(local, remote)?;
    // What ends a borrow must not end the one of all tests.
    let device = match command.kind {
        layout::Kind::Device => Some(Lent::borrow(&objects.context, 0)?),
        _ => None,
    };
    let fd = match command.kind {
        layout::Kind::Context => objects.context.as_fd(),
        layout::Kind::Local => local.as_fd(),
        layout::Kind::Remote => remote.as_fd(),
        layout::Kind::Device => device.as_ref().context("a device")?.as_fd(),
    };
    let results = command
        .fields
        .iter()
        .any(|field| matches!(field.role, Role::Out | Role::Descriptor));
    let lending = lent::ALL.iter().any(|other| other.name == command.name);
    match argument.call(fd, command) {
        Err(Errno::EFAULT) => {
            let after = State::of(local, remote)?;
            ensure!(before == after, "before: {before:x?}\nafter: {after:x?}");
        }
        Ok(0) if !results => {}
        // What the device's state forbids now is refused before the argument matters.
        Err(Errno::EBUSY | Errno::ENOENT) if !results && lending => {}
        other => anyhow::bail!("{other:?}"),
    }
    Ok(())
}
