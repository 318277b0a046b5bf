// SPDX-License-Identifier: GPL-2.0
//! Pseudo-terminals for interactive commands. Stateless; the caller owns the terminal's master end.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::pty::{openpty, Winsize};
use skiff_agent::message::Size;

fn window(size: Size) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Gives the command a new terminal as its controlling one; returns the terminal's master end.
///
/// # Errors
/// Those of openpty(3).
pub fn attach(command: &mut Command, size: Size) -> io::Result<File> {
    let pty = openpty(Some(&window(size)), None)?;
    command
        .stdin(Stdio::from(pty.slave.try_clone()?))
        .stdout(Stdio::from(pty.slave.try_clone()?));
    command.stderr(Stdio::from(pty.slave));
    let own_session = || {
        nix::unistd::setsid()?;
        // SAFETY: TIOCSCTTY takes an integer, no pointer; descriptor 0 is the terminal by now.
        match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes two system calls and neither allocates nor takes a lock.
    unsafe { command.pre_exec(own_session) };
    nix::fcntl::fcntl(
        &pty.master,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    Ok(File::from(pty.master))
}

/// Changes a terminal's size.
///
/// # Errors
/// Those of ioctl(2).
pub fn resize(master: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    let window = window(size);
    // SAFETY: TIOCSWINSZ reads one struct winsize from the pointer, which is valid for the call.
    match unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const window) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
