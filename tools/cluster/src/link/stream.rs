// SPDX-License-Identifier: GPL-2.0
//! One stream of a [`Link`]: a command or a file on its way. Its state lies in the link's table, behind its lock.

use std::time::Duration;

use skiff_agent::message::{self, Exit, Request};

use super::{Link, WaitError};

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Its command did.
    Exited(Exit),
    /// Its file has been transferred.
    Done,
    /// The agent refused.
    Failed(String),
    /// The node was reset or is gone.
    Lost(String),
}

/// Who lets the agent send more of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The reader, at once: everything is collected.
    Collect,
    /// The taker of the data, by taking it.
    Taken,
}

/// What is known about a stream.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(super) flow: Flow,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Process id of its command once it runs.
    pub(crate) started: Option<i32>,
    /// Mode of its file once it is open.
    pub(crate) file_mode: Option<u32>,
    /// Bytes that may be sent to the agent.
    pub(crate) credit: u32,
    pub(crate) end: Option<End>,
}

/// One stream. Dropping it makes the agent end its command or forget its file.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) link: Link,
    pub(super) session: u64,
    pub(super) id: u32,
}

impl Stream {
    /// Sends something that takes no credit.
    pub(crate) fn send(&self, request: Request) {
        self.link.shared.send(self.session, self.id, request);
    }

    /// Waits until `look` finds something in the stream's state.
    pub(crate) fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&mut StreamState) -> Option<T>,
    ) -> Result<T, WaitError> {
        self.link.shared.wait(limit, |table| {
            table.streams.get_mut(&self.id).and_then(&mut look)
        })
    }

    /// Looks at the stream's state as it is.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut StreamState) -> T) -> Option<T> {
        self.link.shared.table().streams.get_mut(&self.id).map(look)
    }

    /// Sends data as far as the agent takes it; waits at most `limit` for each chunk to be taken.
    ///
    /// Returns early, without an error, when the stream has ended.
    pub(crate) fn send_data(&self, mut bytes: &[u8], limit: Duration) -> Result<(), WaitError> {
        while !bytes.is_empty() {
            let room = self.wait(limit, |state| match state {
                StreamState { end: Some(_), .. } => Some(0),
                StreamState { credit: 0, .. } => None,
                state => {
                    let most = message::CHUNK.min(state.credit as usize).min(bytes.len());
                    // At most `credit`, so it fits.
                    state.credit -= u32::try_from(most).unwrap_or(state.credit);
                    Some(most)
                }
            })?;
            if room == 0 {
                return Ok(());
            }
            let (chunk, rest) = bytes.split_at(room);
            self.send(Request::Data(chunk.to_vec()));
            bytes = rest;
        }
        Ok(())
    }

    /// Waits for data or the end of a [`Flow::Taken`] stream; nothing means the end. Lets the agent send more.
    pub(crate) fn take(&self, limit: Duration) -> Result<(Vec<u8>, Vec<u8>), WaitError> {
        let (stdout, stderr) = self.wait(limit, |state| {
            let some = !state.stdout.is_empty() || !state.stderr.is_empty() || state.end.is_some();
            some.then(|| {
                (
                    std::mem::take(&mut state.stdout),
                    std::mem::take(&mut state.stderr),
                )
            })
        })?;
        if let Ok(taken @ 1..) = u32::try_from(stdout.len().saturating_add(stderr.len())) {
            self.send(Request::Credit(taken));
        }
        Ok((stdout, stderr))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let state = self.link.shared.table().streams.remove(&self.id);
        if state.is_some_and(|state| state.end.is_none()) {
            self.send(Request::Close);
        }
    }
}
