// SPDX-License-Identifier: GPL-2.0
//! Which node waits for which: finds the read that would close a circle, before anybody waits in it.
//!
//! A machine that waits for a trapped read serves nobody meanwhile, so reads in a circle would all wait until they time
//! out. The graph has a lock of its own that is held for a moment only and never together with another.

use std::sync::{Mutex, PoisonError};

/// A machine: all ports that one QEMU process has wait together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// A process.
    Process(i32),
    /// A connection whose process is not known, or is the switch's own.
    Connection(u64),
}

/// The read would close a circle of waiting nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cycle;

/// All reads that are under way.
#[derive(Debug, Default)]
pub(super) struct Waits {
    edges: Mutex<Vec<(Node, Node)>>,
}

impl Waits {
    /// Notes that `from` waits for `to` until the guard is dropped.
    pub(super) fn begin(&self, from: Node, to: Node) -> Result<Waiting<'_>, Cycle> {
        let mut edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        if reaches(&edges, to, from) {
            return Err(Cycle);
        }
        edges.push((from, to));
        Ok(Waiting {
            waits: self,
            edge: (from, to),
        })
    }
}

/// Whether following edges from `start` leads to `end` (which a node does to itself).
fn reaches(edges: &[(Node, Node)], start: Node, end: Node) -> bool {
    let mut seen = vec![start];
    let mut next = 0;
    while let Some(&node) = seen.get(next) {
        if node == end {
            return true;
        }
        for &(_, to) in edges.iter().filter(|(from, _)| *from == node) {
            if !seen.contains(&to) {
                seen.push(to);
            }
        }
        next += 1;
    }
    false
}

/// A read that is under way.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    waits: &'a Waits,
    edge: (Node, Node),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut edges = self
            .waits
            .edges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = edges.iter().position(|edge| *edge == self.edge) {
            edges.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u64) -> Node {
        Node::Connection(n)
    }

    #[test]
    fn the_read_that_closes_a_circle_is_refused_and_no_other() {
        let waits = Waits::default();
        assert_eq!(waits.begin(node(0), node(0)).unwrap_err(), Cycle);
        let ab = waits.begin(node(0), node(1)).unwrap();
        assert_eq!(waits.begin(node(1), node(0)).unwrap_err(), Cycle);
        let bc = waits.begin(node(1), node(2)).unwrap();
        assert_eq!(waits.begin(node(2), node(0)).unwrap_err(), Cycle);
        assert_eq!(waits.begin(node(2), node(1)).unwrap_err(), Cycle);
        let _ac = waits.begin(node(0), node(2)).unwrap();
        let _da = waits.begin(node(3), node(0)).unwrap();
        drop(bc);
        assert!(waits.begin(node(2), node(1)).is_ok());
        drop(ab);
        assert_eq!(waits.begin(node(2), node(0)).unwrap_err(), Cycle);
    }

    #[test]
    fn two_reads_of_one_edge_count_twice() {
        let waits = Waits::default();
        let one = waits.begin(node(0), node(1)).unwrap();
        let two = waits.begin(node(0), node(1)).unwrap();
        drop(one);
        assert!(waits.begin(node(1), node(0)).is_err());
        drop(two);
        assert!(waits.begin(node(1), node(0)).is_ok());
    }
}
