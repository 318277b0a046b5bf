// SPDX-License-Identifier: GPL-2.0
//! Finds lines in kernel logs that must not be there.
//!
//! Pure: text in, findings out.

use std::fmt;

/// Whether a declared line has to occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurs {
    /// It may.
    Allowed,
    /// It must, at least once.
    Required,
}

/// Something wrong with a node's kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Index of the node.
    pub node: usize,
    /// What kind of line it is, e.g. "KASAN", or "missing" for a required line that never came.
    pub kind: &'static str,
    /// The line (or the pattern that is missing).
    pub line: String,
    /// The lines after it, which explain it.
    pub context: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}: {}: {}", self.node, self.kind, self.line)?;
        for line in &self.context {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}
