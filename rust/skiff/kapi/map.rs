// SPDX-License-Identifier: GPL-2.0

//! Maps of clients: parts of connections, and of BARs of borrowed devices.

use core::ffi::c_void;
use kernel::sync::Arc;

use crate::{
    mem::KernelMap,
    segment::{
        Remote,
        Segments, //
    },
};

/// A connection that nobody but its owner here knows of.
pub(super) struct Connection {
    segments: Arc<Segments>,
    remote: Arc<Remote>,
}

impl Connection {
    /// Is to be given up when it is dropped; all maps of it are gone then.
    pub(super) fn new(segments: &Arc<Segments>, remote: Arc<Remote>) -> Self {
        Self {
            segments: segments.clone(),
            remote,
        }
    }

    /// What it is.
    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The only error is that it was given up before.
        let _ = self.segments.disconnect(&self.remote);
    }
}

/// A map.
pub(super) struct Map {
    // The order matters: a connection is given up after its maps.
    kernel: KernelMap,
    _connection: Option<Connection>,
}

impl Map {
    /// A map of a connection that somebody else gives up, after it.
    pub(super) fn new(kernel: KernelMap) -> Self {
        Self {
            kernel,
            _connection: None,
        }
    }

    /// A map, of a connection that goes with it.
    pub(super) fn with(kernel: KernelMap, connection: Connection) -> Self {
        Self {
            kernel,
            _connection: Some(connection),
        }
    }

    /// Where it is, for as long as this object is there.
    pub(super) fn address(&self) -> *mut c_void {
        self.kernel.address()
    }
}
