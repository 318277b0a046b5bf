// SPDX-License-Identifier: GPL-2.0
//! Errors that the root port above an adapter reports, as Advanced Error Reporting does. Nothing is kept here.

use serde_json::json;

use super::Node;
use crate::Error;

/// How bad it is (PCI Express base specification, section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortError {
    /// The link cannot be relied on: the guest resets what is below.
    Fatal,
    /// A transaction was lost.
    NonFatal,
}

impl PortError {
    /// An error of that kind, as QEMU calls it.
    fn name(self) -> &'static str {
        match self {
            PortError::Fatal => "DLP",
            PortError::NonFatal => "COMP_TIME",
        }
    }
}

impl Node {
    /// Lets the root port above adapter `adapter` report an error.
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn report_error(&self, adapter: usize, error: PortError) -> Result<(), Error> {
        self.adapter_port(adapter)?;
        let command = format!("pcie_aer_inject_error ntbport{adapter} {}", error.name());
        // There is no command of the machine protocol for it. What this one prints is for people; it starts with OK.
        let answer = self
            .machine()?
            .monitor("human-monitor-command", json!({ "command-line": command }))?;
        let answer = answer.as_str().unwrap_or_default();
        if answer.starts_with("OK") {
            return Ok(());
        }
        Err(Error::Qmp {
            who: self.who(),
            command,
            message: answer.trim().to_owned(),
        })
    }
}
