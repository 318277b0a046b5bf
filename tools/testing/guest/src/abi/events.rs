// SPDX-License-Identifier: GPL-2.0
//! read(2), write(2) and poll(2) of objects: too small buffers, no events, signals.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::ptr;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use super::expect;
use super::layout;
use super::layout::EVENT_BYTES;
use super::objects;
use super::objects::Objects;
use super::raw;
use super::raw::PAGE;
use crate::ktap::Report;

/// SKIFF_EVENT_CONNECTED.
const CONNECTED: u32 = 1;
/// SKIFF_EVENT_DISCONNECTED.
const DISCONNECTED: u32 = 2;

/// Tests of events.
pub fn run(report: &mut Report, objects: &Objects) {
    report.test(
        "abi: read: a buffer below one event is EINVAL, and loses none",
        || small_buffers(objects),
    );
    report.test(
        "abi: read: a bad buffer is EFAULT, and loses no event",
        || bad_buffers(objects),
    );
    report.test(
        "abi: read: no event is EAGAIN with O_NONBLOCK, EINTR at a signal",
        || no_event(objects),
    );
    report.test("abi: read: as many events as fit", || {
        as_many_as_fit(objects)
    });
    report.test("abi: poll: nothing, POLLIN, POLLHUP", || {
        poll_states(objects)
    });
    report.test("abi: write: no object can be written", || writes(objects));
}

fn read(fd: BorrowedFd<'_>, address: u64, len: usize) -> Result<usize, Errno> {
    // SAFETY: The address is that of a buffer as long as is said, or nothing of this program's.
    let done = unsafe { libc::read(fd.as_raw_fd(), address as *mut libc::c_void, len) };
    Errno::result(done).map(|done| done as usize)
}

/// The types of the events of one read, none if there are none.
fn types(fd: BorrowedFd<'_>, room: usize) -> Result<Vec<u32>> {
    let mut buffer = vec![0_u8; room * EVENT_BYTES];
    let done = match read(fd, buffer.as_mut_ptr() as u64, buffer.len()) {
        Err(Errno::EAGAIN) => 0,
        other => other?,
    };
    ensure!(done % EVENT_BYTES == 0, "{done} bytes are no events");
    let word = |event: &[u8], at: usize| {
        event[at..at + 4]
            .iter()
            .rev()
            .fold(0_u32, |value, byte| (value << 8) | u32::from(*byte))
    };
    let events = buffer[..done].chunks_exact(EVENT_BYTES);
    for event in events.clone() {
        ensure!(word(event, 8) == 1, "the count of {event:?} is not 1");
    }
    Ok(events.map(|event| word(event, 0)).collect())
}

fn revents(fd: BorrowedFd<'_>) -> Result<i16> {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: One structure, as is said.
    Errno::result(unsafe { libc::poll(&mut poll, 1, 0) })?;
    Ok(poll.revents)
}

fn non_blocking(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    let flags = if on { libc::O_NONBLOCK } else { 0 };
    // SAFETY: The command takes a number.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })?;
    Ok(())
}

/// A segment that has been connected to and disconnected from `times` times.
fn eventful(objects: &Objects, id: u64, times: usize) -> Result<std::os::fd::OwnedFd> {
    let segment = objects::create(&objects.context, id, PAGE as u64)?;
    objects::publish(&segment)?;
    non_blocking(segment.as_fd(), true)?;
    for _ in 0..times {
        drop(objects::connect(&objects.context, layout::NODE_LOCAL, id)?);
    }
    Ok(segment)
}

fn small_buffers(objects: &Objects) -> Result<()> {
    let segment = eventful(objects, 7600, 1)?;
    let mut buffer = [0_u8; EVENT_BYTES];
    for len in 0..EVENT_BYTES {
        let result = read(segment.as_fd(), buffer.as_mut_ptr() as u64, len);
        expect(result, &[Errno::EINVAL]).with_context(|| format!("{len} bytes"))?;
    }
    let seen = types(segment.as_fd(), 4)?;
    ensure!(seen == [CONNECTED, DISCONNECTED], "the events are {seen:?}");
    Ok(())
}

fn bad_buffers(objects: &Objects) -> Result<()> {
    let segment = eventful(objects, 7601, 1)?;
    let gone = raw::Pages::new(1)?;
    gone.protect(0, libc::PROT_NONE)?;
    for address in [0, gone.address(), 0xffff_8880_0000_0000] {
        let result = read(segment.as_fd(), address, EVENT_BYTES);
        expect(result, &[Errno::EFAULT]).with_context(|| format!("{address:#x}"))?;
    }
    let seen = types(segment.as_fd(), 4)?;
    ensure!(seen == [CONNECTED, DISCONNECTED], "the events are {seen:?}");
    Ok(())
}

