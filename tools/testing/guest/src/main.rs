// SPDX-License-Identifier: GPL-2.0
//! skiff-guest: the test programs that run inside an emulated node.
//!
//! Commands that measure or count print one JSON object; in-node tests print KTAP.

mod abi;
mod allocation;
mod bench;
mod disk;
mod hostile;
mod idt;
mod ioctl_fuzz;
mod ktap;
mod modules;
mod nvme;
mod pci;
mod random;
mod share;
mod window;

use anyhow::Result;
use clap::Parser;
use clap::Subcommand;

use crate::idt::Bridge;
use crate::idt::Interrupt;
use crate::idt::Target;
use crate::idt::Window;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Adapter of this node, counted from 0.
    #[arg(long, global = true, default_value_t = 0)]
    adapter: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring this port's link up without a kernel driver.
    LinkEnable {
        /// This port's partition.
        partition: u8,
    },
    /// Program an entry of a window's lookup table.
    Slot {
        window: Window,
        index: u32,
        /// Peer's partition.
        partition: u8,
        /// Bus address at the peer.
        #[arg(value_parser = number)]
        address: u64,
    },
    /// Clear an entry of a window's lookup table.
    SlotClear { window: Window, index: u32 },
    /// Let peers write one interrupt message, or take an entry's permission back.
    AllowInterrupt {
        /// Entry of the allow table.
        index: u32,
        /// Address and data of the message; without them the entry is cleared.
        #[arg(value_parser = number, num_args = 2)]
        message: Vec<u64>,
    },
    /// Read or write a register of the bridge.
    Register {
        #[arg(value_parser = number)]
        offset: u64,
        #[arg(value_parser = number)]
        value: Option<u64>,
    },
    /// Access a window.
    #[command(subcommand)]
    Window(window::Command),
    /// Bus address and size of a BAR of the first function of a class.
    Bar {
        #[arg(value_parser = number)]
        class: u64,
        bar: usize,
        /// Enable memory decoding and bus mastering first.
        #[arg(long)]
        enable: bool,
    },
    /// Read a 32-bit register of the first function of a class, locally.
    BarRead {
        #[arg(value_parser = number)]
        class: u64,
        bar: usize,
        #[arg(value_parser = number)]
        offset: u64,
    },
    /// Test skiff_hello.ko (KTAP).
    Hello,
    /// Sweep every allocation of skiff_faults.ko's ioctl with fault injection (KTAP).
    FailNth,
    /// Have a driver bind to a PCI function, or without one whatever fits, by sysfs.
    Bind {
        function: String,
        driver: Option<String>,
    },
    /// Write to the disk behind an NVMe controller of this node and read it back, without a kernel driver; prints JSON.
    NvmeLocal(nvme::local::Options),
    /// Hold objects of /dev/skiff and do what `act` says.
    Actor(share::Actor),
    /// Have an actor do a step; prints JSON.
    Act(share::Act),
    /// Bad input for /dev/skiff (KTAP).
    Abi {
        /// A function of this node to lend, with a memory BAR and an interrupt.
        function: String,
    },
    /// Random calls on /dev/skiff (KTAP).
    IoctlFuzz(ioctl_fuzz::Options),
    /// Sweep every allocation of every call on /dev/skiff with fault injection (KTAP).
    Allocation {
        /// Number of another node that offers a segment to connect to.
        #[arg(long)]
        peer: Option<u64>,
        /// A function of this node to lend, with a memory BAR and an interrupt.
        #[arg(long)]
        lend: Option<String>,
    },
    /// Work with a block device past the page cache; prints JSON.
    #[command(subcommand)]
    Disk(disk::Command),
    /// Attack other nodes without skiff.ko, over the bridge; prints JSON.
    Hostile(hostile::Options),
    /// Measure; prints JSON.
    #[command(subcommand)]
    Bench(bench::Command),
}

/// A number as C writes it: decimal or 0x-prefixed.
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bridge = || Bridge::open(arguments.adapter);
    match arguments.command {
        Command::LinkEnable { partition } => bridge()?.enable_link(partition),
        Command::Slot {
            window,
            index,
            partition,
            address,
        } => bridge()?.set_slot(window, index, Some(Target { partition, address })),
        Command::SlotClear { window, index } => bridge()?.set_slot(window, index, None),
        Command::AllowInterrupt { index, message } => {
            let interrupt = match message[..] {
                [address, data] => Some(Interrupt {
                    address: u32::try_from(address)?,
                    data: u32::try_from(data)?,
                }),
                _ => None,
            };
            bridge()?.allow_interrupt(index, interrupt)
        }
        Command::Register { offset, value } => {
            let bridge = bridge()?;
            let offset = usize::try_from(offset)?;
            match value {
                Some(value) => bridge.write(offset, u32::try_from(value)?),
                None => {
                    println!("{:#010x}", bridge.read(offset)?);
                    Ok(())
                }
            }
        }
        Command::Window(command) => command.run(&bridge()?),
        Command::Bar { class, bar, enable } => {
            let function = pci::Function::by_class(u32::try_from(class)?, 0)?;
            if enable {
                function.enable()?;
            }
            let (address, size) = function.bar(bar)?;
            println!("{address:#x} {size:#x}");
            Ok(())
        }
        Command::BarRead { class, bar, offset } => {
            let function = pci::Function::by_class(u32::try_from(class)?, 0)?;
            println!(
                "{:#010x}",
                function.map(bar)?.read::<u32>(usize::try_from(offset)?)?
            );
            Ok(())
        }
        Command::Hello => modules::hello(),
        Command::FailNth => modules::fail_nth(),
        Command::Bind { function, driver } => {
            pci::Function::by_name(&function)?.bind(driver.as_deref())
        }
        Command::NvmeLocal(options) => nvme::local::run(&options),
        Command::Actor(actor) => actor.run(),
        Command::Act(act) => act.run(),
        Command::Abi { function } => abi::run(&function),
        Command::IoctlFuzz(options) => ioctl_fuzz::run(&options),
        Command::Allocation { peer, lend } => allocation::run(peer, lend.as_deref()),
        Command::Disk(command) => command.run(),
        Command::Hostile(options) => options.run(arguments.adapter),
        Command::Bench(command) => command.run(bridge),
    }
}
