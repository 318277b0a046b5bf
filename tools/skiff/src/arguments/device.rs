// SPDX-License-Identifier: GPL-2.0
//! What `skiff device` understands.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;
use skiff::Fdid;
use skiff::Node;
use skiff::PciAddress;

use super::mode;
use super::node;
use super::seconds;
use crate::device::filter::Hex;

#[derive(Debug, Subcommand)]
pub enum Device {
    /// List the devices that this node lends, and those that others lend and let it see
    List(List),
    /// Print all that is known of a device
    Info {
        /// Fabric device id
        fdid: Fdid,
    },
    /// Add a function of this node to the pool, not yet available
    Add(Add),
    /// Let other nodes borrow a device of this node; its driver is taken away
    Available(Available),
    /// Let nobody borrow a device of this node any more; its driver comes back
    Unavailable(Withdraw),
    /// Take a device of this node out of the pool, after making it unavailable
    Remove(Withdraw),
    /// Show this node's pool to another node
    Connect {
        /// Number of that node
        #[arg(value_parser = node)]
        node: Node,
    },
    /// Hide this node's pool from another node, which loses what it has borrowed
    Disconnect {
        /// Number of that node
        #[arg(value_parser = node)]
        node: Node,
    },
    /// Borrow a device and print what happens to it, until SIGTERM, SIGINT, or the end of stdin if that is a pipe
    Borrow(Borrow),
    /// Print a device's configuration space as lspci -xxxx does, or have lspci explain it
    Lspci(Lspci),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only those of this lender
    #[arg(long)]
    pub node: Option<u32>,
    /// Only those of this class: 2, 4 or 6 hexadecimal digits
    #[arg(long)]
    pub class: Option<Hex<6>>,
    /// Only those of this vendor, hexadecimal
    #[arg(long)]
    pub vendor: Option<Hex<4>>,
    /// Only those with this device id, hexadecimal
    #[arg(long)]
    pub device: Option<Hex<4>>,
    /// Only the one with this serial number, hexadecimal
    #[arg(long)]
    pub serial: Option<Hex<16>>,
}

#[derive(Debug, Args)]
pub struct Add {
    /// Where it is: [DOMAIN:]BUS:DEVICE.FUNCTION, as lspci prints it
    pub function: PciAddress,
    /// Who may borrow it, octal, as for files; root of another node counts as nobody
    #[arg(long, value_parser = mode, default_value = "666")]
    pub mode: u32,
    /// Nodes that may borrow it, separated by commas; without it all that see the pool
    #[arg(long, value_delimiter = ',')]
    pub nodes: Vec<u32>,
}

#[derive(Debug, Args)]
pub struct Available {
    /// Fabric device id, or [DOMAIN:]BUS:DEVICE.FUNCTION
    pub device: Target,
    /// Take its driver away without asking
    #[arg(long)]
    pub force: bool,
    /// Lend it although no IOMMU keeps it, and who borrows it, from the memory of this node
    #[arg(long = "unsafe")]
    pub unprotected: bool,
}

#[derive(Debug, Args)]
pub struct Withdraw {
    /// Fabric device id, or [DOMAIN:]BUS:DEVICE.FUNCTION
    pub device: Target,
    /// Take it from those who have borrowed it
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Borrow {
    /// Fabric device id
    pub fdid: Fdid,
    /// Borrow it alone
    #[arg(long)]
    pub exclusive: bool,
    /// Limit of the wait for the lender in seconds, 0.001 to 60
    #[arg(long, value_parser = seconds, default_value = "5")]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Lspci {
    /// Fabric device id
    pub fdid: Fdid,
    /// Options of lspci, which explains the configuration space then: -v, -vvv, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<OsString>,
}

/// A device of this node, by either of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Its fabric device id.
    Fdid(Fdid),
    /// Where it is.
    Function(PciAddress),
}

impl std::str::FromStr for Target {
    type Err = skiff::BadName;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word.contains([':', '.']) {
            return word.parse().map(Self::Function);
        }
        word.parse().map(Self::Fdid)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fdid(fdid) => fdid.fmt(f),
            Self::Function(function) => function.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_two_names() {
        assert_eq!("80000".parse(), Ok(Target::Fdid(0x8_0000.into())));
        let function = PciAddress::new(0, 0x0300);
        assert_eq!("03:00.0".parse(), Ok(Target::Function(function)));
        assert!("03.0".parse::<Target>().is_err());
        assert!("nvme0".parse::<Target>().is_err());
    }
}
