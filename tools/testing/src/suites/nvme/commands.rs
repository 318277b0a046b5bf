// SPDX-License-Identifier: GPL-2.0
//! What the drive is told, command by command: by QEMU's trace, by the submission queue in the lender's memory, by the image.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::guest;
use crate::lend;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::lend::NVME;
use crate::nvme;

/// See the module.
pub const COMMANDS: Case = Case {
    name: "forced writes, flushes, zeros and discards reach the drive as such",
    run: commands,
};

/// Bytes of a block.
const BLOCK: u64 = 512;
/// Where all of it happens, in bytes: what has data afterwards is at its ends.
const FROM: u64 = 50 << 20;
/// Its length.
const BYTES: u64 = 4 << 20;
/// What is in it.
const SEED: u64 = 90;

/// A part of the drive that a command is about, in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What QEMU calls the command.
    name: String,
    /// First block.
    block: u64,
    /// Blocks.
    blocks: u64,
}

/// The drive behind a node's QEMU, while its trace is on.
#[derive(Debug)]
pub struct Drive<'a> {
    node: &'a Node,
}

/// The word behind a name in a line of the trace.
fn word<'a>(line: &'a str, name: &str) -> Result<&'a str> {
    let mut words = line.split_whitespace().skip_while(|word| *word != name);
    let found = words.nth(1).map(|word| word.trim_matches('\''));
    found.with_context(|| format!("there is no {name} in {line:?}"))
}

fn told(line: &str) -> Result<Option<Told>> {
    let value = |name| guest::number(word(line, name)?);
    Ok(Some(if line.contains("pci_nvme_write cid ") {
        Told {
            name: word(line, "opname")?.to_owned(),
            block: value("lba")?,
            blocks: value("nlb")?,
        }
    } else if line.contains("pci_nvme_dsm_deallocate ") {
        Told {
            name: "deallocate".to_owned(),
            block: value("slba")?,
            blocks: value("nlb")?,
        }
    } else if line.contains("pci_nvme_flush_ns ") {
        Told {
            name: "flush".to_owned(),
            block: 0,
            blocks: 0,
        }
    } else {
        return Ok(None);
    }))
}

impl<'a> Drive<'a> {
    /// Turns the trace on.
    pub fn new(node: &'a Node) -> Result<Self> {
        for event in [
            "pci_nvme_write",
            "pci_nvme_dsm_deallocate",
            "pci_nvme_flush_ns",
        ] {
            node.trace(event, true)?;
        }
        Ok(Self { node })
    }

    /// What a drive was told while that was done.
    pub fn during(&self, body: impl FnOnce() -> Result<()>) -> Result<Vec<Told>> {
        let before = self.node.qemu_log()?.len();
        body()?;
        let log = self.node.qemu_log()?;
        let since = log.get(before..).unwrap_or_default();
        since
            .lines()
            .filter_map(|line| told(line).transpose())
            .collect()
    }

    /// What it was told must be this one command for these bytes, in as many pieces as one likes; flushes may follow.
    pub fn must_hear(&self, node: &Node, what: &str, name: &str, block: u64) -> Result<Vec<Told>> {
        let heard = self.during(|| guest::run(node, &format!("disk do {what}")).map(drop))?;
        let words: Vec<&str> = what.split(' ').collect();
        let [_, _, from, bytes, ..] = words[..] else {
            anyhow::bail!("{what:?} is of no bytes");
        };
        let (mut next, bytes) = (guest::number(from)? / block, guest::number(bytes)? / block);
        let end = next + bytes;
        for part in heard.iter().filter(|part| part.name != "flush") {
            ensure!(
                part.name.ends_with(name) && part.block == next,
                "{what}: {heard:?}"
            );
            next += part.blocks;
        }
        ensure!(next == end, "{what}: {heard:?}");
        Ok(heard)
    }
}

impl Drop for Drive<'_> {
    fn drop(&mut self) {
        // The node may be gone.
        let _ = self.node.trace("pci_nvme_*", false);
    }
}

