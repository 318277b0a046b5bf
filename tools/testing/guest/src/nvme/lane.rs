// SPDX-License-Identifier: GPL-2.0
//! A queue pair with memory for data: blocks go to and fro, their bytes given by a seed and by where they are on the disk.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Serialize;
use skiff_nvme_model::command::Blocks;
use skiff_nvme_model::command::Command;
use skiff_nvme_model::command::Direction;
use skiff_nvme_model::command::Durable;
use skiff_nvme_model::completion::Status;
use skiff_nvme_model::data;
use skiff_nvme_model::data::Pointers;
use skiff_nvme_model::identify::Namespace;

use super::queue::QueuePair;
use super::region::Region;
use super::registers::Registers;
use super::PAGE;
use crate::share::sequence;

/// What became of a transfer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moved {
    /// Commands that went well.
    pub commands: u64,
    /// Bytes that were read and are wrong.
    pub wrong: u64,
    /// The first of them, by its place on the disk.
    pub first: Option<u64>,
}

/// A command for bytes from a place of the disk on, whole blocks.
fn transfer(
    direction: Direction,
    namespace: Namespace,
    from: u64,
    bytes: u64,
    data: Pointers,
) -> Result<Command> {
    let block = u64::from(namespace.block());
    let count = u32::try_from(bytes / block)?;
    let blocks = Blocks::new(from / block, count).context("too many blocks, or none")?;
    let (id, durable) = (namespace.id(), Durable::No);
    Ok(Command::transfer(direction, id, blocks, durable, data))
}

/// A part of the disk.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// First byte.
    pub from: u64,
    /// Length.
    pub bytes: u64,
    /// What is in it, or has to be.
    pub seed: u64,
}

/// The lane.
#[derive(Debug)]
pub struct Lane {
    queue: QueuePair,
    /// What each command that is under way reads or writes.
    data: Region,
    /// A list of pages for each.
    lists: Region,
    /// Bytes that a command moves at most.
    chunk: usize,
    /// Commands that may be under way.
    depth: usize,
}

impl Lane {
    /// Of memory in whole pages: as many commands are under way as it has room for data, lists and entries.
    pub fn new(queue: QueuePair, data: Region, lists: Region, chunk: usize) -> Result<Self> {
        ensure!(
            chunk > 0 && chunk % PAGE == 0 && chunk <= data::MOST as usize,
            "commands of {chunk} bytes"
        );
        let depth = (data.bytes() / chunk)
            .min(lists.bytes() / PAGE)
            .min(queue.room());
        ensure!(depth > 0, "there is no room for data");
        for slot in 0..depth {
            let piece = data.part(slot * chunk, chunk)?;
            lists.write(slot * PAGE, &data::list(piece.address()))?;
        }
        lists.flush();
        Ok(Self {
            queue,
            data,
            lists,
            chunk,
            depth,
        })
    }

    /// Its queue pair.
    pub fn queue(&self) -> &QueuePair {
        &self.queue
    }

    /// Where the data of command `slot` is.
    fn pages(&self, slot: usize, bytes: usize) -> Result<Pointers> {
        let piece = self.data.part(slot * self.chunk, bytes)?.address();
        let list = self.lists.part(slot * PAGE, PAGE)?.address();
        Pointers::within(piece, list, 0, u32::try_from(bytes)?).context("it is more than a piece")
    }

    /// Moves an extent, `depth` commands at a time. What is read is compared.
    pub fn transfer(
        &mut self,
        registers: &Registers,
        namespace: Namespace,
        direction: Direction,
        extent: Extent,
    ) -> Result<Moved> {
        let block = u64::from(namespace.block());
        ensure!(
            extent.from % block == 0 && extent.bytes % block == 0,
            "{extent:?} is not of whole blocks of {block} bytes"
        );
        let mut moved = Moved::default();
        let mut bytes = vec![0; self.chunk];
        let mut next = 0;
        // By the identifier of a command: its slot, where it is on the disk, and its length.
        let mut under_way: Vec<Option<(usize, u64, usize)>> = vec![None; self.queue.room()];
        let mut free: Vec<usize> = (0..self.depth).rev().collect();
        loop {
            while let Some(slot) = (next < extent.bytes).then(|| free.pop()).flatten() {
                // CAST: No more than a chunk.
                let length = (extent.bytes - next).min(self.chunk as u64) as usize;
                let from = extent.from + next;
                let now = self.data.part(slot * self.chunk, length)?;
                if direction == Direction::Write {
                    sequence(extent.seed, from, &mut bytes[..length]);
                    now.write(0, &bytes[..length])?;
                    now.flush();
                }
                let command = transfer(
                    direction,
                    namespace,
                    from,
                    length as u64,
                    self.pages(slot, length)?,
                )?;
                let id = self.queue.submit(registers, &command)?;
                under_way[usize::from(id)] = Some((slot, from, length));
                next += length as u64;
            }
            if free.len() == self.depth {
                return Ok(moved);
            }
            let done = self.queue.wait(registers)?;
            let place = under_way.get_mut(usize::from(done.id));
            let Some((slot, from, length)) = place.and_then(Option::take) else {
                anyhow::bail!("{done:?} is of no command");
            };
            ensure!(
                done.status.good(),
                "{direction:?} at {from:#x} ended with {:x?}",
                done.status
            );
            moved.commands += 1;
            if direction == Direction::Read {
                let now = self.data.part(slot * self.chunk, length)?;
                let mut right = vec![0; length];
                sequence(extent.seed, from, &mut right);
                now.read(0, &mut bytes[..length])?;
                let wrong = |at: &usize| bytes[*at] != right[*at];
                moved.wrong += (0..length).filter(wrong).count() as u64;
                let first = (0..length).find(wrong).map(|at| from + at as u64);
                moved.first = moved.first.or(first);
            }
            free.push(slot);
        }
    }

    /// Reads or writes a few blocks at any address of the device, not only memory of the lane; gives how it ended.
    pub fn aim(
        &mut self,
        registers: &Registers,
        namespace: Namespace,
        direction: Direction,
        from: u64,
        data: Pointers,
        bytes: u64,
    ) -> Result<Status> {
        let command = transfer(direction, namespace, from, bytes, data)?;
        let id = self.queue.submit(registers, &command)?;
        let done = self.queue.wait(registers)?;
        ensure!(done.id == id, "{done:?} came for command {id}");
        Ok(done.status)
    }

    /// Has all that was written on the disk.
    pub fn flush(&mut self, registers: &Registers, namespace: Namespace) -> Result<()> {
        self.queue.run(registers, &Command::flush(namespace.id()))
    }
}
