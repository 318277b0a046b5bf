// SPDX-License-Identifier: GPL-2.0
//! The maps of the world, and what threads do with them.

use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::ensure;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc;

use super::locked;
use super::World;
use crate::abi::layout;
use crate::abi::layout::Kind;
use crate::abi::raw::Map;
use crate::abi::raw::PAGE;
use crate::abi::raw::RW;
use crate::ioctl_fuzz::tally::Tally;
use crate::ioctl_fuzz::values;
use crate::random::Random;

/// Most maps at a time.
const MAPS: usize = 24;

/// What the offset of a map may say besides where it begins.
const FLAGS: u64 = layout::UNCACHED | layout::ALL_ONES;
/// Register of the edu that raises an interrupt.
const RAISE: usize = 0x60;
/// The one that ends it.
const ACKNOWLEDGE: usize = 0x64;

/// A map.
#[derive(Debug)]
pub(super) struct Shown {
    map: Map,
    /// Of a BAR.
    registers: bool,
    /// Where it begins, with its flags.
    offset: u64,
}

impl World {
    /// Maps an object.
    pub(super) fn map(&self, random: &mut Random, tally: &Tally) -> Result<()> {
        let kind = random.pick(&[Kind::Local, Kind::Remote, Kind::Remote]);
        let object = self.object(random, kind);
        let bytes = match random.below(10) {
            0 => random.index(1 << 30),
            1..=3 => PAGE * (1 + random.index(16)),
            _ => PAGE,
        };
        let prot = random.pick(&[
            RW,
            RW,
            RW,
            RW,
            RW,
            RW,
            libc::PROT_READ,
            libc::PROT_READ,
            libc::PROT_NONE,
            RW | libc::PROT_EXEC,
        ]);
        let flags = random.pick(&[
            libc::MAP_SHARED,
            libc::MAP_SHARED,
            libc::MAP_SHARED,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            libc::MAP_SHARED | libc::MAP_LOCKED,
            libc::MAP_PRIVATE,
        ]);
        let offset = values::offset(random);
        // Another kind of file maps as it likes, /dev/null not at all.
        let result = Map::new(object.fd.as_fd(), bytes, prot, flags, offset);
        tally.count("mmap", &result);
        match result {
            Ok(map) => {
                ensure!(
                    object.kind != Some(Kind::Context) && flags & libc::MAP_SHARED != 0,
                    "{:?} was mapped with flags {flags:#x}",
                    object.kind
                );
                locked(&self.maps).push(Arc::new(Shown {
                    map,
                    registers: object.registers,
                    offset,
                }));
                if locked(&self.maps).len() > MAPS {
                    self.unmap(random);
                }
            }
            Err(error) => ensure!(
                matches!(
                    error,
                    Errno::EACCES
                        | Errno::EPERM
                        | Errno::EINVAL
                        | Errno::ECONNRESET
                        | Errno::ENOLINK
                        | Errno::ENOMEM
                        | Errno::ENOSPC
                        | Errno::ENODEV
                        | Errno::EOVERFLOW
                        | Errno::EAGAIN
                ),
                "mmap of {bytes:#x} bytes at {offset:#x}, prot {prot}, flags {flags:#x}: {error:?}"
            ),
        }
        Ok(())
    }

    /// A map, if there is one.
    fn a_map(&self, random: &mut Random) -> Option<Arc<Shown>> {
        let maps = locked(&self.maps);
        (!maps.is_empty()).then(|| Arc::clone(&maps[random.index(maps.len())]))
    }

    /// Loads or stores.
    pub(super) fn access(&self, random: &mut Random, tally: &Tally) -> Result<()> {
        let Some(shown) = self.a_map(random) else {
            return Ok(());
        };
        let map = &shown.map;
        let at = random.index((map.bytes() - 7).max(1)) & !7;
        let pipe = locked(&self.pipe);
        let (name, result) = match (random.percent(50), shown.registers) {
            (true, _) => ("load", map.load(&pipe, at).map(drop)),
            (false, false) => ("store", map.store(&pipe, at, random.next())),
            (false, true) if shown.offset & !FLAGS == 0 => {
                let register = random.pick(&[RAISE, RAISE, ACKNOWLEDGE]);
                ("store", map.store_half(&pipe, register, 1))
            }
            (false, true) => return Ok(()),
        };
        tally.count(name, &result);
        if let Err(error) = result {
            ensure!(
                matches!(error, Errno::EFAULT | Errno::EDOM),
                "{name} at {at:#x}: {error:?}"
            );
        }
        Ok(())
    }

    /// Changes what may be done with a map.
    pub(super) fn change_map(&self, random: &mut Random, tally: &Tally) -> Result<()> {
        let Some(shown) = self.a_map(random) else {
            return Ok(());
        };
        let prot = random.pick(&[RW, libc::PROT_READ, libc::PROT_NONE, libc::PROT_EXEC]);
        let result = shown.map.protect(prot);
        tally.count("mprotect", &result);
        ensure!(
            prot & libc::PROT_EXEC == 0 || result.is_err(),
            "a map was made executable"
        );
        Ok(())
    }

    /// Gives a map up.
    pub(super) fn unmap(&self, random: &mut Random) {
        let mut maps = locked(&self.maps);
        if !maps.is_empty() {
            let index = random.index(maps.len());
            let map = maps.swap_remove(index);
            drop(maps);
            drop(map);
        }
    }
}
