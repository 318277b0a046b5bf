// SPDX-License-Identifier: GPL-2.0
//! The way from a device towards its client's bus: reads and writes of the client's memory, device registers and interrupt addresses.
//!
//! A [`Client`] is a handle that may be cloned and used by any number of threads at once; it holds the connection's shared state and outlives the connection.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::connection::Shared;
use crate::Errno;

/// Why an access to the client's bus failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DmaError {
    /// The client answered with an error: nothing there, or its IOMMU refused.
    #[error("the client refused the access: {0}")]
    Fault(Errno),
    /// The client did not answer in time.
    #[error("the client did not answer in time")]
    Timeout,
    /// The client does not read its messages; the access was not sent.
    #[error("the client does not take messages")]
    WouldBlock,
    /// The client did not answer or take an earlier access and has said nothing since; the access was not sent.
    #[error("the client has stopped answering")]
    Stalled,
    /// The connection is gone.
    #[error("the client is gone")]
    Disconnected,
}

/// A handle on one client's bus.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads `buf.len()` bytes at bus address `addr`, in several messages if the client's `max_data_xfer_size` asks for it.
    ///
    /// Must not be called on the request path of the same client: QEMU answers only when its own request has been answered.
    ///
    /// # Errors
    /// Every [`DmaError`]; `timeout` holds for the whole access. The content of `buf` is then undefined.
    pub fn dma_read(&self, addr: u64, buf: &mut [u8], timeout: Duration) -> Result<(), DmaError> {
        self.shared.dma_read(addr, buf, timeout)
    }

    /// Writes `data` at bus address `addr` and waits for the client to have done it; otherwise like [`dma_read`](Self::dma_read).
    ///
    /// # Errors
    /// Every [`DmaError`]; a part of the data may have been written then.
    pub fn dma_write(&self, addr: u64, data: &[u8], timeout: Duration) -> Result<(), DmaError> {
        self.shared.dma_write(addr, data, timeout)
    }

    /// Sends a write and does not wait for anything.
    ///
    /// # Errors
    /// [`DmaError::WouldBlock`], [`DmaError::Stalled`] and [`DmaError::Disconnected`]; of several messages some may have been sent then.
    pub fn dma_write_posted(&self, addr: u64, data: &[u8]) -> Result<(), DmaError> {
        self.shared.dma_write_posted(addr, data)
    }

    /// Whether an access timed out or could not be sent and the client has sent no message since.
    pub fn is_stalled(&self) -> bool {
        self.shared.is_stalled()
    }

    /// Whether the device has done all that the client has sent until now.
    pub fn is_settled(&self) -> bool {
        self.shared.is_settled()
    }

    /// Waits until the device has done all that the client has sent until now, or for `limit`. Must not be called by the device while
    /// it does what the same client has sent.
    pub fn settle(&self, limit: Duration) {
        self.shared.settle(limit);
    }

    /// Ends the connection; all accesses that wait return `Disconnected`. Does not wait for the connection's threads.
    pub fn close(&self) {
        self.shared.close();
    }
}
