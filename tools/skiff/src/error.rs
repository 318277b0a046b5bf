// SPDX-License-Identifier: GPL-2.0
//! What ends the command early.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use skiff::Fdid;
use skiff::PciAddress;

use crate::arguments::device::Target;
use crate::device::filter::Filter;
use crate::device::sysfs::STUB;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel or the peer refused.
    #[error(transparent)]
    Skiff(#[from] skiff::Error),
    /// A file could not be used.
    #[error("cannot {what} {}: {cause}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// stdout is gone.
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
    /// Signals could not be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] nix::Error),
    /// The peer went away between the first and the last byte.
    #[error("the connection was lost while copying")]
    LostWhileCopying,
    /// This node's pool does not have it.
    #[error("{device} is not in the pool of this node")]
    NotInPool {
        /// What was asked for.
        device: Target,
    },
    /// No pool that this node sees has it.
    #[error("this node sees no device {fdid}")]
    NoDevice {
        /// What was asked for.
        fdid: Fdid,
    },
    /// It was unplugged, or never was there.
    #[error("there is no function {function}")]
    NoFunction {
        /// Where.
        function: PciAddress,
    },
    /// No function of this node, or no device of its pool, is like that.
    #[error("nothing is like {filter}")]
    NoMatch {
        /// What was asked for.
        filter: Filter,
    },
    /// The module is not there, or is another one.
    #[error("the driver {STUB} is not there")]
    NoStub,
    /// Who has it must agree.
    #[error("the driver {driver} has {function}")]
    DriverBound {
        /// Which function.
        function: PciAddress,
        /// Its driver.
        driver: String,
    },
    /// The kernel did not bind its driver to it.
    #[error("the driver {STUB} has not taken {function}")]
    NotTaken {
        /// Which function.
        function: PciAddress,
    },
    /// Something failed, and so did undoing what was done before.
    #[error("{error}; and {function} could not be given back to its driver: {undoing}")]
    HalfDone {
        /// Which function.
        function: PciAddress,
        /// What failed first.
        error: Box<Error>,
        /// What failed then.
        undoing: Box<Error>,
    },
    /// Some devices are done, some are not.
    #[error("{failed} of {all} devices failed")]
    Some {
        /// How many failed.
        failed: usize,
        /// How many there are.
        all: usize,
    },
    /// It did not start.
    #[error("cannot run lspci: {0}")]
    Lspci(#[source] io::Error),
    /// It ended with an error.
    #[error("lspci failed: {status}")]
    LspciFailed {
        /// How it ended.
        status: ExitStatus,
    },
    /// The file does not fit.
    #[error("{length} bytes do not fit: the segment has {room} bytes behind the offset")]
    TooLong {
        /// Length wanted.
        length: u64,
        /// Length there is.
        room: u64,
    },
    /// The file is shorter than what was asked for.
    #[error("{} ended after {length} bytes", path.display())]
    TooShort {
        /// Which file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// There is nothing to make a segment of.
    #[error("{} is empty, and a segment has at least one byte", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

impl Error {
    /// What helps.
    pub fn mend(&self) -> Option<&str> {
        match self {
            Self::Skiff(error) => error.mend(),
            Self::LostWhileCopying => Some("look at the links, then copy again: skiff links"),
            Self::TooLong { .. } => Some("take less: --bytes, --offset"),
            Self::TooShort { .. } => Some("take less: --bytes"),
            Self::Empty { .. } => Some("give a length: --bytes"),
            Self::NotInPool { .. } => Some("list the pool: skiff device list; add it: skiff device add"),
            Self::NoDevice { .. } => Some(
                "list the devices: skiff device list; have the lender connect: skiff device connect",
            ),
            Self::NoFunction { .. } => Some("list the functions: lspci -D"),
            Self::NoMatch { .. } => Some("list the functions with their ids: lspci -Dnn"),
            Self::NoStub => Some("load the module: modprobe skiff"),
            Self::DriverBound { .. } => Some("stop what uses it, and take it away: --force"),
            Self::NotTaken { .. } => Some("look at the kernel's log: dmesg"),
            Self::HalfDone { .. } => Some("mend what failed, and call the command again"),
            Self::Lspci(_) => Some("install the package pciutils, or call it without options of lspci"),
            Self::File { .. }
            | Self::Print(_)
            | Self::Signals(_)
            | Self::Some { .. }
            | Self::LspciFailed { .. } => None,
        }
    }

    /// Name of the errno, if there is one.
    pub fn errno(&self) -> Option<String> {
        match self {
            Self::Skiff(error) => Some(error.name()),
            Self::HalfDone { error, .. } => error.errno(),
            Self::File { cause, .. } | Self::Print(cause) | Self::Lspci(cause) => cause
                .raw_os_error()
                .map(|errno| format!("{:?}", nix::errno::Errno::from_raw(errno))),
            Self::Signals(errno) => Some(format!("{errno:?}")),
            Self::LostWhileCopying
            | Self::TooLong { .. }
            | Self::TooShort { .. }
            | Self::Empty { .. }
            | Self::NotInPool { .. }
            | Self::NoDevice { .. }
            | Self::NoFunction { .. }
            | Self::NoMatch { .. }
            | Self::NoStub
            | Self::DriverBound { .. }
            | Self::NotTaken { .. }
            | Self::Some { .. }
            | Self::LspciFailed { .. } => None,
        }
    }
}
