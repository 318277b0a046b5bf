// SPDX-License-Identifier: GPL-2.0

//! Memory of an attachment: for queues, at the lender and here, and the way that data take.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_client::{
    Borrowed,
    Errno,
    Place,
    DEFAULT_TIMEOUT, //
};
use skiff_nvme_model::{
    command,
    completion,
    PAGE, //
};

use crate::{
    bells::Bells,
    memory::Part,
    queue::{
        Memory,
        Queue, //
    },
    transfer::{
        Reach,
        Transfer,
        CHUNK,
        TAG_BYTES, //
    }, //
};

/// Entries of a queue when memory is short, at least.
pub(crate) const FEW: u16 = 4;

/// Memory for queues, and the way that data take.
pub(crate) struct Room {
    /// Entries of each queue.
    pub(crate) entries: u16,
    /// How many queues.
    pub(crate) count: u16,
    /// How the controller gets at data.
    pub(crate) reach: Reach,
    /// At the lender: for each queue its submissions, then lists and ranges of its tags.
    written: Part,
    /// Here: for each queue its completions.
    read: Part,
}

impl Room {
    /// As much as there is memory for, with queues of `entries` at most; if it `may` be so, the controller reaches all memory of this
    /// node. Process context.
    pub(crate) fn new(device: &Arc<Borrowed>, count: u16, entries: u16, may: bool) -> Result<Self> {
        let (reach, entries) = match direct(device, may)? {
            Some(reach) => (reach, entries),
            None => window(device, count, entries)?,
        };
        let count_bytes = |each: usize| each.checked_mul(count.into()).ok_or(EINVAL);

        Ok(Self {
            entries,
            count,
            reach,
            written: Part::new(device, count_bytes(written_bytes(entries))?, Place::Device)?,
            read: Part::new(device, count_bytes(read_bytes(entries))?, Place::Cpu)?,
        })
    }

    /// The queue with this index.
    pub(crate) fn queue(&self, index: u16, polled: bool, bells: &Arc<Bells>) -> Result<Arc<Queue>> {
        let (entries, place) = (self.entries, usize::from(index));
        let tags = entries - 1;
        let written = self
            .written
            .part(place * written_bytes(entries), written_bytes(entries))?;
        let submissions = pages(usize::from(entries) * command::ENTRY);
        let lists = written.part(submissions, written_bytes(entries) - submissions)?;
        let first = u32::from(index) * u32::from(tags);
        let transfer = Transfer::new(self.reach.clone(), first, lists, tags)?;
        let memory = Memory {
            index: place,
            entries,
            polled,
            submissions: written.part(0, submissions)?,
            completions: self
                .read
                .part(place * read_bytes(entries), read_bytes(entries))?,
        };

        Queue::new(memory, bells.clone(), transfer)
    }
}

/// All memory, if it may be so and can.
fn direct(device: &Arc<Borrowed>, may: bool) -> Result<Option<Reach>> {
    if !may {
        return Ok(None);
    }
    match device.direct(DEFAULT_TIMEOUT) {
        Ok(direct) => Ok(Some(Reach::Direct(Arc::new(direct, GFP_KERNEL)?))),
        // Pages are linked, or there is no other way on this node.
        Err(error) if error == Error::from(Errno::NotSupported) => Ok(None),
        Err(error) if error == ENOSPC => {
            pr_info!("the lender has not enough slots to spare for all memory of this node\n");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A window, as large as there is room for, and the entries of queues that it is large enough for.
fn window(device: &Arc<Borrowed>, count: u16, entries: u16) -> Result<(Reach, u16)> {
    let mut entries = entries;

    loop {
        let chunks = u32::from(count) * u32::from(entries - 1);

        match device.window(chunks, CHUNK, DEFAULT_TIMEOUT) {
            Ok(window) => return Ok((Reach::Window(Arc::new(window, GFP_KERNEL)?), entries)),
            Err(error) if entries / 2 < FEW => return Err(error),
            Err(_) => entries /= 2,
        }
    }
}

fn pages(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE as usize)
}

fn written_bytes(entries: u16) -> usize {
    let tags = usize::from(entries) - 1;

    pages(usize::from(entries) * command::ENTRY) + pages(tags * TAG_BYTES)
}

fn read_bytes(entries: u16) -> usize {
    pages(usize::from(entries) * completion::ENTRY)
}
