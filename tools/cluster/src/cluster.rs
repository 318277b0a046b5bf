// SPDX-License-Identifier: GPL-2.0
//! A running cluster: the switch, the nodes and the directory they share.

use std::path::Path;

use crate::{Builder, Error, Finding, Node};

/// A running cluster. Dropping it kills everything and removes its files; [`Cluster::stop`] also checks the logs.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// The description of a cluster of two stock nodes with one adapter each, to be changed and started.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(_builder: Builder) -> Result<Cluster, Error> {
        unimplemented!()
    }

    /// Every node, by index.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Node `index`, counted from 0.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The directory with sockets, logs and backing files; it exists as long as the cluster.
    pub fn run_dir(&self) -> &Path {
        unimplemented!()
    }

    /// Kills the switch process at once, as if the fabric had lost power; the nodes go on.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no running switch.
    pub fn kill_switch(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Starts a new switch in place of the killed one. Adapters of running nodes come back by [`Node::unplug_ntb`] and
    /// [`Node::plug_ntb`] or by a fresh start, because QEMU does not reconnect.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it does not get ready.
    pub fn restart_switch(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// What is wrong with the kernel logs so far: undeclared bad lines and missing required ones.
    pub fn log_findings(&self) -> Vec<Finding> {
        unimplemented!()
    }

    /// Powers everything off, removes all files, and checks the kernel logs of every node and boot.
    ///
    /// # Errors
    /// [`Error::Log`] for lines that were not declared with `expect_log`, or required ones that never came.
    pub fn stop(self) -> Result<(), Error> {
        unimplemented!()
    }
}
