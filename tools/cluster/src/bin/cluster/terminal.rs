// SPDX-License-Identifier: GPL-2.0
//! The terminal that this program runs in. The only state is the terminal's own mode, restored by a guard.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg, Termios};

/// Rows and columns of the terminal, or what they usually are.
pub fn size() -> (u16, u16) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one struct winsize to the pointer, which is valid for the call.
    let result = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    match (result, size.ws_row, size.ws_col) {
        (0, rows @ 1.., columns @ 1..) => (rows, columns),
        _ => (24, 80),
    }
}

/// While it lives, every key goes through as it is.
#[derive(Debug)]
pub struct Raw {
    before: Option<Termios>,
}

impl Raw {
    /// Switches standard input over if it is a terminal.
    ///
    /// # Errors
    /// Those of termios(3).
    pub fn enter() -> io::Result<Self> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(Raw { before: None });
        }
        let before = tcgetattr(input.as_fd())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(input.as_fd(), SetArg::TCSADRAIN, &raw)?;
        Ok(Raw {
            before: Some(before),
        })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // There is nothing left to do about a failure.
            let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, before);
        }
    }
}
