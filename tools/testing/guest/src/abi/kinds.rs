// SPDX-License-Identifier: GPL-2.0
//! Commands on descriptors that they are not for: of another kind, removed, disconnected, closed.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;
use nix::sys::resource::Resource;

use super::expect;
use super::format::plausible;
use super::layout;
use super::layout::lent;
use super::layout::Command;
use super::layout::Kind;
use super::objects;
use super::objects::Lent;
use super::objects::Objects;
use super::raw::ioctl;
use super::raw::Map;
use super::raw::PAGE;
use crate::ktap::Report;

/// Tests of descriptors.
pub fn run(report: &mut Report, objects: &Objects) {
    for kind in [Kind::Context, Kind::Local, Kind::Remote, Kind::Device] {
        let name = format!("abi: commands that are not of a {kind:?} are ENOTTY");
        report.test(&name, || foreign(objects, kind));
    }
    report.test("abi: a removed segment is ECONNRESET", removed);
    report.test("abi: a disconnected segment is ECONNRESET", || {
        disconnected(objects)
    });
    report.test("abi: a returned device is ECONNRESET", || returned(objects));
    report.test("abi: a closed descriptor is EBADF", || closed(objects));
    report.test("abi: other files are ENOTTY", elsewhere);
    report.test("abi: no descriptor is free: EMFILE, and no object", || {
        exhausted(objects)
    });
}

fn try_all(fd: BorrowedFd<'_>, wanted: impl Fn(&Command) -> bool, errors: &[Errno]) -> Result<()> {
    for command in layout::every().filter(|command| wanted(command)) {
        let (_, result) = objects::attempt(fd, command, &plausible(command))?;
        expect(result, errors).context(command.name)?;
    }
    Ok(())
}

fn foreign(objects: &Objects, kind: Kind) -> Result<()> {
    let fd = objects.of(kind);
    try_all(fd, |command| command.kind != kind, &[Errno::ENOTTY])?;
    // Numbers that no command has, whatever the argument: another number, another type, a direction.
    let numbers = (0..0x100)
        .filter(|number| layout::every().all(|command| command.number != *number))
        .map(layout::request);
    let others = [
        0,
        0xb600,
        0xb800,
        0x4004_b700,
        0x8028_b700,
        0xc028_b700,
        0xffff_ffff,
    ];
    for request in numbers.chain(others) {
        for argument in [0, u64::MAX] {
            expect(ioctl(fd, request, argument), &[Errno::ENOTTY])
                .with_context(|| format!("request {request:#x}"))?;
        }
    }
    Ok(())
}

fn removed() -> Result<()> {
    let other = super::raw::open()?;
    let segment = objects::create(&other, 7400, PAGE as u64)?;
    objects::publish(&segment)?;
    let connection = objects::connect(&other, layout::NODE_LOCAL, 7400)?;
    objects::call(
        segment.as_fd(),
        &layout::REMOVE,
        &[("flags", layout::FORCE)],
    )?;
    try_all(
        segment.as_fd(),
        |command| command.kind == Kind::Local,
        &[Errno::ECONNRESET],
    )?;
    let map = Map::shared(segment.as_fd(), PAGE, 0);
    ensure!(
        matches!(map, Err(Errno::ECONNRESET)),
        "it can still be mapped: {map:?}"
    );
    // The id is free at once, and the connection lives on.
    let again = objects::create(&other, 7400, PAGE as u64)?;
    objects::call(connection.as_fd(), &layout::REMOTE_INFO, &[])?;
    drop((again, connection, segment));
    Ok(())
}

fn disconnected(objects: &Objects) -> Result<()> {
    let connection = objects::connect(&objects.context, layout::NODE_LOCAL, Objects::LOCAL)?;
    objects::call(connection.as_fd(), &layout::DISCONNECT, &[])?;
    try_all(
        connection.as_fd(),
        |command| command.kind == Kind::Remote,
        &[Errno::ECONNRESET],
    )?;
    let map = Map::shared(connection.as_fd(), PAGE, 0);
    ensure!(
        matches!(map, Err(Errno::ECONNRESET)),
        "it can still be mapped: {map:?}"
    );
    Ok(())
}

fn returned(objects: &Objects) -> Result<()> {
    let device = Lent::borrow(&objects.context, 0)?;
    objects::call(device.as_fd(), &lent::RETURN, &[])?;
    try_all(
        device.as_fd(),
        |command| command.kind == Kind::Device,
        &[Errno::ECONNRESET],
    )?;
    // The other borrow goes on.
    objects::call(objects.lent.borrowed.as_fd(), &lent::INFO, &[]).map(drop)
}

fn closed(objects: &Objects) -> Result<()> {
    let copy: OwnedFd = objects.local.try_clone()?;
    let number = copy.as_raw_fd();
    drop(copy);
    // SAFETY: That the descriptor is closed is what is tested; nothing else opens one meanwhile.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    try_all(fd, |_| true, &[Errno::EBADF])?;
    // The object lives on by its other descriptor.
    objects::call(objects.local.as_fd(), &layout::SEGMENT_INFO, &[]).map(drop)
}

fn elsewhere() -> Result<()> {
    let null = File::open("/dev/null")?;
    try_all(null.as_fd(), |_| true, &[Errno::ENOTTY])?;
    // Nor does a context read as a file, or map.
    let context = super::raw::open()?;
    let map = Map::new(context.as_fd(), PAGE, libc::PROT_READ, libc::MAP_SHARED, 0);
    ensure!(
        matches!(map, Err(Errno::ENODEV)),
        "a context can be mapped: {map:?}"
    );
    Ok(())
}

fn exhausted(objects: &Objects) -> Result<()> {
    const ID: u64 = 7401;
    let context = objects.context.as_fd();
    let wanted = [("id", ID), ("mode", 0o666), ("bytes", PAGE as u64)];
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
    let created = objects::attempt(context, &layout::CREATE, &wanted);
    let connected = objects::attempt(
        context,
        &layout::CONNECT,
        &[
            ("node", layout::NODE_LOCAL),
            ("adapter", layout::ADAPTER_ANY),
            ("id", Objects::LOCAL),
        ],
    );
    let borrowed = objects::attempt(context, &lent::BORROW, &[("fdid", Lent::FDID)]);
    let registers = [("memory", lent::BAR)];
    let device = objects.lent.borrowed.as_fd();
    let bar = objects::attempt(device, &lent::SEGMENT_CONNECT, &registers);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    expect(borrowed?.1, &[Errno::EMFILE]).context("a device")?;
    expect(bar?.1, &[Errno::EMFILE]).context("registers")?;
    expect(created?.1, &[Errno::EMFILE]).context("a segment")?;
    expect(connected?.1, &[Errno::EMFILE]).context("a connection")?;
    objects::make(context, &layout::CREATE, &wanted).map(drop)
}
