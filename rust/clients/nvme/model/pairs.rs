// SPDX-License-Identifier: GPL-2.0
//! Which node has which pair of queues of a controller.
//!
//! A reset takes all pairs, but who had one may not have heard of it yet and ring its doorbells still. A doorbell of a pair that
//! there is not does nothing; that of a pair that is somebody else's by then would have the controller do again what is in that
//! one's memory. So the numbers of a node stay its own until it shows that it knows.
//!
//! # Locking
//!
//! None of its own: one user at a time.

use core::ops::DerefMut;

/// Whose a pair is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's.
    #[default]
    Nobody,
    /// This node's; the controller knows the pair.
    Node(u32),
    /// It was this node's, which may not know yet that the controller has forgotten it.
    Former(u32),
}

/// The pairs of a controller: pair n is at n - 1.
pub struct Pairs<S>(S);

impl<S: DerefMut<Target = [Holder]>> Pairs<S> {
    /// As many as there are elements; what they are does not matter.
    pub fn new(mut holders: S) -> Self {
        holders.fill(Holder::Nobody);
        Self(holders)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The number of a pair that nobody has, and nobody may take for its own.
    pub fn free(&self) -> Option<u16> {
        let index = self.0.iter().position(|holder| *holder == Holder::Nobody)?;
        u16::try_from(index.checked_add(1)?).ok()
    }

    /// The controller knows a pair of a node.
    pub fn mark(&mut self, number: u16, node: u32) {
        if let Some(holder) = self.place(number) {
            *holder = Holder::Node(node);
        }
    }

    /// The controller has forgotten a pair, whose node does not use it any more.
    pub fn clear(&mut self, number: u16) {
        if let Some(holder) = self.place(number) {
            *holder = Holder::Nobody;
        }
    }

    fn place(&mut self, number: u16) -> Option<&mut Holder> {
        self.0.get_mut(usize::from(number).checked_sub(1)?)
    }

    /// The controller has forgotten all pairs.
    pub fn reset(&mut self) {
        for holder in self.0.iter_mut() {
            if let Holder::Node(node) = *holder {
                *holder = Holder::Former(node);
            }
        }
    }

    /// A node uses no pair that it had before the controller was reset: it has shown that it knows, or is gone.
    pub fn knows(&mut self, node: u32) {
        for holder in self.0.iter_mut() {
            if *holder == Holder::Former(node) {
                *holder = Holder::Nobody;
            }
        }
    }

    /// Whether the controller knows this pair as one of a node.
    pub fn has(&self, number: u16, node: u32) -> bool {
        let index = usize::from(number).checked_sub(1);
        index.and_then(|index| self.0.get(index)) == Some(&Holder::Node(node))
    }

    /// The numbers of a node's pairs.
    pub fn of(&self, node: u32) -> impl Iterator<Item = u16> + '_ {
        (1..)
            .zip(self.0.iter())
            .filter(move |(_, holder)| **holder == Holder::Node(node))
            .map(|(number, _)| number)
    }
}
