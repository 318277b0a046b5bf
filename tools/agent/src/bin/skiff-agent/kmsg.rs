// SPDX-License-Identifier: GPL-2.0
//! Sends the kernel log to the host from its first record on. One thread, no state but its buffer.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use skiff_agent::message::{Reply, CONTROL};

use crate::mailbox::{Inbox, Mail};
use crate::port::Outbox;

/// Longest record that the kernel gives out (CONSOLE_EXT_LOG_MAX in include/linux/printk.h).
const RECORD: usize = 8192;

/// Records are sent together up to this size.
const BATCH: usize = 32 * 1024;

/// Follows /dev/kmsg until it fails.
///
/// # Errors
/// Those of opening and reading it.
pub fn follow(outbox: &Arc<Outbox>, inbox: &Inbox) -> io::Result<()> {
    let mut log = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let mut batch = Vec::with_capacity(BATCH + RECORD + 1);
    let mut waiting = Vec::new();
    loop {
        batch.clear();
        while batch.len() < BATCH && read_record(&mut log, &mut batch)? {}
        if !batch.is_empty() {
            outbox.send(CONTROL, Reply::Log(batch.clone()));
            continue;
        }
        for stream in waiting.drain(..) {
            outbox.send(stream, Reply::Done);
        }
        let files = [
            PollFd::new(log.as_fd(), PollFlags::POLLIN),
            PollFd::new(inbox.bell(), PollFlags::POLLIN),
        ];
        match poll(&mut { files }, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Who asks now is answered after the next look at the log.
        inbox.silence();
        waiting.extend(
            std::iter::from_fn(|| inbox.take()).filter_map(|mail| match mail {
                Mail::SyncLog(stream) => Some(stream),
                _ => None,
            }),
        );
    }
}

/// Appends one record and its end mark; false when there is none now.
fn read_record(log: &mut File, batch: &mut Vec<u8>) -> io::Result<bool> {
    let mut record = [0; RECORD];
    match log.read(&mut record) {
        Ok(length) => {
            batch.extend_from_slice(&record[..length]);
            batch.push(0);
            Ok(length > 0)
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(false),
            // Records were overwritten before they were read; the next read goes on behind the gap. Their sequence
            // numbers show it to the host.
            Some(libc::EPIPE | libc::EINTR) => Ok(true),
            _ => Err(error),
        },
    }
}
