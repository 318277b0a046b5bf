// SPDX-License-Identifier: GPL-2.0
//! Copies files between host and node. Each copy is one stream; nothing is shared.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use skiff_agent::message::{Request, CHUNK};

use super::Node;
use crate::link::{End, Flow, Stream, WaitError};
use crate::machine::Machine;
use crate::Error;

/// The longest that a copy may make no progress.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Mode of a file that has no original.
const PLAIN: u32 = 0o644;

impl Node {
    /// Copies a host file into the node; mode bits are kept, missing folders are made.
    ///
    /// # Errors
    /// [`Error::Io`] for the host file, [`Error::Agent`] for the node's.
    pub fn put(&self, local: impl AsRef<Path>, remote: &str) -> Result<(), Error> {
        let local = local.as_ref();
        let failed = |source| Error::Io {
            what: format!("read {}", local.display()),
            source,
        };
        let file = File::open(local).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        self.send(file, mode, remote, &failed)
    }

    /// Writes a file (mode 0644) in the node.
    ///
    /// # Errors
    /// [`Error::Agent`] when the node refuses.
    pub fn write(&self, bytes: impl AsRef<[u8]>, remote: &str) -> Result<(), Error> {
        let failed = |source| Error::Io {
            what: format!("write {remote}"),
            source,
        };
        self.send(bytes.as_ref(), PLAIN, remote, &failed)
    }

    /// Copies a file of the node to the host; mode bits are kept.
    ///
    /// # Errors
    /// As [`Node::put`].
    pub fn get(&self, remote: &str, local: impl AsRef<Path>) -> Result<(), Error> {
        let local = local.as_ref();
        let failed = |source| Error::Io {
            what: format!("write {}", local.display()),
            source,
        };
        let mut file = File::create(local).map_err(failed)?;
        let mode = self.receive(remote, &mut file, &failed)?;
        fs::set_permissions(local, Permissions::from_mode(mode)).map_err(failed)
    }

    /// Reads a file of the node.
    ///
    /// # Errors
    /// [`Error::Agent`] when the node refuses.
    pub fn read(&self, remote: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let failed = |source| Error::Io {
            what: format!("read {remote}"),
            source,
        };
        self.receive(remote, &mut bytes, &failed)?;
        Ok(bytes)
    }

    fn send(
        &self,
        mut from: impl Read,
        mode: u32,
        remote: &str,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let machine = self.machine()?;
        let what = format!("put {remote}");
        let lost = |error: WaitError| machine.wait_error(&what, STALL_LIMIT, error);
        let request = Request::Put {
            path: remote.to_owned(),
            mode,
        };
        let stream = machine.link.open(request, Flow::Taken).map_err(lost)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => stream
                    .send_data(&buffer[..length], STALL_LIMIT)
                    .map_err(lost)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        stream.send(Request::Eof);
        let end = stream
            .wait(STALL_LIMIT, |state| state.end.clone())
            .map_err(lost)?;
        self.judge(&machine, &what, end)
    }

    /// Returns the file's mode.
    fn receive(
        &self,
        remote: &str,
        to: &mut impl Write,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<u32, Error> {
        let machine = self.machine()?;
        let what = format!("get {remote}");
        let lost = |error: WaitError| machine.wait_error(&what, STALL_LIMIT, error);
        let request = Request::Get {
            path: remote.to_owned(),
        };
        let stream: Stream = machine.link.open(request, Flow::Taken).map_err(lost)?;
        loop {
            let (data, _) = stream.take(STALL_LIMIT).map_err(lost)?;
            to.write_all(&data).map_err(failed)?;
            if data.is_empty() {
                let (end, mode) = stream
                    .look(|state| (state.end.clone(), state.file_mode))
                    .unwrap_or_default();
                let end = end.unwrap_or_else(|| End::Lost("its stream is gone".to_owned()));
                self.judge(&machine, &what, end)?;
                return Ok(mode.unwrap_or(PLAIN));
            }
        }
    }

    fn judge(&self, machine: &Machine, what: &str, end: End) -> Result<(), Error> {
        match end {
            End::Done | End::Exited(_) => Ok(()),
            End::Failed(message) => Err(Error::Agent {
                who: self.who(),
                what: what.to_owned(),
                message,
            }),
            End::Lost(why) => Err(machine.gone(what, &why)),
        }
    }
}
