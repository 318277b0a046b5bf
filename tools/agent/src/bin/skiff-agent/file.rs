// SPDX-License-Identifier: GPL-2.0
//! Writes and reads whole files for the host. Each function is a stream's thread and owns its file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use skiff_agent::message::{Reply, Stream, CHUNK, WINDOW};

use crate::mailbox::{Inbox, Mail};
use crate::port::Outbox;

/// Permission bits, set-id bits included.
const MODE: u32 = 0o7777;

fn failed(outbox: &Outbox, stream: u32, path: &str, error: &io::Error) {
    outbox.send(
        stream,
        Reply::Failed {
            message: format!("{path}: {error}"),
        },
    );
}

/// Writes a file from the data that comes in.
pub fn put(outbox: &Outbox, stream: u32, inbox: &Inbox, path: &str, mode: u32) {
    match write(outbox, stream, inbox, path, mode) {
        Ok(true) => outbox.send(stream, Reply::Done),
        Ok(false) => {}
        Err(error) => failed(outbox, stream, path, &error),
    }
}

/// False if the host gave up.
fn write(outbox: &Outbox, stream: u32, inbox: &Inbox, path: &str, mode: u32) -> io::Result<bool> {
    let place = Path::new(path);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    // A program that runs cannot be written to, but replaced. Files of the kernel cannot be removed, but written to.
    if fs::symlink_metadata(place).is_ok_and(|found| found.is_file()) {
        let _ = fs::remove_file(place);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode & MODE)
        .open(place)?;
    while let Some(mail) = inbox.wait() {
        match mail {
            Mail::Data(bytes) => {
                file.write_all(&bytes)?;
                // A chunk is at most CHUNK bytes long, the frame sees to that.
                outbox.send(
                    stream,
                    Reply::Credit(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
                );
            }
            Mail::Eof => {
                set_mode(&file, mode);
                return Ok(true);
            }
            Mail::Close => return Ok(false),
            _ => {}
        }
    }
    Ok(false)
}

/// The umask took bits away; files of the kernel keep theirs, which is no error.
fn set_mode(file: &File, mode: u32) {
    let _ = file.set_permissions(Permissions::from_mode(mode & MODE));
}

/// Sends a file's contents.
pub fn get(outbox: &Outbox, stream: u32, inbox: &Inbox, path: &str) {
    match read(outbox, stream, inbox, path) {
        Ok(true) => outbox.send(stream, Reply::Done),
        Ok(false) => {}
        Err(error) => failed(outbox, stream, path, &error),
    }
}

/// False if the host gave up.
fn read(outbox: &Outbox, stream: u32, inbox: &Inbox, path: &str) -> io::Result<bool> {
    let mut file = File::open(path)?;
    outbox.send(
        stream,
        Reply::File {
            mode: file.metadata()?.permissions().mode() & MODE,
        },
    );
    let mut credit = WINDOW;
    let mut buffer = vec![0; CHUNK];
    loop {
        while credit == 0 {
            match inbox.wait() {
                Some(Mail::Credit(more)) => credit = credit.saturating_add(more),
                Some(Mail::Close) | None => return Ok(false),
                Some(_) => {}
            }
        }
        let most = CHUNK.min(credit as usize);
        let length = match file.read(&mut buffer[..most]) {
            Ok(0) => return Ok(true),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // At most `credit`, so it fits.
        credit -= u32::try_from(length).unwrap_or(credit);
        outbox.send(
            stream,
            Reply::Data {
                from: Stream::Stdout,
                bytes: buffer[..length].to_vec(),
            },
        );
    }
}
