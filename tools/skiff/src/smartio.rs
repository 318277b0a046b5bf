// SPDX-License-Identifier: GPL-2.0
//! The command by the name smartio_tool: what programs and people know from SmartIO.
//!
//! Nodes have the numbers of SmartIO here: 4 for node 0, 8 for node 1, and so on, as in a fabric device id.

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;
use clap::Subcommand;
use skiff::Context;
use skiff::Fdid;
use skiff::Filter as Devices;
use skiff::LendOptions;
use skiff::Node;
use skiff::PciAddress;
use skiff::Protection;

use crate::arguments::device::Target;
use crate::device;
use crate::device::config;
use crate::device::filter::Filter;
use crate::device::filter::Ids;
use crate::device::list;
use crate::device::sysfs;
use crate::device::sysfs::System;
use crate::error::Error;
use crate::output::Output;

/// The name.
pub const NAME: &str = "smartio_tool";

/// Lends PCI functions of this node, lists those of other nodes
///
/// The same as skiff device, with the words and numbers of SmartIO: node 0 is NodeId 4, node 1 is
/// NodeId 8, and so on. A FILTER is [VENDOR]:[DEVICE][:CLASS] in hexadecimal digits, as for lspci -d.
#[derive(Debug, Parser)]
#[command(name = NAME, version)]
pub struct Arguments {
    /// Print JSON, one value a line, errors too
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the devices that this node lends, and those that others lend and let it see
    List,
    /// Add a function of this node to the pool, not yet available
    Add {
        /// [DOMAIN:]BUS:DEVICE.FUNCTION, as lspci prints it
        #[arg(value_name = "BDF")]
        function: PciAddress,
    },
    /// Add all functions of this node that a filter matches
    AddFilter { filter: Filter },
    /// Let connected nodes borrow a device; its driver is taken away
    Available {
        #[command(flatten)]
        how: How,
        /// [DOMAIN:]BUS:DEVICE.FUNCTION, or a fabric device id
        #[arg(value_name = "BDF")]
        device: Target,
    },
    /// Let connected nodes borrow all devices of this node that a filter matches
    AvailableFilter {
        #[command(flatten)]
        how: How,
        filter: Filter,
    },
    /// Let nobody borrow a device any more; its driver comes back
    Unavailable {
        #[command(flatten)]
        withdraw: Withdraw,
        /// [DOMAIN:]BUS:DEVICE.FUNCTION, or a fabric device id
        #[arg(value_name = "BDF")]
        device: Target,
    },
    /// Let nobody borrow any device of this node that a filter matches
    UnavailableFilter {
        #[command(flatten)]
        withdraw: Withdraw,
        filter: Filter,
    },
    /// Take a device out of the pool, after making it unavailable
    Remove {
        #[command(flatten)]
        withdraw: Withdraw,
        /// [DOMAIN:]BUS:DEVICE.FUNCTION, or a fabric device id
        #[arg(value_name = "BDF")]
        device: Target,
    },
    /// Show the pool of this node to another one; both directions need a command each
    Connect {
        /// NodeId: 4, 8, 12, ...
        #[arg(value_name = "NODEID", value_parser = node_id)]
        node: Node,
    },
    /// Hide the pool of this node from another one, which loses what it has borrowed
    Disconnect {
        /// NodeId: 4, 8, 12, ...
        #[arg(value_name = "NODEID", value_parser = node_id)]
        node: Node,
    },
    /// Print the configuration space of a device as lspci -xxxx does, or have lspci explain it
    Lspci {
        /// Fabric device id
        fdid: Fdid,
        /// Options of lspci: -v, -vvv, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct How {
    /// Take its driver away without asking
    #[arg(long)]
    force: bool,
    /// Lend it although no IOMMU keeps it, and who borrows it, from the memory of this node
    #[arg(long = "unsafe")]
    unprotected: bool,
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Withdraw {
    /// Take it from those who have borrowed it
    #[arg(long)]
    force: bool,
}

/// Whether the command was called by this name.
pub fn is_called() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| {
        Path::new(&name)
            .file_name()
            .is_some_and(|name| name == NAME)
    })
}

/// Does what the arguments say.
pub fn main() -> (Output, Result<(), Error>) {
    let arguments = Arguments::parse();
    let output = Output::new(NAME, arguments.json);
    (output, run(arguments.command, &output))
}

/// Everybody may borrow what is added: who sees the pool is chosen by connecting.
fn lent() -> LendOptions {
    LendOptions::new().mode(0o666)
}

