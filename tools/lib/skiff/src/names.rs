// SPDX-License-Identifier: GPL-2.0
//! How nodes and adapters are named, and sets of their numbers.

use std::fmt;

use crate::uapi;

/// A node: this one, or one with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// This node.
    Local,
    /// The node with this number.
    Number(u32),
}

impl Node {
    pub(crate) fn raw(self) -> u32 {
        match self {
            Self::Local => uapi::SKIFF_NODE_LOCAL,
            Self::Number(number) => number,
        }
    }
}

impl From<u32> for Node {
    fn from(number: u32) -> Self {
        match number {
            uapi::SKIFF_NODE_LOCAL => Self::Local,
            number => Self::Number(number),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => write!(f, "this node"),
            Self::Number(number) => write!(f, "node {number}"),
        }
    }
}

/// An adapter of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adapter {
    /// The first one that reaches the node, or all of them, as the operation says.
    #[default]
    Any,
    /// The adapter with this number.
    Number(u32),
}

impl Adapter {
    pub(crate) fn raw(self) -> u32 {
        match self {
            Self::Any => uapi::SKIFF_ADAPTER_ANY,
            Self::Number(number) => number,
        }
    }
}

impl From<u32> for Adapter {
    fn from(number: u32) -> Self {
        match number {
            uapi::SKIFF_ADAPTER_ANY => Self::Any,
            number => Self::Number(number),
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => write!(f, "any adapter"),
            Self::Number(number) => write!(f, "adapter {number}"),
        }
    }
}

/// A set of numbers below 64: of nodes, adapters or ports.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    /// Bit n stands for number n.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// These numbers; `None` when one of them is not below 64.
    pub(crate) fn of(numbers: &[u32]) -> Option<Self> {
        let bits = numbers.iter().try_fold(0, |bits, &number| {
            1u64.checked_shl(number).map(|bit| bits | bit)
        })?;
        Some(Self(bits))
    }

    /// Bit n stands for number n.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether `number` is in it.
    pub fn contains(self, number: u32) -> bool {
        1u64.checked_shl(number)
            .is_some_and(|bit| self.0 & bit != 0)
    }

    /// How many numbers are in it.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |&number| self.contains(number))
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
