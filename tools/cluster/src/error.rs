// SPDX-License-Identifier: GPL-2.0
//! The errors of this crate; each names the node and what was asked of it, waits also the end of the node's console.

use std::io;
use std::time::Duration;

use crate::{Finding, Output};

/// Why something about a cluster failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A cluster was asked for that cannot be built.
    #[error("{0}")]
    Config(String),

    /// A file that the cluster is made of does not exist.
    #[error("{what} is missing: {path} ({hint})")]
    Missing {
        /// What the file is.
        what: String,
        /// Where it was looked for.
        path: String,
        /// How to get it.
        hint: String,
    },

    /// The host's operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Its answer.
        source: io::Error,
    },

    /// Something did not happen in time.
    #[error("{who}: no {what} within {limit:?}{tail}")]
    Timeout {
        /// The node (or the switch).
        who: String,
        /// What was awaited.
        what: String,
        /// How long.
        limit: Duration,
        /// End of the console log, with a heading, or empty.
        tail: String,
    },

    /// The node (or the switch) went away, or its kernel panicked, while something was asked of it.
    #[error("{who} is gone ({why}) while awaiting {what}{tail}")]
    Gone {
        /// The node (or the switch).
        who: String,
        /// What is known about its end.
        why: String,
        /// What was awaited.
        what: String,
        /// End of the console log, with a heading, or empty.
        tail: String,
    },

    /// The agent in the node refused a request.
    #[error("{who}: {what}: {message}")]
    Agent {
        /// The node.
        who: String,
        /// What was asked.
        what: String,
        /// Its answer.
        message: String,
    },

    /// QEMU refused a monitor command.
    #[error("{who}: QEMU refused {command}: {message}")]
    Qmp {
        /// The node.
        who: String,
        /// The command.
        command: String,
        /// Its answer.
        message: String,
    },

    /// A command in a node failed and [`Output::check`] was asked.
    #[error("node {}: `{}` ended with {}{}{}", .0.node, .0.command, .0.status,
        section("standard output", &.0.stdout), section("standard error", &.0.stderr))]
    Failed(Box<Output>),

    /// Kernel logs hold lines that nobody declared, or lack lines that were declared to occur.
    #[error("{}", dirty(.0))]
    Log(Vec<Finding>),
}

fn section(name: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    format!(
        "\n--- {name}:\n{}",
        String::from_utf8_lossy(bytes).trim_end()
    )
}

fn dirty(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    format!("kernel logs are not clean:\n{}", lines.join("\n"))
}
