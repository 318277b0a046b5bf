// SPDX-License-Identifier: GPL-2.0
//! What a node's kernel said and what is wrong with it. The log has its own lock, so have the declared lines.

use std::time::Duration;

use skiff_agent::message::Request;

use super::{lock, Node};
use crate::link::Flow;
use crate::scan::{scan, Expected};
use crate::spec::pattern;
use crate::{Error, Finding, Occurs};

/// How long a node may take to send what its log holds; a paused one sends nothing.
const SYNC_LIMIT: Duration = Duration::from_secs(3);

impl Node {
    /// Makes sure that what the kernel has logged by now has been received, unless the node does not answer.
    pub(crate) fn sync_log(&self) {
        let Ok(machine) = self.machine() else {
            return;
        };
        let sync = || {
            let stream = machine.link.open(Request::SyncLog, Flow::Collect)?;
            stream.wait(SYNC_LIMIT, |state| state.end.clone())
        };
        if let Err(error) = sync() {
            tracing::info!(
                node = self.spec.index,
                ?error,
                "the kernel log may be incomplete"
            );
        }
    }

    /// The kernel log of the current boot, one line each as `[    1.234567] text`.
    pub fn kernel_log(&self) -> Vec<String> {
        self.sync_log();
        self.log.current()
    }

    /// The kernel log of every boot so far.
    pub fn kernel_logs(&self) -> Vec<Vec<String>> {
        self.sync_log();
        self.log.boots()
    }

    /// Waits until a line of the current boot's kernel log matches the regular expression; returns that line.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_log(&self, text: &str, limit: Duration) -> Result<String, Error> {
        let wanted = pattern(text)?;
        self.log
            .wait(limit, |line| wanted.is_match(line))
            .ok_or_else(|| {
                let log = self.log.current();
                let tail = log[log.len().saturating_sub(20)..].join("\n");
                let what = format!("kernel log line that matches {text:?}");
                Error::Timeout {
                    who: self.who(),
                    what,
                    limit,
                    tail: format!("\n--- end of its log:\n{tail}"),
                }
            })
    }

    /// Declares a kernel log line (a regular expression) that would otherwise count against this node.
    ///
    /// # Errors
    /// [`Error::Config`] for a bad pattern.
    pub fn expect_log(&self, text: &str, occurs: Occurs) -> Result<(), Error> {
        lock(&self.expected).push(Expected {
            pattern: pattern(text)?,
            occurs,
        });
        Ok(())
    }

    /// What is wrong with this node's kernel logs so far, and accidents of its QEMU.
    pub fn log_findings(&self) -> Vec<Finding> {
        self.sync_log();
        let mut findings = scan(&self.who(), &self.log.everything(), &lock(&self.expected));
        let mut accidents = lock(&self.accidents).clone();
        accidents.extend(
            lock(&self.machine)
                .as_ref()
                .and_then(|machine| machine.unexpected_end()),
        );
        findings.extend(accidents.into_iter().map(|line| Finding {
            who: self.who(),
            kind: "accident",
            line,
            context: Vec::new(),
        }));
        findings
    }
}
