// SPDX-License-Identifier: GPL-2.0
//! The door to the real system, as far as it opens without the device.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::fcntl;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::unistd::pipe;
use nix::unistd::write;

use crate::sys::Command;
use crate::sys::Os;
use crate::sys::Ready;
use crate::sys::Sys;
use crate::uapi;
use crate::LocalSegment;
use crate::RemoteSegment;

#[test]
fn a_wait_is_ended_by_data_hangup_or_time() {
    let (reader, writer) = pipe().expect("a pipe");
    let fd = reader.as_fd();
    let begin = Instant::now();
    assert_eq!(
        Os.poll(fd, Some(Duration::from_micros(1500))),
        Ok(Ready::TimedOut)
    );
    assert!(begin.elapsed() >= Duration::from_micros(1500));
    write(&writer, &[0]).expect("written");
    assert_eq!(Os.poll(fd, None), Ok(Ready::Readable));
    assert_eq!(Os.read_event(fd), Err(Errno::EPROTO));
    drop(writer);
    assert_eq!(Os.poll(fd, None), Ok(Ready::HungUp));
}

#[test]
fn an_event_is_sixteen_bytes() {
    let (reader, writer) = pipe().expect("a pipe");
    for word in [6u32, 1, 1, 0] {
        write(&writer, &word.to_le_bytes()).expect("written");
    }
    let event = Os.read_event(reader.as_fd()).expect("an event");
    assert_eq!((event.type_, event.node), (uapi::SKIFF_EVENT_LOST, 1));
    let flags = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
    fcntl(&reader, flags).expect("a flag of pipes");
    assert_eq!(Os.read_event(reader.as_fd()), Err(Errno::EAGAIN));
}

#[test]
fn other_files_know_no_command() {
    let null = File::open("/dev/null").expect("there");
    let mut info = uapi::skiff_info::default();
    let done = Os.command(null.as_fd(), Command::Info(&mut info));
    assert_eq!(done, Err(Errno::ENOTTY));
    let clone = null.try_clone().expect("a descriptor");
    let refused = LocalSegment::from_fd(clone.into()).expect_err("no segment");
    assert_eq!(refused.errno(), libc::ENOTTY);
    let refused = RemoteSegment::from_fd(null.into()).expect_err("no segment");
    assert_eq!(refused.errno(), libc::ENOTTY);
}
