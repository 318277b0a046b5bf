// SPDX-License-Identifier: GPL-2.0
//! The agent inside an emulated node: runs commands and copies files for the host.
//!
//! As process 1 it also prepares the machine and collects orphans. The main thread only reads the port and hands
//! packets on; every stream has a thread of its own, one thread collects children, one follows the kernel log.

mod file;
mod init;
mod job;
mod kmsg;
mod mailbox;
mod port;
mod reaper;
mod session;
mod terminal;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::set_up();
    }
    match session::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skiff-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
