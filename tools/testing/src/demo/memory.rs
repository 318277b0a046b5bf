// SPDX-License-Identifier: GPL-2.0
//! Node 0 exports memory with a real file in it; node 1 maps it, verifies it, and writes a changed copy back through its map.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Cluster;

use super::copied;
use super::kernel;
use super::step;
use super::Row;
use crate::share::Actor;
use crate::share::Digested;

/// Fewer bytes would be no real file.
const LEAST: u64 = 10_000_000;
/// More bytes only show more of the same.
const MOST: usize = 14_000_000;
/// Id of the segment.
const ID: u32 = 7;

/// Time that `load` took.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Loaded {
    micros: u64,
}

/// Times of the two copies of `invert`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Inverted {
    read_micros: u64,
    write_micros: u64,
}

/// Shows it; gives the changed copy's SHA-256, and rows for the table.
pub fn share(
    started: Instant,
    cluster: &Cluster,
    owner: &Actor<'_>,
    user: &Actor<'_>,
    rows: &mut Vec<Row>,
) -> Result<String> {
    // The image of the kernel that the nodes themselves run.
    let mut data = std::fs::read(kernel()?.join("vmlinux"))
        .context("no kernel image; run this as make demo")?;
    data.truncate(MOST);
    let bytes = data.len() as u64;
    ensure!(bytes >= LEAST, "the file has only {bytes} bytes");
    let digest = format!("{:x}", Sha256::digest(&data));
    let changed: Vec<u8> = data.iter().map(|byte| !byte).collect();
    let changed = format!("{:x}", Sha256::digest(changed));
    let (near, far) = (owner.status()?.node, user.status()?.node);

    owner.node().write(&data, "/tmp/file")?;
    let counters = || -> Result<_> {
        let of = |actor: &Actor<'_>| cluster.switch().counters(actor.node().port(0));
        Ok((of(owner)?, of(user)?))
    };
    let before = counters()?;
    owner.tell(&format!(
        "create segment {bytes} --id {ID} --mode 666 --share"
    ))?;
    owner.tell("map own segment")?;
    let filled: Loaded = owner.ask("load own /tmp/file")?;
    step(
        started,
        &format!(
            "node {near} exports segment {ID}: a file of {bytes} bytes, SHA-256 {}…",
            &digest[..16]
        ),
    );

    let connecting = Instant::now();
    user.tell(&format!("connect remote --node {near} {ID}"))?;
    user.tell("map map remote")?;
    let connected = connecting.elapsed();
    let seen: Digested = user.ask(&format!("digest map {bytes}"))?;
    ensure!(
        seen.sha256 == digest,
        "node {far} reads SHA-256 {}, the file has {digest}",
        seen.sha256
    );
    step(
        started,
        &format!("node {far} connected, mapped it, and computes the same"),
    );

    let back: Inverted = user.ask(&format!("invert map {bytes}"))?;
    let found: Digested = owner.ask(&format!("digest own {bytes}"))?;
    ensure!(
        found.sha256 == changed,
        "node {near} finds SHA-256 {}, the changed copy has {changed}",
        found.sha256
    );
    step(
        started,
        &format!(
            "node {far} wrote a copy with every bit turned, and node {near} finds it: SHA-256 {}…",
            &changed[..16]
        ),
    );

    let after = counters()?;
    let counts = (after.0.since(&before.0), after.1.since(&before.1));
    let row = |name: &str, value: String| (name.to_owned(), vec![value]);
    let took = |name: &str, micros: u64| row(name, copied(bytes, Duration::from_micros(micros)));
    let both = |name: &str, value: (u64, u64)| row(name, format!("{} / {}", value.0, value.1));
    rows.extend([
        took("fill the segment (its own node)", filled.micros),
        row(
            "connect and map (two processes started)",
            format!("{:.0} ms", connected.as_secs_f64() * 1e3),
        ),
        took("read through the bridge", seen.micros),
        took("read it again", back.read_micros),
        took("write through the bridge", back.write_micros),
        took("read it back (its own node)", found.micros),
        row("counted by the switch, node 0 / node 1", String::new()),
        both(
            "  slots programmed",
            (counts.0.slot_programmings, counts.1.slot_programmings),
        ),
        both(
            "  messages sent",
            (counts.0.messages_sent, counts.1.messages_sent),
        ),
        both(
            "  doorbells sent",
            (counts.0.doorbells_sent, counts.1.doorbells_sent),
        ),
        both(
            "  interrupts raised",
            (counts.0.interrupts_raised, counts.1.interrupts_raised),
        ),
        both(
            "  register accesses",
            (
                counts.0.register_reads + counts.0.register_writes,
                counts.1.register_reads + counts.1.register_writes,
            ),
        ),
        both(
            "  reads across the fabric, but for loads",
            (counts.0.non_posted_reads, counts.1.non_posted_reads),
        ),
    ]);
    Ok(changed)
}
