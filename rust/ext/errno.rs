// SPDX-License-Identifier: GPL-2.0

//! Error numbers that the kernel crate of 7.2 does not name.
//!
//! C header: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

use kernel::{
    bindings,
    error::Error, //
};

/// An error number; `?` and `into()` make it the kernel's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// EADDRINUSE: address already in use.
    AddrInUse,
    /// ECONNRESET: connection reset by peer.
    ConnReset,
    /// EDQUOT: quota exceeded.
    Quota,
    /// EHOSTDOWN: host is down.
    HostDown,
    /// EMSGSIZE: message too long.
    MessageSize,
    /// ENOLINK: link has been severed.
    NoLink,
    /// EOPNOTSUPP: operation not supported.
    NotSupported,
    /// EPROTO: protocol error.
    Proto,
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        let number = match errno {
            Errno::AddrInUse => bindings::EADDRINUSE,
            Errno::ConnReset => bindings::ECONNRESET,
            Errno::Quota => bindings::EDQUOT,
            Errno::HostDown => bindings::EHOSTDOWN,
            Errno::MessageSize => bindings::EMSGSIZE,
            Errno::NoLink => bindings::ENOLINK,
            Errno::NotSupported => bindings::EOPNOTSUPP,
            Errno::Proto => bindings::EPROTO,
        };
        // CAST: Error numbers are below 4096.
        Error::from_errno(-(number as i32))
    }
}