fn run(command: Command, output: &Output) -> Result<(), Error> {
    match command {
        Command::List => {
            for row in list::rows(&Context::open()?, &Devices::new())? {
                output.line(&row, list::Row::line)?;
            }
            Ok(())
        }
        Command::Add { function } => device::add(function, &lent(), output),
        Command::AddFilter { filter } => {
            let found = sysfs::functions(&System, |ids| filter.matches(ids))?;
            each(output, filter, &found, |function| {
                device::add(function.address(), &lent(), output)
            })
        }
        Command::Available { how, device } => make_available(device, how),
        Command::AvailableFilter { how, filter } => each(output, filter, &own(filter)?, |device| {
            make_available(*device, how)
        }),
        Command::Unavailable { withdraw, device } => {
            device::unavailable(device, device::withdrawal(withdraw.force))
        }
        Command::UnavailableFilter { withdraw, filter } => {
            let withdrawal = device::withdrawal(withdraw.force);
            each(output, filter, &own(filter)?, |device| {
                device::unavailable(*device, withdrawal)
            })
        }
        Command::Remove { withdraw, device } => {
            device::remove(device, device::withdrawal(withdraw.force))
        }
        Command::Connect { node } => Ok(Context::open()?.lend_connect(node)?),
        Command::Disconnect { node } => Ok(Context::open()?.lend_disconnect(node)?),
        Command::Lspci { fdid, options } => config::run(fdid, &options),
    }
}

fn make_available(device: Target, how: How) -> Result<(), Error> {
    let protection = if how.unprotected {
        Protection::Waived
    } else {
        Protection::Required
    };
    device::available(device, how.force, protection)
}

/// The devices in the pool of this node that a filter matches.
fn own(filter: Filter) -> Result<Vec<Target>, Error> {
    let context = Context::open()?;
    let own = Devices::new().node(context.info()?.node);
    let devices = context.devices(&own)?;
    let wanted = devices.iter().filter(|device| {
        filter.matches(Ids {
            vendor: device.vendor,
            device: device.device,
            class: device.class,
        })
    });
    Ok(wanted.map(|device| Target::Fdid(device.fdid)).collect())
}

/// Does the same with all of them, also when it fails with one.
fn each<T>(
    output: &Output,
    filter: Filter,
    all: &[T],
    what: impl Fn(&T) -> Result<(), Error>,
) -> Result<(), Error> {
    if all.is_empty() {
        return Err(Error::NoMatch { filter });
    }
    let failed = all
        .iter()
        .filter_map(|one| what(one).err())
        .inspect(|error| output.error(error))
        .count();
    match failed {
        0 => Ok(()),
        failed => Err(Error::Some {
            failed,
            all: all.len(),
        }),
    }
}

/// A node by its number in SmartIO.
fn node_id(word: &str) -> Result<Node, String> {
    let number: u32 = word.parse().map_err(|_| String::from("no number"))?;
    if number == 0 || number % 4 != 0 {
        return Err(String::from(
            "a NodeId is a multiple of 4: 4 is node 0, 8 is node 1",
        ));
    }
    Ok(Node::Number(number / 4 - 1))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_words_are_those_of_smartio() {
        let parse = |words: &str| Arguments::try_parse_from(words.split(' '));
        for good in [
            "smartio_tool list",
            "smartio_tool add 03:00.0",
            "smartio_tool add 0000:03:00.0",
            "smartio_tool available 03:00.0",
            "smartio_tool available --force 03:00.0",
            "smartio_tool available 40000 --unsafe",
            "smartio_tool unavailable 03:00.0",
            "smartio_tool remove 03:00.0",
            "smartio_tool connect 8",
            "smartio_tool lspci 80000",
            "smartio_tool lspci 80000 -vv",
            "smartio_tool add-filter 8086:",
            "smartio_tool available-filter --force ::0108",
            "smartio_tool unavailable-filter ::0108",
        ] {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good).err());
        }
        for bad in [
            "smartio_tool",
            "smartio_tool add 80000",
            "smartio_tool connect 5",
            "smartio_tool connect 0",
            "smartio_tool add-filter :",
            "smartio_tool lspci 03:00.0",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nodes_have_numbers_of_smartio() {
        assert_eq!(node_id("4"), Ok(Node::Number(0)));
        assert_eq!(node_id("256"), Ok(Node::Number(63)));
        assert!(node_id("6").is_err());
    }
}
