// SPDX-License-Identifier: GPL-2.0

//! Whether peers are held to what this node exports: by its IOMMU, its interrupt remapping and the board of the switch.

use kernel::fmt;
use skiff_ext::{
    iommu,
    iommu::Translation,
    pci, //
};

/// What the switch's own protection registers allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Board {
    /// A port can rewrite other ports' registers.
    Open,
    /// Each port writes its own.
    Guarded,
}

/// What is in force for an adapter. Printed, it says so, or what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Containment {
    translation: Translation,
    interrupts_isolated: bool,
    board: Board,
}

impl Containment {
    /// Looks at what is in force.
    pub(super) fn of(dev: &pci::Device, board: Board) -> Self {
        Self {
            translation: iommu::translation(dev),
            interrupts_isolated: iommu::interrupts_isolated(dev),
            board,
        }
    }

    /// Peers reach nothing but what is exported, and none of them can change that.
    pub(crate) fn holds(&self) -> bool {
        self.paging() && self.interrupts_isolated && self.board == Board::Guarded
    }

    /// Peers can raise no interrupts but the bridge's own: what they write is checked.
    pub(crate) fn interrupts_isolated(&self) -> bool {
        self.interrupts_isolated
    }

    /// A paging IOMMU domain holds the bridge function.
    pub(crate) fn paging(&self) -> bool {
        self.translation == Translation::Paging
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds() {
            return f.write_str("contained");
        }
        let memory = match self.translation {
            Translation::None => Some("no IOMMU: peers reach all memory"),
            Translation::Identity => {
                Some("the IOMMU passes addresses through: peers reach all memory")
            }
            Translation::Paging => None,
        };
        let interrupts = match self.interrupts_isolated {
            true => None,
            false => Some("no interrupt remapping: peers can raise interrupts"),
        };
        let board = match self.board {
            Board::Open => Some("the switch is not guarded: peers can rewrite its registers"),
            Board::Guarded => None,
        };
        let mut before = "not contained: ";

        for why in [memory, interrupts, board].into_iter().flatten() {
            f.write_str(before)?;
            f.write_str(why)?;
            before = "; ";
        }
        Ok(())
    }
}
