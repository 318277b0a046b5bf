// SPDX-License-Identifier: GPL-2.0
//! The function that is lent, or not, while random calls go on: bound to skiff's driver before, taken back afterwards.

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use nix::errno::Errno;

use crate::abi::layout;
use crate::abi::layout::lent;
use crate::abi::objects;
use crate::pci::Function;

/// How long a device may be busy with what the last borrow left: it is reset.
const BUSY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Lending {
    context: File,
    function: Function,
    bdf: u64,
    node: u64,
}

impl Lending {
    /// Has skiff's driver bind to a function.
    pub fn new(context: &File, name: &str) -> Result<Self> {
        let function = Function::by_name(name)?;
        let bdf = objects::bdf(name).with_context(|| format!("{name} is no function"))?;
        function.bind(Some("skiff_lend"))?;
        Ok(Self {
            context: context.try_clone()?,
            function,
            bdf,
            node: objects::ask(context.as_fd(), &layout::INFO, &[], "node")?,
        })
    }

    /// Bus, device and function in one number.
    pub fn function(&self) -> u64 {
        self.bdf
    }

    /// Empties the pool, shows it to nobody, and lets go of the function.
    pub fn end(&self) -> Result<()> {
        let context = self.context.as_fd();
        for peer in (0..64).filter(|node| *node != self.node) {
            let (_, result) = objects::attempt(context, &lent::DISCONNECT, &[("node", peer)])?;
            // Nobody has shown it to that node.
            if result != Err(Errno::EBUSY) {
                result.with_context(|| format!("node {peer} still sees the pool"))?;
            }
        }
        let mut from = lent::fdid(self.node, 0);
        loop {
            let (found, result) = objects::attempt(context, &lent::QUERY, &[("from", from)])?;
            let fdid = found.get(lent::QUERY.field("fdid")?);
            if result == Err(Errno::ENOENT) || fdid >= lent::fdid(self.node + 1, 0) {
                break;
            }
            result?;
            self.remove(fdid).with_context(|| format!("{fdid:#x}"))?;
            from = fdid + 1;
        }
        self.function.bind(None)
    }

    fn remove(&self, fdid: u64) -> Result<()> {
        let started = Instant::now();
        let forced = [("flags", lent::FORCE), ("fdid", fdid)];
        loop {
            let (_, result) = objects::attempt(self.context.as_fd(), &lent::REMOVE, &forced)?;
            let passes = matches!(result, Err(Errno::EBUSY | Errno::ETIMEDOUT));
            if !passes || started.elapsed() > BUSY {
                return result.map(drop).context("it stays in the pool");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
