// SPDX-License-Identifier: GPL-2.0
//! One node: a QEMU machine and the agent inside it.

use std::path::Path;
use std::time::Duration;

use crate::{Command, Error, Finding, Kernel, Occurs, Output};

/// A node of a cluster. All methods may be called from several threads.
#[derive(Debug)]
pub struct Node {}

impl Node {
    /// Its index in the cluster, from 0.
    pub fn index(&self) -> usize {
        unimplemented!()
    }

    /// The kernel it boots.
    pub fn kernel(&self) -> Kernel {
        unimplemented!()
    }

    /// The port (partition index) of its adapter `adapter`.
    ///
    /// # Panics
    /// If it has no such adapter.
    pub fn port(&self, _adapter: usize) -> u8 {
        unimplemented!()
    }

    /// The ports of all its adapters.
    pub fn ports(&self) -> &[u8] {
        unimplemented!()
    }

    /// From the start of its QEMU to the first answer of its agent, for the current boot.
    pub fn boot_time(&self) -> Duration {
        unimplemented!()
    }

    /// Runs a shell line to its end, with a limit of 60 s.
    ///
    /// # Errors
    /// A failing command is not an error, see [`Output::check`]; an unreachable node is.
    pub fn run(&self, line: &str) -> Result<Output, Error> {
        self.shell(line).run()
    }

    /// A shell line, to be refined and run.
    pub fn shell(&self, line: &str) -> Command {
        self.command(["/bin/sh", "-c", line])
    }

    /// A program with its arguments, to be refined and run.
    pub fn command<I, S>(&self, _argv: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        unimplemented!()
    }

    /// Copies a host file into the node; mode bits are kept, missing folders are made.
    ///
    /// # Errors
    /// [`Error::Io`] for the host file, [`Error::Agent`] for the node's.
    pub fn put(&self, _local: &Path, _remote: &str) -> Result<(), Error> {
        unimplemented!()
    }

    /// Copies a file of the node to the host; mode bits are kept.
    ///
    /// # Errors
    /// As [`Node::put`].
    pub fn get(&self, _remote: &str, _local: &Path) -> Result<(), Error> {
        unimplemented!()
    }

    /// Writes a file (mode 0644) in the node.
    ///
    /// # Errors
    /// [`Error::Agent`] when the node refuses.
    pub fn write(&self, _bytes: &[u8], _remote: &str) -> Result<(), Error> {
        unimplemented!()
    }

    /// Reads a file of the node.
    ///
    /// # Errors
    /// [`Error::Agent`] when the node refuses.
    pub fn read(&self, _remote: &str) -> Result<Vec<u8>, Error> {
        unimplemented!()
    }

    /// Loads a module of the node's /lib/modules after those it depends on; `name` may be followed by parameters.
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown module, [`Error::Failed`] when the kernel refuses one.
    pub fn modprobe(&self, _name: &str) -> Result<(), Error> {
        unimplemented!()
    }

    /// Waits until a shell line succeeds, trying it every 50 ms.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the line's last output.
    pub fn wait_for(&self, _line: &str, _limit: Duration) -> Result<Output, Error> {
        unimplemented!()
    }

    /// Waits until a line of the current boot's kernel log matches the regular expression; returns that line.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_log(&self, _pattern: &str, _limit: Duration) -> Result<String, Error> {
        unimplemented!()
    }

    /// The kernel log of the current boot, one line each as `[    1.234567] text`.
    pub fn kernel_log(&self) -> Vec<String> {
        unimplemented!()
    }

    /// The kernel log of every boot so far.
    pub fn kernel_logs(&self) -> Vec<Vec<String>> {
        unimplemented!()
    }

    /// Declares a kernel log line (a regular expression) that would otherwise count against this node.
    ///
    /// # Errors
    /// [`Error::Config`] for a bad pattern.
    pub fn expect_log(&self, _pattern: &str, _occurs: Occurs) -> Result<(), Error> {
        unimplemented!()
    }

    /// What is wrong with this node's kernel logs so far.
    pub fn log_findings(&self) -> Vec<Finding> {
        unimplemented!()
    }

    /// Kills its QEMU at once, as if the node had lost power. [`Node::start`] starts it afresh.
    ///
    /// # Errors
    /// [`Error::Config`] if it does not run.
    pub fn kill(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Starts a killed node in a fresh QEMU and waits for its agent.
    ///
    /// # Errors
    /// As [`crate::Builder::start`].
    pub fn start(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Whether its QEMU runs (also when paused).
    pub fn is_running(&self) -> bool {
        unimplemented!()
    }

    /// Stops its whole QEMU process (SIGSTOP): the node answers nothing, its memory stays.
    ///
    /// # Errors
    /// [`Error::Config`] if it does not run.
    pub fn pause(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Ends [`Node::pause`].
    ///
    /// # Errors
    /// [`Error::Config`] if it does not run.
    pub fn resume(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Stops only its virtual CPUs (QMP stop): its devices still answer.
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn stop_cpus(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Ends [`Node::stop_cpus`].
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn cont_cpus(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Reboots the guest from inside, in the same QEMU, and waits for its agent.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the end of the console log.
    pub fn reboot(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Presses the reset button (QMP system_reset) and waits for the agent: no driver gets to clean up.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the end of the console log.
    pub fn reset(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Hot-unplugs adapter `adapter`'s slot and waits until QEMU reports its functions gone.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the guest does not let go; [`Error::Qmp`].
    pub fn unplug_ntb(&self, _adapter: usize) -> Result<(), Error> {
        unimplemented!()
    }

    /// Hot-plugs adapter `adapter` again and waits until the guest lists it on its PCI bus.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Qmp`].
    pub fn plug_ntb(&self, _adapter: usize) -> Result<(), Error> {
        unimplemented!()
    }

    /// The guest's PCI address of adapter `adapter`, e.g. `0000:01:00.0`.
    ///
    /// # Errors
    /// [`Error::Config`] if it is unplugged; an unreachable node.
    pub fn ntb_address(&self, _adapter: usize) -> Result<String, Error> {
        unimplemented!()
    }
}
