// SPDX-License-Identifier: GPL-2.0
//! One operation on a block device, of each kind that there is.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::Result;
use clap::Args;
use clap::ValueEnum;
use nix::errno::Errno;
use nix::libc;

use crate::number;
use crate::share::sequence;

/// BLKDISCARD of linux/fs.h.
const BLKDISCARD: libc::Ioctl = 0x1277;
/// BLKZEROOUT of linux/fs.h.
const BLKZEROOUT: libc::Ioctl = 0x127f;

/// Where buffers begin.
const ALIGNMENT: usize = 4096;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Write the bytes of a sequence.
    Write,
    /// The same, and they are durable when that is done.
    Durable,
    /// Write zeros.
    Zero,
    /// Say that nobody needs what is there.
    Discard,
    /// Have durable what was written.
    Flush,
}

/// `disk do`.
#[derive(Debug, Args)]
pub struct Single {
    path: PathBuf,
    #[arg(value_enum)]
    kind: Kind,
    #[arg(value_parser = number, default_value = "0")]
    from: u64,
    #[arg(value_parser = number, default_value = "0")]
    bytes: u64,
    /// Of the sequence.
    #[arg(value_parser = number, default_value = "0")]
    seed: u64,
}

impl Single {
    /// Does it.
    pub fn run(&self) -> Result<()> {
        let durable = match self.kind {
            Kind::Durable => libc::O_DSYNC,
            _ => 0,
        };
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT | durable)
            .open(&self.path)
            .with_context(|| format!("cannot open {}", self.path.display()))?;
        match self.kind {
            Kind::Write | Kind::Durable => self.write(&file),
            Kind::Zero => self.command(&file, BLKZEROOUT),
            Kind::Discard => self.command(&file, BLKDISCARD),
            Kind::Flush => Ok(file.sync_data()?),
        }
        .with_context(|| format!("{self:?}"))
    }

    fn write(&self, file: &File) -> Result<()> {
        let bytes = usize::try_from(self.bytes)?;
        let mut memory = vec![0; bytes + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        let buffer = &mut memory[start..start + bytes];
        sequence(self.seed, self.from, buffer);
        Ok(file.write_all_at(buffer, self.from)?)
    }

    fn command(&self, file: &File, request: libc::Ioctl) -> Result<()> {
        let range = [self.from, self.bytes];
        // SAFETY: These requests read two words.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), request, range.as_ptr()) };
        Ok(Errno::result(result).map(drop)?)
    }
}
