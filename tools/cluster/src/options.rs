// SPDX-License-Identifier: GPL-2.0
//! What a cluster can be made of: kernels, IOMMUs, port layouts and window kinds, each with a name for command lines.
//!
//! Plain values without state; [`std::str::FromStr`] and [`std::fmt::Display`] are inverse to each other.

use std::fmt;
use std::str::FromStr;

/// A name on a command line that none of an option's values has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not one of: {}", .allowed.join(", "))]
pub struct UnknownName {
    given: String,
    allowed: Vec<&'static str>,
}

macro_rules! named {
    ($type:ty, $( $value:expr => $name:literal ),+ $(,)?) => {
        impl $type {
            /// Every value, in the order in which they are listed to people.
            pub const ALL: &'static [$type] = &[$( $value ),+];

            /// The value's name on command lines and in messages.
            pub fn name(self) -> &'static str {
                $( if self == $value { return $name; } )+
                unreachable!("ALL lists every value")
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(given: &str) -> Result<Self, UnknownName> {
                match given {
                    $( $name => Ok($value), )+
                    _ => Err(UnknownName { given: given.to_owned(), allowed: vec![$( $name ),+] }),
                }
            }
        }
    };
}

/// The kernel that a node boots; its files are in the cache folder's `kernels/<name>/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// Debian's own kernel of the default version.
    Stock,
    /// Debian's own kernel of the other version that is known: 7.2 or 7.3.
    Other,
    /// Debian's own kernel, 7.2.
    Stock72,
    /// Debian's own kernel, 7.3.
    Stock73,
    /// The kernel with every checker on (KASAN, UBSAN, lockdep, kmemleak, fault injection, KUnit).
    Debug,
}

named!(Kernel,
    Kernel::Stock => "stock",
    Kernel::Other => "stock-other",
    Kernel::Stock72 => "stock-7.2",
    Kernel::Stock73 => "stock-7.3",
    Kernel::Debug => "debug",
);

/// How the memory windows of a cluster's ports are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowMode {
    /// mmapped into QEMU and re-pointed by the helper library: memory speed, loads and stores invisible to the switch.
    Mapped,
    /// Every access goes through the switch: slow, counted, same meaning.
    Trapped,
}

named!(WindowMode, WindowMode::Mapped => "mapped", WindowMode::Trapped => "trapped");

/// Where a port's memory window lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// In BAR2 of the NT function, as on the chip.
    Chip,
    /// In BAR2 of a companion function of the same slot, which makes register writes posted and devices' DMA fast.
    Companion,
}

named!(Layout, Layout::Chip => "chip", Layout::Companion => "companion");

/// What BAR2 and BAR4 of a port translate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LutMode {
    /// Two look-up tables of 12 slots.
    Lut12,
    /// A look-up table of 24 slots and one direct window.
    Lut24Direct,
}

named!(LutMode, LutMode::Lut12 => "lut12", LutMode::Lut24Direct => "lut24-direct");

/// The IOMMU of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Iommu {
    /// None: bus addresses are physical addresses.
    Off,
    /// QEMU's VT-d in caching mode, used for all devices.
    Intel {
        /// With interrupt remapping.
        remap: bool,
    },
    /// virtio-iommu; its driver is loaded while the node starts.
    Virtio,
}

named!(Iommu,
    Iommu::Off => "off",
    Iommu::Intel { remap: false } => "intel",
    Iommu::Intel { remap: true } => "intel-remap",
    Iommu::Virtio => "virtio",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Copy + PartialEq + fmt::Debug + fmt::Display + FromStr>(all: &[T])
    where
        T::Err: fmt::Debug,
    {
        for value in all {
            assert_eq!(value.to_string().parse::<T>().unwrap(), *value);
        }
    }

    #[test]
    fn names_round_trip() {
        round_trip(Kernel::ALL);
        round_trip(WindowMode::ALL);
        round_trip(Layout::ALL);
        round_trip(LutMode::ALL);
        round_trip(Iommu::ALL);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "amd".parse::<Iommu>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"amd\" is not one of: off, intel, intel-remap, virtio"
        );
    }
}
