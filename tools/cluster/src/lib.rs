// SPDX-License-Identifier: GPL-2.0
//! Starts, drives and cleans up nodes (QEMU machines) on the emulated switch.
//!
//! A [`Cluster`] owns one switch process, its run directory and its [`Node`]s; a node owns its QEMU process, the
//! connection to the agent inside and its kernel logs. Everything may be used from several threads at once: each
//! node guards its own state, and no lock is held while a guest is awaited.
//!
//! ```no_run
//! use skiff_cluster::{Cluster, Kernel};
//!
//! # fn main() -> Result<(), skiff_cluster::Error> {
//! let cluster = Cluster::builder().nodes(2).kernel(Kernel::Stock).start()?;
//! let out = cluster.node(0).run("uname -r")?.check()?;
//! print!("{}", out.stdout_text());
//! cluster.stop()
//! # }
//! ```

mod builder;
mod cluster;
mod command;
mod error;
mod initramfs;
mod kernel;
mod klog;
mod link;
mod machine;
mod node;
mod options;
mod output;
mod places;
mod process;
mod qemu;
mod qmp;
mod rundir;
mod scan;
mod spec;
mod switch;
mod tasks;
mod tsc;

pub use builder::{Builder, NodeBuilder};
pub use cluster::Cluster;
pub use command::{Command, Conversation, Job};
pub use error::Error;
pub use node::{Node, PortError};
pub use options::{Iommu, Kernel, Layout, LutMode, UnknownName, WindowMode};
pub use output::{Output, Status};
pub use rundir::{exit_on_signals, running};
pub use scan::{Finding, Occurs};
