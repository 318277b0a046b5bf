// SPDX-License-Identifier: GPL-2.0
//! What the kernel of a node has said since it booted, as its agent tells the host: no process of the node looks for it.

use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use regex::Regex;
use skiff_cluster::Node;

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(50);

/// Lines that the kernel of a node is to say once more than it has by now.
#[derive(Debug)]
pub struct Line<'a> {
    node: &'a Node,
    pattern: Regex,
    before: usize,
}

impl<'a> Line<'a> {
    /// Lines that match a regular expression.
    pub fn new(node: &'a Node, pattern: &str) -> Result<Self> {
        let pattern = Regex::new(pattern)?;
        let before = count(node, &pattern);
        Ok(Self {
            node,
            pattern,
            before,
        })
    }

    /// Waits until one comes.
    pub fn wait(&self, limit: Duration) -> Result<()> {
        let started = Instant::now();
        while count(self.node, &self.pattern) <= self.before {
            ensure!(
                started.elapsed() < limit,
                "node {} does not say {:?}",
                self.node.index(),
                self.pattern.as_str()
            );
            sleep(PAUSE);
        }
        Ok(())
    }
}

fn count(node: &Node, pattern: &Regex) -> usize {
    let said = node.kernel_log();
    said.iter().filter(|line| pattern.is_match(line)).count()
}
