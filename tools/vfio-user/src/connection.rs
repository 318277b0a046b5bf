// SPDX-License-Identifier: GPL-2.0
//! One client's connection: its threads and the state that they share.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{Client, DmaError};
use crate::device::Device;

/// What the server tells the client about its limits during the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest piece of data in one message, in bytes; the smaller one of both sides' counts.
    pub max_data_xfer_size: u32,
    /// Most file descriptors in one message.
    pub max_msg_fds: u32,
    /// Most pieces of memory that the client may map at a time.
    pub max_dma_maps: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_data_xfer_size: 1 << 20,
            max_msg_fds: 8,
            max_dma_maps: 65535,
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The client closed its end.
    ByClient,
    /// [`Client::close`] or [`Connection::close`] was called.
    Closed,
    /// The client broke the protocol.
    Protocol(String),
    /// The socket failed.
    Socket(String),
}

/// A connection being served; dropping it closes it and waits for its threads.
#[derive(Debug)]
pub struct Connection {
    client: Client,
}

impl Connection {
    /// The way towards this connection's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the connection has ended.
    pub fn is_finished(&self) -> bool {
        true
    }

    /// Ends the connection. Does not wait.
    pub fn close(&self) {
        self.client.close();
    }

    /// Waits for the connection to end; the device has seen `disconnected` when this returns.
    pub fn join(self) -> Ended {
        Ended::Closed
    }
}

/// Serves one client until it goes away, with [`Limits::default`].
///
/// # Errors
/// The threads could not be started, or the socket could not be set up.
pub fn serve(stream: UnixStream, device: Arc<dyn Device>) -> io::Result<Connection> {
    serve_with(stream, device, Limits::default())
}

/// Serves one client until it goes away.
///
/// # Errors
/// The threads could not be started, or the socket could not be set up.
pub fn serve_with(
    _stream: UnixStream,
    _device: Arc<dyn Device>,
    _limits: Limits,
) -> io::Result<Connection> {
    Err(io::ErrorKind::Unsupported.into())
}

#[derive(Debug)]
pub(crate) struct Shared;

impl Shared {
    pub(crate) fn dma_read(
        &self,
        _addr: u64,
        _buf: &mut [u8],
        _timeout: Duration,
    ) -> Result<(), DmaError> {
        Err(DmaError::Disconnected)
    }
    pub(crate) fn dma_write(
        &self,
        _addr: u64,
        _data: &[u8],
        _timeout: Duration,
    ) -> Result<(), DmaError> {
        Err(DmaError::Disconnected)
    }
    pub(crate) fn dma_write_posted(&self, _addr: u64, _data: &[u8]) -> Result<(), DmaError> {
        Err(DmaError::Disconnected)
    }
    pub(crate) fn is_stalled(&self) -> bool {
        true
    }
    pub(crate) fn close(&self) {}
}