/// Which writes of so many blocks are forced, by their first block and the entries of submission queues, which
/// are in the lender's memory. An entry stays until the queue has come round, but for opcode, number and namespace: where
/// there are shadow doorbells no command that is over must be done again.
fn forced(lender: &Node, first: &[u64], blocks: u32) -> Result<BTreeSet<(u64, bool)>> {
    const PART: usize = 4 << 20;
    let memory = lender.memory()?;
    let mut part = vec![0; PART];
    let mut found = BTreeSet::new();
    for at in (0..memory.metadata()?.len()).step_by(PART) {
        memory.read_exact_at(&mut part, at)?;
        for entry in part.chunks_exact(64) {
            if entry[..8] != [0; 8] {
                continue;
            }
            let word = |index: usize| {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(&entry[4 * index..4 * index + 4]);
                u32::from_le_bytes(bytes)
            };
            let place = u64::from(word(10)) | (u64::from(word(11)) << 32);
            if first.contains(&place) && word(12) & 0xffff == blocks - 1 {
                found.insert((place, word(12) & (1 << 30) != 0));
            }
        }
    }
    Ok(found)
}

/// Bytes of a file that the host keeps somewhere.
fn kept(image: &Path) -> Result<u64> {
    Ok(fs::metadata(image)?.blocks() * 512)
}

fn zeros(image: &Path, from: u64, bytes: u64) -> Result<bool> {
    let mut found = vec![0; usize::try_from(bytes)?];
    File::open(image)?.read_exact_at(&mut found, from)?;
    Ok(found.iter().all(|byte| *byte == 0))
}

fn commands(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (node, home) = (cluster.node(BORROWER), cluster.node(LENDER));
    let image = home.disk(NVME.name());
    let path = nvme::load(node)?;
    let name = path.trim_start_matches("/dev/");
    let shown = node.run(&format!(
        "cd /sys/block/{name}/queue && cat write_cache fua && test $(cat write_zeroes_max_bytes) -gt 0"
    ))?;
    let shown = shown.check()?.stdout_text().into_owned();
    ensure!(shown == "write back\n1\n", "{shown:?}");
    let drive = Drive::new(home)?;
    let whole = format!("{path} write {FROM} {BYTES} {SEED}");
    drive.must_hear(node, &whole, "_WRITE", BLOCK)?;
    // Two writes that only differ in being forced.
    let (plain, firm) = (FROM + 3 * BLOCK, FROM + 20 * BLOCK);
    for (kind, from) in [("write", plain), ("durable", firm)] {
        let line = format!("{path} {kind} {from} {} {SEED}", 7 * BLOCK);
        drive.must_hear(node, &line, "_WRITE", BLOCK)?;
    }
    let (plain, firm) = (plain / BLOCK, firm / BLOCK);
    let found = forced(home, &[plain, firm], 7)?;
    ensure!(
        found == BTreeSet::from([(plain, false), (firm, true)]),
        "which writes were forced: {found:?}"
    );
    let heard = drive.during(|| guest::run(node, &format!("disk do {path} flush")).map(drop))?;
    ensure!(
        heard.len() == 1 && heard[0].name == "flush",
        "a flush is {heard:?}"
    );
    lend::on_disk(cluster, NVME, FROM, BYTES, SEED)?;
    // Not in whole pages; what is around it stays.
    let (zeroed, length) = (FROM + (1 << 20) + BLOCK, (1 << 20) - 2 * BLOCK);
    let line = format!("{path} zero {zeroed} {length}");
    drive.must_hear(node, &line, "_WRITE_ZEROES", BLOCK)?;
    ensure!(zeros(&image, zeroed, length)?, "the zeros are not there");
    let (gone, length) = (FROM + (2 << 20), 1 << 20);
    let before = kept(&image)?;
    let line = format!("{path} discard {gone} {length}");
    drive.must_hear(node, &line, "deallocate", BLOCK)?;
    let less = before.saturating_sub(kept(&image)?);
    ensure!(less == length, "{less} of {length} bytes are gone");
    for (from, bytes) in [
        (FROM, (1 << 20) + BLOCK),
        (gone - BLOCK, BLOCK),
        (gone + length, 1 << 20),
    ] {
        lend::on_disk(cluster, NVME, from, bytes, SEED)?;
    }
    drop(drive);
    nvme::unload(node)
}
