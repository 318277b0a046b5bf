// SPDX-License-Identifier: GPL-2.0
//! The reader thread: splits the stream into messages, wakes those who wait for answers, hands commands to the worker.
//!
//! A posted write that finds the worker idle, and for which the device need not wait, it carries out itself: that is the way of a
//! doorbell, and each thread on it costs as much as the rest of it.
//!
//! It also sends what the socket did not take at once. It reads exactly one message at a time, so file descriptors belong to the message
//! with whose bytes they come. It waits without limit for the client, and only for it: a client that stops in the middle of a message is as
//! alive as one that has nothing to say, and [`Shared::end`] ends every wait.

use std::os::fd::OwnedFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;

use tracing::{debug, warn};

use crate::channel::Interest;
use crate::client::DmaError;
use crate::connection::{Ended, Limits, Shared};
use crate::device::{Device, RegionAccess};
use crate::inbox::Message;
use crate::wire::{Header, Kind, Reply, Request, HEADER_SIZE, MAX_VERSION_TEXT};
use crate::Errno;

/// Reads until the connection ends.
pub(crate) fn run(shared: &Shared, device: &dyn Device, limits: Limits) {
    let why = loop {
        if let Err(why) = read_message(shared, device, limits) {
            break why;
        }
    };
    match &why {
        Ended::Protocol(what) => warn!(what, "the client broke the protocol"),
        why => debug!(?why, "the connection ends"),
    }
    shared.end(why);
    shared.channel.drain();
    // What the client said before it left still counts, unless this side has had enough of it.
    match shared.ended() {
        Ended::ByClient => shared.inbox.close(),
        _ => shared.inbox.discard(),
    }
}

fn read_message(shared: &Shared, device: &dyn Device, limits: Limits) -> Result<(), Ended> {
    if shared.channel.is_closed() {
        return Err(Ended::Closed);
    }
    while !shared.inbox.has_room() {
        wait(shared, Interest::Send)?;
    }
    let mut fds = Vec::new();
    let mut head = [0; HEADER_SIZE];
    fill(shared, &mut head, &mut fds)?;
    let header = Header::decode(&head).map_err(|_| Ended::Protocol("a header is not valid"))?;
    let size = usize::try_from(header.size).unwrap_or(usize::MAX);
    let len = size.saturating_sub(HEADER_SIZE);
    if len > longest_payload(limits) {
        return Err(Ended::Protocol("a message is too long"));
    }
    let mut payload = vec![0; len];
    fill(shared, &mut payload, &mut fds)?;
    if u32::try_from(fds.len()).map_or(true, |count| count > limits.max_msg_fds) {
        return Err(Ended::Protocol("too many file descriptors in a message"));
    }
    match header.kind {
        Kind::Command(reply) => {
            shared.waiting.alive();
            let message = Message {
                header,
                payload,
                fds,
            };
            if reply == Reply::Unwanted && shared.inbox.is_idle() {
                // What the device leaves behind after a panic is its own matter: nobody here looks into it again.
                let post = AssertUnwindSafe(|| post(shared, device, &message));
                if catch_unwind(post).map_err(|_| Ended::Device)? {
                    shared.inbox.pass();
                    return Ok(());
                }
            }
            shared.inbox.push(message);
        }
        Kind::Reply => shared
            .waiting
            .answered(header.id, header.command, Ok(payload)),
        Kind::ErrorReply { errno } => {
            let fault = DmaError::Fault(errno_of(errno));
            shared
                .waiting
                .answered(header.id, header.command, Err(fault));
        }
    }
    Ok(())
}

/// Whether this was a valid posted write, and the device has done it at once.
fn post(shared: &Shared, device: &dyn Device, message: &Message) -> bool {
    let Some(regions) = shared.regions.get() else {
        return false;
    };
    let Ok(Request::RegionWrite(write)) = Request::decode(message.header.command, &message.payload)
    else {
        return false;
    };
    match write.range() {
        Ok(range) if regions.check(range, RegionAccess::WRITE).is_ok() => {
            device.region_post(range.region, range.offset, write.data)
        }
        _ => false,
    }
}

/// No valid message is longer than this: the largest data with the fields before it, or the longest version text.
fn longest_payload(limits: Limits) -> usize {
    const FIELDS: usize = 32;
    let data = usize::try_from(limits.max_data_xfer_size).unwrap_or(usize::MAX);
    data.max(MAX_VERSION_TEXT).saturating_add(FIELDS)
}

fn fill(shared: &Shared, mut buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<(), Ended> {
    while !buf.is_empty() {
        match shared.channel.receive(buf, fds) {
            Ok(0) | Err(Errno::CONNRESET) => return Err(Ended::ByClient),
            Ok(received) => buf = &mut buf[received..],
            Err(Errno::AGAIN) => wait(shared, Interest::Receive)?,
            Err(Errno::TOOMANYREFS) => {
                return Err(Ended::Protocol("too many file descriptors at once"))
            }
            Err(errno) => return Err(Ended::Socket(errno)),
        }
    }
    Ok(())
}

fn wait(shared: &Shared, interest: Interest) -> Result<(), Ended> {
    if shared.channel.is_closed() {
        return Err(Ended::Closed);
    }
    shared.reading.store(false, Ordering::SeqCst);
    let waited = shared.channel.wait(interest);
    shared.reading.store(true, Ordering::SeqCst);
    waited.map_err(Ended::Socket)
}

/// An error number as it came, if it is one.
fn errno_of(number: u32) -> Errno {
    match i32::try_from(number) {
        Ok(number @ 1..=4095) => Errno::from_raw_os_error(number),
        _ => Errno::IO,
    }
}
