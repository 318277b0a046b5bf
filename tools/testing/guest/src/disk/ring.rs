// SPDX-License-Identifier: GPL-2.0
//! Many transfers of one file at a time, past the page cache, by io_uring.
//!
//! A ring has as many slots as transfers can be under way, and a buffer for each. It takes them back before it goes.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fd;
use io_uring::types::SubmitArgs;
use io_uring::types::Timespec;
use io_uring::IoUring;
use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::mmap_anonymous;
use nix::sys::mman::munmap;
use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;

/// What a transfer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Read,
    Write,
}

/// The end of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Its slot.
    pub slot: usize,
    /// Whether all of it went well; a part of it is EIO.
    pub result: Result<(), Errno>,
}

/// See the module.
pub struct Ring {
    ring: IoUring,
    file: File,
    buffers: NonNull<u8>,
    /// Bytes of a buffer.
    bytes: usize,
    /// Which slots are under way.
    busy: Vec<bool>,
    limit: Duration,
    polled: bool,
}

impl Ring {
    /// Opens a file with `depth` slots of `bytes` each. A wait without any completion ends after `limit`, as long as
    /// nobody polls.
    pub fn open(
        path: &Path,
        depth: u32,
        bytes: usize,
        polled: bool,
        limit: Duration,
    ) -> Result<Self> {
        ensure!(depth > 0, "nothing can be done with no depth");
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut builder = IoUring::builder();
        if polled {
            builder.setup_iopoll();
        }
        let ring = builder.build(depth.next_power_of_two())?;
        let depth = depth as usize;
        let all = depth
            .checked_mul(bytes)
            .and_then(NonZeroUsize::new)
            .context("a buffer has some bytes")?;
        // SAFETY: A new map, whose only owner is this ring.
        let buffers = unsafe {
            mmap_anonymous(
                None,
                all,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE,
            )
        }?;
        Ok(Self {
            ring,
            file,
            buffers: buffers.cast(),
            bytes,
            busy: vec![false; depth],
            limit,
            polled,
        })
    }

    /// Slots.
    pub fn depth(&self) -> usize {
        self.busy.len()
    }

    /// How many of them are under way.
    pub fn under_way(&self) -> usize {
        self.busy.iter().filter(|busy| **busy).count()
    }

    /// A slot's buffer.
    ///
    /// # Panics
    /// While it is under way.
    pub fn buffer(&mut self, slot: usize) -> &mut [u8] {
        assert!(!self.busy[slot], "slot {slot} belongs to the kernel");
        // SAFETY: Slot is below the depth, or the line above had panicked: the range is within the map, which lives as long
        // as `self`. Nobody else has it: the kernel has let go of it, and `self` is borrowed.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.buffers.as_ptr().wrapping_add(slot * self.bytes),
                self.bytes,
            )
        }
    }

    /// Prepares a transfer between a slot's buffer and `offset`. It begins with the next [`Self::wait`].
    ///
    /// # Panics
    /// While the slot is under way.
    pub fn start(&mut self, slot: usize, way: Way, offset: u64) -> Result<()> {
        let buffer = self.buffer(slot);
        let (start, bytes) = (buffer.as_mut_ptr(), u32::try_from(buffer.len())?);
        let file = Fd(self.file.as_raw_fd());
        let entry: Entry = match way {
            Way::Read => opcode::Read::new(file, start, bytes).offset(offset).build(),
            Way::Write => opcode::Write::new(file, start, bytes)
                .offset(offset)
                .build(),
        };
        let entry = entry.user_data(slot as u64);
        self.busy[slot] = true;
        // SAFETY: The file and the buffer live until the transfer is over: `drop` waits for it. `busy` keeps everybody else
        // out of the buffer.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        if pushed.is_err() {
            self.busy[slot] = false;
        }
        pushed.context("more transfers than slots")
    }

    /// Begins what was prepared and waits until something is done; gives all that is.
    pub fn wait(&mut self) -> Result<Vec<Done>> {
        let waited = if self.polled {
            self.ring.submit_and_wait(1)
        } else {
            let limit = Timespec::from(self.limit);
            let arguments = SubmitArgs::new().timespec(&limit);
            self.ring.submitter().submit_with_args(1, &arguments)
        };
        match waited {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                println!(
                    "{}",
                    serde_json::json!({ "hung": self.under_way(), "seconds": self.limit.as_secs_f64() })
                );
                // What hangs would keep this process as well.
                std::process::abort();
            }
            Err(error) => return Err(error.into()),
        }
        let mut done = Vec::new();
        for completion in self.ring.completion() {
            // CAST: It is an index that `start` gave.
            let slot = completion.user_data() as usize;
            let result = match completion.result() {
                code if code < 0 => Err(Errno::from_raw(-code)),
                code if code.unsigned_abs() as usize == self.bytes => Ok(()),
                _ => Err(Errno::EIO),
            };
            self.busy[slot] = false;
            done.push(Done { slot, result });
        }
        Ok(done)
    }

    /// Waits until all is on stable storage.
    pub fn flush(&self) -> Result<()> {
        Ok(self.file.sync_all()?)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.under_way() > 0 {
            if self.wait().is_err() {
                // The kernel may still write into the buffers: they must stay.
                return;
            }
        }
        // SAFETY: It is the whole map that `open` made, and no transfer uses it any more.
        let _ = unsafe { munmap(self.buffers.cast(), self.bytes * self.busy.len()) };
    }
}