extern "C" fn nothing(_: libc::c_int) {}

fn no_event(objects: &Objects) -> Result<()> {
    let segment = eventful(objects, 7602, 0)?;
    let context = raw::open()?;
    let mut buffer = [0_u8; EVENT_BYTES];
    let address = buffer.as_mut_ptr() as u64;
    for (what, fd) in [
        ("a local segment", segment.as_fd()),
        ("a connection", objects.remote.as_fd()),
        ("a context", context.as_fd()),
    ] {
        non_blocking(fd, true)?;
        // A context has told of the nodes that came up meanwhile.
        while types(fd, 16)?.len() == 16 {}
        expect(read(fd, address, EVENT_BYTES), &[Errno::EAGAIN]).context(what)?;
        non_blocking(fd, false)?;
        let handler: extern "C" fn(libc::c_int) = nothing;
        // SAFETY: All zeroes is a valid value: no flags, no mask; SA_RESTART is not among them.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        // SAFETY: The handler does nothing, and the structure is a valid one.
        Errno::result(unsafe { libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()) })?;
        let time = |micros| libc::timeval {
            tv_sec: 0,
            tv_usec: micros,
        };
        // Again and again, should the first one come before the read.
        let (on, off) = (
            libc::itimerval {
                it_interval: time(50_000),
                it_value: time(50_000),
            },
            libc::itimerval {
                it_interval: time(0),
                it_value: time(0),
            },
        );
        // SAFETY: A valid structure; nothing is asked back.
        Errno::result(unsafe { libc::setitimer(libc::ITIMER_REAL, &on, ptr::null_mut()) })?;
        let result = read(fd, address, EVENT_BYTES);
        // SAFETY: As above.
        Errno::result(unsafe { libc::setitimer(libc::ITIMER_REAL, &off, ptr::null_mut()) })?;
        expect(result, &[Errno::EINTR]).context(what)?;
    }
    Ok(())
}

fn as_many_as_fit(objects: &Objects) -> Result<()> {
    let segment = eventful(objects, 7603, 3)?;
    let mut seen = Vec::new();
    for room in [1, 2, 16] {
        let some = types(segment.as_fd(), room)?;
        ensure!(
            some.len() == room.min(6 - seen.len()),
            "{} of {room} events were read",
            some.len()
        );
        seen.extend(some);
    }
    ensure!(
        seen == [CONNECTED, DISCONNECTED].repeat(3),
        "the events are {seen:?}"
    );
    // A buffer that holds one event and a half gets one.
    drop(objects::connect(
        &objects.context,
        layout::NODE_LOCAL,
        7603,
    )?);
    let mut buffer = [0_u8; EVENT_BYTES * 3 / 2];
    let done = read(segment.as_fd(), buffer.as_mut_ptr() as u64, buffer.len());
    ensure!(done == Ok(EVENT_BYTES), "one and a half: {done:?}");
    Ok(())
}

fn poll_states(objects: &Objects) -> Result<()> {
    let segment = eventful(objects, 7604, 0)?;
    let fd = segment.as_fd();
    ensure!(revents(fd)? == 0, "new: {:#x}", revents(fd)?);
    let connection = objects::connect(&objects.context, layout::NODE_LOCAL, 7604)?;
    ensure!(
        revents(fd)? == libc::POLLIN,
        "connected: {:#x}",
        revents(fd)?
    );
    types(fd, 16)?;
    ensure!(revents(fd)? == 0, "read: {:#x}", revents(fd)?);
    ensure!(
        revents(connection.as_fd())? == 0,
        "the connection: {:#x}",
        revents(connection.as_fd())?
    );
    objects::call(fd, &layout::REVOKE, &[("node", layout::NODE_LOCAL)])?;
    let lost = revents(connection.as_fd())?;
    ensure!(lost == libc::POLLIN | libc::POLLHUP, "revoked: {lost:#x}");
    objects::call(fd, &layout::REMOVE, &[("flags", layout::FORCE)])?;
    let removed = revents(fd)?;
    ensure!(removed & libc::POLLHUP != 0, "removed: {removed:#x}");
    Ok(())
}

fn writes(objects: &Objects) -> Result<()> {
    for fd in [
        objects.context.as_fd(),
        objects.local.as_fd(),
        objects.remote.as_fd(),
    ] {
        let word = [0_u8; 16];
        // SAFETY: The buffer is as long as is said.
        let done = unsafe { libc::write(fd.as_raw_fd(), word.as_ptr().cast(), word.len()) };
        expect(Errno::result(done), &[Errno::EINVAL, Errno::EBADF])?;
    }
    Ok(())
}
