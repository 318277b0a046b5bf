// SPDX-License-Identifier: GPL-2.0
//! The command `skiff`: shows the fabric, makes, fills, copies and watches shared segments, lends and borrows devices.
//!
//! Called by the name smartio_tool it is that command.
//!
//! Results go to stdout, as text or with `--json` as one JSON value a line. What went wrong
//! goes to stderr, with its cause and what mends it. Exit code: 0 done, 1 failed, 2 usage.

mod arguments;
mod device;
mod error;
mod fabric;
mod generate;
mod output;
mod segment;
mod signals;
mod smartio;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::arguments::Command;
use crate::arguments::Segment;
use crate::error::Error;
use crate::output::Output;

fn main() -> ExitCode {
    let (output, done) = if smartio::is_called() {
        smartio::main()
    } else {
        let arguments = Arguments::parse();
        let output = Output::new("skiff", arguments.json);
        (output, run(arguments.command, &output))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, output: &Output) -> Result<(), Error> {
    match command {
        Command::Nodes => fabric::nodes(output),
        Command::Links => fabric::links(output),
        Command::Segments(list) => fabric::segments(&list, output),
        Command::Segment(Segment::Create(create)) => segment::create::run(&create, output),
        Command::Segment(Segment::Put(copy)) => segment::copy::put(&copy, output),
        Command::Segment(Segment::Get(copy)) => segment::copy::get(&copy, output),
        Command::Segment(Segment::Watch(watch)) => segment::watch::run(&watch, output),
        Command::Device(command) => device::run(command, output),
        Command::Completion { shell, of } => generate::completion(shell, of),
        Command::Man { folder } => generate::man(&folder),
    }
}
