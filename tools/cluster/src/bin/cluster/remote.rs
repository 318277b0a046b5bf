// SPDX-License-Identifier: GPL-2.0
//! The other end of `cluster.sock`: shells and commands on a cluster that is up. One connection each, one thread.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use signal_hook::consts::SIGWINCH;

use crate::terminal::{size, Raw};
use crate::wire::{send, Ask, Receiver, Tell};
use crate::{exit_code, server, Failure};

/// Run directories of the clusters that can be reached.
fn reachable() -> Vec<PathBuf> {
    skiff_cluster::running()
        .into_iter()
        .filter(|folder| server::socket(folder).exists())
        .collect()
}

/// Lists the clusters that are up.
pub fn list() -> Result<ExitCode, Failure> {
    for folder in reachable() {
        println!("{}", folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn connect(which: Option<PathBuf>) -> Result<UnixStream, Failure> {
    let folder = match (which, reachable().as_slice()) {
        (Some(folder), _) => folder,
        (None, [only]) => only.clone(),
        (None, []) => return Err("no cluster is up; start one with `cluster up`".into()),
        (None, several) => {
            let names: Vec<_> = several
                .iter()
                .map(|folder| folder.display().to_string())
                .collect();
            return Err(format!(
                "several clusters are up, choose one by --cluster: {}",
                names.join(", ")
            )
            .into());
        }
    };
    UnixStream::connect(server::socket(&folder))
        .map_err(|error| format!("{}: {error}", folder.display()).into())
}

/// Runs a shell line on a node.
pub fn exec(which: Option<PathBuf>, node: usize, line: String) -> Result<ExitCode, Failure> {
    let connection = connect(which)?;
    send(&connection, &Ask::Run { node, line })?;
    let mut answers = Receiver::new(&connection);
    loop {
        match answers.next()? {
            Some(Tell::Output(bytes)) => io::stdout().write_all(&bytes)?,
            Some(Tell::Errors(bytes)) => io::stderr().write_all(&bytes)?,
            Some(Tell::Ended(code)) => {
                io::stdout().flush()?;
                return Ok(exit_code(code));
            }
            Some(Tell::Refused(why)) => return Err(why.into()),
            None => return Err("the cluster is gone".into()),
        }
    }
}

/// A shell on a node of some cluster.
pub fn shell(which: Option<PathBuf>, node: usize) -> Result<ExitCode, Failure> {
    talk(&connect(which)?, node).map(exit_code)
}

/// A shell on a node of the cluster in this run directory; returns its exit code.
pub fn shell_in(run_dir: &Path, node: usize) -> Result<i32, Failure> {
    talk(&UnixStream::connect(server::socket(run_dir))?, node)
}

/// Connects this terminal with a shell until that ends.
fn talk(connection: &UnixStream, node: usize) -> Result<i32, Failure> {
    send(connection, &Ask::Shell { node, size: size() })?;
    let (resized, resizes) = UnixStream::pair()?;
    let handler = signal_hook::low_level::pipe::register(SIGWINCH, resizes)?;
    let raw = Raw::enter()?;
    let result = relay(connection, &resized);
    drop(raw);
    signal_hook::low_level::unregister(handler);
    result
}

fn relay(connection: &UnixStream, mut resized: &UnixStream) -> Result<i32, Failure> {
    let mut answers = Receiver::new(connection);
    let mut buffer = [0; 4096];
    let mut typing = true;
    loop {
        let mut files = vec![
            PollFd::new(connection.as_fd(), PollFlags::POLLIN),
            PollFd::new(resized.as_fd(), PollFlags::POLLIN),
        ];
        let input = io::stdin();
        if typing {
            files.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut files, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = files
            .iter()
            .map(|file| file.any().unwrap_or(false))
            .collect();
        if ready.get(2) == Some(&true) {
            // Not through Rust's buffer: poll does not see what lies in it.
            match nix::unistd::read(input.as_fd(), &mut buffer)? {
                0 => {
                    // What a script has typed is followed by ^D, as a person would.
                    typing = false;
                    send(connection, &Ask::Input(vec![4]))?;
                }
                length => send(connection, &Ask::Input(buffer[..length].to_vec()))?,
            }
        }
        if ready[1] {
            let _ = resized.read(&mut buffer)?;
            send(connection, &Ask::Resize(size()))?;
        }
        if ready[0] {
            let more = answers.fill()?;
            while let Some(answer) = answers.ready() {
                match answer {
                    Tell::Output(bytes) | Tell::Errors(bytes) => {
                        let mut out = io::stdout().lock();
                        out.write_all(&bytes)?;
                        out.flush()?;
                    }
                    Tell::Ended(code) => return Ok(code),
                    Tell::Refused(why) => return Err(why.into()),
                }
            }
            if !more {
                return Err("the cluster is gone".into());
            }
        }
    }
}
