// SPDX-License-Identifier: GPL-2.0
//! Completion scripts and man pages, made of the same definition as the arguments.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::arguments::Face;
use crate::error::Error;
use crate::smartio;
use crate::smartio::Arguments as Smartio;

/// Prints a completion script.
pub fn completion(shell: Shell, of: Face) -> Result<(), Error> {
    let mut script = Vec::new();
    let (mut command, name) = match of {
        Face::Skiff => (Arguments::command(), "skiff"),
        Face::SmartioTool => (Smartio::command(), smartio::NAME),
    };
    clap_complete::generate(shell, &mut command, name, &mut script);
    io::Write::write_all(&mut io::stdout(), &script).map_err(Error::Print)
}

/// Writes skiff.1 and a page for each command, and smartio_tool.1 with its own.
pub fn man(folder: &Path) -> Result<(), Error> {
    for command in [Arguments::command(), Smartio::command()] {
        clap_mangen::generate_to(command, folder).map_err(|cause| Error::File {
            what: "write man pages to",
            path: folder.to_owned(),
            cause,
        })?;
    }
    Ok(())
}
